"""A service that follows a repository: which model it starts with, and how it begins anew with another one.

A switch happens in the running flow (`swap.py`). Where a part cannot follow it is a restart in place: the service ends
in order (what it has read is inferred, what waits is sent or in the spool, inputs that were not answered stay with the
broker), and the process begins anew with `execv`, under the same process id. So whatever follows from a model, topics
aside, follows from the new one: labels, routes, metrics, entities.
Whatever kills it on the way, the next start reads the state and comes back on a model that is confirmed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType

from msgspec.structs import replace

from edge.app import profile, start
from edge.app.service import App
from edge.app.update_agent import UpdateAgent
from edge.app.update_children import UpdateChildren
from edge.data.names import topic_part
from edge.errors import ConfigError, ModelError, needs
from edge.model import identity
from edge.runtime import ending
from edge.runtime.stop import Stop
from edge.settings.settings import Settings
from edge.sources import uri
from edge.updates import order, release, state
from edge.updates.gates import FEWEST
from edge.updates.order import Answer
from edge.updates.state import State
from edge.updates.store import UpdateStore

log = logging.getLogger("edge.updates")

NO_BROKER = ("none", "embedded")


def run(settings: Settings) -> None:
    """Until the service ends; does not return where it begins anew. Raises FatalError."""
    settings = followed(settings)
    _require(settings)
    store = UpdateStore(folder(settings), identity.sha256)
    store.open()
    try:
        _begin(store, excused=_trial_died(settings, store))
        _end_in_order(store)
        app = _app(settings, store)
        app.run()
    finally:
        store.close()
    if app.stop.begins_again:
        sys.stdout.flush()
        _begin_anew(app.stop)


def _begin_anew(stop: Stop) -> None:
    """Returns only where a signal to end came meanwhile.

    The new life begins without handlers, and a signal before it has its own would end it as a crash does. So signals
    wait from here, over the exec, until `edge.cli.run.main` has its handlers: that lets them in before it does anything
    else, so no child begins with them shut out."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ending.ALL)  # one that came before has been handled when this returns
    try:
        if stop.begins_again:
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ending.ALL)


def current(settings: Settings) -> Settings:
    """The settings with the model that would run, for those who only look. Raises ConfigError."""
    settings = followed(settings)
    store = UpdateStore(folder(settings), identity.sha256)
    try:
        store.read()
    except OSError as exc:
        raise ConfigError(f"{store.folder}: {exc.strerror}") from exc
    return _with_model(settings, store)


def looked(settings: Settings, model: str, running: str) -> Answer:
    """What a check would find now, of the model that runs. It begins with what this device has verified, and keeps
    nothing of what it sees. `settings` with the file that the user named. Raises ConfigError, OSError."""
    settings = followed(settings)
    _require(settings)
    known = folder(settings)
    with tempfile.TemporaryDirectory() as name:
        copy = UpdateStore(Path(name) / "updates", identity.sha256)
        if known.is_dir():
            shutil.copytree(known, copy.folder, ignore=shutil.ignore_patterns("models", "staging", "lock", ".*"))
        copy.folder.mkdir(exist_ok=True)
        stands = copy.read()
        children = UpdateChildren(settings, copy, (), threading.Event())
        return children.ask(_name(settings) or stands.name or model, running)


def awaited(settings: Settings) -> bool:
    """Whether the first start has to fetch the model. `settings` as `current` gives them."""
    return settings.updates.uri is not None and _fetched(settings)


def followed(settings: Settings) -> Settings:
    """With name and channel from `--model NAME@CHANNEL`. Raises ConfigError."""
    match = release.followed(str(settings.model.file))
    if match is None or settings.model.file.exists():
        return settings
    updates, channel = settings.updates, match[1]
    if "updates_channel" in settings.given and updates.channel != channel:
        raise ConfigError(f"--model {settings.model.file} and --updates-channel {updates.channel}: say one of the two")
    return replace(settings, updates=replace(updates, channel=channel))


def folder(settings: Settings) -> Path:
    """Where a service's updates live."""
    name = settings.model.file.name.partition("@")[0] if _fetched(settings) else settings.model.file.stem
    return settings.delivery.state_dir / f"{settings.topics.device}.{topic_part(settings.topics.name or name)}.updates"


def _fetched(settings: Settings) -> bool:
    """The model comes from the repository in any case."""
    return release.followed(str(settings.model.file)) is not None and not settings.model.file.exists()


def _require(settings: Settings) -> None:
    """What only a person can mend is told at the start. Raises ConfigError."""
    if order.base_url(settings.updates.uri or "") == order.MQTT and settings.mqtt.url.partition(":")[0] in NO_BROKER:
        raise ConfigError(
            f"--updates mqtt: with --mqtt {settings.mqtt.url}: that keeps no repository; name a broker, or say where "
            "else it is"
        )
    if importlib.util.find_spec("tuf") is None:
        raise needs("--updates", "tuf", "updates")
    if settings.updates.root is None and not (folder(settings) / "root.json").exists():
        raise ConfigError("--updates without --updates-root FILE: name the repository's root.json, once")
    _require_trial(settings)
    _require_service(settings)


def _require_trial(settings: Settings) -> None:
    """Raises ConfigError for a limit that no trial could hold; one that judges nothing is said."""
    samples, agreement = settings.drift.trial_samples, settings.updates.agreement
    if not settings.drift.trial_time:
        if agreement:
            raise ConfigError(f"--updates-agreement {agreement:g} beside --trial-time 0: no trial could ask for it")
    elif samples < FEWEST:
        if agreement:
            raise ConfigError(
                f"--updates-agreement {agreement:g} beside --trial-samples {samples}: a share of fewer than {FEWEST} "
                f"samples says nothing, so nothing would be refused; say --trial-samples {FEWEST} or more"
            )
        log.warning(
            "the trial of a new model cannot say how far it agrees with the one that runs: too few samples",
            extra={"--trial-samples": samples, "at least": FEWEST},
        )


def _require_service(settings: Settings) -> None:
    """Raises ConfigError for a source whose samples would come twice, or be lost, when the process begins anew."""
    source = settings.input.source
    if source is None:
        return
    declared = uri.parse(source).declared
    if declared.ongoing or declared.devices:
        return
    raise ConfigError(
        f"--updates with --source {source}: it would be read from its beginning after each switch; updates are for a "
        "service that is fed over MQTT, by a camera, a microphone or HTTP: leave --updates out"
    )


def _trial_died(settings: Settings, store: UpdateStore) -> bool:
    """Whether the process died while the model of `--trial` was at work: then that is to blame, which is given up at
    the second death, and not the update that is watched."""
    now = store.state
    if settings.drift.trial is None or now.phase != "watching" or now.clean:
        return False
    from edge.trial import blame

    name = topic_part(settings.topics.name or _name(settings) or now.name)
    died = blame.died_at_work(settings.delivery.state_dir, f"{settings.topics.device}.{name}")
    if died:
        log.warning("the process died while the trial was at work: the update is watched on")
    return died


def _end_in_order(store: UpdateStore) -> None:
    """Until the service has handlers of its own: a signal to end that comes while it starts is an end in order, and
    no try of the model that is watched."""

    def leave(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(OSError):  # then it counts as a try
            store.enter(state.ended(store.state))
        os._exit(0)

    ending.listen(leave)


def _begin(store: UpdateStore, *, excused: bool) -> None:
    """Counts this start before any model is loaded. Where that cannot be written down, the confirmed model runs."""
    before = store.state
    try:
        now = store.enter(state.begin(before, time.time(), excused=excused))
        if before.phase == "watching" and now.phase != "watching" and before.candidate is not None:
            given_up = {"version": before.candidate.version, "reason": now.reason}
            log.warning("the model before the update runs again", extra=given_up)
        store.sweep()
    except OSError as exc:
        log.error("state of the updates is not kept: the confirmed model runs", extra={"reason": exc.strerror})
        if store.state.phase in ("switching", "watching"):
            store.state = replace(store.state, phase="idle", candidate=None, reason="the disk takes nothing")


def _app(settings: Settings, store: UpdateStore) -> App:
    """With the model that is to run; where that is on trial and does not start, with the confirmed one."""
    _drop_lost(store)
    if _fetched(settings) and store.state.running is None:
        UpdateAgent(settings, store, _name(settings), sys.argv[1:]).first()
    if (slot := store.state.running) is not None:
        log.info("the model of an update runs", extra={"version": slot.version, "instead of": str(settings.model.file)})
    at = profile.apply(_with_model(settings, store))
    try:
        return start.app(at, UpdateAgent(settings, store, _name(settings) or store.state.name, sys.argv[1:]))
    except (ModelError, ConfigError) as exc:
        if store.state.phase != "watching":
            raise
        log.error("the new model does not start, the confirmed one does", extra={"reason": str(exc)})
        store.enter(state.refuse(store.state, str(exc), time.time()))
        return _app(settings, store)


def _name(settings: Settings) -> str:
    """The model's name in the repository, where the settings say it; else it is its manifest's."""
    return settings.model.file.name.partition("@")[0] if _fetched(settings) else settings.topics.name or ""


def _with_model(settings: Settings, store: UpdateStore) -> Settings:
    """With the file that is to run. The topics stay what they were, whatever a new model calls itself."""
    slot, topics = store.state.running, settings.topics
    if slot is None:
        return settings
    name = topics.name or _name(settings) or store.state.name
    return replace(
        settings,
        model=replace(settings.model, file=store.path(slot)),
        topics=replace(topics, name=name or None),
    )


def _drop_lost(store: UpdateStore) -> None:
    """A model whose file is gone or is not what was signed is not run. Raises SpoolError where nothing can be kept."""
    now = store.state
    if now.running is None or store.holds(now.running):
        return
    log.error("a model of an update is damaged", extra={"path": str(store.path(now.running))})
    if now.phase == "watching":
        new = state.refuse(now, "its file is damaged", time.time())
    else:
        new = State(refused=now.refused, name=now.name, reason="the model's file was damaged", since=time.time())
    store.enter(new)
    _drop_lost(store)

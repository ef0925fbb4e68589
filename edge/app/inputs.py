"""The connection on which a run's inputs come: several runs share the process's, or each has one of its own.

MQTT has acknowledgements go in the order of the messages [MQTT-4.6.0], and a broker sends only so many that have none.
So over one connection a run that is slow, paused or at its end would hold up the inputs of the others. Therefore each
has a shelf on disk (`mqtt/shelf.py`): what it does not take in time waits there, also for one that has ended, or cannot
begin.

Over a connection of its own it holds up itself alone, and what it has not acknowledged when it ends stays with the
broker until it begins again. Its client id is that of a process with this run alone: what waits there finds it wherever
it runs. So is its will: the broker says `offline` for a run whose inputs nobody hears.
"""

from __future__ import annotations

import contextlib
import glob
import itertools
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from edge.app import connecting
from edge.app.core import Core, Draft, Shared
from edge.delivery.guarded_spool import GuardedSpool
from edge.delivery.options import OutboxOptions
from edge.delivery.retry import for_broker
from edge.errors import ConfigError, SpoolError, UnavailableError
from edge.mqtt.asked_before import AskedBefore
from edge.mqtt.messages import Outgoing
from edge.mqtt.session import MqttSession
from edge.mqtt.shelf import Shelf
from edge.mqtt.subscriptions import covers, overlap
from edge.mqtt.topics import Topics
from edge.plugins import registry
from edge.plugins.contexts import SourceContext, SpoolContext
from edge.plugins.declarations import SpoolInfo
from edge.plugins.protocols import Spool
from edge.settings import runs
from edge.settings.settings import Settings
from edge.telemetry.metrics import Metrics

log = logging.getLogger("edge.app.service")

SUFFIX = ".inputs"
"""Of a shelf's file, before that of its spool."""


class Inputs:
    """`online` of its run means that its inputs are heard, too. `session` is where they come."""

    def __init__(self, core: Core, draft: Draft, process: MqttSession) -> None:
        """`process`: the connection that carries all else."""
        self._draft = draft
        self._process = process
        self._heard = threading.Event()
        self.session = MqttSession(
            replace(
                process.options,
                client_id=connecting.client_id(core.settings, core.loaded.manifest.name, of_several=True),
                status_topic=core.topics.status,
            ),
            births=self._subscribed,
            retry=for_broker(),
            failed=core.stop.fail,
            beat=core.hearts.beat,
        )
        connecting.remember_asked(core.settings, self.session)
        connecting.remember_retained(core.settings, self.session)

    def born(self) -> Sequence[Outgoing]:
        """What the run publishes on every connect of the process; nothing before its inputs are heard."""
        return self._draft.born() if self._heard.is_set() else []

    def _subscribed(self) -> Sequence[Outgoing]:
        """In the thread of this session."""
        self._heard.set()
        self._process.call_soon(self._tell)
        return ()

    def _tell(self) -> None:
        if self._process.up:
            for message in self._draft.born():
                self._process.post(message)


def make(core: Core, draft: Draft, process: MqttSession | None) -> Inputs | None:
    """None where they come over the connection of the process, or not over MQTT at all."""
    if process is None or not core.runs or not runs.hears(core.settings) or _shares(core.settings):
        return None
    process.subscriptions.elsewhere.update(_topics(core.settings, core.topics))
    return Inputs(core, draft, process)


def shelf(shared: Shared, settings: Settings, name: str, metrics: Metrics) -> Shelf | None:
    """None where its inputs come over a connection of its own, and nothing lies there of a life in which they did
    not."""
    if shared.session is None or not runs.hears(settings):
        return None
    shares = bool(shared.names) and _shares(settings)
    if shares or not shared.names:
        _tell_kept(settings, shared.session, name, shares=shares)
    path = settings.delivery.state_dir / f"{settings.topics.device}.{name}{SUFFIX}"
    if not shares and not path.with_name(f"{path.name}.spool").exists():
        return None
    spool = _spool(settings, path)
    retry_s = OutboxOptions().disk_retry_s
    guarded = GuardedSpool(f"{name}: inputs", spool, shared.clock, metrics, retry_s, what="inputs")
    return Shelf(name, guarded, shared.clock, metrics.inc, lambda: spool.dropped, shares=shares)


def _tell_kept(settings: Settings, process: MqttSession, name: str, *, shares: bool) -> None:
    """What a broker keeps it keeps for a client id: that of the run, or of what several had in common, is not used for
    it any more."""
    client_id = connecting.client_id(settings, name if shares else "", of_several=shares)
    said = settings.topics
    asked = None if shares else _topics(settings, Topics(f"{said.prefix}/{said.device}/{name}"))
    before = AskedBefore(settings.delivery.state_dir, str(process.options.url), client_id)
    if client_id == process.options.client_id or not before.leave(asked):
        return
    came, way_out = (
        ("a connection of its own", 'mqtt-connections = "each" has it given')
        if shares
        else ("a connection that several runs shared", "a process of those has it given")
    )
    log.warning(
        f"inputs of this run came over {came} before: what the broker still has for that client id is not given to "
        f"this one; {way_out}, and what has come since a second time",
        extra={"run": name, "client_id": client_id},
    )


def _spool(settings: Settings, path: Path) -> Spool:
    """That of `--spool`, where it is on disk: what is here is acknowledged, and no other has it."""
    context = SpoolContext(path, settings.delivery.spool_max, forgets_at_once=True)
    spool: Spool
    for kind in (settings.delivery.spool, "sqlite"):
        spool = registry.checked("edge.spools", kind, registry.declared(SpoolInfo, kind).create(context))
        if spool.durable:
            break
    return spool


def tell_left(settings: Settings, each: Sequence[Named]) -> None:
    """Inputs of runs that are no more, or come from elsewhere now: nothing here takes them, nor may they be lost."""
    taken = {one.name for one in each if runs.hears(one.settings)}
    folder, device, end = settings.delivery.state_dir, settings.topics.device, f"{SUFFIX}.spool"
    for file in sorted(folder.glob(f"{glob.escape(device)}.*{end}")):
        name = file.name[len(device) + 1 : -len(end)]
        if name in taken:
            continue
        spool = _spool(settings, file.with_suffix(""))
        try:
            spool.open()
        except (SpoolError, UnavailableError):  # another process has it, or it cannot be read: nothing is known
            continue
        waiting = len(spool)
        spool.close()
        if waiting:
            log.warning(
                "inputs wait on disk for a run that is not here, or is not fed over MQTT: name one so and they are "
                "inferred, or remove the file",
                extra={"run": name, "inputs": waiting, "file": str(file)},
            )


def keep(shared: Shared, settings: Settings, base: Topics, own: Shelf | None) -> None:
    """A run cannot be made: what the broker still sends it, of a session that it has kept, waits on disk."""
    name = base.base.rpartition("/")[2]
    if shared.session is not None and shared.names and not _shares(settings):
        shared.session.subscriptions.elsewhere.update(_topics(settings, base))
    found = own if own is not None else shelf(shared, settings, name, Metrics())
    if found is None or not found.shares or found.reader is not None:
        return
    from edge.mqtt.source import MqttSource

    context = SourceContext(
        shared.clock,
        transport=shared.session,
        topic=base.input,
        ignore_retained=settings.input.ignore_retained,
        shelf=found,
    )
    MqttSource(context.transport, _topics(settings, base), context)


def _topics(settings: Settings, base: Topics) -> tuple[str, ...]:
    """The filters of a run's inputs over MQTT; none where they come from elsewhere, or the source is said badly, which
    is told by what makes it."""
    if settings.join.features:
        return tuple(dict.fromkeys(feature.topic for feature in settings.join.features))
    if not runs.hears(settings):
        return ()
    kind, _, rest = (settings.input.source or "mqtt:").partition(":")
    if kind == "sparkplug":
        from edge.mqtt.sparkplug import source  # brings protobuf

        with contextlib.suppress(ConfigError):
            return tuple(source.filters(rest))
        return ()
    return (rest or base.input,)


class Named(Protocol):
    """A run that is to be made."""

    @property
    def settings(self) -> Settings: ...

    @property
    def name(self) -> str: ...


def require_apart(each: Sequence[Named]) -> None:
    """A broker sends what two filters ask for once or twice, as it likes, and does not say for which. So of two that
    overlap on one connection, one has to ask for all. Raises ConfigError."""
    asked: list[tuple[str, str, bool]] = []
    for one in each:
        if _shares(one.settings):
            said = one.settings.topics
            found = _topics(one.settings, Topics(f"{said.prefix}/{said.device}/{one.name}"))
            asked += [(one.name, topic, bool(one.settings.join.features)) for topic in found]
    for (one_name, a, _), (other, b, _) in itertools.combinations(asked, 2):
        if one_name != other and overlap(a, b) and not (covers(a, b) or covers(b, a)):
            raise ConfigError(
                f"the runs {one_name} and {other} hear {a} and {b}, and some topics are of both: over one connection a "
                "broker does not say for which of them a message is; let both hear the same, or say "
                "--mqtt-connections each"
            )
    for (one_name, a, again), (other, b, others) in itertools.permutations(asked, 2):
        if again and not others and a != b and covers(b, a):
            raise ConfigError(
                f"the run {one_name} joins {a}, and wants what the broker retains of it at each start; {other} hears "
                f"{b}, and would be given that again, too: let {other} hear other topics, or say "
                "--mqtt-connections each"
            )


def _shares(settings: Settings) -> bool:
    return settings.mqtt.connections == "one"

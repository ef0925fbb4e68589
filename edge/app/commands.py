"""`--commands` and `--updates-manual`: what a person or another system may say on `<base>/set`, and what is answered.

The session's thread puts what comes into a queue; the main thread decides, answers on `answer` (and to the Response
Topic of MQTT 5), and tells the state on the retained topic `settings`. What is not understood is told on `error` too.
A message that the broker had retained is none of now, and is refused.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, Literal, Protocol, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from edge.data import codec
from edge.data.result import SCHEMA, Skipped
from edge.errors import EdgeError, nearest
from edge.mqtt.messages import Incoming, Outgoing
from edge.mqtt.reply_fence import ReplyFence
from edge.mqtt.topics import Topics
from edge.pipeline.results import timestamp
from edge.plugins.protocols import Clock
from edge.runtime.controls import Controls, Wanted
from edge.storage.atomic import replacing

log = logging.getLogger("edge.app.commands")

LARGEST = 10_000
"""Bytes of a command."""
WAITING_MOST = 100
JSON = "application/json"
LEVELS = ("debug", "info", "warning", "error")
NAMES = ("pause", "resume", "threshold", "classes", "read", "labels", "log-level", "forget")
"""Of `--commands`."""
INSTALL = "install"
"""Of `--updates-manual`."""
REMEMBERED = ("pause", "resume", "threshold", "classes", "log-level")


class RefusedError(EdgeError):
    """This command is not carried out."""


class Command(msgspec.Struct, forbid_unknown_fields=True):
    """`id` comes back in the answer. `remember`: over the next start, too."""

    command: str
    value: Any = UNSET
    remember: bool = False
    id: str | int | UnsetType = UNSET


class _Named(msgspec.Struct):
    """What the answer to a command says that is refused."""

    command: Any = None
    id: Any = UNSET


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What holds now, and what is remembered: None is as the model and the settings say."""

    paused: bool = False
    threshold: float | None = None
    classes: tuple[str, ...] | None = None
    log_level: Literal["debug", "info", "warning", "error"] | None = None


class Bounds(msgspec.Struct, frozen=True):
    """What this model can be told. `lowest` threshold, None where it has none; `threshold` is the one it starts with;
    `labels` that there are; `read_labels` reads their file anew, None where there is no file."""

    labels: tuple[str, ...] = ()
    named: bool = False
    lowest: float | None = None
    threshold: float | None = None
    read_labels: Callable[[], tuple[str, ...]] | None = None


Install: TypeAlias = Callable[[str | None], str]
"""Has a version installed that waits, None: whatever waits. Why not; "" where it is begun."""


class Session(Protocol):
    """What is needed of the one to the broker."""

    def post(self, message: Outgoing) -> None:
        """Publishes where there is a connection."""

    def ack(self, incoming: Incoming) -> None: ...


class Service(msgspec.Struct, frozen=True):
    """What is commanded: `about` are device, model and boot, `file` holds what is remembered. Without `bounds`
    (`--commands`) there is `install` alone, and no state to be told."""

    topics: Topics
    about: tuple[str, str, str]
    file: Path
    bounds: Bounds | None = None
    install: Install | None = None


class Commands:
    """`heard` in the session's thread; the rest in the main thread."""

    def __init__(self, service: Service, controls: Controls, session: Session, fence: ReplyFence, clock: Clock) -> None:
        self._service = service
        self._topics = service.topics
        self._controls = controls
        self._bounds = service.bounds or Bounds()
        self._session = session
        self._fence = fence
        self._clock = clock
        self._names = (
            *(NAMES if service.bounds is not None else ()),
            *((INSTALL,) if service.install is not None else ()),
        )
        self._waiting: deque[Incoming] = deque()
        self._said = State()
        self._kept = State()
        self._level_before = logging.getLogger("edge").level
        self._too_many = False
        self._count = 0
        self._newer: deque[Bounds] = deque()

    def open(self) -> None:
        """Takes up what was remembered; what does not fit this model any more is told and left out."""
        try:
            kept = msgspec.json.decode(self._service.file.read_bytes(), type=State)
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError, ValueError) as exc:
            log.warning(
                "what was remembered of commands cannot be read",
                extra={"file": str(self._service.file), "reason": str(exc)},
            )
            return
        for name, value in (("threshold", kept.threshold), ("classes", kept.classes)):
            if value is not None:
                try:
                    self._changed(name, value, kept)
                except RefusedError as exc:
                    log.warning("a remembered command does not fit", extra={"command": name, "reason": str(exc)})
                    kept = replace(kept, **{name: None})
        self._kept = kept
        self._set(kept)
        log.info("settings by command", extra=msgspec.to_builtins(kept))

    def close(self) -> None:
        """Logs as before."""
        logging.getLogger("edge").setLevel(self._level_before)

    def misfit(self, bounds: Bounds) -> str:
        """Why what was commanded does not fit another model; "" where it does. From any thread."""
        if self._controls.wanted.labels is not None:
            return "labels were read anew by a command"
        for state in (self._said, self._kept):
            try:
                if state.threshold is not None:
                    _threshold(state.threshold, bounds)
                if state.classes is not None:
                    _classes(state.classes, bounds, bounds.labels)
            except RefusedError as exc:
                return f"what was commanded does not fit it: {exc}"
        return ""

    def follow(self, bounds: Bounds) -> None:
        """Another model runs, that what was commanded fits. From any thread."""
        self._newer.append(bounds)

    def heard(self, incoming: Incoming) -> None:
        """What came on `set`."""
        self._session.ack(incoming)
        if len(self._waiting) < WAITING_MOST:
            cut = incoming.payload[: LARGEST + 1]  # what is refused for its size does not wait in memory
            self._waiting.append(replace(incoming, payload=cut))
        else:
            self._too_many = True

    def told(self) -> Outgoing:
        """The state, retained."""
        return Outgoing(self._topics.settings, codec.encode(self._state()), retain=True, content_type=JSON)

    def tick(self) -> None:
        """Carries out what waits, of the model that runs now."""
        while self._newer:
            self._bounds = self._newer.popleft()
            if self._service.bounds is not None:
                self._session.post(self.told())
        for _ in range(len(self._waiting)):
            self._carry_out(self._waiting.popleft())
        if self._too_many:
            self._too_many = False
            self._complain(f"more than {WAITING_MOST} came at once; those past them are lost")

    def _state(self) -> dict[str, Any]:
        said = self._said
        level = said.log_level or logging.getLevelName(self._level_before).lower()
        threshold = said.threshold if said.threshold is not None else self._bounds.threshold
        kept = {k: v for k, v in msgspec.to_builtins(self._kept).items() if v not in (None, False)}
        now = {"paused": said.paused, "threshold": threshold, "classes": said.classes, "log_level": level}
        return {"schema": SCHEMA, **now, "remembered": kept}

    def _carry_out(self, incoming: Incoming) -> None:
        if not incoming.payload:  # which takes away what the broker had retained
            return
        before = self._said
        try:
            if incoming.retain:
                raise RefusedError(
                    "the broker had retained it, so it is none of now; publish an empty retained message there, and "
                    "commands without retain"
                )
            command = _parsed(incoming.payload)
            self._do(command)
        except RefusedError as exc:
            self._refuse(incoming, str(exc))
            return
        log.info(
            "command",
            extra={"command": command.command, "value": str(command.value)[:100] if command.value is not UNSET else ""},
        )
        self._answer(incoming, {"command": command.command, "ok": True, **_id(command)})
        if self._said != before or command.remember or command.command in ("forget", "labels"):
            self._session.post(self.told())

    def _do(self, command: Command) -> None:
        """Raises RefusedError."""
        name = command.command
        if name not in self._names:
            raise RefusedError(f"no command {name[:50]!r}{self._missing(name)}")
        if name == INSTALL:
            self._have_installed(command)
            return
        takes = name in ("threshold", "classes", "log-level")
        if takes != (command.value is not UNSET):
            raise RefusedError(f"{name} takes {'a value' if takes else 'no value'}")
        if command.remember and name not in REMEMBERED:
            raise RefusedError(f"{name} cannot be remembered")
        if name == "read":
            self._controls.ask()
        elif name == "labels":
            self._reload()
        elif name == "forget":
            self._keep(State())
        else:
            said = self._changed(name, command.value, self._said)
            if command.remember:
                self._keep(self._changed(name, command.value, self._kept))
            self._set(said)

    def _missing(self, name: str) -> str:
        if name == INSTALL:
            return " here: an update installs itself, unless the service has --updates-manual"
        if name in NAMES:
            return " here: the service has no --commands"
        return f"; there are {', '.join(self._names)}{nearest(name[:50], self._names)}"

    def _have_installed(self, command: Command) -> None:
        """Raises RefusedError."""
        version = None if command.value is UNSET else command.value
        if command.remember or not isinstance(version, (str, NoneType)):
            raise RefusedError("install takes a version as a text, or no value for what waits, and is not remembered")
        assert self._service.install is not None
        if reason := self._service.install(version):
            raise RefusedError(reason)

    def _changed(self, name: str, value: Any, state: State) -> State:
        """The state with it. Raises RefusedError."""
        if name in ("pause", "resume"):
            return replace(state, paused=name == "pause")
        if name == "threshold":
            return replace(state, threshold=_threshold(value, self._bounds))
        if name == "classes":
            return replace(
                state, classes=_classes(value, self._bounds, self._controls.wanted.labels or self._bounds.labels)
            )
        if value is not None and value not in LEVELS:
            raise RefusedError(f"log-level is one of {', '.join(LEVELS)}, or null")
        return replace(state, log_level=value)

    def _reload(self) -> None:
        if self._bounds.read_labels is None:
            raise RefusedError("there is no file of labels: start with --labels FILE, of a model that tells classes")
        try:
            labels = self._bounds.read_labels()
        except (EdgeError, OSError) as exc:
            raise RefusedError(str(exc)) from exc
        gone = [one for state in (self._said, self._kept) for one in state.classes or () if one not in labels]
        if gone:
            raise RefusedError(f"classes names {gone[0][:50]!r}, which the file has no more; set classes to null first")
        self._controls.wanted = replace(self._controls.wanted, labels=labels)

    def _set(self, said: State) -> None:
        self._said = said
        labels = self._controls.wanted.labels
        self._controls.wanted = Wanted(said.paused, said.threshold, said.classes, labels)
        level = said.log_level
        logging.getLogger("edge").setLevel(self._level_before if level is None else level.upper())

    def _keep(self, state: State) -> None:
        """Raises RefusedError where the disk does not take it: then nothing is changed."""
        try:
            with replacing(self._service.file, 0o600) as file:
                file.write(codec.encode(state))
        except OSError as exc:
            raise RefusedError(f"it cannot be remembered: {exc.strerror}") from exc
        self._kept = state

    def _refuse(self, incoming: Incoming, reason: str) -> None:
        self._complain(reason)
        self._answer(incoming, {**_named(incoming.payload), "ok": False, "reason": reason})

    def _complain(self, reason: str) -> None:
        self._count += 1
        log.warning("a command is refused", extra={"reason": reason})
        device, model, boot = self._service.about
        error = Skipped(
            schema=SCHEMA,
            id=f"{device}/{model}/{boot}/set/{self._count}",
            time=timestamp(self._clock.time_ns()),
            device=device,
            model=model,
            source=f"mqtt:{self._topics.set}",
            seq=self._count,
            reason=f"a command is refused: {reason}",
        )
        self._session.post(Outgoing(self._topics.error, codec.encode(error), content_type=JSON))

    def _answer(self, incoming: Incoming, said: dict[str, Any]) -> None:
        payload = codec.encode({"schema": SCHEMA, **said, "settings": self._state()})
        self._session.post(Outgoing(self._topics.answer, payload, content_type=JSON))
        topic = incoming.response_topic
        if topic and self._fence.reason(topic) is None:
            self._session.post(Outgoing(topic, payload, content_type=JSON, correlation=incoming.correlation))


def _threshold(value: Any, bounds: Bounds) -> float | None:
    """Raises RefusedError."""
    if bounds.lowest is None:
        raise RefusedError("this model has no threshold that could be changed")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise RefusedError("threshold is a number, or null for what it was at the start")
    if not bounds.lowest <= value <= 1:  # a whole number may have more digits than a float holds
        raise RefusedError(f"threshold {str(value)[:20]}: from {bounds.lowest:g} to 1")
    return float(value)


def _classes(value: Any, bounds: Bounds, known: Sequence[str]) -> tuple[str, ...] | None:
    """Raises RefusedError."""
    if not bounds.named:
        raise RefusedError("this model tells no classes that could be chosen")
    if value is None:
        return None
    if not isinstance(value, (list, tuple)) or not value or not all(isinstance(one, str) for one in value):
        raise RefusedError("classes is a list of labels, or null for all")
    for one in value:
        if known and one not in known:
            raise RefusedError(f"the model knows no class {one[:50]!r}{nearest(one[:50], known)}")
    return tuple(dict.fromkeys(value))


def _parsed(payload: bytes) -> Command:
    """Raises RefusedError."""
    if len(payload) > LARGEST:
        raise RefusedError(f"it is too large; a command has {LARGEST} bytes at most")
    try:
        return msgspec.json.decode(payload, type=Command)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise RefusedError(f'not a command: {exc}; say {{"command": "pause"}}') from exc


def _named(payload: bytes) -> dict[str, Any]:
    """What can be read of a command that is refused, and may be none: who sent it knows it by that."""
    try:
        said = msgspec.json.decode(payload[: LARGEST + 1], type=_Named)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {"command": None}
    command = said.command[:50] if isinstance(said.command, str) else None
    known = isinstance(said.id, (str, int)) and not isinstance(said.id, bool)
    return {"command": command, **({"id": said.id} if known else {})}


def _id(command: Command) -> dict[str, Any]:
    return {} if command.id is UNSET else {"id": command.id}

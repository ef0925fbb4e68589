"""What holds the runs of a process together: its broker, its health, and what the others see of one that ended."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge.app import connecting, inputs
from edge.app.core import Draft
from edge.app.health import HealthSocket
from edge.app.run import Run
from edge.app.topics import TopicsLock
from edge.data.units import SECOND_NS
from edge.errors import ConfigError
from edge.mqtt.messages import Outgoing
from edge.mqtt.session import MqttSession
from edge.plugins.protocols import Clock
from edge.settings import runs
from edge.settings.settings import Settings
from edge.sources import uri
from edge.storage import state_file
from edge.telemetry.watchdog import Heartbeats, Together

if TYPE_CHECKING:
    from edge.http.app import HttpServer
    from edge.mqtt.embedded import EmbeddedBroker

log = logging.getLogger("edge.app.service")


def require_apart(each: Sequence[inputs.Named]) -> None:
    """What the settings alone could not tell. Raises ConfigError."""
    inputs.require_apart(each)
    devices: dict[str, str] = {}
    names: set[str] = set()
    for one in each:
        if one.name in names:
            raise ConfigError(
                f"two runs are called {one.name}, and would publish on the same topics; give one of them another name"
            )
        names.add(one.name)
        source = one.settings.input.source
        if source is not None and len(each) > 1 and uri.parse(source).declared.devices:
            device = _device(source)
            if device in devices:
                raise ConfigError(
                    f"the runs {devices[device]} and {one.name} both read {source}, which gives its samples to one "
                    "reader; leave one out, or say then = FILE for a second model"
                )
            devices[device] = one.name


def _device(source: str) -> str:
    """A camera may be said by its number, its file or a link to that, and with options."""
    name, rest = uri.parse(source)
    if name != uri.CAMERA:
        return source
    said = rest.partition("?")[0]
    return str(Path(f"{uri.CAMERA_DEVICES}{said}" if said.isdigit() else said).resolve())


def hearts(settings: Settings, process: Heartbeats, made: Sequence[Run], clock: Clock) -> Heartbeats | Together:
    """What the watchdog looks at."""
    if len(made) == 1:
        return process
    hangs = Hangs(settings.delivery.state_dir / f"{settings.topics.device}.hangs.json", clock)
    return Together(process, {run.name: run.made.hearts for run in made if run.made is not None}, hangs.restarts)


def connect(
    settings: Settings,
    draft: Draft,
    session: MqttSession,
    broker: EmbeddedBroker | None,
    made: Sequence[Run],
    names: Sequence[str],
) -> None:
    """The connection begins behind all that subscribes. A broker has one will for it: of several runs that is said on
    the status that they have in common, and each says its own beside."""
    common = connecting.status_topic(settings, names)
    if len(made) > 1:
        log.info("several runs", extra={"runs": ", ".join(names), "broker": runs.connections(settings)})
        draft.births.append(lambda: [Outgoing(common, b"online", retain=True)])
        if broker is None:
            base, file = common.rpartition("/")[0], settings.process.config or settings.each[0].model.file
            connecting.hold(settings, draft, session, base, file)
        idle = _Idle(settings, session, made, own=broker is not None)
        draft.add("topics of runs that did not begin", idle.hold, idle.release)
    draft.births += [run.born for run in made]

    def last() -> list[Outgoing]:
        own = [message for run in made for message in run.farewell()]
        return [*own, Outgoing(common, b"offline", retain=True)] if len(made) > 1 else own

    connecting.begin(draft, session, broker, last)


class _Idle:
    """The topics of runs that did not begin: that they are `offline` is told unless another process has them."""

    def __init__(self, settings: Settings, session: MqttSession, made: Sequence[Run], *, own: bool) -> None:
        """`own`: the broker is this process's."""
        self._settings = settings
        self._session = session
        self._made = made
        self._own = own
        self._locks: list[TopicsLock] = []

    def hold(self) -> None:
        for run in self._made:
            if not run.ended or run.holds_topics:
                continue
            file, broker = self._settings.process.config or self._settings.each[0].model.file, self._session.options.url
            lock = TopicsLock(self._settings.delivery.state_dir, str(broker), run.topics.base, file)
            with contextlib.suppress(ConfigError):
                if not self._own:
                    lock.hold()
                    self._locks.append(lock)
                run.holds_topics = True

    def release(self) -> None:
        for lock in self._locks:
            lock.release()


def health(settings: Settings, draft: Draft, made: Sequence[Run], clock: Clock) -> None:
    """A socket for each run, which the main thread answers."""
    for run in made:
        stem = f"{settings.topics.device}.{run.name}"
        late = run.made.hearts.late if run.made is not None else (lambda within_s: ())
        socket = HealthSocket(settings.delivery.state_dir, stem, late, clock, functools.partial(getattr, run, "reason"))
        draft.add("health", socket.open, socket.close)
        draft.ticks.append(socket.tick)


def leave(session: MqttSession | None, server: HttpServer | None, run: Run) -> None:
    """A run has ended, and others may go on: what it said last. What still comes on its topics of this connection is
    for no one, but for its inputs: those wait on disk, or on a connection of their own at the broker."""
    if server is not None and run.error is not None:
        server.fail(run.name, run.reason)
    if session is None or run.made is None:
        return
    listens = tuple(run.made.listens)
    if not run.begun:  # nor has the session, whose births tell of it
        session.let_go(listens)
        return
    for message in run.parting():
        session.post(message)
    run.told = session.up  # else it is said at the end of the process, or by the births of a connection before that
    session.call_soon(lambda: session.let_go(listens))


APART_S = 3600.0


class Hangs:
    """Which of several runs may have systemd restart the process by hanging: each once an hour. What hangs in a driver
    or on a disk cannot be ended within a process, and a restart loses nothing; but one that hangs again after each
    would stop the other runs for ever.

    Of the main thread alone. By the name of the run when it did so last, in a file, for the next life to read."""

    def __init__(self, file: Path, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self._here: set[str] = set()
        self._told: set[str] = set()

    def restarts(self, name: str) -> bool:
        """Whether the process is to be restarted for this run, which hangs."""
        if name in self._here:
            return True
        known, now_s = state_file.read(self._file, dict[str, float]) or {}, self._clock.time_ns() / SECOND_NS
        lately = 0 <= now_s - known.get(name, -APART_S) < APART_S
        otherwise = "that a run hangs cannot be written down"  # and the next life would not know of it
        if lately or not state_file.write(self._file, {**known, name: now_s}, log, otherwise):
            if name not in self._told:
                self._told.add(name)
                log.error("run hangs again: the others go on, and it is left alone for an hour", extra={"run": name})
            return False
        self._here.add(name)
        log.error("run hangs: the process is to be restarted", extra={"run": name})
        return True

"""From settings and loaded models to an `App`.

What all runs share is made first, then each run, then what begins behind them.

Nothing is started here. What ends the process (`Stop`), what counts and what tells the time are made first and given
to whoever needs them.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import structs

from edge.app import build_run, connecting, core, endpoint, inputs, joined
from edge.app.core import Draft, Shared
from edge.app.loading import Loaded
from edge.app.run import Made, Run, end
from edge.app.service import App, HangLog
from edge.delivery.outbox import Outbox
from edge.mqtt.shelf import Shelf
from edge.mqtt.topics import Topics
from edge.runtime.stop import Stop
from edge.settings import runs
from edge.settings.settings import Settings
from edge.storage import state_file
from edge.telemetry.clock import SystemClock
from edge.telemetry.metrics import Metrics
from edge.telemetry.watchdog import Heartbeats, Watchdog

if TYPE_CHECKING:
    from edge.app.update_agent import UpdateAgent


class Opened(msgspec.Struct, frozen=True):
    """The settings of a run, and its model, or why that cannot be loaded."""

    settings: Settings
    loaded: Loaded | Exception

    @property
    def name(self) -> str:
        """What its topics call it."""
        return self.loaded.manifest.name if isinstance(self.loaded, Loaded) else runs.name(self.settings)


def build(settings: Settings, loaded: Loaded, updates: UpdateAgent | None = None) -> App:
    """Every part of a process with one run, made and not yet started; `updates` may put another model in its place,
    later. Raises ConfigError."""
    return build_all(settings, [Opened(settings, loaded)], updates)


def build_all(settings: Settings, opened: Sequence[Opened], updates: UpdateAgent | None = None) -> App:
    """The same for the runs of `settings`. Of several, one that cannot be made is told of and does not begin.

    Raises FatalError of the only one, ConfigError."""
    if len(opened) > 1:
        opened = _named(settings, opened)
    names = [one.name for one in opened]
    joined.require_apart(opened)
    first, last = Draft(), Draft()
    clock, stop, metrics = SystemClock(), Stop(), Metrics()
    hearts = Heartbeats(clock)
    broker = connecting.embedded(settings, first)
    session = connecting.connect(settings, last, names, stop, hearts.beat, broker)
    server = endpoint.open_server(settings, stop, clock, metrics)
    shared = Shared(stop, hearts, metrics, clock, tuple(names) if len(names) > 1 else (), session, server, broker)
    made = [_run(shared, one, updates) for one in opened]
    inputs.tell_left(settings, opened)
    if session is not None and broker is None:
        connecting.remember_asked(settings, session, all_known=all(run.made is not None for run in made))
    watchdog = Watchdog(joined.hearts(settings, hearts, made, clock), clock)
    last.ticks.append(HangLog(watchdog).tick)
    if server is not None:
        endpoint.begin(last, server, settings.http)
    if session is not None:
        joined.connect(settings, last, session, broker, made, names)
    joined.health(settings, last, made, clock)
    left = functools.partial(joined.leave, session, server)
    return App(
        stop, tuple(made), watchdog, tuple(first.parts), tuple(last.parts), last.tick, left, hears=session is not None
    )


def _named(settings: Settings, opened: Sequence[Opened]) -> list[Opened]:
    """One without a `name` whose model cannot be read is called as it was when it could."""
    known = Names(settings.delivery.state_dir / f"{settings.topics.device}.names.json")
    unnamed = [one for one in opened if one.settings.topics.name is None]
    known.remember({one.settings.model.file: one.name for one in unnamed if isinstance(one.loaded, Loaded)})
    taken, found = {one.name for one in opened}, []
    for one in opened:
        said = one.settings.topics
        if said.name is None and isinstance(one.loaded, Exception):
            name = known.of(one.settings.model.file)
            if name is not None and name not in taken:
                taken.add(name)
                said = structs.replace(said, name=name)
        found.append(structs.replace(one, settings=structs.replace(one.settings, topics=said)))
    return found


def _run(shared: Shared, opened: Opened, updates: UpdateAgent | None) -> Run:
    """Of several runs one that cannot be made is none that raises."""
    topics = opened.settings.topics
    base = Topics(f"{topics.prefix}/{topics.device}/{opened.name}")
    stop = shared.stop.of_run() if shared.names else shared.stop
    outboxes: list[Outbox] = []  # filled below: what reports them is made before them
    shelf: Shelf | None = None
    made: Made | Exception
    try:
        if isinstance(opened.loaded, Exception):
            raise opened.loaded
        own = core.of_run(shared, opened.settings, opened.loaded, stop)
        shelf = inputs.shelf(shared, own.settings, opened.name, own.metrics)
        made = build_run.made(shared, structs.replace(own, shelf=shelf), outboxes, updates)
    except Exception as exc:  # also a bug, of a plug-in: it is told by what looks after the runs
        if not shared.names:
            raise
        end(outboxes)
        inputs.keep(shared, opened.settings, base, shelf)
        made = exc
    run = Run(opened.name, base, stop, made)
    if run.error is not None and shared.server is not None:
        shared.server.fail(run.name, run.reason)
    return run


log = logging.getLogger("edge.app.service")


class Names:
    """What runs without a `name` were called when their model could be read last, by the model's file. One whose model
    cannot be read is known by its topics all the same: what the broker still sends for it is kept, and that it is
    `offline` is told where it is looked for. Of the main thread."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known = state_file.read(file, dict[str, str]) or {}

    def of(self, model: Path) -> str | None:
        """None: it was never read without a `name`."""
        return self._known.get(str(model.resolve()))

    def remember(self, named: Mapping[Path, str]) -> None:
        """These were read. Where it cannot be written that is told in the log."""
        known = {**self._known, **{str(model.resolve()): name for model, name in named.items()}}
        if known != self._known:
            self._known = known
            state_file.write(self._file, known, log, "what runs are called is not remembered")

"""`--drift`: the watch on what the model is given, where its file has something to compare it with."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from edge.app.core import Carried, Core, Draft
from edge.app.drift_rows import SharedTally, TensorRows
from edge.data import codec
from edge.data.names import topic_part
from edge.errors import ConfigError, SpoolError
from edge.model import scaling
from edge.mqtt.messages import Outgoing
from edge.mqtt.session import MqttSession
from edge.pipeline.results import timestamp
from edge.pipeline.stages import Watch
from edge.settings.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from edge.data.tensor import Array
    from edge.drift.learnt import Saved
    from edge.drift.reference import Reference
    from edge.drift.report import Report
    from edge.drift.tally import Counted, Looker, Reading, RowTally

log = logging.getLogger("edge.drift")


POLL_S = 0.2
SUSPICIOUS = ("suspect", "drifted")
SUFFIX = ".drift.json"
"""Of the files in the state folder that hold what was learnt."""


class ModelWatch:
    """The watch on one model. `watch` is the flow's hook; `watch_http`, that of the pipelines for HTTP, and
    `watch_tensors`, that of what comes as tensors, are for any thread; `idle` belongs to the thread that infers, the
    rest to the main thread. `look` is for the preprocessors of pictures."""

    def __init__(self, core: Core, reference: Reference, path: Path) -> None:
        """`path`: where what is learnt is kept."""
        from edge.drift.watch import DriftWatch, Subject

        window_s = core.settings.drift.window or 0.0
        model = (core.loaded.manifest.name, core.loaded.sha256)
        subject = Subject(core.settings.topics.device, *model, reference, path, window_s)
        self.state = DriftWatch(subject, core.clock, core.metrics, timestamp)
        pictures = bool(reference.thumbnail)
        rows = None if pictures else TensorRows(core.loaded, reference)
        self._tally, http = (_tally(core, self.state.put, rows) for _ in range(2))
        self._tallies = (self._tally, http)
        self._shared = SharedTally(http, rows)
        self.watch: Watch = self._tally.watch
        self.watch_http: Watch = self._shared.watch
        self.watch_tensors = self._shared.watch_tensors
        self.idle = self._tally.idle
        self.look: Callable[[Array], Array | None] | None = _looker(core, window_s) if pictures else None

    def open(self, learnt: Saved | None = None) -> None:
        """Goes on with what was learnt of the model before, else of that in an earlier life."""
        self.state.open(learnt)
        for one in self._tallies:
            one.open(self.state.places, self.state.predicted_places)

    def tick(self) -> None:
        """About twice a second."""
        self._shared.tick()
        self.state.tick()

    def close(self) -> None:
        """Behind the last row."""
        self._tally.end()
        self._shared.end()
        self.state.close()


class DriftPart:
    """The watch on the model that runs, and on another one where that takes over: what was learnt of the inputs goes
    on, predictions are learnt anew. `of`, `watches`, `look`, `counts` and `suspects` are for any thread, `idle` for the
    one that infers, the rest for the main thread."""

    def __init__(self, core: Core, session: MqttSession | None) -> None:
        self._session = session
        self._stop = core.stop
        self._topic = core.topics.drift
        self._path = core.settings.delivery.state_dir / f"{core.stem}{SUFFIX}"
        self._asked: SimpleQueue[tuple[Core, threading.Event]] = SimpleQueue()
        self._loaded = core.loaded
        self._told = self._path.exists()
        """Something may be retained, of this life or one before."""
        self._now = self._made(core)

    def of(self, core: Core) -> ModelWatch | None:
        """For the pipelines of a model; None where it is not watched."""
        return self._now if core.loaded is self._loaded else None

    @property
    def watches(self) -> bool:
        """Whether the model that runs is watched."""
        return self._now is not None

    def look(self) -> Callable[[Array], Array | None] | None:
        """For the preprocessors of pictures of the model that runs."""
        return self._now.look if self._now is not None else None

    def counts(self) -> Mapping[str, Any] | None:
        """For `stats`; None where the model that runs is not watched."""
        now = self._now
        return now.state.counts() if now is not None else None

    def suspects(self) -> bool:
        """Whether something looks unlike before."""
        now = self._now
        return now is not None and now.state.newest.state in SUSPICIOUS

    def births(self) -> list[Outgoing]:
        """What is retained; where it is no longer so it is taken away."""
        now = self._now
        if now is not None:
            return [_message(self._topic, now.state.newest)]
        return [Outgoing(self._topic, b"", retain=True)] if self._told else []

    def open(self) -> None:
        """Goes on with what was learnt in an earlier life."""
        if self._now is not None:
            self._now.open()

    def tick(self) -> None:
        """About twice a second: another model, where one takes over, and what was counted."""
        while not self._asked.empty():
            core, taken = self._asked.get()
            self._follow(core)
            taken.set()
        if self._now is not None:
            self._now.tick()

    def idle(self) -> None:
        """While no row comes."""
        now = self._now
        if now is not None:
            now.idle()

    def close(self) -> None:
        """Before the session's end: what is told last is still published."""
        if self._now is not None:
            self._now.close()

    def ready(self, core: Core, leaving: threading.Event) -> Core:
        """Another model is to be watched. The main thread sees to it, whose own is what was learnt, unless the process
        is `leaving`: where the source has ended that thread waits for this one. From any thread but that one."""
        taken = threading.Event()
        self._asked.put((core, taken))
        self._stop.look()
        while not taken.wait(POLL_S) and not (self._stop.asked or leaving.is_set()):
            pass
        return replace(core, look=self.look())

    def _follow(self, core: Core) -> None:
        before = self._now.state.learnt() if self._now is not None else None
        self._loaded, self._now = core.loaded, self._made(core)
        if self._now is not None:
            self._now.open(before)
            return
        from edge.drift.report import NOT_WATCHED

        core.metrics.set("drift_state", NOT_WATCHED)
        if self._session is not None:
            for message in self.births():
                self._session.post(message)

    def _made(self, core: Core) -> ModelWatch | None:
        reference, reason = _reference(core)
        if reference is None:
            log.warning("drift is not watched", extra={"reason": reason})
            return None
        watch, session, self._told = ModelWatch(core, reference, self._path), self._session, True
        if session is not None:
            watch.state.told = lambda report: session.post(_message(self._topic, report))
        return watch


def make(core: Core, draft: Draft, session: MqttSession | None) -> DriftPart | None:
    """The watch, opened before the session; None where nobody asks for one."""
    if core.settings.drift.window is None:
        path = core.settings.delivery.state_dir / f"{core.stem}{SUFFIX}"
        if session is not None and path.exists():
            # It was on before: what was retained then would be taken for what is so now.
            draft.births.append(lambda: [Outgoing(core.topics.drift, b"", retain=True)])
        return None
    part = DriftPart(core, session)
    draft.births.append(part.births)
    draft.add("drift", part.open)
    draft.ticks.append(part.tick)
    draft.idles.append(part.idle)
    draft.carried.append(Carried(ready=part.ready))
    return part


def _message(topic: str, report: Report) -> Outgoing:
    return Outgoing(topic, codec.encode(report), retain=True, content_type="application/json")


def _reference(core: Core) -> tuple[Reference | None, str]:
    """What rows are compared with, or why there is nothing."""
    from edge.drift import reference

    manifest, file = core.loaded.manifest, core.loaded.path.name
    if manifest.reference is None:
        return None, f"{file} has no reference; edge-convert --sample writes one for rows and for pictures"
    if any(i.window is not None for i in manifest.inputs):
        return None, f"{file} takes windows of rows: each row would be counted many times"
    try:
        names = [f.name for f in manifest.features]
        return reference.read(manifest.reference, names, pictures=manifest.takes_pictures), ""
    except ValueError as exc:
        return None, f"the reference in {file} cannot be used: {exc}; edge-convert --sample makes it anew"


LOOK_S = 10.0
LOOKS_A_WINDOW = 60
"""A picture is looked at so often; more often where windows are short."""


def _looker(core: Core, window_s: float) -> Looker:
    from edge.drift.tally import Looker

    return Looker(min(LOOK_S, window_s / LOOKS_A_WINDOW), core.clock.monotonic_ns)


def _tally(core: Core, put: Callable[[Counted], None], rows: TensorRows | None) -> RowTally:
    """`rows`: None where the model takes pictures."""
    from edge.drift.tally import PictureTally, RowTally

    now = core.clock.monotonic_ns
    return PictureTally(put, now) if rows is None else RowTally(_reading(core), put, now, rows.found)


def _reading(core: Core) -> Reading:
    """How features are read from what the model is given."""
    from edge.drift.tally import Reading

    parts = [i for i in core.loaded.manifest.inputs if i.kind in ("table", "column")]
    table = parts[0]
    if table.kind == "column":
        return Reading(tuple(i.name for i in parts))
    width = len(table.features)
    scales = scaling.of(table, width) if table.mean or table.std else None
    return Reading((table.name,), scales)


def forget(settings: Settings) -> Iterator[str]:
    """Takes away what was learnt, of all models in the state folder or of `--name` and `--device`; says what. Raises
    ConfigError where what is named is not there, SpoolError."""
    folder, topics = settings.delivery.state_dir, settings.topics
    if not folder.is_dir():
        raise ConfigError(f"--state-dir {folder}: there is no such folder; say the one that the service has")
    device = topic_part(topics.device) if topics.device else "*"
    name = topic_part(topics.name) if topics.name else "*"
    found = sorted(folder.glob(f"{device}.{name}{SUFFIX}"))
    for path in found:
        try:
            path.unlink(missing_ok=True)
        except OSError as exc:
            raise SpoolError(f"{path}: {exc.strerror}; run it as the user of the service") from exc
        yield f"{path.name.removesuffix(SUFFIX)}: drift is learnt anew"
    if not found and (topics.name or topics.device):
        said = " ".join(f"--{k} {v}" for k, v in (("device", topics.device), ("name", topics.name)) if v)
        there = ", ".join(sorted(p.name.removesuffix(SUFFIX) for p in folder.glob(f"*{SUFFIX}"))) or "none"
        raise ConfigError(f"{said}: nothing was learnt of it in {folder}; there is: {there}")
    if not found:
        yield f"nothing was learnt of drift in {folder}"

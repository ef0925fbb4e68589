"""`--drift`: the watch on what the model is given, where its file has something to compare it with."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edge.app import assembly
from edge.app.core import Core, Draft
from edge.data import codec
from edge.data.names import topic_part
from edge.data.sample import ModelInput
from edge.errors import ConfigError, SampleError, SpoolError
from edge.model import scaling
from edge.mqtt.messages import Outgoing
from edge.mqtt.session import MqttSession
from edge.pipeline.pipeline import Watch
from edge.pipeline.real_values import RealValues
from edge.pipeline.results import timestamp
from edge.plugins.columns import ColumnPostprocessor
from edge.plugins.protocols import BatchPostprocessor
from edge.settings.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from edge.data.result import Result
    from edge.data.tensor import Array, Tensors
    from edge.drift.reference import Reference
    from edge.drift.report import Report
    from edge.drift.tally import Counted, Found, Looker, Ran, Reading, RowTally

log = logging.getLogger("edge.drift")


SUSPICIOUS = ("suspect", "drifted")
SUFFIX = ".drift.json"
"""Of the files in the state folder that hold what was learnt."""


class Drift(msgspec.Struct, frozen=True):
    """What the other parts need of the watch. `watch` is the flow's hook; `watch_http`, that of the pipelines for HTTP,
    `watch_tensors`, that of what comes as tensors, `pictured` (for the page), `counts` and `suspects` (whether
    something looks unlike before) are for any thread. `look` is for the preprocessors of pictures. `close` is to be
    called before the session's: what is told last is still published."""

    watch: Watch
    watch_http: Watch
    watch_tensors: Callable[[Tensors, Tensors], None]
    pictured: Callable[[], Mapping[str, Any]]
    counts: Callable[[], Mapping[str, Any]]
    suspects: Callable[[], bool]
    close: Callable[[], None]
    look: Callable[[Array], Array | None] | None = None


def make(core: Core, draft: Draft, session: MqttSession | None) -> Drift | None:
    """The watch, opened before the session; None where there is none."""
    path = core.settings.delivery.state_dir / f"{core.stem}{SUFFIX}"
    if core.settings.drift.window is None:
        if session is not None and path.exists():
            # It was on before: what was retained then would be taken for what is so now.
            draft.births.append(lambda: [Outgoing(core.topics.drift, b"", retain=True)])
        return None
    reference, reason = _reference(core)
    if reference is None:
        log.warning("drift is not watched", extra={"reason": reason})
        return None
    return _made(core, draft, session, reference, path)


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


def _made(core: Core, draft: Draft, session: MqttSession | None, reference: Reference, path: Path) -> Drift:
    from edge.drift.watch import DriftWatch, Subject

    window_s = core.settings.drift.window or 0.0
    subject = Subject(
        core.settings.topics.device, core.loaded.manifest.name, core.loaded.sha256, reference, path, window_s
    )
    watch = DriftWatch(subject, core.clock, core.metrics, timestamp)
    pictures = bool(reference.thumbnail)
    rows = None if pictures else TensorRows(core.loaded, reference)
    tally, http = (_tally(core, watch.put, rows) for _ in range(2))
    shared = SharedTally(http, rows)
    if session is not None:

        def message(report: Report) -> Outgoing:
            return Outgoing(core.topics.drift, codec.encode(report), retain=True, content_type="application/json")

        watch.told = lambda report: session.post(message(report))
        draft.births.append(lambda: [message(watch.newest)])

    def start() -> None:
        watch.open()
        for one in (tally, http):
            one.open(watch.places, watch.predicted_places)

    def close() -> None:
        tally.end()
        shared.end()
        watch.close()

    draft.add("drift", start)
    draft.ticks += [shared.tick, watch.tick]
    draft.idles.append(tally.idle)
    return Drift(
        watch=tally.watch,
        watch_http=shared.watch,
        watch_tensors=shared.watch_tensors,
        pictured=watch.pictured,
        counts=watch.counts,
        suspects=lambda: watch.newest.state in SUSPICIOUS,
        close=close,
        look=_looker(core, window_s) if pictures else None,
    )


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


class TensorRows:
    """Tensors of several rows as real values, and later what the model found in them. From any thread."""

    def __init__(self, loaded: assembly.Loaded, reference: Reference) -> None:
        from edge.drift.tally import Ran

        self._ran = Ran
        self._predicts = bool(reference.predictions)
        self._decode = assembly.make_postprocessor(loaded)
        self._real = RealValues(loaded.engine)
        widths = [(i.name, len(i.features)) for i in loaded.manifest.inputs if i.kind in ("table", "column")]
        named = any(width for _, width in widths)
        self._inputs = [(name, width if named else len(reference.features)) for name, width in widths]

    def of(self, given: Tensors, outputs: Tensors) -> Ran | None:
        """The rows; None where the tensors are none."""
        count = 0
        for name, width in self._inputs:
            rows = given.get(name)
            if rows is None or not rows.ndim or rows.size != len(rows) * width or count not in (0, len(rows)):
                return None
            count = len(rows)
        if not count:
            return None
        if not self._predicts:
            outputs = {}
        if not self._real.quantized_input:
            return self._ran(count, given, outputs)
        return self._ran(count, self._real.real(ModelInput({n: given[n] for n, _ in self._inputs})).tensors, outputs)

    def found(self, ran: Sequence[Ran]) -> Iterator[tuple[int, Found]]:
        """What the model found in rows: of all in one where that is sure, else of each request."""
        together = self._together(ran)
        if together is not None:
            yield together
            return
        for one in ran:
            yield one.count, self._each(self._real.real_outputs(one.outputs), one.count, one.given)

    def _together(self, ran: Sequence[Ran]) -> tuple[int, Found] | None:
        if not isinstance(self._decode, ColumnPostprocessor):
            return None
        counts = [(one.count,) for one in ran]
        joined: dict[str, Array] = {}
        for name in ran[0].outputs:
            parts = [one.outputs[name] for one in ran]
            if {type(v) for v in parts} != {np.ndarray} or [v.shape[:1] for v in parts] != counts:
                return None
            joined[name] = np.concatenate(parts)
        count = len(next(iter(joined.values()), ()))
        try:
            columns = self._decode.to_columns(self._real.real_outputs(joined), count)
        except (SampleError, IndexError, ValueError):
            return None
        return None if columns is None else (count, columns)

    def _each(self, outputs: Tensors, count: int, real: Tensors) -> Sequence[Sequence[Any]]:
        """Predictions of each row; none where the outputs cannot be cut into rows, or say nothing."""
        if count > 1 and isinstance(self._decode, BatchPostprocessor):
            try:
                if (many := self._decode.many(outputs, count)) is not None:
                    return many
            except SampleError:
                return [()] * count
        found: list[Sequence[Any]] = []
        for i in range(count):
            try:
                row = {n: v[i : i + 1] for n, v in outputs.items()}
                given = {n: real[n][i : i + 1] for n, _ in self._inputs}
                found.append(self._decode(row, ModelInput(given)))
            except (SampleError, IndexError, ValueError):
                found.append(())
        return found


class SharedTally:
    """Rows that come over HTTP: one tally for all its pipelines, in the order in which they are answered, so that a
    sensor that stands still is seen whichever thread has its rows. From any thread."""

    def __init__(self, tally: RowTally, rows: TensorRows | None) -> None:
        """`rows`: None where tensors are none."""
        self._tally = tally
        self._rows = rows
        self._lock = threading.Lock()

    def watch(self, result: Result, outputs: Tensors, given: ModelInput) -> None:
        """A row that the model was given, and what it found in it."""
        with self._lock:
            self._tally.watch(result, outputs, given)

    def watch_tensors(self, given: Tensors, outputs: Tensors) -> None:
        """Rows along the first axis, which the model was given as they are. What has another shape is no row."""
        ran = self._rows.of(given, outputs) if self._rows is not None else None
        if ran is not None:
            with self._lock:
                self._tally.ran(ran)

    def tick(self) -> None:
        """About twice a second: rows are not kept waiting for the next one."""
        with self._lock:
            self._tally.idle()

    def end(self) -> None:
        """Counts what is left."""
        with self._lock:
            self._tally.end()


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

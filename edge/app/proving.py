"""A new model loaded for the first time, beside the service, in a process that may die of it.

`python -m edge.app.proving NEW OLD|- FLAGS...`: the service's own flags say which engine and how. One JSON line comes
out. The gates are those of `edge.updates.gates`; here they get their figures.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec
from msgspec.structs import replace

from edge import __version__
from edge.app import assembly, fits, loading, profile
from edge.app.loading import Loaded
from edge.data.tensor import Tensors
from edge.data.units import SECOND_NS
from edge.errors import FatalError, SampleError
from edge.model import golden
from edge.plugins.protocols import Clock
from edge.settings import layers
from edge.settings.settings import Settings
from edge.sources.synthetic import SyntheticSource
from edge.telemetry import memory
from edge.telemetry.clock import SystemClock, own_ns
from edge.updates import gates
from edge.updates.gates import Limits

NICENESS = 10
ROUNDS = 15
"""Of inferences of both, at least, for the comparison of latencies; more where these do not tell."""
MOST_S = 30.0
"""For that comparison."""
ROOM = 3
"""A model takes about so many times its file in memory."""


class Proof(msgspec.Struct, frozen=True):
    """`again`: it is this moment that does not suit, not the model; `untried`: and it costs none of the model's tries.
    `note`: what could not be looked at."""

    reason: str = ""
    again: bool = False
    untried: bool = False
    note: str = ""


def limits(settings: Settings) -> Limits:
    """The gates' limits, from the flags."""
    u = settings.updates
    return Limits(u.latency, u.memory, u.skips, u.watch_time, u.watch_samples, u.agreement, u.watch_most)


def prove(settings: Settings, new: Path, old: Path | None) -> Proof:
    """Never raises for what a model does wrong: the reason is in the answer."""
    before = memory.available()
    try:
        loaded = _load(settings, new)
    except (FatalError, SampleError) as exc:
        # Engines say of memory that they did not get what they say of a damaged file.
        short = before is not None and gates.memory(before - ROOM * new.stat().st_size, limits(settings))
        return Proof(f"{exc}, while memory was short: {short}" if short else str(exc), again=bool(short))
    left = memory.available()
    if reason := gates.memory(left, limits(settings)):
        return Proof(reason, again=True)
    if old is None:
        return Proof()
    if left is not None and left - ROOM * old.stat().st_size < settings.updates.memory:
        return Proof(note="latency is not compared: memory holds the model that runs no second time")
    try:
        running = _load(settings, old)
    except (FatalError, SampleError) as exc:
        return Proof(note=f"latency is not compared: {exc}")
    infer, theirs = (partial(m.engine.infer, example_tensors(settings, m)) for m in (loaded, running))
    return compared(infer, theirs, limits(settings), SystemClock(), own_ns)


def _load(settings: Settings, file: Path) -> Loaded:
    """As the service would, and one inference through the whole pipeline's parts. Raises ModelError, ConfigError."""
    tuned = profile.apply(replace(settings, model=replace(settings.model, file=file)))
    loaded = loading.open_model(tuned)
    fits.check(settings, loaded)
    assembly.make_pipeline(loaded, settings.topics.device)
    loading.replay(loaded, tuned)
    return loaded


def compared(
    new: Callable[[], object], old: Callable[[], object], limits: Limits, clock: Clock, own_ns: Callable[[], int]
) -> Proof:
    """What inferences of both say, by turns, so that what else the board does falls on both: until that is plain, or
    `MOST_S` by `clock` are over. `own_ns` is what an inference is timed with."""
    new_ms: list[float] = []
    old_ms: list[float] = []
    new(), old()  # warms up
    end_ns = clock.monotonic_ns() + int(MOST_S * SECOND_NS)
    while clock.monotonic_ns() < end_ns:
        for run, times in ((new, new_ms), (old, old_ms)):
            began_ns = own_ns()
            run()
            times.append((own_ns() - began_ns) / 1e6)
        if len(new_ms) >= ROUNDS and (reason := gates.latency(new_ms, old_ms, limits)) is not None:
            return Proof(reason)
    reason = gates.latency(new_ms, old_ms, limits)  # of a slow one, fewer rounds have to do
    if reason is not None:
        return Proof(reason)
    return Proof(note=f"latency is not compared: {gates.unclear(new_ms, old_ms, limits)}")


def example_tensors(settings: Settings, loaded: Loaded) -> Tensors:
    """An input: a golden sample, else a made-up one. Raises SampleError."""
    if loaded.manifest.golden:
        return {name: golden.unpack(t) for name, t in loaded.manifest.golden[0].inputs.items()}
    sample = SyntheticSource(None, assembly.source_context(loaded, SystemClock(), settings)).read(0)
    pipeline = assembly.make_pipeline(loaded, settings.topics.device)
    works = pipeline.prepare([sample]) if sample is not None else []
    for work in works:
        for part in work.parts:
            if part.reason is None:
                return part.tensors
    raise SampleError("a made-up sample does not fit the model")


def main(argv: Sequence[str]) -> None:
    """Exit 0 with an answer on standard output; a model that kills the process leaves none."""
    with contextlib.suppress(OSError):  # a sandbox may forbid it
        os.nice(NICENESS)  # the service goes on at its own speed
    answers = os.dup(1)
    os.dup2(2, 1)  # an engine may print
    settings = layers.read(argv[2:], os.environ, __version__)
    try:
        proof = prove(settings, Path(argv[0]), None if argv[1] == "-" else Path(argv[1]))
    except SampleError as exc:
        proof = Proof(note=f"latency is not compared: {exc}")
    with os.fdopen(answers, "wb") as out:
        out.write(msgspec.json.encode(proof))


if __name__ == "__main__":
    main(sys.argv[1:])

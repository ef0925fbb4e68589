"""Proof that a source is one."""

from __future__ import annotations

from collections.abc import Callable

from edge.data.sample import Sample
from edge.errors import EndOfStream
from edge.plugins import protocols
from edge.plugins.protocols import (
    AcknowledgingSource,
    LoopSource,
    ReadySource,
    RememberingSource,
    RepeatingSource,
    Source,
    WakeableSource,
)
from edge.testing.checks.parts import assert_whole

READS_MOST = 1_000_000


def check_source(make: Callable[[], Source], *, gives: int) -> None:
    """`make()` gives a source, not opened, that holds `gives` samples and then ends. Raises AssertionError."""
    source = make()
    assert_whole(protocols.Source, source)
    if isinstance(source, LoopSource):
        assert callable(source.loop.attach), "the loop of a source takes workers"
        assert callable(source.loop.waker.wake), "the loop of a source can be woken"
    source.close()
    source.open()
    samples = read_all(source)
    assert len(samples) == gives, f"the source gave {len(samples)} samples, not {gives}"
    assert all(s.source for s in samples), "every sample names its source"
    assert all(s.time_ns > 0 and s.captured_ns > 0 for s in samples), "every sample has its times"
    if isinstance(source, AcknowledgingSource):
        for sample in samples:
            source.ack(sample)
    source.close()
    source.close()
    again = make()
    if isinstance(again, WakeableSource):
        again.wake()
    again.open()
    again.close()
    again.open()
    wait_s = 0.0 if isinstance(again, ReadySource) and again.ready else 0.05
    the_same = read_all(again, wait_s, nones=wait_s > 0)
    assert len(the_same) == gives, "a source that was opened again gives the same"
    if isinstance(again, RepeatingSource) and again.repeats:
        known = [s.digest for s in samples]
        assert None not in known, "a source that repeats says what each sample is known by"
        assert known == [s.digest for s in the_same], "what a sample is known by is the same in each life"
    again.close()
    if isinstance(source, RememberingSource):
        _knows_what_was_inferred(make, [s.origin for s in samples if s.origin is not None], gives)


def _knows_what_was_inferred(make: Callable[[], Source], origins: list[bytes], gives: int) -> None:
    assert len(origins) == gives == len(set(origins)), "a source that remembers gives each sample its own origin"
    source = make()
    assert isinstance(source, RememberingSource)
    source.remember(origins[:1])
    source.open()
    assert len(read_all(source)) == gives - 1, "what was remembered is not given again"
    source.close()


def read_all(source: Source, wait_s: float = 0.05, *, nones: bool = True) -> list[Sample]:
    """What an open source gives until its end; without `nones` it has each sample at once."""
    samples: list[Sample] = []
    for _ in range(READS_MOST):
        try:
            sample = source.read(wait_s)
        except EndOfStream:
            break
        assert sample is not None or nones, "a source that is ready has its next sample at once"
        if sample is not None:
            samples.append(sample)
    return samples

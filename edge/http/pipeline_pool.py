"""Inputs of the contract that come by HTTP: the same way as the flow's, on pipelines of their own."""

from __future__ import annotations

import queue
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from edge.data import codec
from edge.data.result import Result, Skipped
from edge.data.sample import Payload, Sample
from edge.data.tensor import Array, Tensors
from edge.errors import SampleError
from edge.http import memory
from edge.http.options import Served
from edge.http.sequences import Sequence as RequestSequence
from edge.http.sequences import Sequences
from edge.pipeline.pipeline import Pipeline
from edge.runtime.options import Observer

SOURCE = "http"


class PipelinePool:
    """`ask` from any worker thread: each takes a pipeline while it works.

    There is one for each worker, and one for the event loop, where quick work runs: none is ever waited for. A model
    with a memory (a window, a state) has one worker, and a pipeline for each sequence; a request of no sequence has one
    of its own.
    """

    def __init__(self, served: Served, workers: int, seen: Observer) -> None:
        self._served = served
        self._seen = seen
        self._idle: queue.SimpleQueue[Pipeline] = queue.SimpleQueue()
        self._sequences = Sequences(served.make_pipeline, served.clock) if served.stateful else None
        for _ in range(0 if served.stateful else workers + 1):
            self._idle.put(served.make_pipeline())
        inputs = [i for i in served.manifest.inputs if i.kind != "constant" and not i.state_from]
        self._kind = inputs[0].kind if inputs else "tensor"

    @contextmanager
    def _pipeline(self, sequence: RequestSequence | None = None) -> Iterator[Pipeline]:
        if self._served.remembers:
            if sequence is not None:
                memory.refuse_sequences()
            memory.begin(self._served)
        if self._sequences is not None:
            with self._sequences.turn(sequence) as pipeline:
                yield pipeline
            return
        pipeline = self._idle.get_nowait()
        try:
            yield pipeline
        finally:
            self._idle.put(pipeline)

    @property
    def takes_pictures(self) -> bool:
        """True where the model's input is a picture."""
        return self._kind == "image"

    def sample(self, payload: Payload) -> Sample:
        """A sample of now."""
        clock = self._served.clock
        return Sample(payload, SOURCE, clock.monotonic_ns(), clock.time_ns())

    def ask(self, data: bytes) -> list[Result | Skipped]:
        """The results of one input of the contract. Raises SampleError where it is none."""
        return self.ask_decoded([codec.decode(data)])

    def ask_decoded(
        self, payloads: Sequence[Payload], sequence: RequestSequence | None = None
    ) -> list[Result | Skipped]:
        """The results of decoded inputs, counted and shown on the live page. Raises Refusal."""
        results: list[Result | Skipped] = []
        with self._pipeline(sequence) as pipeline:
            for payload in payloads:
                sample = self.sample(payload)
                outcomes = pipeline.process(sample)
                self._count(outcomes)
                if outcomes:
                    self._seen(sample, outcomes)
                    self._served.seen(sample, outcomes)
                results += outcomes
        return results

    def raw(self, payloads: Sequence[Payload]) -> list[Tensors]:
        """Each payload prepared as the contract says, and the model's outputs as they are. Raises SampleError."""
        outputs: list[Tensors] = []
        with self._pipeline() as pipeline:
            for payload in payloads:
                for prepared in (p for piece in pipeline.pieces(self.sample(payload)) for p in piece.parts):
                    if prepared.reason is not None:
                        raise SampleError(prepared.reason)
                    outputs.append(pipeline.infer(prepared.tensors))
                    if self._served.watch_tensors is not None:
                        self._served.watch_tensors(prepared.tensors, outputs[-1])
        return outputs

    def is_batch(self, payload: Any) -> bool:
        """True where several samples may stand in it, so that the answer is an array, be it of one result."""
        if isinstance(payload, np.ndarray):
            return payload.ndim == {"table": 2, "column": 2, "image": 4}.get(self._kind, -1)
        if isinstance(payload, list):
            return self._kind in ("table", "column") and any(isinstance(row, (list, dict)) for row in payload)
        return False

    def _count(self, outcomes: Sequence[Result | Skipped]) -> None:
        metrics = self._served.metrics
        for outcome in outcomes:
            if isinstance(outcome, Skipped):
                metrics.inc("http_failed")
                continue
            metrics.inc("http_inferences")
            timing = outcome.timing_ms
            metrics.observe("stage:preprocess", timing.preprocess / 1e3)
            metrics.observe("stage:infer", timing.infer / 1e3)
            metrics.observe("stage:postprocess", timing.postprocess / 1e3)


def plain(value: Any) -> Any:
    """An output of the engine as JSON values; NaN becomes null. Raises SampleError for infinity, which JSON lacks."""
    if isinstance(value, np.ndarray):
        array: Array = value
        if array.dtype.kind == "f" and np.isinf(array).any():
            raise SampleError("an output holds infinity, which JSON cannot say: ask /v2 for binary_data")
        return array.tolist()
    return [{str(k): v for k, v in row.items()} if isinstance(row, dict) else row for row in value]

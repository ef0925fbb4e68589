"""What the endpoint is given by the assembly, and how it is set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.data.result import Result, Skipped
from edge.data.sample import Sample
from edge.data.tensor import Tensors
from edge.model.manifest import Manifest
from edge.pipeline.pipeline import Pipeline
from edge.plugins.protocols import Clock, Engine, RememberingEngine
from edge.runtime.options import Observer
from edge.telemetry import board
from edge.telemetry.metrics import Metrics

WORKERS = 2


def _unseen(_: Sample, __: Sequence[Result | Skipped]) -> None:
    """Where nobody looks."""


@dataclass(frozen=True, slots=True)
class Served:
    """A model, the flow beside it, and what both say of themselves."""

    manifest: Manifest
    engine: Engine
    sha256: str
    version: str
    """Of edge-run."""
    make_pipeline: Callable[[], Pipeline]
    """A pipeline of its own; all of them draw their numbers from the flow's counter."""
    metrics: Metrics
    clock: Clock
    info: Callable[[], Mapping[str, Any]]
    stats: Callable[[], Mapping[str, Any]]
    temperature: Callable[[], float | None] = board.temperature_celsius
    throttled: Callable[[], int | None] = board.throttled
    """The firmware's bits, a few seconds old at most."""
    source: str = ""
    """Where the flow's samples come from; "" where HTTP alone feeds the model."""

    instances: int = 1
    """Of the model, side by side: so many requests may run at once."""
    watch_tensors: Callable[[Tensors, Tensors], None] | None = None
    """Shown what the engine was given as tensors, and gave, rows along the first axis; from any thread."""
    drift: Callable[[], Mapping[str, Any]] | None = None
    """What is known of drift, with the shares of each feature then and now; None: it is not watched."""
    trial: Callable[[], Mapping[str, Any]] | None = None
    """How the model on trial differs; None: there is none."""
    seen: Observer = _unseen
    """Shown what became of each input of the contract; from any thread."""

    @property
    def states(self) -> bool:
        """True where outputs of the model are fed back as its next inputs."""
        return any(i.state_from for i in self.manifest.inputs)

    @property
    def remembers(self) -> bool:
        """True where the engine itself keeps something from sample to sample: `memory.py`."""
        return isinstance(self.engine, RememberingEngine) and self.engine.remembers

    @property
    def stateful(self) -> bool:
        """True where one sample changes the next: then each sequence of requests has a memory of its own."""
        return self.states or self.remembers or any(i.window is not None for i in self.manifest.inputs)


@dataclass(frozen=True, slots=True)
class Limits:
    """How long, in seconds, a connection may take for each thing it does."""

    head_s: float = 10.0
    """The head of a request, from its first byte or from the connection."""
    chunk_s: float = 10.0
    """The next bytes of a body."""
    body_s: float = 60.0
    """A whole body."""
    rest_s: float = 10.0
    """The rest of a body whose request was refused."""
    keep_alive_s: float = 75.0
    """The next request."""
    read_s: float = 30.0
    """To read what was sent to it."""
    linger_s: float = 10.0
    """To read why it was refused, while it still sends."""
    flush_s: float = 10.0
    """To take the rest, when it is closed."""
    wrong_token_s: float = 1.0
    """How long the answer to a wrong token is held back."""
    evict_after_s: float = 1.0
    """Idle so long, it may have to make room for another."""
    call_begin_s: float = 5.0
    """The beginning of a connection of gRPC, TLS included: of those none can be made to make room."""
    call_idle_s: float = 15.0
    """A connection of gRPC without calls: its clients connect anew by themselves."""
    sweep_s: float = 1.0
    """How often these are looked at."""
    give_back_s: float = 5.0
    """After the last large body, what was freed goes back to the system."""


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """`share` is of one core, and holds while the flow has samples; without a token: loopback only."""

    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = None
    token_file: Path | None = None
    """In the place of `token`, and read again when it changes."""
    cert: Path | None = None
    key: Path | None = None
    names: tuple[str, ...] = ()
    queue: int = 32
    max_body: int = 32_000_000
    max_batch: int = 1
    max_wait_ms: float = 2.0
    share: float = 0.25
    workers: int = WORKERS
    """Requests that run at once with each model: no fewer than there are instances of it."""
    connections: int = 256
    grpc: tuple[str, int] | None = None
    """Host and port for gRPC; None: without."""
    limits: Limits = field(default_factory=Limits)
    grace_s: float = 3.0
    """How long requests that were begun may take when the server stops."""

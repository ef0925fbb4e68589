"""What the endpoint is given by the assembly, and how it is set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.model.manifest import Manifest
from edge.pipeline.pipeline import Pipeline
from edge.plugins.protocols import Clock, Engine
from edge.telemetry import board
from edge.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Served:
    """The one model of the process, the flow beside it, and what both say of themselves."""

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

    @property
    def stateful(self) -> bool:
        """True where one sample changes the next: then requests take their turns on one pipeline."""
        return any(i.window is not None or i.state_from for i in self.manifest.inputs)


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """`share` is of one core, and holds while the flow has samples; `token` None: loopback only."""

    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = None
    cert: Path | None = None
    key: Path | None = None
    names: tuple[str, ...] = ()
    queue: int = 32
    max_body: int = 32_000_000
    max_batch: int = 1
    max_wait_ms: float = 2.0
    share: float = 0.25
    workers: int = 2
    connections: int = 256

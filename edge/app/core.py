"""What most parts of a process are made with, and what is gathered of them before anything runs."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec.structs import replace

from edge.app import assembly
from edge.app.loading import Loaded
from edge.app.run import Part
from edge.data import json_path
from edge.data.names import DISCOVERY
from edge.data.result import Result, Skipped
from edge.data.sample import Sample
from edge.data.tensor import Array
from edge.mqtt.messages import Outgoing
from edge.mqtt.session import MqttSession
from edge.mqtt.shelf import Shelf
from edge.mqtt.topics import Topics
from edge.pipeline.pipeline import Pipeline
from edge.pipeline.stages import NO_STAGES, Stages
from edge.plugins.protocols import ThresholdPostprocessor
from edge.plugins.rows import RowRules
from edge.runtime.left_out import LeftOut
from edge.runtime.options import Observer
from edge.runtime.stop import Stop
from edge.settings.settings import InputSettings, Settings
from edge.telemetry.clock import SystemClock, clock_synced
from edge.telemetry.metrics import Metrics
from edge.telemetry.watchdog import Heartbeats

if TYPE_CHECKING:
    from edge.http.app import HttpServer
    from edge.mqtt.embedded import EmbeddedBroker

LOW = 0.1
"""Score from which a stage behind the detector is told of an object: it may go on with a track, or a command ask for
it."""


class Shared(msgspec.Struct, frozen=True):
    """What all runs of the process have in common."""

    stop: Stop
    hearts: Heartbeats
    metrics: Metrics
    clock: SystemClock
    names: tuple[str, ...]
    """Of the runs, where there are several."""
    session: MqttSession | None
    server: HttpServer | None
    broker: EmbeddedBroker | None


class Core(msgspec.Struct, frozen=True):
    """What most parts of a run are made with. `boot` tells two lives apart; `seq` numbers the results of all pipelines.
    `runs`: the names of all runs of the process, where there are several."""

    settings: Settings
    loaded: Loaded
    clock: SystemClock
    metrics: Metrics
    hearts: Heartbeats
    stop: Stop
    boot: str
    seq: Iterator[int]
    rows: RowRules
    look: Callable[[Array], Array | None] | None = None
    """What is shown the pictures that the pipelines decode."""
    runs: tuple[str, ...] = ()
    shelf: Shelf | None = None
    """Where inputs over MQTT wait that this run does not take in time."""

    @property
    def topics(self) -> Topics:
        """The topics of this service."""
        topics = self.settings.topics
        return Topics(f"{topics.prefix}/{topics.device}/{self.loaded.manifest.name}")

    @property
    def stem(self) -> str:
        """What this service's files in the state folder begin with."""
        return f"{self.settings.topics.device}.{self.loaded.manifest.name}"

    def lowered(self) -> tuple[Core, float | None]:
        """For a stage that cuts down what the detector tells: one that tells objects down to LOW, and the threshold
        that it had. As it is, and None, where the decoder has none."""
        decode = assembly.make_postprocessor(self.loaded)
        if not isinstance(decode, ThresholdPostprocessor):
            return self, None
        manifest = replace(self.loaded.manifest, threshold=min(decode.threshold, LOW))
        return replace(self, loaded=replace(self.loaded, manifest=manifest)), decode.threshold

    @property
    def discovery(self) -> tuple[str, ...]:
        """Prefixes under which Home Assistant is told of devices."""
        return tuple({DISCOVERY, self.settings.publishing.home_assistant or DISCOVERY})

    @property
    def of_requests(self) -> Core:
        """For what comes by HTTP: `--input-path` is for what a source brings."""
        return replace(self, rows=replace(self.rows, path=None))

    def pipeline(self, stages: Stages = NO_STAGES) -> Pipeline:
        """One for the flow, and others for the HTTP endpoint: they number their results together."""
        options = assembly.PipelineOptions(
            self.boot,
            self.rows,
            self.settings.input.max_input,
            clock_synced,
            self.seq,
            stages,
            keeps_pictures=bool(stages.follows) and self.settings.cascade.then is not None,
            look=self.look,
        )
        return assembly.make_pipeline(self.loaded, self.settings.topics.device, options)


def of_run(shared: Shared, settings: Settings, loaded: Loaded, stop: Stop) -> Core:
    """What one of the runs is made with."""
    clock, alone = shared.clock, not shared.names
    return Core(
        settings=settings,
        loaded=loaded,
        clock=clock,
        metrics=shared.metrics if alone else Metrics(),
        hearts=shared.hearts if alone else Heartbeats(clock),
        stop=stop,
        boot=os.urandom(4).hex(),
        seq=itertools.count(1),
        rows=_row_rules(settings.input),
        runs=shared.names,
    )


def _row_rules(settings: InputSettings) -> RowRules:
    return RowRules(
        settings.ignore_unknown,
        settings.absent == "missing",
        LeftOut(),
        json_path.parse(settings.path) if settings.path is not None else None,
        settings.text_numbers,
    )


class User(Protocol):
    """A part that runs models."""

    def __call__(self, core: Core, let_go: Callable[[], None]) -> threading.Event:
        """Is to run the model of `core` from now on. Set once it does; `let_go` is called, from any thread, once it
        needs the one before no more."""
        ...


class Carried(msgspec.Struct, frozen=True):
    """How a part of a run is carried over where another model takes over (`swap.py`): it says what it has to do, in the
    thread of the updates. A part that says nothing is the same for every model."""

    misfit: Callable[[Core, Core], str] = lambda old, new: ""
    """Asked first, with the model that runs and the new one: why it cannot go on with that; "" where it can."""
    ready: Callable[[Core, threading.Event], Core] = lambda core, leaving: core
    """Before any sample is the new model's: what its pipelines are made with. Waits for nobody once the process is
    leaving, which the event says."""
    runs: User | None = None
    """Where it runs models."""
    told: Callable[[Core], None] | None = None
    """Once the next sample is the new model's."""


class Draft:
    """What is gathered of the parts of a run, or of the process. `births` are published on every connect."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.ticks: list[Callable[[], None]] = []
        self.idles: list[Callable[[], None]] = []
        self.observers: list[Observer] = []
        self.requests: list[Observer] = []
        """As `observers`, of what comes by HTTP; from any thread."""
        self.births: list[Callable[[], Sequence[Outgoing]]] = []
        self.carried: list[Carried] = []
        self.aborts: list[Callable[[], None]] = []
        """Where a person ends the process at once, in the main thread: what is under way is not to blame."""

    def add(
        self,
        name: str,
        start: Callable[[], object] | None = None,
        stop: Callable[[], object] | None = None,
        *,
        lasting: bool = False,
    ) -> None:
        """In the order of the start; they are stopped the other way round. `lasting`: at the end of the process, not of
        the run."""
        self.parts.append(Part(name, start or _nothing, stop or _nothing, lasting))

    def tick(self) -> None:
        for tick in self.ticks:
            tick()

    def idle(self) -> None:
        for idle in self.idles:
            idle()

    def asked(self, sample: Sample, outcomes: Sequence[Result | Skipped]) -> None:
        """What became of an input that came by HTTP. From any thread, once it is served."""
        for observe in self.requests:
            observe(sample, outcomes)

    def born(self) -> list[Outgoing]:
        return [message for birth in self.births for message in birth()]


def _nothing() -> None:
    """For a part that is only started, or only stopped."""

"""What the service says of itself on `info`, `stats` and `status`."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from edge import __version__
from edge.app.core import Core
from edge.app.loading import Loaded
from edge.data import codec, result
from edge.data.tensor import TensorSpec
from edge.data.units import SECOND_NS
from edge.delivery.outbox import Outbox
from edge.mqtt.messages import Outgoing
from edge.mqtt.session import MqttSession
from edge.pipeline.results import timestamp
from edge.plugins.protocols import Clock
from edge.remote.address import without_credentials
from edge.settings.settings import Settings
from edge.settings.stages import TrackingSettings, WordsSettings
from edge.telemetry import board as telemetry
from edge.telemetry.clock import clock_synced

FEATURES_MOST = 100
NOW = 0xF
"""Of the firmware's bits those that say what is so now."""


class Beside(msgspec.Struct, frozen=True):
    """What a run has beside its model; None where it is not asked for. `drift` (None while the model that runs is not
    watched) and `capture` are what is counted of them; `then` is the second model of a cascade; `process_status` the
    topic on which the broker says `offline` for all runs, where there are several."""

    drift: Callable[[], Mapping[str, Any] | None] = lambda: None
    capture: Callable[[], Mapping[str, Any]] | None = None
    then: Loaded | None = None
    process_status: str = ""
    instances: int = 1


class Status:
    """`info`, `stats` and `status` of a run. From any thread; `outboxes` may be filled until it runs."""

    def __init__(self, core: Core, beside: Beside, outboxes: Sequence[Outbox]) -> None:
        self.twin: Callable[[], str] = lambda: ""
        """The `boot` of another service on the same topics, where there is one."""
        self.update: Callable[[], Mapping[str, Any]] | None = None
        """Where an update stands, where the service follows a repository."""
        self._settings = core.settings
        self._loaded = core.loaded
        self._metrics = core.metrics
        self._clock = core.clock
        self._boot = core.boot
        self._topics = core.topics
        self._beside = beside
        self._shelf = core.shelf
        self._outboxes = outboxes
        self._started_ns = core.clock.monotonic_ns()

    @property
    def instances(self) -> int:
        """How many of the model run side by side."""
        return self._beside.instances

    def follow(self, settings: Settings, loaded: Loaded) -> None:
        """Another model runs, and what it was loaded with. From any thread."""
        self._settings, self._loaded = settings, loaded

    @property
    def source(self) -> str:
        """The source as it may be told: on `info`, which is retained, in metrics and on the live page."""
        if self._settings.input.source:
            return without_credentials(self._settings.input.source)
        if joined := self._settings.join.features:
            return f"mqtt:{', '.join(dict.fromkeys(feature.topic for feature in joined))}"
        return "http" if self._settings.mqtt.url == "none" else f"mqtt:{self._topics.input}"

    def info(self) -> dict[str, Any]:
        """The retained `info`: the model in short, engine, versions."""
        settings, engine = self._settings, self._loaded.engine
        return {
            "schema": result.SCHEMA,
            "device": settings.topics.device,
            "boot": self._boot,
            "model": _model(self._loaded),
            "engine": {
                "name": engine.name,
                "version": engine.version,
                "provider": settings.model.provider,
                "threads": settings.model.threads or 1,
                "instances": self._beside.instances,
                **({"profile": settings.model.tuned_for} if settings.model.tuned_for else {}),
            },
            **({"then": _model(self._beside.then)} if self._beside.then is not None else {}),
            **({"process": {"status": self._beside.process_status}} if self._beside.process_status else {}),
            "source": self.source,
            "batch": settings.publishing.batch,
            **_words(settings.words),
            **_tracking(settings.tracking),
            "versions": {"edge-run": __version__, "python": platform.python_version(), "numpy": np.__version__},
            "platform": platform.machine(),
            **({"twin": {"boot": twin}} if (twin := self.twin()) else {}),
            **({"collect": True} if settings.capture.collect else {}),
            **({"update": self.update()} if self.update is not None else {}),
        }

    def stats(self) -> Mapping[str, Any]:
        """The `stats` message: counters since the start, and what waits now."""
        return {
            "schema": result.SCHEMA,
            "time": timestamp(self._clock.time_ns()),
            "device": self._settings.topics.device,
            "model": self._loaded.manifest.name,
            "boot": self._boot,
            "uptime_s": round((self._clock.monotonic_ns() - self._started_ns) / SECOND_NS, 1),
            "clock_synced": clock_synced(),
            **counts(self._metrics.snapshot(), self._outboxes),
            **({"input_shelf": {"waiting": self._shelf.waiting}} if self._shelf is not None else {}),
            **({"drift": drift} if (drift := self._beside.drift()) is not None else {}),
            **({"capture": self._beside.capture()} if self._beside.capture is not None else {}),
        }

    def births(self) -> list[Outgoing]:
        """What is published on every connect."""
        return [Outgoing(self._topics.status, b"online", retain=True), self.information()]

    def information(self) -> Outgoing:
        """`info`, retained."""
        payload = codec.encode(self.info())
        return Outgoing(self._topics.info, payload, retain=True, content_type="application/json")

    def message(self) -> Outgoing:
        """`stats`, with what the board says of its heat and its power."""
        payload = codec.encode({**self.stats(), "board": board()})
        return Outgoing(self._topics.stats, payload, content_type="application/json")

    def farewell(self) -> list[Outgoing]:
        """What is published last, before a clean end."""
        return [self.message(), Outgoing(self._topics.status, b"offline", retain=True)]


class StatsPublisher:
    """Publishes `stats` every `interval_s` seconds; 0: never. Of the main thread."""

    def __init__(self, session: MqttSession, status: Status, interval_s: float, clock: Clock) -> None:
        self._session = session
        self._status = status
        self._interval_ns = int(interval_s * SECOND_NS)
        self._clock = clock
        self._next_ns = clock.monotonic_ns()

    def tick(self) -> None:
        """Publishes where it is time to. Without a connection the next tick tries again."""
        now = self._clock.monotonic_ns()
        if self._interval_ns and now >= self._next_ns and self._session.up:
            self._session.post(self._status.message())
            self._next_ns = now + self._interval_ns


def _tracking(said: TrackingSettings) -> dict[str, Any]:
    """Whether objects are followed, and the zones and lines in force, as they were said."""
    if said.lost_s is None:
        return {}
    return {"tracking": {"lost_s": said.lost_s, "zones": dict(said.zones), "lines": dict(said.lines)}}


def _words(said: WordsSettings) -> dict[str, Any]:
    """Where results go and as what, where it is not as ever: those who read them are told."""
    words = {"topic": said.topic, "payload": said.payload, "format": said.format, "retain": said.retain or None}
    told = {name: value for name, value in words.items() if value is not None}
    return {"words": told} if told else {}


def _model(loaded: Loaded) -> dict[str, Any]:
    manifest, parity = loaded.manifest, loaded.manifest.parity
    return {
        "name": manifest.name,
        "version": manifest.version,
        "sha256": loaded.sha256,
        "file": loaded.path.name,
        "task": manifest.task,
        "decoder": manifest.decoder or manifest.task,
        "labels": len(manifest.labels),
        "inputs": [_brief(s) for s in loaded.engine.inputs],
        "outputs": [_brief(s) for s in loaded.engine.outputs],
        "features": [f.name for f in manifest.features if f.name][:FEATURES_MOST],
        "golden_samples": len(manifest.golden),
        "guessed": list(loaded.guesses),
        **({"parity": {n: getattr(parity, n) for n in ("rows", "max_difference", "agreement")}} if parity else {}),
    }


def counts(counted: Mapping[str, float], outboxes: Sequence[Outbox]) -> dict[str, Any]:
    """Counters since the start, and what waits now by outbox. `counted` is a snapshot of the metrics."""
    results = counted.get("results", 0)
    return {
        "read": int(counted.get("samples_read", 0)),
        "results": int(results),
        "skipped": int(counted.get("samples_skipped", 0)),
        "safe": int(counted.get("samples_safe", 0)),
        "infer_ms_mean": round(counted.get("infer_ms", 0) / results, 3) if results else None,
        "dropped": {k.removeprefix("dropped:"): int(v) for k, v in counted.items() if k.startswith("dropped:")},
        "held_back": {k.removeprefix("held:"): int(v) for k, v in counted.items() if k.startswith("held:")},
        "lanes": {outbox.name: _outbox(outbox, counted) for outbox in outboxes},
        "sinks": {outbox.name: _sink(outbox, counted) for outbox in outboxes},
    }


def board() -> dict[str, Any]:
    """What the board tells of its heat and its power; empty where it does not."""
    celsius, bits = telemetry.temperature_celsius(), telemetry.throttled()
    return {
        **({} if celsius is None else {"temperature_celsius": round(celsius, 1)}),
        **({} if bits is None else {"throttled": telemetry.problems(bits & NOW)}),
    }


def _outbox(outbox: Outbox, counted: Mapping[str, float]) -> dict[str, Any]:
    names = ("sent", "confirmed", "unconfirmed", "reconnects", "spool_errors")
    found = {n: int(counted.get(f"{n}:{outbox.name}", 0)) for n in names}
    return {**outbox.waiting(), **found, "confirmed": found["confirmed"] - found["unconfirmed"]}


def _sink(outbox: Outbox, counted: Mapping[str, float]) -> dict[str, Any]:
    """What a user asks of a sink; `lanes` says how it stands inside."""
    waiting = outbox.waiting()
    unconfirmed = int(counted.get(f"unconfirmed:{outbox.name}", 0))
    return {
        "connected": waiting["connected"],
        "waiting": waiting["depth"],
        "confirmed": int(counted.get(f"confirmed:{outbox.name}", 0)) - unconfirmed,
        "unconfirmed": unconfirmed,
        "refused": int(counted.get(f"dropped:{outbox.name}:refused", 0)),
        "reconnects": int(counted.get(f"reconnects:{outbox.name}", 0)),
    }


def _brief(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "dtype": spec.dtype, "shape": spec.shape}

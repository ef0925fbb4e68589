"""The service: a loaded model, a source, outboxes and the broker, from birth to a clean end."""

from __future__ import annotations

import functools
import itertools
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from edge import __version__
from edge.app import assembly, status
from edge.app.health import HealthSocket
from edge.app.loading import Loaded
from edge.app.topics import hold_topics
from edge.data import codec, result
from edge.data.result import Result, Skipped
from edge.data.sample import Sample
from edge.delivery.outbox import Outbox
from edge.delivery.retry import Backoff
from edge.errors import ConfigError
from edge.mqtt.messages import MqttOptions, Outgoing
from edge.mqtt.options import broker_url
from edge.mqtt.session import MqttSession
from edge.mqtt.topics import Topics
from edge.mqtt.url import BrokerUrl
from edge.pipeline.pipeline import Pipeline, Watch
from edge.pipeline.results import timestamp
from edge.plugins.contexts import SinkContext
from edge.plugins.protocols import RemembersInputs, Sink, Source
from edge.plugins.rows import RowRules
from edge.runtime import thermal
from edge.runtime.left_out import LeftOut
from edge.runtime.runner import Runner, RunnerOptions
from edge.settings.settings import Settings
from edge.sources.uri import told
from edge.storage.instance import instance_id
from edge.storage.lock import FileLock
from edge.telemetry.board import temperature_celsius
from edge.telemetry.clock import SystemClock, clock_synced
from edge.telemetry.metrics import Metrics
from edge.telemetry.watchdog import Heartbeats, Watchdog

if TYPE_CHECKING:
    from edge.homeassistant.announcer import Announcer
    from edge.http.app import HttpServer
    from edge.mqtt.embedded import EmbeddedBroker
    from edge.mqtt.masks import MaskPublisher

log = logging.getLogger("edge.app.service")

ORIGINS_MOST = 1024
"""More than any broker sends without an acknowledgement."""

EMBEDDED_LINGER_S = 1.0
"""How long the embedded broker outlives the last result, so that subscribers get it."""


class Service:
    """`run` once."""

    def __init__(self, settings: Settings, loaded: Loaded) -> None:
        self._settings = settings
        self._loaded = loaded
        self._clock = SystemClock()
        self._metrics = Metrics()
        self._hearts = Heartbeats(self._clock)
        self._watchdog = Watchdog(self._hearts, self._clock)
        self._started_ns = self._clock.monotonic_ns()
        self._next_stats_ns = self._started_ns
        self._boot = os.urandom(4).hex()
        self._base = f"{settings.topics.prefix}/{settings.topics.device}/{loaded.manifest.name}"
        self._topics = Topics(self._base)
        self._broker: EmbeddedBroker | None = None
        self._transport: MqttSession | None = None
        name = f"{settings.topics.device}.{loaded.manifest.name}"
        self._health = HealthSocket(settings.delivery.state_dir, name, self._hearts.late, self._clock)
        self._outboxes: list[Outbox] = []
        self._runner: Runner | None = None
        self._http: HttpServer | None = None
        self._masks: MaskPublisher | None = None
        self._announcer: Announcer | None = None
        self._seq = itertools.count(1)
        self._rows = RowRules(settings.input.ignore_unknown, settings.input.absent == "missing", LeftOut())
        self._interrupts = 0
        self._hung: set[str] = set()

    # --- building -----------------------------------------------------------------------------------

    def _make_transport(self) -> MqttSession | None:
        settings = self._settings
        if settings.mqtt.url == "none":
            return None
        name = self._loaded.manifest.name
        client_id = (
            settings.mqtt.client_id
            or f"edge-run-{settings.topics.device}-{name}-{instance_id(settings.delivery.state_dir)}"
        )
        version = 4 if self._broker else {"5": 5, "3.1.1": 4}.get(settings.mqtt.version or "")
        # A broker without a memory has forgotten our subscription when it starts again: what is published until we
        # are back has nobody to go to.
        backoff = Backoff(first_s=0.1, eager_s=60.0)
        return MqttSession(
            MqttOptions(
                url=self._broker_url(),
                client_id=client_id,
                status_topic=self._topics.status,
                ca=settings.mqtt.ca,
                cert=settings.mqtt.cert,
                key=settings.mqtt.key,
                keepalive_s=settings.mqtt.keepalive,
                confirm_timeout_s=settings.mqtt.confirm_timeout,
                version=version,
            ),
            births=self._births,
            wait_s=backoff.next_s,
            worked=backoff.reset,
            refused=backoff.calm,
            failed=lambda exc: self._runner.fail(exc) if self._runner is not None else None,
            beat=self._hearts.beat,
        )

    def _hold_topics(self) -> FileLock | None:
        if self._settings.mqtt.url == "none" or self._broker is not None:
            return None
        state_dir = Path(self._settings.delivery.state_dir)
        return hold_topics(state_dir, str(self._broker_url()), self._base, self._loaded.path)

    def _broker_url(self) -> BrokerUrl:
        if self._broker is not None:
            return BrokerUrl("mqtt", "127.0.0.1", self._broker.port)
        return broker_url(self._settings)

    def _start_embedded(self) -> None:
        name, _, port = self._settings.mqtt.url.partition(":")
        if name != "embedded":
            return
        if port and not port.isdigit():
            raise ConfigError(f"--mqtt {self._settings.mqtt.url}: {port!r} is not a port; say embedded:1883")
        from edge.mqtt.embedded import EmbeddedBroker  # asyncio is for those who ask for it

        self._broker = EmbeddedBroker(int(port) if port else None)
        self._broker.start()
        log.warning(
            "embedded broker, for trying out only: nothing is kept, nobody is asked for a password",
            extra={"broker": f"mqtt://127.0.0.1:{self._broker.port}"},
        )

    def _observers(self) -> tuple[Callable[[Sample, Sequence[Result | Skipped]], None], ...]:
        pictures = self._announcer.pictures if self._announcer is not None else None
        found = (self._frame_saver(), self._http and self._http.observe, pictures and pictures.observe)
        return tuple(observe for observe in found if observe)

    def _frame_saver(self) -> Callable[[Sample, Sequence[Result | Skipped]], None] | None:
        if self._settings.output.save_frames is None:
            return None
        from edge.overlay.frame_saver import FrameSaver  # OpenCV is for those who ask for it

        saver = FrameSaver(
            self._settings.output.save_frames,
            self._settings.output.save_frames_max,
            annotate=self._settings.output.annotate,
        )
        saver.open()
        return saver

    def _make_source(self) -> Source | None:
        uri = self._settings.input.source or ("mqtt:" if self._transport is not None else None)
        if uri is None:
            return None
        context = assembly.source_context(
            self._loaded,
            self._clock,
            self._settings,
            transport=self._transport,
            topic=self._topics.input,
            count=self._metrics.inc,
        )
        return assembly.make_source(uri, context)

    def _make_sinks(self) -> dict[str, Sink]:
        """By the outbox's name, which also names its spool: a second `file:` is `file-2`."""
        context = SinkContext(
            device=self._settings.topics.device,
            model=self._loaded.manifest.name,
            topic=self._base,
            batch=self._settings.publishing.batch,
            transport=self._transport,
            sending=self._announcer.sending if self._announcer is not None else lambda _: None,
            count=self._metrics.inc,
            closed=self._console_closed,
        )
        named: dict[str, Sink] = {}
        broker = ("mqtt",) if self._transport is not None else ()
        for uri in dict.fromkeys((*broker, *self._settings.output.sinks)):
            kind = uri.partition(":")[0]
            same = sum(name == kind or name.startswith(f"{kind}-") for name in named)
            named[f"{kind}-{same + 1}" if same else kind] = assembly.make_sink(uri, context)
        return named

    def _make_outboxes(self, live: bool) -> list[Outbox]:
        settings = self._settings
        named = self._make_sinks()
        stem = f"{settings.topics.device}.{self._loaded.manifest.name}"
        return [
            assembly.make_outbox(
                name,
                sink,
                assembly.make_spool(settings, sink, name, stem),
                settings,
                clock=self._clock,
                metrics=self._metrics,
                beat=functools.partial(self._hearts.beat, f"outbox-{name}"),
                live=live,
            )
            for name, sink in named.items()
        ]

    def _make_pipeline(self, watch: Watch | None = None) -> Pipeline:
        """One for the flow, and others for the HTTP endpoint: they number their results together."""
        settings = self._settings
        return assembly.make_pipeline(
            self._loaded,
            settings.topics.device,
            assembly.PipelineOptions(self._boot, self._rows, settings.input.max_input, clock_synced, self._seq, watch),
        )

    def _make_masks(self) -> MaskPublisher | None:
        if not self._settings.output.mask:
            return None
        if self._transport is None:
            raise ConfigError("--mask publishes on MQTT; with --mqtt none there is nowhere to")
        from edge.mqtt.masks import MaskPublisher  # OpenCV is for those who ask for it

        classes = assembly.masks_of(self._loaded)
        return MaskPublisher(self._topics.mask, classes, functools.partial(self._transport.post, keep=True))

    def _make_announcer(self) -> Announcer | None:
        discovery = self._settings.publishing.home_assistant
        if self._transport is None or discovery is None:
            return None
        from edge.homeassistant import build

        model = (self._loaded.manifest, self._loaded.engine.outputs)
        stats = lambda: [self._stats()]  # noqa: E731
        return build.announcer(discovery, self._settings, *model, self._transport, self._clock, stats)

    def _make_http(self, source: Source | None) -> HttpServer | None:
        loaded = self._loaded
        address = self._settings.http.address
        if address is None:
            return None
        from edge.http.options import Served

        served = Served(
            manifest=loaded.manifest,
            engine=loaded.engine,
            sha256=loaded.sha256,
            version=__version__,
            make_pipeline=self._make_pipeline,
            metrics=self._metrics,
            clock=self._clock,
            info=self.info,
            stats=self.stats,
            source=self._source_name() if source is not None else "",
        )
        failed = lambda exc: self._runner.fail(exc) if self._runner is not None else None  # noqa: E731
        return assembly.make_server(address, self._settings.http, served, failed)

    def _source_name(self) -> str:
        """As it may be told: on `info`, which is retained, in metrics and on the live page."""
        if self._settings.input.source:
            return told(self._settings.input.source)
        return "http" if self._settings.mqtt.url == "none" else f"mqtt:{self._topics.input}"

    def _console_closed(self) -> None:
        if len(self._outboxes) == 1 and self._runner is not None:
            self._runner.stop()

    # --- running ------------------------------------------------------------------------------------

    def run(self) -> None:
        """Until the source ends or a signal comes. Raises FatalError."""
        self._start_embedded()
        topics = self._hold_topics()
        try:
            self._transport = self._make_transport()
            self._announcer = self._make_announcer()
            source = self._make_source()
            self._masks = self._make_masks()
            pipeline = self._make_pipeline(self._masks.watch if self._masks is not None else None)
            self._http = self._make_http(source)
            self._outboxes = self._make_outboxes(source is not None and source.live)
            self._run(source, pipeline)
        finally:
            if self._broker is not None:
                self._broker.stop()
            if topics is not None:
                topics.release()

    def _run(self, source: Source | None, pipeline: Pipeline) -> None:
        self._runner = Runner(
            source,
            pipeline,
            self._outboxes,
            clock=self._clock,
            metrics=self._metrics,
            options=RunnerOptions(
                grace_s=self._settings.delivery.grace,
                source_name=told(self._settings.input.source or "mqtt"),
                tick=self._tick,
                observers=self._observers(),
                beat=self._hearts.beat,
                ended=self._hearts.ended,
                admit=thermal.admission(
                    self._settings.input.max_temperature,
                    source,
                    temperature_celsius,
                    clock=self._clock,
                    metrics=self._metrics,
                ),
                gate=assembly.make_gate(self._settings, self._loaded.manifest.task, self._metrics),
            ),
        )
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, self._on_signal)
        self._say_start()
        try:
            if self._http is not None:
                self._http.start()
            if self._transport is not None:
                if isinstance(source, RemembersInputs):
                    source.remember(self._inferred_before())
                    source.open()  # subscribed first: who reads `online` may send at once
                self._transport.start()
            self._watchdog.ready(f"{self._loaded.manifest.name} runs")
            self._health.open()
            self._runner.run()
        finally:
            self._watchdog.stopping("delivering what is left")
            self._health.close()
            if self._http is not None:
                self._http.stop()
            self._stop_transport()
            if self._announcer is not None:
                self._announcer.close()
            self._loaded.engine.close()

    def _inferred_before(self) -> set[bytes]:
        """Inputs of an earlier life whose results every outbox that matters has on disk. Raises SpoolError."""
        held: list[set[bytes]] = []
        for outbox in self._outboxes:
            outbox.open()
            if outbox.durable:
                held.append(set(outbox.origins(ORIGINS_MOST)))
        return set.intersection(*held) if held else set()

    def _stop_transport(self) -> None:
        if self._transport is None:
            return
        self._transport.stop([self._stats(), Outgoing(self._topics.status, b"offline", retain=True)])
        if self._broker is not None:
            time.sleep(EMBEDDED_LINGER_S)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._interrupts += number == signal.SIGINT
        if self._interrupts > 1:
            # What is not delivered is in the spool or was never acknowledged: leaving at once loses nothing.
            os._exit(130)
        if self._runner is not None:
            self._runner.stop()

    def _say_start(self) -> None:
        loaded = self._loaded
        if loaded.guesses:
            log.info("the model file says little of itself; guessed", extra={"flags": " ".join(loaded.guesses)})
        for text in loaded.warnings:
            log.warning("model", extra={"note": text})
        log.info(
            "model ready",
            extra={
                "model": loaded.manifest.name,
                "task": loaded.manifest.task,
                "engine": f"{loaded.engine.name} {loaded.engine.version}",
                **({"topics": self._topics.all} if self._transport is not None else {}),
            },
        )

    def _tick(self) -> None:
        late = set(self._watchdog.tick())
        for name in sorted(late - self._hung):
            log.error("thread hangs", extra={"hung": name})
        self._hung = late
        if self._announcer is not None:
            self._announcer.tick()
        self._health.tick()
        interval = self._settings.topics.stats_interval
        now = self._clock.monotonic_ns()
        if self._transport is None or not interval or now < self._next_stats_ns:
            return
        if self._transport.up:
            self._transport.post(self._stats())
            self._next_stats_ns = now + int(interval * 1e9)

    # --- what it says of itself ---------------------------------------------------------------------

    def _births(self) -> list[Outgoing]:
        if self._announcer is not None:
            self._announcer.born()
        return [
            Outgoing(self._topics.status, b"online", retain=True),
            Outgoing(self._topics.info, codec.encode(self.info()), retain=True, content_type="application/json"),
        ]

    def info(self) -> dict[str, Any]:
        """The retained `info`."""
        return status.info(self._loaded, self._settings, boot=self._boot, source=self._source_name())

    def _stats(self) -> Outgoing:
        said = codec.encode({**self.stats(), "board": status.board()})
        return Outgoing(self._topics.stats, said, content_type="application/json")

    def stats(self) -> Mapping[str, Any]:
        """The `stats` message: counters since the start, and what waits now."""
        return {
            "schema": result.SCHEMA,
            "time": timestamp(self._clock.time_ns()),
            "device": self._settings.topics.device,
            "model": self._loaded.manifest.name,
            "boot": self._boot,
            "uptime_s": round((self._clock.monotonic_ns() - self._started_ns) / 1e9, 1),
            "clock_synced": clock_synced(),
            **status.counts(self._metrics.snapshot(), self._outboxes),
        }

"""`/metrics`: the counters, gauges and histograms of the process in Prometheus' words.

Counted elsewhere, without a library; here they get their names, units and labels when somebody asks. Series that
are known are there from the start, as 0, so that the first increase is seen as one. `model_info`
names the model that runs: an update changes its labels.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from edge.delivery.publish_filter import REASONS
from edge.drift.report import NOT_WATCHED, STATES
from edge.http.catalog import Catalog
from edge.http.options import Served
from edge.telemetry.metrics import BUCKETS_S, Histogram

STAGES = ("capture", "preprocess", "infer", "postprocess", "publish")
THROTTLED = {"undervoltage": 0, "freq_capped": 1, "throttled": 2, "soft_temp": 3}
"""Bits of the firmware's word, by kind."""


class EdgeCollector(Collector):
    """Reads everything at the moment it is asked."""

    def __init__(self, served: Served, shared: Mapping[str, float] | None = None) -> None:
        """`shared`: what the server counts, where that is not counted with the model's."""
        self._served = served
        self._shared = shared or {}
        self._model = served.manifest.name
        self._source = served.source or "none"

    def collect(self) -> Iterator[Metric]:
        counted = {**self._served.metrics.snapshot(), **self._shared}
        stats = self._served.stats()
        yield from self._infos()
        yield from self._flow(counted)
        if (shelf := stats.get("input_shelf")) is not None:
            yield _gauge("input_shelf_messages", "Inputs that wait on disk until the run takes them.", shelf["waiting"])
        yield from self._delivery(counted, stats.get("lanes", {}))
        yield from _sinks(stats.get("sinks", {}))
        yield from _drift(counted)
        yield from _capture(counted)
        yield from self._device()
        yield from self._http(counted)

    def _infos(self) -> Iterator[Metric]:
        served = self._served
        engine = served.engine
        labels = {
            "version": served.version,
            "runtime": f"{engine.name} {engine.version}",
            "arch": platform.machine(),
        }
        yield _gauge("build_info", "The software that runs.", 1, labels)
        quantized = any(s.quantization is not None for s in (*engine.inputs, *engine.outputs))
        labels = {
            "model": self._model,
            "version": served.manifest.version,
            "format": "tflite" if engine.name == "litert" else "onnx",
            "precision": "int8" if quantized else engine.inputs[0].dtype if engine.inputs else "",
            "sha256": served.sha256,
        }
        yield _gauge("model_info", "The model that runs.", 1, labels)

    def _flow(self, counted: Mapping[str, float]) -> Iterator[Metric]:
        histograms = self._served.metrics.histograms()
        family = HistogramMetricFamily(
            "edge_run_stage_duration_seconds", "How long a sample spends in each stage.", labels=["model", "stage"]
        )
        for stage in STAGES:
            _add_histogram(family, [self._model, stage], histograms.get(f"stage:{stage}", Histogram()))
        yield family
        inferences = CounterMetricFamily(
            "edge_run_inferences", "Samples by what became of them.", labels=["model", "outcome"]
        )
        ok = counted.get("results", 0) + counted.get("http_inferences", 0)
        bad = counted.get("samples_skipped", 0) + counted.get("http_failed", 0)
        inferences.add_metric([self._model, "ok"], ok)
        inferences.add_metric([self._model, "error"], bad)
        yield inferences
        dropped = CounterMetricFamily(
            "edge_run_frames_dropped", "Samples dropped before the model saw them.", labels=["source", "reason"]
        )
        losses = {k.removeprefix("dropped:"): v for k, v in counted.items() if k.startswith("dropped:")}
        for reason, count in (
            {"mailbox": 0.0, "heat": 0.0, "motion": 0.0} | {k: v for k, v in losses.items() if ":" not in k}
        ).items():
            dropped.add_metric([self._source, reason], count)
        yield dropped
        held = CounterMetricFamily(
            "edge_run_results_held_back", "Results that the publishing rules held back.", labels=["model", "reason"]
        )
        for reason in REASONS:
            held.add_metric([self._model, reason], counted.get(f"held:{reason}", 0))
        yield held
        if self._served.source:
            labels = {"source": self._source}
            yield _gauge(
                "source_up",
                "1 while the source is open, and a live one gives inputs.",
                counted.get("source_up", 0),
                labels,
            )
            if "last_sample_s" in counted:
                text = "When the newest sample was taken."
                yield _gauge("source_last_frame_timestamp_seconds", text, counted["last_sample_s"], labels)

    def _delivery(self, counted: Mapping[str, float], outboxes: Mapping[str, Any]) -> Iterator[Metric]:
        if "mqtt" in outboxes:
            yield _gauge("mqtt_connected", "1 while the broker answers.", float(outboxes["mqtt"]["connected"]))
            published = CounterMetricFamily(
                "edge_run_mqtt_published", "Messages on results and errors.", labels=["topic_class", "outcome"]
            )
            sent, done, unconfirmed = (counted.get(f"{n}:mqtt", 0) for n in ("sent", "confirmed", "unconfirmed"))
            for outcome, count in (("sent", sent), ("confirmed", done - unconfirmed), ("unconfirmed", unconfirmed)):
                published.add_metric(["result", outcome], count)
            yield published
            yield _counter("mqtt_reconnects", "Connections after the first.", counted.get("reconnects:mqtt", 0))
        waiting = sum(outbox["depth"] for outbox in outboxes.values())
        yield _gauge("outbox_messages", "Messages that wait, in memory and on disk.", waiting)
        size = sum(outbox["spool_bytes"] for outbox in outboxes.values())
        yield _gauge("outbox_bytes", "Bytes that wait on disk.", size)
        ages = [outbox["spool_oldest_s"] for outbox in outboxes.values() if outbox["spool_oldest_s"] is not None]
        oldest = time.time() - max(ages) if ages else 0.0
        yield _gauge("outbox_oldest_timestamp_seconds", "Since when the oldest message waits; 0: none does.", oldest)
        lost = CounterMetricFamily("edge_run_outbox_dropped", "Messages that were lost.", labels=["reason"])
        for reason in ("full", "age", "damaged"):
            lost.add_metric([reason], sum(outbox["spool_dropped"].get(reason, 0) for outbox in outboxes.values()))
        for reason in ("disk", "stop", "refused", "reply", "error", "event"):
            lost.add_metric([reason], sum(counted.get(f"dropped:{name}:{reason}", 0) for name in outboxes))
        yield lost

    def _device(self) -> Iterator[Metric]:
        instances = self._served.metrics.snapshot().get("instances", 1)
        yield _gauge("model_instances", "Of the model, side by side.", instances)
        celsius = self._served.temperature()
        if celsius is not None:
            yield _gauge("device_temperature_celsius", "Of the processor.", celsius)
        limit = self._served.metrics.snapshot().get("heat_limit_hz")
        if limit is not None:
            yield _gauge("heat_limit_hertz", "Frames a second at most while the board is hot; 0: no limit.", limit)
        bits = self._served.throttled()
        if bits is not None:
            family = GaugeMetricFamily("edge_run_device_throttled", "1 while it is so.", labels=["kind"])
            for kind, bit in THROTTLED.items():
                family.add_metric([kind], float(bits >> bit & 1))
            yield family

    @staticmethod
    def _http(counted: Mapping[str, float]) -> Iterator[Metric]:
        yield _gauge("http_waiting_requests", "Requests that wait for their turn.", counted.get("http_waiting", 0))
        yield _gauge("http_connections", "Connections that are open.", counted.get("http_connections", 0))
        yield _counter("http_rejected_requests", "Requests answered with 503.", counted.get("http_rejected", 0))
        yield _counter("http_cpu_seconds", "CPU time that requests have cost.", counted.get("http_cpu_s", 0))
        yield _gauge(
            "http_share_ratio", "Most of one core that requests get while the flow works.", counted.get("http_share", 0)
        )


def _drift(counted: Mapping[str, float]) -> Iterator[Metric]:
    """Nothing where it is not watched for."""
    if counted.get("drift_state", NOT_WATCHED) == NOT_WATCHED:
        return
    states = GaugeMetricFamily("edge_run_drift_state", "1 for the state that drift has.", labels=["state"])
    for number, state in enumerate(STATES):
        states.add_metric([state], float(counted["drift_state"] == number))
    yield states
    yield _gauge("drift_learned_windows", "Windows that were learnt.", counted.get("drift_learned", 0))
    yield _counter("drift_alarms", "Times that the state became drifted.", counted.get("drift_alarms", 0))
    yield _counter("drift_windows", "Windows that ended.", counted.get("drift_windows", 0))
    yield _counter("drift_rows", "Rows that were counted.", counted.get("drift_rows", 0))
    yield _counter("drift_writes", "Times that what was learnt was written.", counted.get("drift_writes", 0))


def _capture(counted: Mapping[str, float]) -> Iterator[Metric]:
    """Nothing where no samples are kept."""
    if "capture_bytes" not in counted:
        return
    samples = CounterMetricFamily("edge_run_capture_samples", "Samples that a rule picked.", labels=["outcome"])
    for outcome in ("kept", "passed_over", "failed"):
        samples.add_metric([outcome], counted.get(f"capture_{outcome}", 0))
    yield samples
    yield _gauge("capture_bytes", "Bytes that samples take which are kept.", counted["capture_bytes"])


def _sinks(sinks: Mapping[str, Mapping[str, Any]]) -> Iterator[Metric]:
    """Every sink by its name, the broker's among them."""
    connected = GaugeMetricFamily("edge_run_sink_connected", "1 while the other side answers.", labels=["sink"])
    waiting = GaugeMetricFamily("edge_run_sink_waiting_messages", "Messages that wait.", labels=["sink"])
    messages = CounterMetricFamily("edge_run_sink_messages", "Messages by outcome.", labels=["sink", "outcome"])
    reconnects = CounterMetricFamily("edge_run_sink_reconnects", "Connections after the first.", labels=["sink"])
    for name, sink in sinks.items():
        connected.add_metric([name], float(sink["connected"]))
        waiting.add_metric([name], sink["waiting"])
        reconnects.add_metric([name], sink["reconnects"])
        for outcome in ("confirmed", "refused"):
            messages.add_metric([name, outcome], sink[outcome])
    yield from (connected, waiting, messages, reconnects)


def _gauge(name: str, text: str, value: float, labels: Mapping[str, str] | None = None) -> Metric:
    labels = labels or {}
    family = GaugeMetricFamily(f"edge_run_{name}", text, labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"edge_run_{name}", text, value=value)


def _add_histogram(family: HistogramMetricFamily, labels: list[str], histogram: Histogram) -> None:
    bounds = [*(str(b) for b in BUCKETS_S), "+Inf"]
    family.add_metric(labels, list(zip(bounds, accumulate(histogram.counts), strict=True)), histogram.total_s)


OF_SERVER = ("http_connections", "http_cpu_s", "http_share")
OF_PROCESS = ("build_info", "device_temperature_celsius", "device_throttled", "http_connections", "http_cpu_seconds",
              "http_share_ratio")  # fmt: skip
"""What all runs have in common: told once, without a model's name."""


class EveryModel(Collector):
    """Of one model as ever; of several each series says which it is of."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def collect(self) -> Iterator[Metric]:
        if not self._catalog.several:
            yield from EdgeCollector(self._catalog.all[0].served).collect()
            return
        once = {f"edge_run_{name}" for name in OF_PROCESS}
        shared = {k: v for k, v in self._catalog.metrics.snapshot().items() if k in OF_SERVER}
        families: dict[str, Metric] = {}
        for one in self._catalog.all:
            for family in EdgeCollector(one.served, shared).collect():
                if family.name in once:
                    families.setdefault(family.name, family)
                    continue
                own = {"model": one.served.manifest.name}
                said = [sample._replace(labels={**own, **sample.labels}) for sample in family.samples]
                if family.name in families:
                    families[family.name].samples += said
                else:
                    family.samples, families[family.name] = said, family
        up = GaugeMetricFamily("edge_run_run_up", "0 of a run that has ended with an error.", labels=["model"])
        for run in self._catalog.told():
            up.add_metric([run["name"]], float(not run["ended"]))
        yield from (*families.values(), up)


class Exposition:
    """`/metrics` in the format that is asked for."""

    def __init__(self, catalog: Catalog) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(EveryModel(catalog))
        ProcessCollector(namespace="edge_run", registry=self._registry)

    def text(self, accept: str) -> tuple[bytes, str]:
        """The exposition and its content type."""
        encode, kind = choose_encoder(accept)
        return encode(self._registry), kind

"""What really runs: the model, its golden samples, its latency, the source, the broker."""

from __future__ import annotations

import os
import resource
import statistics
import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import msgspec

from edge.app import assembly, cascade, fits, joined, loading, profile, updating
from edge.app.loading import Loaded
from edge.data.join import JoinRules
from edge.engines import choose
from edge.errors import ConfigError, EndOfStream, FatalError, ModelError, SampleError, UnavailableError
from edge.model import golden
from edge.mqtt import join
from edge.mqtt.messages import Listener, MqttOptions
from edge.mqtt.options import broker_url
from edge.mqtt.session import MqttSession
from edge.pipeline.pipeline import Pipeline
from edge.plugins.contexts import SinkContext
from edge.plugins.protocols import RepairingEngine
from edge.plugins.reach import ReachableSink
from edge.remote.address import without_credentials
from edge.settings import runs
from edge.settings.settings import Settings
from edge.sources.synthetic import SyntheticSource
from edge.sources.uri import parse
from edge.telemetry import board
from edge.telemetry.clock import SystemClock
from edge.tools.doctor import repository
from edge.tools.doctor.boards import MB
from edge.tools.doctor.host import Host
from edge.tools.doctor.row import Row, fail, failed, ok, skip, warn

LATENCY_RUNS = 30
SLOW_MS = 1000.0
SOURCE_WAIT_S = 5.0
BROKER_WAIT_S = 8.0
SECOND_TRY_S = 2.0
"""After a first refusal: a broker that does not speak MQTT 5 is asked in 3.1.1."""


T = TypeVar("T")


class _Looked(msgspec.Struct, frozen=True):
    """A run, and its model where that could be loaded."""

    settings: Settings
    loaded: Loaded | None

    @property
    def name(self) -> str:
        """As its topics call it."""
        return self.loaded.manifest.name if self.loaded is not None else runs.name(self.settings)


def rows(settings: Settings, host: Host, broken: set[str], named: Settings | None = None) -> Iterator[Row]:
    """Model to broker. `broken` are wheels that do not load: what needs them is skipped. `named`: with the model that
    the user named, where `--updates` may have replaced it in `settings`."""
    looked: list[_Looked] = []
    several = len(settings.each) > 1
    for one in settings.each:
        found = yield from _labelled(_run(one, host, broken), runs.name(one) if several else "")
        looked.append(found)
    if several:
        yield _together(looked)
    yield _broker(settings)
    if settings.updates.uri is not None:
        yield _updates(named or settings, looked[0].loaded)
    for each in looked:
        yield from _labelled(_sinks(each.settings, each.loaded), each.name if several else "")


def _labelled(rows: Generator[Row, None, T], run: str) -> Generator[Row, None, T]:
    """Each row says which run it is of."""
    while True:
        try:
            row = next(rows)
        except StopIteration as end:
            found: T = end.value
            return found
        yield replace(row, run=run)


def _run(settings: Settings, host: Host, broken: set[str]) -> Generator[Row, None, _Looked]:
    settings = settings if broken else profile.apply(settings)
    loaded = yield from _model(settings, broken)
    if loaded is None:
        yield from (skip(part, "there is no model to try") for part in ("golden", "latency"))
    else:
        yield from _golden(loaded)
        yield _latency(settings, loaded, host)
    if settings.cascade.then is not None:
        yield from _then(settings, host)
    yield _source(settings, loaded)
    return _Looked(settings, loaded)


def _together(looked: Sequence[_Looked]) -> Row:
    """Whether they can be runs of one process."""
    try:
        joined.require_apart(looked)
    except ConfigError as exc:
        return failed("runs", exc, "change the file of --config")
    return ok("runs", ", ".join(one.name for one in looked))


def _model(settings: Settings, broken: set[str]) -> Generator[Row, None, Loaded | None]:
    if updating.awaited(settings):
        yield skip("model", f"{settings.model.file} is not here yet: the first start fetches it")
        return None
    try:
        mine = set(choose.find(settings.model.file, settings.model.engine)[1].packages)
    except FatalError:
        mine = set()  # told by what loads it
    if mine & broken:
        yield skip("model", f"{' and '.join(sorted(mine & broken))} does not load")
        return None
    try:
        loaded = loading.open_model(settings)
        fits.asked(settings, loaded)
    except FatalError as exc:
        yield failed("model", exc, "say another --model, or convert it again with edge-convert")
        return None
    yield ok("model", _model_text(loaded), name=loaded.manifest.name, task=loaded.manifest.task, sha256=loaded.sha256)
    yield from _doubts(loaded)
    return loaded


def _doubts(loaded: Loaded) -> Iterator[Row]:
    """What the log of a start warns of."""
    file = loaded.path.name
    for doubt in loaded.warnings:
        yield warn("reading", doubt, f"if it is not so: edge-run --model {file} FLAGS --describe > {file}.json")


def _model_text(loaded: Loaded) -> str:
    def brief(specs: Any) -> str:
        return ", ".join(f"{s.name} {s.dtype}{_shape(s.shape)}" for s in specs)

    size = loaded.path.stat().st_size
    text = f"{size / MB:.1f} MB" if size >= MB else f"{size / 1000:.0f} kB"
    guessed = f"; guessed: {' '.join(loaded.guesses)}" if loaded.guesses else ""
    repairs = loaded.engine.repairs if isinstance(loaded.engine, RepairingEngine) else ()
    mended = "".join(f"; mended: {repair}" for repair in repairs)
    return (
        f"{loaded.manifest.name}, {loaded.manifest.task}, {text}, {loaded.engine.name} {loaded.engine.version}; "
        f"in: {brief(loaded.engine.inputs)}; out: {brief(loaded.engine.outputs)}{guessed}{mended}"
    )


def _shape(shape: Sequence[int | str | None] | None) -> str:
    return "" if shape is None else f"[{', '.join('?' if d is None else str(d) for d in shape)}]"


def _golden(loaded: Loaded) -> Iterator[Row]:
    count = len(loaded.manifest.golden)
    try:
        worst = golden.replay(loaded.engine, loaded.manifest, file=loaded.path.name)
    except ModelError as exc:
        fix = (
            "convert it again on this board's versions, or try another engine version; --no-golden starts all the same"
        )
        yield failed("golden", exc, fix)
        return
    if count:
        yield ok("golden", f"{count} samples, off by {worst:.2g}", samples=count, worst=worst)
    else:
        yield skip("golden", "the file holds no golden samples (edge-convert --sample puts some in)")


def _latency(settings: Settings, loaded: Loaded, host: Host) -> Row:
    try:
        pipeline = assembly.make_pipeline(loaded, settings.topics.device)
        spent = _measure(settings, loaded, pipeline, host)
    except (FatalError, SampleError) as exc:
        return warn("latency", f"not measured: {exc}", "feed it one real sample: edge-run --source FILE --mqtt none")
    median, worst = statistics.median(spent), max(spent)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    text = f"{_ms(median)} median, {_ms(worst)} worst of {len(spent)}; {used:.0f} MB used"
    tuned = settings.model
    if tuned.tuned_for:
        text += f"; tuned for {tuned.tuned_for}: {tuned.provider}, threads {tuned.threads}"
    count = assembly.instances(settings, pipeline)
    if count > 1:
        text += f"; {count} instances side by side"
    elif settings.model.instances != 1:
        text += "; one instance" + ("" if pipeline.free else ": the model keeps something from one input to the next")
    facts = {"instances": count, "median_ms": median, "worst_ms": worst, "used_mb": used}
    if median < SLOW_MS:
        return ok("latency", text, **facts)
    spare = board.cores() - (settings.model.threads or 1)
    more = f"--threads {board.cores()}, " if spare > 0 else ""
    return warn("latency", text, f"{more}edge-convert --quantize int8, or a smaller model", **facts)


def _then(settings: Settings, host: Host) -> Iterator[Row]:
    """The second model of a cascade, and what an object costs."""
    try:
        loaded, gallery = cascade.open_second(settings)
        try:
            pipeline = assembly.make_pipeline(loaded, settings.topics.device)
            median = statistics.median(_measure(settings, loaded, pipeline, host))
        finally:
            loaded.engine.close()
    except (FatalError, SampleError) as exc:
        yield failed("then", exc, "name another --then") if isinstance(exc, FatalError) else warn("then", str(exc), "")
        return
    known = f"; a gallery of {gallery.size} vectors" if gallery is not None else ""
    yield ok("then", f"{_model_text(loaded)}; {_ms(median)} an object{known}", median_ms=median)
    yield from _doubts(loaded)


def _ms(spent: float) -> str:
    return f"{spent:.0f} ms" if spent >= 100 else f"{spent:.3g} ms"


def _measure(settings: Settings, loaded: Loaded, pipeline: Pipeline, host: Host) -> list[float]:
    """Milliseconds of some inferences on a made-up sample; fewer where each takes long."""
    sample = SyntheticSource(None, assembly.source_context(loaded, SystemClock(), settings)).read(0)
    if sample is None:
        raise SampleError("no synthetic sample")
    tensors = [p.tensors for p in pipeline.prepare([sample])[0].parts if p.reason is None]
    if not tensors:
        raise SampleError("a synthetic sample does not fit the model")
    spent: list[float] = []
    while len(spent) < LATENCY_RUNS and sum(spent) < 10 * SLOW_MS:
        started = host.perf_ns()
        pipeline.infer(tensors[0])
        spent.append((host.perf_ns() - started) / 1e6)
    return spent


def _source(settings: Settings, loaded: Loaded | None) -> Row:
    uri = settings.input.source
    if uri is None and settings.mqtt.url == "none" and settings.http.address is None:
        text = "--mqtt none without --source: nothing feeds the model"
        return fail("source", text, "name a --source or --http PORT", ConfigError.exit_code)
    if loaded is not None:
        try:
            fits.source(settings, loaded)
        except ConfigError as exc:
            return failed("source", exc, "another --source, or another --model")
    if (rules := assembly.join_rules(settings)) is not None:
        return _joined(rules, settings, loaded)
    if uri is None or uri == "-" or uri.startswith("mqtt:"):
        return ok("source", uri or ("requests over HTTP" if settings.mqtt.url == "none" else "the model's input topic"))
    if loaded is None:
        return skip("source", "there is no model to try it with")
    where = without_credentials(uri)
    try:
        source = assembly.make_source(uri, assembly.source_context(loaded, SystemClock(), settings))
        try:
            source.open()
            sample = source.read(SOURCE_WAIT_S)
        finally:
            source.close()
    except EndOfStream:
        return warn("source", f"{where}: it opens and is empty", "give it samples, or name another --source")
    except FatalError as exc:
        return failed("source", exc, "check --source")
    except (UnavailableError, SampleError) as exc:
        text, _, way_out = str(exc).partition("; ")
        fix = parse(uri).declared.fix
        return warn("source", text, f"{way_out}; {fix}" if way_out else fix)
    if sample is None:
        return warn("source", f"{where}: no sample within {SOURCE_WAIT_S:.0f} s", parse(uri).declared.fix)
    return ok("source", f"{where}: a sample came")


def _joined(rules: JoinRules, settings: Settings, loaded: Loaded | None) -> Row:
    if loaded is None:
        return skip("source", "there is no model that the joined topics could fit")
    try:
        join.check(rules, assembly.source_context(loaded, SystemClock(), settings).features)
    except ConfigError as exc:
        return failed("source", exc, "check [join]")
    return ok("source", f"{len({feature.topic for feature in rules.features})} topics, joined into rows")


def _updates(named: Settings, loaded: Loaded | None) -> Row:
    if loaded is None and not updating.awaited(named):
        return skip("updates", "there is no model whose name would be asked for")
    name, sha256 = (loaded.manifest.name, loaded.sha256) if loaded is not None else ("", "")
    return repository.row(named, name, sha256)


class _Waits(Listener):
    def __init__(self) -> None:
        self.answered = threading.Event()
        self.heard = threading.Event()
        self.reasons: list[str] = []

    def up(self, *, resumed: bool) -> None:
        self.answered.set()
        self.heard.set()

    def away(self, reason: str) -> None:
        self.reasons.append(reason)
        self.heard.set()


def _broker(settings: Settings) -> Row:
    if settings.mqtt.url == "none" or settings.mqtt.url.startswith("embedded"):
        return ok("broker", settings.mqtt.url)
    try:
        options = MqttOptions(
            url=broker_url(settings.mqtt),
            client_id=f"edge-run-check-{os.getpid()}",
            ca=settings.mqtt.ca,
            cert=settings.mqtt.cert,
            key=settings.mqtt.key,
        )
        reason = _reach(options)
    except ConfigError as exc:
        return failed("broker", exc, "check --mqtt")
    if reason is None:
        several = runs.connections(settings)
        return ok("broker", f"{options.url} answers; {several}" if several else f"{options.url} answers")
    here = options.url.host in ("localhost", "127.0.0.1", "::1")
    fix = "sudo apt install mosquitto, or name yours: --mqtt mqtt://HOST" if here else "is it on, and is --mqtt right?"
    if any(word in reason.lower() for word in ("authori", "password", "user name")):
        fix = "check the user in --mqtt and --mqtt-password-file"
    return warn("broker", f"{reason.partition('; ')[0]}; results will wait in the spool", fix)


def _sinks(settings: Settings, loaded: Loaded | None) -> Generator[Row, None, None]:
    """Those that can be asked; a terminal is the system's."""
    topics = settings.topics
    context = SinkContext(device=topics.device, model=loaded.manifest.name if loaded is not None else "")
    for uri in settings.output.sinks:
        name = uri.partition(":")[0]
        if name == "mqtt":
            continue  # the broker's row
        try:
            sink = assembly.make_sink(uri, context)
            if isinstance(sink, ReachableSink):
                reached = sink.reach()
                yield (
                    warn(name, f"{reached.text}; {reached.doubt}", reached.fix)
                    if reached.doubt
                    else ok(name, reached.text)
                )
        except FatalError as exc:
            yield failed(name, exc, "check --sink")
        except UnavailableError as exc:
            text, _, way_out = str(exc).partition("; ")
            yield warn(name, f"{text}; results will wait in the spool", way_out or "is it on, and is --sink right?")


def _reach(options: MqttOptions) -> str | None:
    """None where the broker answers, else why not. Raises ConfigError."""
    listener = _Waits()
    transport = MqttSession(options)
    transport.listen(listener)
    transport.start()
    if listener.heard.wait(BROKER_WAIT_S):
        listener.answered.wait(SECOND_TRY_S)
    answered, reasons = listener.answered.is_set(), list(listener.reasons)  # as they are before the stop adds to them
    transport.stop()
    if answered:
        return None
    return reasons[-1] if reasons else f"{options.url}: no answer in {BROKER_WAIT_S:.0f} s"

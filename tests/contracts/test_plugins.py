"""Our own plug-ins pass the checks that ship for strangers'."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from msgspec.structs import replace
from support.processes import Client

import edge.testing
from converter.plugins import ExporterInfo, Limits, PassInfo
from converter.testing import check_exporter, check_pass
from edge.data.message import Message
from edge.data.result import Classification, Regression
from edge.data.sample import EncodedImage, Image, ModelInput
from edge.data.tensor import TensorSpec
from edge.describe.head import HeadInfo
from edge.engines import onnxruntime
from edge.errors import SampleError
from edge.model.manifest import Feature, Input, Manifest, Window
from edge.mqtt.messages import Listener, MqttOptions
from edge.mqtt.session import MqttSession
from edge.mqtt.sink import MqttSink
from edge.mqtt.url import parse
from edge.plugins import capabilities, registry
from edge.plugins.columns import Columns, Words
from edge.plugins.contexts import SinkContext, SourceContext
from edge.plugins.declarations import Declaration
from edge.plugins.protocols import EngineOptions
from edge.plugins.rows import RowRules
from edge.preprocess import PreprocessorInfo
from edge.sinks.console import ConsoleSink
from edge.sinks.file import FileSink
from edge.sources import arrays, csv, files, lines, synthetic
from edge.storage.memory import MemorySpool
from edge.telemetry.clock import SystemClock
from edge.testing.checks import (
    check_column_postprocessor,
    check_column_preprocessor,
    check_engine,
    check_postprocessor,
    check_preprocessor,
    check_sink,
    check_source,
    check_spool,
)
from edge.testing.fakes import DoublingEngine, FakeBroker, ListSource

SPECS = (TensorSpec("x", "float32", (None, 2)),)


@pytest.fixture
def context():
    return SourceContext(clock=SystemClock(), features=("a", "b"), feature_kinds=("number",) * 2, input_specs=SPECS)


def test_lines_are_a_source(tmp_path, context):
    (tmp_path / "rows.jsonl").write_text("[1, 2]\n\n[3, 4]\n[5, 6]")
    check_source(lambda: lines.create(str(tmp_path / "rows.jsonl"), context), gives=3)


def test_csv_is_a_source(tmp_path, context):
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n3,4\n")
    check_source(lambda: csv.create(str(tmp_path / "rows.csv"), context), gives=2)


def test_arrays_are_a_source(tmp_path, context):
    np.save(tmp_path / "rows.npy", np.zeros((4, 2)))
    check_source(lambda: arrays.create(str(tmp_path / "rows.npy"), context), gives=4)


def test_files_are_a_source(tmp_path, context):
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text("[1, 2]")
    check_source(lambda: files.create(str(tmp_path), context), gives=2)


def test_synthetic_is_a_source(context):
    check_source(lambda: synthetic.create("5", context), gives=5)


def test_the_fake_source_is_a_source():
    check_source(lambda: ListSource([1, 2]), gives=2)


def test_a_source_that_is_ready_only_in_name_is_found_out():
    class Slow(ListSource):
        ready = True

        def read(self, timeout_s):
            return super().read(timeout_s) if timeout_s else None

    with pytest.raises(AssertionError, match="at once"):
        check_source(lambda: Slow([1, 2]), gives=2)


def test_a_source_that_repeats_and_says_not_what_its_samples_are_known_by_is_found_out():
    class Nameless(ListSource):
        repeats = True

    with pytest.raises(AssertionError, match="known by"):
        check_source(lambda: Nameless([1, 2]), gives=2)


def test_onnxruntime_is_an_engine(flowers):
    engine = onnxruntime.load(flowers.path, EngineOptions())
    check_engine(engine, {engine.inputs[0].name: np.ones((1, 4), dtype=np.float32)})


def test_the_fake_engine_is_an_engine():
    class Strict(DoublingEngine):
        def infer(self, tensors):
            from edge.errors import SampleError

            if set(tensors) != {"x"}:
                raise SampleError("no such input")
            return super().infer(tensors)

    check_engine(Strict(), {"x": np.ones((1, 1), dtype=np.float32)})


def test_the_console_is_a_sink(capsys):
    check_sink(ConsoleSink(readable=False))
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert printed == [{"n": n} for n in range(64)]


def test_a_file_is_a_sink(tmp_path):
    check_sink(FileSink(tmp_path / "out.jsonl"))
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 64


class Behind:
    """The other side of the fake broker, as the kit looks at it."""

    def __init__(self, broker):
        self.go_away, self.come_back, self._broker = broker.go_away, broker.come_back, broker

    def received(self):
        return [msgspec.json.encode(payload) for payload in self._broker.received]


def test_the_fake_broker_is_a_sink_and_can_be_lost():
    broker = FakeBroker()
    check_sink(broker, other=Behind(broker))


class Forgetful(FakeBroker):
    """Confirms what it was sent while it is away."""

    def send(self, entry):
        self._events.confirmed([entry.key])


class Silent(FakeBroker):
    """Never tells that it went."""

    def go_away(self):
        pass


class Parrot(FakeBroker):
    """Sends a message that waited as if it were new."""

    def send(self, entry):
        super().send(replace(entry, replayed=False))


class Eager(FakeBroker):
    """Confirms twice."""

    def send(self, entry):
        super().send(entry)
        self._events.confirmed([entry.key])


class Narrow(FakeBroker):
    """Takes less at once than it says."""

    def send(self, entry):
        if entry.key <= self.window // 2:
            super().send(entry)


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (Forgetful, "what did not arrive is not confirmed"),
        (Silent, "a loss is told"),
        (Parrot, "replayed"),
        (Eager, "each is confirmed once"),
        (Narrow, "every message of a full window is confirmed"),
    ],
)
def test_a_sink_that_breaks_a_promise_is_found_out(broken, promise):
    broker = broken()
    with pytest.raises(AssertionError, match=promise):
        check_sink(broker, other=Behind(broker), timeout_s=1)


def test_a_sink_that_cannot_refuse_is_found_out():
    with pytest.raises(AssertionError, match="a message that can never be sent is refused"):
        check_sink(FakeBroker(), refused=Message("result", b"{}", 1))


def test_mqtt_is_a_sink(broker):
    class Waits(Listener):
        def __init__(self):
            import threading

            self.connected = threading.Event()

        def up(self, *, resumed):
            self.connected.set()

    transport = MqttSession(MqttOptions(parse(broker.url), "checked"))
    waits = Waits()
    transport.listen(waits)
    listener = Client(broker.port, "base/#")
    transport.start()
    try:
        assert waits.connected.wait(150)
        sink = MqttSink(transport, SinkContext(model="m", topic="base"))
        sent = sink.window
        check_sink(sink)
        assert len(listener.wait_for("result", sent)) == sent
        assert listener.wait_for("error")[0] == {"n": 0, "replayed": True}
    finally:
        transport.stop()
        listener.close()


def test_memory_is_a_spool():
    check_spool(MemorySpool)


@pytest.mark.parametrize("group", ["edge.engines", "edge.sources", "edge.preprocess", "edge.postprocess"])
def test_every_registered_plugin_can_be_loaded(group):
    pytest.importorskip("cv2")
    names = registry.names(group)
    assert names
    for name in names:
        found = registry.find(group, name)
        assert callable(found) or isinstance(found, Declaration), name


def test_a_plugin_that_there_is_not_names_the_nearest():
    from edge.errors import ConfigError

    with pytest.raises(ConfigError, match="did you mean 'onnxruntime'"):
        registry.find("edge.engines", "onnxruntme")


ROWS = (TensorSpec("x", "float32", (None, 2)),)
FEATURES = (Feature(name="a"), Feature(name="b"))


@pytest.mark.parametrize(
    ("kind", "one", "payloads", "bad"),
    [
        ("table", Input(name="x", kind="table", features=FEATURES), [{"a": 1, "b": 2}, [3, 4]], [{"a": "x"}, "text"]),
        ("tensor", Input(name="x", kind="tensor"), [[1, 2], np.array([3.0, 4.0], np.float32)], [[1, 2, 3], {"z": 1}]),
        ("window", Input(name="x", kind="table", features=FEATURES, window=Window(size=3, hop=1)),
         [[1, 2], [3, 4], [5, 6], [7, 8]], ["text"]),
    ],
)  # fmt: skip
def test_our_preprocessors_pass_the_kit(kind, one, payloads, bad):
    specs = (TensorSpec("x", "float32", (None, 3, 2)),) if kind == "window" else ROWS
    declared = registry.declared(PreprocessorInfo, kind)
    check_preprocessor(lambda: declared.create(Manifest(name="m", inputs=(one,)), specs), payloads, specs, bad=bad)


def test_a_picture_preprocessor_passes_the_kit():
    cv2 = pytest.importorskip("cv2")
    specs = (TensorSpec("x", "float32", (1, 8, 8, 3)),)
    manifest = Manifest(name="m", inputs=(Input(name="x", kind="image", size=(8, 8)),))
    png = cv2.imencode(".png", np.full((6, 9, 3), 7, np.uint8))[1].tobytes()
    pixels = Image(np.zeros((9, 6, 3), np.uint8))
    declared = registry.declared(PreprocessorInfo, "image")
    check_preprocessor(lambda: declared.create(manifest, specs), [EncodedImage(png), pixels], specs,
                       bad=[EncodedImage(png[:20]), "text"])  # fmt: skip


class Plain:
    """A row of a number and 0."""

    def split(self, payload):
        return [payload]

    def __call__(self, sample):
        return ModelInput({"x": np.array([[sample.payload, 0]], np.float32)})


class Widening(Plain):
    def __call__(self, sample):
        return ModelInput({"x": np.zeros((1, 3), np.float32)})


class Renaming(Plain):
    def __call__(self, sample):
        return ModelInput({"y": np.zeros((1, 2), np.float32)})


class Credulous(Plain):
    def __call__(self, sample):
        return ModelInput({"x": np.zeros((1, 2), np.float32)})


class Unlike(Plain):
    def many(self, payloads):
        return [ModelInput({"x": np.ones((1, 2), np.float32)}) for _ in payloads]


class Counting(Plain):
    def __init__(self):
        self.seen = 0

    def __call__(self, sample):
        self.seen += 1
        return ModelInput({"x": np.array([[sample.payload, self.seen]], np.float32)})


class CountingAhead(Counting):
    ahead = True


class CountingFree(Counting):
    by_row = False


class Forgetful(Plain):
    keeps_pictures = False


class Blind(Plain):
    look = None


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (CountingAhead, "one that prepares ahead keeps nothing"),
        (CountingFree, "a free one keeps nothing"),
        (Forgetful, "with `keeps_pictures` the picture is there"),
        (Blind, "`look` is shown each picture"),
        (Widening, "does not fit"),
        (Renaming, "those of the engine's inputs"),
        (Credulous, "is refused with SampleError"),
        (Unlike, "`many` makes the same as one by one"),
    ],
)
def test_a_preprocessor_that_breaks_a_promise_is_found_out(broken, promise):
    with pytest.raises(AssertionError, match=promise):
        check_preprocessor(broken, [5, 6], ROWS, bad=["text"] if broken is Credulous else ())


class Rows(Plain):
    """Of rows by name, and of arrays of rows."""

    by_row = True

    def __init__(self):
        self.rules = RowRules()

    def split(self, payload):
        return payload if isinstance(payload, list) else [payload]

    def __call__(self, sample):
        further = [key for key in sample.payload if key != "a"]
        if further and not self.rules.ignore_unknown:
            raise SampleError(f"{further[0]} is no feature")
        for key in further:
            self.rules.left_out(key)
        return ModelInput({"x": np.array([[sample.payload["a"], 0]], np.float32)})


class Whole(Rows):
    def split(self, payload):
        return payload[:1] if isinstance(payload, list) else [payload]


class Lax(Rows):
    def __call__(self, sample):
        return ModelInput({"x": np.array([[sample.payload["a"], 0]], np.float32)})


class Silent(Rows):
    def __call__(self, sample):
        if len(sample.payload) > 1 and not self.rules.ignore_unknown:
            raise SampleError("a key is no feature")
        return ModelInput({"x": np.array([[sample.payload["a"], 0]], np.float32)})


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (Whole, "each element of an array of rows is a sample"),
        (Lax, "a key that is left out is told"),
        (Silent, "a key that is left out is told"),
    ],
)
def test_a_preprocessor_of_rows_that_breaks_a_promise_is_found_out(broken, promise):
    payloads = [{"a": 1}, [{"a": 1}, {"a": 2}]]
    check_preprocessor(Rows, payloads, ROWS)
    with pytest.raises(AssertionError, match=promise):
        check_preprocessor(broken, payloads, ROWS)


class Sure(DoublingEngine):
    """Refuses what it has no input for."""

    def infer(self, tensors):
        if set(tensors) != {"x"}:
            raise SampleError("no such input")
        return super().infer(tensors)


class Coupling(Sure):
    couples_rows = False

    def infer(self, tensors):
        return {"y": super().infer(tensors)["y"] + len(tensors["x"])}


class Remembering(Sure):
    remembers = True


class Stubborn(Remembering):
    total = 0.0

    def infer(self, tensors):
        outputs = super().infer(tensors)
        self.total += float(tensors["x"].sum())
        return {"y": outputs["y"] + self.total}

    def reset(self):
        """Forgets nothing."""


class Resetting(Stubborn):
    def reset(self):
        self.total = 0.0


class Mute(Sure):
    repairs = ("",)


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (Coupling, "a row beside it changes no output"),
        (Remembering, "one that remembers has `reset`"),
        (Stubborn, "after `reset` it answers as at the beginning"),
        (Mute, "words for a user"),
    ],
)
def test_an_engine_that_breaks_a_promise_is_found_out(broken, promise):
    inputs = {"x": np.ones((1, 1), np.float32)}
    check_engine(Resetting(), inputs)
    with pytest.raises(AssertionError, match=promise):
        check_engine(broken(), inputs)


def test_a_decoder_that_tells_what_is_below_its_threshold_is_found_out():
    class Low:
        threshold = 0.5

        def __call__(self, outputs, model_input):
            return [Classification(index=0, label="a", score=0.4)]

    with pytest.raises(AssertionError, match="nothing below its `threshold`"):
        check_postprocessor(Low(), {"y": np.ones((1, 1), np.float32)}, ModelInput({}))


def test_each_capability_has_its_check():
    kits = "\n".join(path.read_text() for path in Path(edge.testing.__file__).parent.rglob("*.py"))
    for seam in capabilities.SEAMS.values():
        for capability in capabilities.capabilities(seam):
            assert re.search(rf"isinstance\(\w+, {capability.__name__}\)", kits), capability.__name__


def texts(*values):
    return np.array(values, dtype=object)


MIXED = (Feature(name="a"), Feature(name="b", kind="text", values=("red", "blue")))
BY_COLUMN = tuple(Input(name=f.name, kind="column", features=(f,)) for f in MIXED)


@pytest.mark.parametrize(
    ("inputs", "specs", "columns"),
    [
        ((Input(name="x", kind="table", features=FEATURES),), ROWS,
         [np.array([1.0, 2.0, np.nan, 4.0]), np.array([1, 2, 3, 4])]),
        (BY_COLUMN, (TensorSpec("a", "float32", (None, 1)), TensorSpec("b", "string", (None, 1))),
         [np.array([1.0, 2.0, np.nan]), texts("red", "green", "blue")]),
    ],
    ids=["numbers", "a column each"],
)  # fmt: skip
def test_our_table_passes_the_kit_by_columns(inputs, specs, columns):
    declared = registry.declared(PreprocessorInfo, "table")
    check_column_preprocessor(lambda: declared.create(Manifest(name="m", inputs=inputs), specs), columns)


class Columnar(Plain):
    """Rows of two numbers, of which the first is at least 0."""

    def __call__(self, sample):
        if sample.payload[0] < 0:
            raise SampleError("below 0")
        return ModelInput({"x": np.array([sample.payload], np.float32)})

    def from_columns(self, columns):
        taken = columns[0] >= 0
        return {"x": np.stack(columns, axis=1)[taken].astype(np.float32)}, taken


class Rounding(Columnar):
    def from_columns(self, columns):
        tensors, taken = super().from_columns(columns)
        return {"x": tensors["x"].round()}, taken


class Wider(Columnar):
    def from_columns(self, columns):
        tensors, taken = super().from_columns(columns)
        return {"x": tensors["x"].astype(np.float64)}, taken


class TakingAll(Columnar):
    def from_columns(self, columns):
        return {"x": np.stack(columns, axis=1).astype(np.float32)}, np.ones(len(columns[0]), dtype=bool)


class TakingByNumber(Columnar):
    def from_columns(self, columns):
        tensors, taken = super().from_columns(columns)
        return tensors, np.flatnonzero(taken)


class Leaving(Columnar):
    def from_columns(self, columns):
        tensors, taken = super().from_columns(columns)
        return {"x": tensors["x"][:1]}, taken


class Changing(Columnar):
    def from_columns(self, columns):
        columns[1][:] = 0
        return super().from_columns(columns)


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (Plain, "it has `from_columns`"),
        (Rounding, "the values are those of the rows one by one"),
        (Wider, "float64, where a row by itself gives float32"),
        (TakingAll, "row 2 is refused by itself"),
        (TakingByNumber, "which rows are taken: bool"),
        (Leaving, "the rows that are taken"),
        (Changing, "the columns are not changed"),
    ],
)
def test_a_preprocessor_that_breaks_a_promise_of_columns_is_found_out(broken, promise):
    columns = [np.array([0.25, 1.5, -1.0]), np.array([1.0, 2.75, 3.0])]
    check_column_preprocessor(Columnar, columns)
    with pytest.raises(AssertionError, match=promise):
        check_column_preprocessor(broken, columns)


@pytest.mark.parametrize(
    ("task", "outputs", "more"),
    [
        ("regress", np.array([[1.5, 2.0], [3.25, 4.0]], np.float32), {}),
        ("classify", np.array([[0.1, 0.9], [0.6, 0.4], [0.45, 0.55]], np.float32), {"labels": ("a", "b")}),
        ("classify", np.array([[0.1, 0.9], [0.6, 0.4]], np.float32), {"labels": ("a", "b"), "threshold": 0.7}),
        ("anomaly", np.array([[0.5], [2.0]], np.float32), {"threshold": 1.0}),
    ],
    ids=["numbers", "classes", "classes above a threshold", "anomalies"],
)
def test_our_decoders_pass_the_kit_by_columns(task, outputs, more):
    specs = (TensorSpec("y", "float32", (None, outputs.shape[1])),)
    decode = registry.declared(HeadInfo, task).create(Manifest(name="m", task=task, **more), specs)
    check_column_postprocessor(decode, {"y": outputs}, len(outputs))


class Doubled:
    """Of each row one number, twice as large; nothing where it is below 0."""

    def __call__(self, outputs, model_input):
        value = float(outputs["y"][0, 0])
        return [Regression(name="y", value=2 * value)] if value >= 0 else []

    def to_columns(self, outputs, count):
        values = outputs["y"].reshape(count)
        return Columns({"y": 2 * values.astype(np.float64)}, values < 0)


class Undoubled(Doubled):
    def to_columns(self, outputs, count):
        values = outputs["y"].reshape(count)
        return Columns({"y": values.astype(np.float64)}, values < 0)


class NeverEmpty(Doubled):
    def to_columns(self, outputs, count):
        return Columns(super().to_columns(outputs, count).values)


class Short(Doubled):
    def to_columns(self, outputs, count):
        return Columns({"y": super().to_columns(outputs, count).values["y"][:1]})


class Wordy(Doubled):
    def to_columns(self, outputs, count):
        return Columns({"y": Words(np.arange(count), ["one"])})


class Misnamed(Doubled):
    def to_columns(self, outputs, count):
        found = super().to_columns(outputs, count)
        return Columns({"z": found.values["y"]}, found.empty)


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (lambda: lambda outputs, model_input: [], "it has `to_columns`"),
        (Undoubled, "row 0 says"),
        (NeverEmpty, "row 1 is empty where nothing was found"),
        (Short, "one value for each of 2 rows"),
        (Wordy, "its codes are places among its words"),
        (Misnamed, "row 0 says"),
    ],
)
def test_a_decoder_that_breaks_a_promise_of_columns_is_found_out(broken, promise):
    outputs = {"y": np.array([[1.0], [-1.0]], np.float32)}
    check_column_postprocessor(Doubled(), outputs, 2)
    with pytest.raises(AssertionError, match=promise):
        check_column_postprocessor(broken(), outputs, 2)


def test_the_kit_of_decoders_looks_at_columns_too():
    check_postprocessor(Doubled(), {"y": np.ones((1, 1), np.float32)}, ModelInput({}))
    with pytest.raises(AssertionError, match="row 0 says"):
        check_postprocessor(Undoubled(), {"y": np.ones((1, 1), np.float32)}, ModelInput({}))


def test_our_decoders_pass_the_kit():
    for name, outputs in (
        ("regress", {"y": np.array([[1.5]], np.float32)}),
        ("classify", {"y": np.array([[0.1, 0.9]], np.float32)}),
        ("raw", {"y": np.array([[1.0, 2.0]], np.float32)}),
    ):
        specs = (TensorSpec("y", "float32", (None, outputs["y"].shape[1])),)
        decode = registry.declared(HeadInfo, name).create(Manifest(name="m", task=name), specs)
        check_postprocessor(decode, outputs, ModelInput({}))


def test_a_decoder_that_is_not_pure_is_found_out():
    counted = iter(range(9))

    def decode(outputs, model_input):
        return [Regression(name="y", value=float(next(counted)))]

    with pytest.raises(AssertionError, match="it is pure"):
        check_postprocessor(decode, {"y": np.zeros((1, 1), np.float32)}, ModelInput({}))


def test_our_exporters_and_passes_pass_the_kit(flowers):
    made = check_exporter(registry.declared(ExporterInfo, "onnx"), flowers.path)
    check_pass(registry.declared(PassInfo, "free-batch"), made)


def test_a_pass_that_changes_the_answers_is_found_out(flowers):
    def bend(artifact, options):
        model = onnx.load_model_from_string(artifact.model)
        weights = next(n for n in model.graph.node if n.op_type == "LinearClassifier")
        next(a for a in weights.attribute if a.name == "coefficients").floats[0] += 5.0
        return artifact.with_model(model.SerializeToString(), after="bend")

    made = check_exporter(registry.declared(ExporterInfo, "onnx"), flowers.path)
    with pytest.raises(AssertionError, match="answers as the original"):
        check_pass(PassInfo(edge_api=1, run=bend, limits=Limits(difference=0.01, agreement=1)), made)

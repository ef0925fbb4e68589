"""PyTorch: what the file answers is what the module answers, for rows it has not seen."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from support.networks import TASKS, task, torch_answers, torch_network

import converter
import edge
from converter.cli import main
from converter.errors import SampleFileError, UnrecognisedError, UnsafeError, UnsupportedError


def run(path: Path, rows: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: rows})[0]


def export(torch: Any, kind: str, path: Path, **dims: Any) -> Path:
    rows = torch.from_numpy(task(TASKS[kind]).train[:4])
    auto = torch.export.Dim.AUTO
    shapes = ({0: auto, **{int(k[3:]): auto for k in dims}},)
    torch.export.save(torch.export.export(torch_network(kind), (rows,), dynamic_shapes=shapes), path)
    return path


@pytest.mark.parametrize("kind", sorted(TASKS))
def test_a_module_answers_as_before_for_rows_held_back(kind: str, torch: Any, tmp_path: Path) -> None:
    data, network = task(TASKS[kind]), torch_network(kind)

    path = converter.convert(network, sample=data.train[:60]).save(tmp_path / "m.onnx")

    np.testing.assert_allclose(run(path, data.held), torch_answers(network, data.held), atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("kind", ["words", "lstm"])
def test_a_sequence_may_be_shorter_than_the_sample(kind: str, torch: Any, tmp_path: Path) -> None:
    data, network = task(TASKS[kind]), torch_network(kind)

    path = converter.convert(network, sample=data.train[:60]).save(tmp_path / "m.onnx")

    shorter = data.held[:, :5]
    np.testing.assert_allclose(run(path, shorter), torch_answers(network, shorter), atol=2e-5)
    assert edge.load(path).manifest.inputs[0].shape[:2] == ("batch", "length")


class TooShortError(Exception):
    """A class that PyTorch has not."""


@pytest.mark.parametrize("error", [TooShortError("six steps"), AssertionError(), ZeroDivisionError(), KeyError(3)])
def test_whatever_a_forward_raises_for_a_length_is_no_traceback(error: Exception, torch: Any) -> None:
    class Picky(torch.nn.Linear):
        def forward(self, rows: Any) -> Any:
            if rows.shape[1] < 6:
                raise error
            return super().forward(rows).mean(dim=1)

    artifact = converter.convert(Picky(4, 3), sample=np.ones((8, 6, 4), np.float32))

    assert artifact.manifest.inputs[0].shape == ("batch", 6, 4)
    with pytest.raises(SampleFileError, match="does not take the sample"):
        converter.convert(Picky(4, 3), sample=np.ones((8, 5, 4), np.float32))


def test_a_length_that_the_module_fixes_is_not_called_free(torch: Any) -> None:
    class Fixed(torch.nn.Module):
        def forward(self, rows: Any) -> Any:
            return rows.reshape(rows.shape[0], 32)[:, :4]

    artifact = converter.convert(Fixed(), sample=np.ones((5, 4, 8), np.float32))

    assert artifact.manifest.inputs[0].shape == ("batch", 4, 8)


def test_a_module_that_mixes_rows_takes_one_at_a_time(torch: Any) -> None:
    class Mixes(torch.nn.Module):
        def forward(self, rows: Any) -> Any:
            count = int(rows.shape[0])  # a constant in the graph
            return rows.reshape(count, -1) * 2

    artifact = converter.convert(Mixes(), sample=np.ones((5, 3, 2, 2), np.float32))

    assert artifact.manifest.inputs[0].shape[0] in ("batch", 1)
    assert artifact.manifest.parity.passed


def test_dropout_and_batch_norm_are_those_of_inference_and_the_module_stays_in_training(torch: Any) -> None:
    network = torch_network("cnn")
    network.train()
    try:
        artifact = converter.convert(network, sample=task("digits").train[:60])
        assert network.training
    finally:
        network.eval()
    assert artifact.manifest.parity.max_difference < 1e-4


def test_several_outputs_keep_their_names_and_what_has_no_rows_is_left_out(torch: Any) -> None:
    class Several(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.LSTM(4, 3, num_layers=2, batch_first=True)

        def forward(self, rows: Any) -> dict[str, Any]:
            made, (hidden, _) = self.inner(rows)
            return {"mean": made.mean(1), "last": made[:, -1], "hidden": hidden}

    artifact = converter.convert(Several(), sample=np.random.default_rng(0).normal(size=(8, 6, 4)))

    assert [o.name for o in artifact.manifest.outputs] == ["mean", "last"]
    assert artifact.manifest.task == "raw"


def test_the_dimensions_of_an_exported_program_have_names(torch: Any, tmp_path: Path) -> None:
    source = export(torch, "words", tmp_path / "words.pt2", dim1=True)

    path = converter.convert(source, sample=task("words").train[:60]).save(tmp_path / "m.onnx")

    dims = [d.dim_param for d in onnx.load(path).graph.input[0].type.tensor_type.shape.dim]
    assert dims == ["batch", "length"]
    data = task("words")
    np.testing.assert_allclose(run(path, data.held), torch_answers(torch_network("words"), data.held), atol=2e-5)


def test_an_exported_program_needs_no_sample(torch: Any, tmp_path: Path) -> None:
    artifact = converter.convert(export(torch, "cnn", tmp_path / "digits.pt2"))

    assert artifact.manifest.parity.source == "generated"
    assert (artifact.manifest.name, artifact.manifest.inputs[0].kind) == ("digits", "image")


@pytest.mark.parametrize("form", ["module", "script", "program"])
def test_a_module_of_float64_tells_apart_what_float32_cannot(form: str, torch: Any, tmp_path: Path) -> None:
    module = torch.nn.Linear(2, 1).double().eval()
    with torch.no_grad():
        module.weight[:] = torch.tensor([[1.0, -1.0]])
    seconds = 1.7e9 + np.random.default_rng(0).uniform(0, 60, (40, 2))
    example = (torch.from_numpy(seconds[:3]),)
    model = {
        "module": lambda: module,
        "script": lambda: torch.jit.trace(module, example),
        "program": lambda: torch.export.export(module, example, dynamic_shapes=({0: torch.export.Dim.AUTO},)),
    }[form]()

    path = converter.convert(model, sample=seconds, task="regress").save(tmp_path / "m.onnx")

    np.testing.assert_allclose(run(path, seconds), module(torch.from_numpy(seconds)).detach().numpy(), atol=1e-6)


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_weights_of_half_precision_are_taken_as_float32(half: str, torch: Any, tmp_path: Path) -> None:
    module = torch.nn.Linear(10, 3).to(getattr(torch, half))
    rows = task("diabetes").held

    artifact = converter.convert(module, sample=rows)
    path = artifact.save(tmp_path / "m.onnx")

    np.testing.assert_allclose(run(path, rows), module.float()(torch.from_numpy(rows)).detach().numpy(), atol=1e-5)
    assert f"its weights are {half}" in artifact.notes[-1]


def test_layers_without_weights_are_refused_and_not_filled_by_chance(torch: Any) -> None:
    with pytest.raises(UnsupportedError, match="no weights yet"):
        converter.convert(torch.nn.Sequential(torch.nn.LazyLinear(3)), sample=task("diabetes").train)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda torch, x: torch.fft.fft(x), "complex numbers; give torch.view_as_real"),
        (lambda torch, x: x.bfloat16(), "bfloat16, which numpy and the device have not"),
        (lambda torch, x: x - x.mean(0), "depends on the rows that come with it"),
        (lambda torch, x: torch.nn.functional.dropout(x, 0.5), "otherwise each time it is asked"),
    ],
    ids=["complex", "bfloat16", "statistics of the batch", "chance"],
)
def test_answers_that_no_file_can_give_are_named(answer: Any, reason: str, torch: Any) -> None:
    class Module(torch.nn.Module):
        def forward(self, rows: Any) -> Any:
            return answer(torch, rows)

    with pytest.raises(edge.errors.ModelError, match=reason):
        converter.convert(Module(), sample=task("diabetes").train[:40])


def test_a_program_that_takes_bfloat16_is_refused(torch: Any) -> None:
    rows = (torch.zeros(4, 3, dtype=torch.bfloat16),)
    module = torch.nn.Linear(3, 2).bfloat16().eval()

    with pytest.raises(UnsupportedError, match=r"input 'input' is bfloat16.*: \.float\(\)"):
        converter.convert(torch.export.export(module, rows, dynamic_shapes=({0: torch.export.Dim.AUTO},)))


def test_a_program_for_a_fixed_number_of_rows_is_refused(torch: Any, tmp_path: Path) -> None:
    rows = torch.from_numpy(task("digits").train[:4])
    torch.export.save(torch.export.export(torch_network("cnn"), (rows,)), tmp_path / "four.pt2")

    with pytest.raises(UnsupportedError, match="exactly 4 rows"):
        converter.convert(tmp_path / "four.pt2")


def test_an_exported_program_that_pickles_runs_nothing(torch: Any, tmp_path: Path, capsys: Any) -> None:
    good, mark = export(torch, "mlp", tmp_path / "good.pt2"), tmp_path / "ran"

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return exec, (f"open({str(mark)!r}, 'w')",)

    torch.save((Payload(),), tmp_path / "payload.pt")
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(tmp_path / "bad.pt2", "w") as new:
        for name in old.namelist():
            inputs = name.endswith("sample_inputs/model.pt")
            new.writestr(name, (tmp_path / "payload.pt").read_bytes() if inputs else old.read(name))

    assert main([str(tmp_path / "bad.pt2"), "-o", str(tmp_path / "out.onnx")]) == 2
    assert ".exec" in capsys.readouterr().err
    assert not mark.exists()


def test_a_size_that_is_code_runs_nothing(torch: Any, tmp_path: Path) -> None:
    good, mark = export(torch, "mlp", tmp_path / "good.pt2"), tmp_path / "ran"
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(tmp_path / "bad.pt2", "w") as new:
        for name in old.namelist():
            text = old.read(name)
            if name.endswith("models/model.json"):
                text, count = re.subn(rb"Symbol\(", f"open({str(mark)!r}, 'w') or Symbol(".encode(), text)
                assert count
            new.writestr(name, text)

    with pytest.raises(UnsafeError, match="no size"):
        converter.convert(tmp_path / "bad.pt2")
    assert not mark.exists()


def test_torchscript_answers_as_before(torch: Any, tmp_path: Path) -> None:
    data, network = task("digits"), torch_network("cnn")
    torch.jit.trace(network, torch.from_numpy(data.train[:2])).save(str(tmp_path / "script.pt"))

    path = converter.convert(tmp_path / "script.pt", sample=data.train[:60]).save(tmp_path / "m.onnx")

    np.testing.assert_allclose(run(path, data.held), torch_answers(network, data.held), atol=2e-5)


def test_weights_alone_are_refused_with_the_way_out(torch: Any, tmp_path: Path) -> None:
    torch.save(torch_network("mlp").state_dict(), tmp_path / "weights.pt")

    with pytest.raises(UnsupportedError, match="nothing of the architecture"):
        converter.convert(tmp_path / "weights.pt", sample=task("diabetes").train[:9])


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickled_module_is_opened_with_trust_only(zipped: bool, torch: Any, tmp_path: Path) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(10, 2))
    torch.save(network, tmp_path / "module.pt", _use_new_zipfile_serialization=zipped)
    rows = task("diabetes").train[:40]

    with pytest.raises(UnsafeError, match=r"imports torch\.nn\.modules"):
        converter.convert(tmp_path / "module.pt", sample=rows)
    artifact = converter.convert(tmp_path / "module.pt", sample=rows, trust_pickle=True)

    assert artifact.manifest.parity.max_difference < 1e-5


def test_a_module_without_a_sample_says_what_it_needs(torch: Any) -> None:
    with pytest.raises(SampleFileError, match="give --sample"):
        converter.convert(torch_network("lstm"))


def test_rows_that_the_module_does_not_take_are_refused(torch: Any) -> None:
    with pytest.raises(SampleFileError, match="does not take the sample"):
        converter.convert(torch_network("mlp"), sample=np.ones((5, 9), np.float32))


def test_a_truncated_archive_is_told_in_a_line(torch: Any, tmp_path: Path, capsys: Any) -> None:
    source = export(torch, "mlp", tmp_path / "cut.pt2")
    source.write_bytes(source.read_bytes()[:-200])

    assert main([str(source), "-o", str(tmp_path / "out.onnx")]) == 3
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "out.onnx").exists()


def test_an_operator_that_onnx_lacks_is_named(torch: Any) -> None:
    class Lacks(torch.nn.Module):
        def forward(self, rows: Any) -> Any:
            return torch.linalg.eigvals(rows.reshape(-1, 2, 2)).real

    with pytest.raises(UnsupportedError, match="PyTorch cannot export"):
        converter.convert(Lacks(), sample=np.random.default_rng(0).normal(size=(5, 4)))


def layer(torch: Any, name: str) -> Any:
    """What PyTorch's own exporter has no ONNX for, or another, on rows of 13 x 9."""
    nn = torch.nn

    class Of(nn.Module):
        def forward(self, rows: Any) -> Any:
            rows = rows[:, 0]
            if name == "median":
                return torch.median(rows, dim=1)[0]
            if name == "median of an even number":
                return torch.median(rows[..., :8], dim=-1, keepdim=True)[0]
            if name == "distances":
                return torch.cdist(rows, rows[:, :3] * 2)
            return torch.cumprod(rows, dim=2)

    made = {
        "RReLU": lambda: nn.RReLU(0.2, 0.4),
        "largest, 1 axis": lambda: nn.Sequential(nn.Flatten(), nn.AdaptiveMaxPool1d(5)),
        "largest, 2 axes": lambda: nn.AdaptiveMaxPool2d((5, 2)),
        "divisor, ceil": lambda: nn.AvgPool2d(3, 2, ceil_mode=True, divisor_override=5),
        "divisor, padding": lambda: nn.AvgPool2d((3, 2), 2, 1, divisor_override=7),
        "divisor, gaps": lambda: nn.AvgPool2d(2, 3, divisor_override=3),
        "no divisor": lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
    }
    return made.get(name, Of)()


@pytest.mark.parametrize(
    "name",
    ["RReLU", "largest, 1 axis", "largest, 2 axes", "divisor, ceil", "divisor, padding", "divisor, gaps", "no divisor",
     "median", "median of an even number", "distances", "product"],
)  # fmt: skip
def test_what_the_exporter_lacks_answers_as_the_module(name: str, torch: Any, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(12, 1, 13, 9)).astype(np.float32)
    module = layer(torch, name).eval()

    path = converter.convert(module, sample=rows[:5], task="raw").save(tmp_path / "m.onnx")

    for held in (rows[5:], rows[5:6]):
        np.testing.assert_allclose(run(path, held), module(torch.from_numpy(held)).numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_a_bag_of_words_takes_their_numbers(mode: str, torch: Any, tmp_path: Path) -> None:
    words = np.random.default_rng(0).integers(0, 10, (12, 5))
    module = torch.nn.Sequential(torch.nn.EmbeddingBag(10, 4, mode=mode), torch.nn.Linear(4, 2))

    path = converter.convert(module, sample=words[:5], task="raw").save(tmp_path / "m.onnx")

    np.testing.assert_allclose(run(path, words), torch_answers(module, words), atol=1e-5)


def recurrent(torch: Any) -> Any:
    class Last(torch.nn.LSTM):
        def forward(self, rows: Any) -> Any:
            return super().forward(rows)[0]

    return Last(4, 6, proj_size=2, batch_first=True)


def normalised(torch: Any) -> Any:
    module = torch.nn.utils.weight_norm(torch.nn.Linear(4, 2))
    module(torch.ones(1, 4))  # from now on its weight is computed
    return torch.nn.Sequential(module)


@pytest.mark.parametrize(
    ("make", "shape", "way_out"),
    [
        (recurrent, (3, 4), "to TFLite"),
        (normalised, (4,), "remove_weight_norm"),
        (lambda torch: torch.nn.CrossMapLRN2d(3), (4, 6, 5), "train with LocalResponseNorm"),
        (lambda torch: torch.nn.FractionalMaxPool2d(2, output_size=2), (4, 6, 5), "take MaxPool"),
    ],
    ids=["projected", "weight norm", "across maps", "by chance"],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_layer_that_onnx_lacks_names_another(make: Any, shape: tuple[int, ...], way_out: str, torch: Any) -> None:
    with pytest.raises(UnsupportedError, match=way_out):
        converter.convert(make(torch), sample=np.ones((5, *shape), np.float32), task="raw")


@pytest.mark.parametrize("kind", ["cnn", "lstm", "transformer", "words", "mlp"])
def test_tflite_answers_as_the_module(kind: str, torch: Any, tmp_path: Path) -> None:
    pytest.importorskip("litert_torch")
    data, network = task(TASKS[kind]), torch_network(kind)

    artifact = converter.convert(network, target="tflite", sample=data.train[:30])
    path = artifact.save(tmp_path / "m.tflite")

    model = edge.load(path)
    spec, part = model.loaded.engine.inputs[0], model.manifest.inputs[0]
    rows = np.moveaxis(data.held[:20], 1, -1) if kind == "cnn" else data.held[:20]
    got = [next(iter(model.infer({spec.name: r[None].astype(spec.dtype)}).values()))[0] for r in rows]
    np.testing.assert_allclose(got, torch_answers(network, data.held[:20]), atol=2e-5, rtol=2e-5)
    assert part.layout == "NHWC"


@pytest.mark.parametrize("kind", ["cnn", "lstm", "words"])
def test_an_exported_program_becomes_tflite(kind: str, torch: Any, tmp_path: Path) -> None:
    pytest.importorskip("litert_torch")

    artifact = converter.convert(
        export(torch, kind, tmp_path / "m.pt2"), target="tflite", sample=task(TASKS[kind]).train[:30]
    )

    assert artifact.manifest.parity.max_difference < 2e-5


def test_torchscript_does_not_become_tflite(torch: Any, tmp_path: Path) -> None:
    pytest.importorskip("litert_torch")
    torch.jit.trace(torch_network("mlp"), torch.ones(2, 10)).save(str(tmp_path / "script.pt"))

    with pytest.raises(UnsupportedError, match=r"torch\.export\.save"):
        converter.convert(tmp_path / "script.pt", target="tflite", sample=np.ones((3, 10), np.float32))


def test_a_file_that_pytorch_does_not_know_is_told(torch: Any, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "odd.pt2", "w") as file:
        file.writestr("odd/archive_format", "pt2")

    with pytest.raises(UnrecognisedError, match="PyTorch cannot read it"):
        converter.convert(tmp_path / "odd.pt2")


def test_a_module_whose_buffers_are_its_state_is_refused_with_the_way_out(torch: Any, tmp_path: Path) -> None:
    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 3)
            self.register_buffer("held", torch.zeros(1, 3))

        def forward(self, rows: Any) -> Any:
            self.held.copy_(torch.tanh(self.layer(rows) + 0.5 * self.held).mean(0, keepdim=True))
            return self.held + rows[:, :3]

    module = Module().eval()
    torch.export.save(torch.export.export(module, (torch.ones(1, 4),)), tmp_path / "m.pt2")
    for model, sample in ((module, np.ones((5, 4), np.float32)), (tmp_path / "m.pt2", None)):
        with pytest.raises(UnsupportedError, match="what it writes into held counts for the next input"):
            converter.convert(model, sample=sample)


@pytest.mark.parametrize("keywords", [("extra",), ("rows", "extra")], ids=["one", "all"])
def test_a_program_exported_with_keyword_arguments_answers_as_the_module(
    keywords: tuple[str, ...], torch: Any, tmp_path: Path
) -> None:
    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = torch.nn.Linear(4, 3), torch.nn.Linear(2, 3)

        def forward(self, rows: Any, *, extra: Any) -> Any:
            return self.first(rows) - 2 * self.second(extra)

    module, given = Module().eval(), {"rows": torch.randn(2, 4), "extra": torch.randn(2, 2)}
    free = {name: {0: torch.export.Dim.AUTO} for name in given}
    positional = tuple(v for n, v in given.items() if n not in keywords)
    program = torch.export.export(module, positional, {n: given[n] for n in keywords}, dynamic_shapes=free)
    torch.export.save(program, tmp_path / "m.pt2")

    path = converter.convert(tmp_path / "m.pt2").save(tmp_path / "m.onnx")

    rows, extra = (np.random.default_rng(0).normal(0, 1, (7, n)).astype(np.float32) for n in (4, 2))
    got = ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"rows": rows, "extra": extra})[0]
    with torch.no_grad():
        wanted = module(torch.from_numpy(rows), extra=torch.from_numpy(extra)).numpy()
    np.testing.assert_allclose(got, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("forward", "way_out"),
    [
        (lambda self, x: self.layer(x) if x.sum() > 0 else -self.layer(x), "torch.where or torch.cond"),
        (lambda self, batch: self.layer(batch["rows"]), "need a module around it"),
        (lambda self, a, b: self.layer(a) + b, "a .npz with an array for each"),
        (lambda self, x: self.layer(x.half()), "leave .half"),
        (lambda self, x: self.layer(x)[x[:, 0] > 9], "no row left out"),
        (lambda self, x: self.norm(self.layer(x)), "track_running_stats=True"),
        (lambda self, x: self.always(self.layer(x)), "follow model.eval"),
    ],
    ids=["branch", "dict", "two tensors", "half inside", "mask", "no statistics", "never in eval mode"],
)
def test_a_refusal_says_the_way_out_in_one_line(forward: Any, way_out: str, torch: Any) -> None:
    class Always(torch.nn.BatchNorm1d):
        def train(self, mode: bool = True) -> Any:
            return super().train(True)

    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(10, 2)
            self.norm = torch.nn.BatchNorm1d(2, track_running_stats=False)
            self.always = Always(2)

    Module.forward = forward

    with pytest.raises(edge.errors.FatalError, match=way_out) as refused:
        converter.convert(Module(), sample=task("diabetes").train[:40])
    assert "\n" not in str(refused.value)

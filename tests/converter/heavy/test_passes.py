"""What quantisation and optimisation do to a file, in numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from support.networks import keras_network, task, torch_network

import converter
import edge
from converter.proof.parity import ParityError
from converter.quantization import static_int8
from edge.errors import ConfigError


def convert(kind: str, target: str = "onnx", **choices: Any) -> converter.Artifact:
    data = task("digits" if kind == "cnn" else "sequence")
    return converter.convert(
        torch_network(kind), target=target, sample=data.held[:200], expect=data.truth[:200], **choices
    )


def operators(artifact: converter.Artifact) -> list[str]:
    return [n.op_type for n in onnx.load_model_from_string(artifact.model).graph.node]


def test_nothing_of_the_build_machine_gets_into_the_file(torch: Any) -> None:
    # Level "all" writes kernels for this processor (com.microsoft, NCHWc) into it; those fail on ARM.
    artifact = convert("cnn")
    model = onnx.load_model_from_string(artifact.model)

    assert "optimize" in artifact.passes
    assert {n.domain for n in model.graph.node} == {""}
    assert "BatchNormalization" not in operators(artifact)


def test_simplifying_makes_the_graph_shorter_and_keeps_the_answers(torch: Any) -> None:
    artifact = convert("transformer")

    assert "simplify" in artifact.passes
    assert artifact.manifest.parity.max_difference < 1e-4


def test_fp16_halves_the_file_and_keeps_float32_at_its_ends(torch: Any) -> None:
    half, whole = convert("cnn", quantize="fp16"), convert("cnn")

    session = ort.InferenceSession(half.model, providers=["CPUExecutionProvider"])
    assert {v.type for v in (*session.get_inputs(), *session.get_outputs())} == {"tensor(float)"}
    assert len(half.model) < 0.65 * len(whole.model)
    assert half.manifest.parity.max_difference < 2e-2


@pytest.mark.parametrize("calibration", ["minmax", "entropy", "percentile"])
def test_int8_keeps_the_classes(calibration: Any, torch: Any) -> None:
    artifact = convert("cnn", quantize="int8", calibration=calibration)

    figures = artifact.manifest.parity
    assert operators(artifact).count("QuantizeLinear") >= 3
    assert figures.agreement >= 0.97
    assert figures.accuracy_after >= figures.accuracy_before - 0.02


def test_int8_weights_have_a_scale_for_each_channel(torch: Any) -> None:
    model = onnx.load_model_from_string(convert("cnn", quantize="int8").model)

    scales = {i.name: i.dims for i in model.graph.initializer if "scale" in i.name and "0.weight" in i.name}
    assert [list(d) for d in scales.values()] == [[12]]


def test_calibration_sees_all_rows_at_once(torch: Any) -> None:
    # One row at a time gave ranges that saturate.
    artifact = convert("cnn")

    reader = static_int8.calibration_reader(artifact, {})

    assert len(next(iter(reader.get_next().values()))) == 200
    assert reader.get_next() is None


def test_the_nodes_that_hurt_most_stay_in_float_until_the_accuracy_is_kept(torch: Any) -> None:
    network = torch.nn.Sequential(*torch_network("cnn")).eval()
    with torch.no_grad():  # one channel a thousand times as large as the others: int8 loses those
        stretched = torch.nn.Conv2d(12, 24, 3)
        stretched.weight.copy_(network[4].weight)
        stretched.bias.copy_(network[4].bias)
        scale = torch.ones(12)
        scale[0] = 3000.0
        stretched.weight.div_(scale[None, :, None, None])
        first = torch.nn.Conv2d(12, 12, 1, bias=False)
        first.weight.copy_(torch.diag(scale)[:, :, None, None])
    broken = torch.nn.Sequential(*network[:4], first, stretched, *network[5:]).eval()
    data = task("digits")
    rows = {"sample": data.held[:200], "expect": data.truth[:200]}

    all_int8 = converter.convert(broken, quantize="int8", force=True, **rows)
    kept = converter.convert(broken, quantize="int8", max_accuracy_drop=0.02, force=True, **rows)

    figures = kept.manifest.parity
    assert all_int8.manifest.parity.accuracy_after < figures.accuracy_before - 0.1
    assert figures.accuracy_after >= figures.accuracy_before - 0.02
    assert "nodes stay in float" in " ".join(kept.notes)
    assert "QuantizeLinear" in operators(kept)


def test_a_drop_that_nothing_keeps_is_refused(torch: Any) -> None:
    with pytest.raises(ConfigError, match="every node in float"):
        convert("cnn", quantize="int8", max_accuracy_drop=-0.5)


def test_dynamic_is_refused_where_it_makes_convolutions_slower(torch: Any) -> None:
    with pytest.raises(ConfigError, match="mostly convolutions"):
        convert("cnn", quantize="dynamic")


def test_dynamic_changes_matrix_products_only(torch: Any) -> None:
    artifact = convert("transformer", quantize="dynamic")

    assert "MatMulInteger" in operators(artifact)
    assert "ConvInteger" not in operators(artifact)
    assert artifact.manifest.parity.agreement >= 0.97
    assert not artifact.manifest.batch_independent, "a row's scale is that of its whole batch"


def test_trees_have_nothing_to_quantise(forest: Any, wine: Any) -> None:
    with pytest.raises(ConfigError, match="leave --quantize out"):
        converter.convert(forest, sample=wine.train, quantize="int8")


def test_int8_that_is_too_far_off_is_not_written(torch: Any) -> None:
    with pytest.raises(ParityError, match="differ, by up to"):
        convert("cnn", quantize="int8", tolerance=1e-6)


@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_auto_keeps_the_fastest_that_passes_and_shows_what_it_tried(target: str, torch: Any) -> None:
    artifact = convert("transformer", target=target, quantize="auto")

    chosen = [v for v in artifact.variants if v.chosen]
    passed = [v for v in artifact.variants if v.passed]
    assert sorted(v.name for v in artifact.variants) == ["dynamic", "fp16", "int8", "none"]
    assert len(chosen) == 1
    assert chosen[0].latency_ms <= 1.05 * min(v.latency_ms for v in passed)
    assert len(artifact.model) == chosen[0].size


def test_auto_counts_the_right_answers_by_the_names_of_the_flag(torch: Any) -> None:
    artifact = convert("cnn", quantize="auto", labels=tuple(f"digit {i}" for i in range(10)))

    assert all(v.accuracy > 0.9 for v in artifact.variants if v.passed)


def test_auto_leaves_out_what_the_tolerance_forbids(torch: Any) -> None:
    artifact = convert("transformer", quantize="auto", tolerance=1e-4)

    assert [v.name for v in artifact.variants if v.passed] == ["none"]
    assert [v.name for v in artifact.variants if v.chosen] == ["none"]


@pytest.mark.parametrize(("quantize", "smaller"), [("fp16", 0.75), ("dynamic", 0.6), ("int8", 0.6)])
def test_tflite_is_quantised_with_float_ends(quantize: Any, smaller: float, keras: Any, tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_quantizer")
    data = task("digits", channels="last")
    whole = converter.convert(keras_network("cnn"), target="tflite", sample=data.held[:60])

    artifact = converter.convert(
        keras_network("cnn"), target="tflite", sample=data.held, expect=data.truth, quantize=quantize
    )

    engine = edge.load(artifact.save(tmp_path / "m.tflite")).loaded.engine
    figures = artifact.manifest.parity
    assert {s.dtype for s in (*engine.inputs, *engine.outputs)} == {"float32"}
    assert len(artifact.model) < smaller * len(whole.model)
    assert figures.accuracy_after >= figures.accuracy_before - 0.02


def test_the_ranges_of_tflite_hold_all_rows(torch: Any) -> None:
    # A moving average of single rows, the library's own way, saturates: a third of these rows were off by 0.3 to 0.5.
    pytest.importorskip("ai_edge_quantizer")
    data = task("cancer")

    artifact = converter.convert(
        torch_network("binary"), target="tflite", sample=data.held, expect=data.truth, quantize="int8"
    )

    assert artifact.manifest.parity.max_difference < 0.1


def test_dynamic_tflite_says_which_engine_it_needs(torch: Any) -> None:
    pytest.importorskip("ai_edge_quantizer")

    assert "ai-edge-litert" in " ".join(convert("transformer", target="tflite", quantize="dynamic").notes)


@pytest.mark.parametrize(("target", "quantize"), [("tflite", "int8"), ("onnx", "fp16"), ("onnx", "dynamic")])
def test_an_accuracy_that_is_not_kept_is_refused(target: str, quantize: Any, torch: Any) -> None:
    pytest.importorskip("ai_edge_quantizer")

    with pytest.raises(ParityError, match="the accuracy drops by"):
        convert("transformer", target=target, quantize=quantize, max_accuracy_drop=-0.5)


def test_ranges_from_made_up_rows_are_called_weaker(torch: Any) -> None:
    made = converter.convert(torch_network("mlp"), quantize="int8")

    assert "made-up rows" in " ".join(made.notes)
    assert np.isfinite(made.manifest.parity.max_difference)

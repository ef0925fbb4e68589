#!/usr/bin/env bash
# onnxruntime 1.32.0: a model that makes numbers of text takes "21,5" for 21 and "2.5 bar" for 2.5, without an error.
#
# One would expect: what is no number is refused, as by ONNX's own reference evaluator, numpy and Python's float().
# What happens: Cast from text reads as far as a number goes and leaves out the rest. Only text that does not begin as a
# number at all is an error: "" and "n/a" are. The standard speaks of "undefined results" for what is none, and no more.
# Why it matters: a graph may take its columns as text (pipelines with text and numbers are exported so), and a decimal comma,
# a unit or a date comes out as a number that looks right. Make numbers of text before the model sees it.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cat > "$folder/cast.py" <<'PYTHON'
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

TEXTS = ["21,5", "2.5 bar", "24.12.2025", "1.234,5"]
node = helper.make_node("Cast", ["text"], ["number"], to=TensorProto.FLOAT)
inputs = [helper.make_tensor_value_info("text", TensorProto.STRING, [None])]
outputs = [helper.make_tensor_value_info("number", TensorProto.FLOAT, [None])]
model = helper.make_model(
    helper.make_graph([node], "g", inputs, outputs), opset_imports=[helper.make_opsetid("", 21)], ir_version=10
)
onnx.checker.check_model(model)
ort.set_default_logger_severity(4)
session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
(numbers,) = session.run(None, {"text": np.array(TEXTS, dtype=object)})
print("onnxruntime", ort.__version__, "onnx", onnx.__version__)
for text, number in zip(TEXTS, numbers, strict=True):
    try:
        other = ReferenceEvaluator(model).run(None, {"text": np.array([text], dtype=object)})[0]
    except ValueError as exc:
        other = exc
    print(f"{text!r:13} onnxruntime: {number:<8.6g} onnx.reference: {other}")
    assert isinstance(other, ValueError), "the reference evaluator has changed"
assert np.allclose(numbers, [21, 2.5, 24.12, 1.234]), "it has changed"
for text in ("", "n/a"):
    try:
        session.run(None, {"text": np.array([text], dtype=object)})
    except Exception as exc:
        print(f"{text!r:13} onnxruntime: {str(exc)[:60]}...")
    else:
        raise SystemExit(f"{text!r} is taken now: it has changed")
PYTHON
"$folder/venv/bin/python" "$folder/cast.py"

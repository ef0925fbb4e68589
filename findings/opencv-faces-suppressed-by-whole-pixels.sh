#!/usr/bin/env bash
# OpenCV 5.0.0 (FaceDetectorYN): small faces that overlap by more than nms_threshold are both found.
#
# One would expect: FaceDetectorYN.create(..., nms_threshold=0.3) gives no two faces whose boxes overlap by more than 0.3.
# What happens: boxes are cut to whole pixels (position and size) before they are suppressed, and told with their fractions
# behind. A box of 5.98 pixels counts as one of 5, so two that overlap by 0.33 count as overlapping by 0.25: both come.
# Why it matters: faces far away are a few pixels wide, and there one face is told twice; who suppresses the same outputs
# oneself, as ports of YuNet do, finds other faces. The way out is cv2.dnn.NMSBoxes with the boxes as they are, or a larger picture.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet opencv-python-headless==5.0.0.93 onnx==1.19.1
cd "$folder"
OPENCV_LOG_LEVEL=ERROR venv/bin/python - <<'PYTHON'
import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE, WIDE, STEP = 32, 5.98, 3.0
nodes, weights, outputs = [helper.make_node("ReduceSum", ["input"], ["sum"], keepdims=0)], [], []
weights.append(numpy_helper.from_array(np.zeros(1, np.float32), "nothing"))
nodes.append(helper.make_node("Mul", ["sum", "nothing"], ["zero"]))
for stride in (8, 16, 32):
    cells = (SIDE // stride) ** 2
    values = {"cls": np.zeros((1, cells, 1)), "obj": np.zeros((1, cells, 1)),
              "bbox": np.zeros((1, cells, 4)), "kps": np.zeros((1, cells, 10))}
    if stride == 8:  # two faces, of the cells 0 and 1: left edges at 4.9 and 7.9, both 5.98 pixels wide and high
        for cell, score in ((0, 0.9), (1, 0.8)):
            values["cls"][0, cell] = values["obj"][0, cell] = score
            centre = np.array((4.9 + STEP * cell, 4.9)) + WIDE / 2
            values["bbox"][0, cell] = *(centre / stride - (cell, 0)), *([np.log(WIDE / stride)] * 2)
    for kind, array in values.items():
        weights.append(numpy_helper.from_array(array.astype(np.float32), f"w_{kind}_{stride}"))
        nodes.append(helper.make_node("Add", ["zero", f"w_{kind}_{stride}"], [f"{kind}_{stride}"]))
        outputs.append(helper.make_tensor_value_info(f"{kind}_{stride}", TensorProto.FLOAT, array.shape))
picture = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
graph = helper.make_graph(nodes, "yunet", [picture], outputs, weights)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), "yunet.onnx")

detector = cv2.FaceDetectorYN.create("yunet.onnx", "", (SIDE, SIDE), score_threshold=0.6, nms_threshold=0.3)
_, faces = detector.detect(np.zeros((SIDE, SIDE, 3), np.uint8))
boxes = faces[:, :4].astype(float)
print("OpenCV", cv2.__version__, "boxes x, y, width, height:", boxes.round(2).tolist())
shared = (WIDE - STEP) * WIDE
print("overlap of the two %.3f, nms_threshold 0.300" % (shared / (2 * WIDE * WIDE - shared)))
kept = cv2.dnn.NMSBoxes(boxes.tolist(), faces[:, 14].tolist(), 0.6, 0.3)
print("FaceDetectorYN tells", len(faces), "- cv2.dnn.NMSBoxes with the same boxes keeps", len(kept))
assert len(kept) == 1
assert len(faces) == 2, "it has changed"
PYTHON

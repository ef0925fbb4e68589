#!/usr/bin/env bash
# skl2onnx 1.20.0 and scikit-learn 1.7.2: neighbours that are weighed by their distance weigh alike after the export.
#
# One would expect: KNeighborsRegressor(weights="distance") gives in ONNX Runtime what it gives in scikit-learn.
# What happens: the exported graph turns the sign of the distances round and cuts them off at 1e-6 afterwards, so that every
# neighbour has the weight of a million. The model answers as weights="uniform" would; nothing warns.
# Why it matters: the export loads, runs and looks plausible; only a comparison with the model itself shows it. The way out is
# to check an export by numbers on rows of one's own, and to take the sign and the bound out of the graph.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet skl2onnx==1.20.0 scikit-learn==1.7.2 onnxruntime==1.23.2 onnx==1.19.1
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnxruntime
import skl2onnx
import sklearn
from skl2onnx import to_onnx
from sklearn.neighbors import KNeighborsRegressor

random = np.random.default_rng(0)
rows = random.normal(size=(200, 3)).astype(np.float32)
values = (10 * rows[:, 0] + random.normal(size=200)).astype(np.float32)
asked = random.normal(size=(50, 3)).astype(np.float32)


def exported(weights):
    model = KNeighborsRegressor(5, weights=weights).fit(rows, values)
    session = onnxruntime.InferenceSession(to_onnx(model, rows[:1]).SerializeToString())
    (answer,) = session.run(None, {session.get_inputs()[0].name: asked})
    return model.predict(asked), answer.ravel()


print("skl2onnx", skl2onnx.__version__, "scikit-learn", sklearn.__version__, "onnxruntime", onnxruntime.__version__)
uniform, uniform_onnx = exported("uniform")
distance, distance_onnx = exported("distance")
print("uniform:  largest difference to scikit-learn %.6f" % abs(uniform - uniform_onnx).max())
print("distance: largest difference to scikit-learn %.6f" % abs(distance - distance_onnx).max())
print("distance: largest difference to scikit-learn's uniform %.6f" % abs(uniform - distance_onnx).max())
assert abs(uniform - uniform_onnx).max() < 1e-4
assert abs(distance - distance_onnx).max() > 0.1, "it has changed"
assert abs(uniform - distance_onnx).max() < 1e-3, "it has changed"
PYTHON

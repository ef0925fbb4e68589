#!/usr/bin/env bash
# skl2onnx 1.20.0 and scikit-learn 1.7.2: the scores of OneVsRestClassifier(LinearSVC) name another class than its label.
#
# One would expect: the second output of the exported classifier is scikit-learn's decision_function, the largest of it the
# class that is named.
# What happens: LinearSVC has no probabilities, only margins, of both signs. The exported graph divides the margins of a row by
# their sum as if they were probabilities. Where that sum is negative, on iris for each row, their order turns round: the label
# is right, and the class that it names has the smallest score.
# Why it matters: what sorts or cuts by score (the best five, a threshold) takes the least likely class first. The way out is to
# compare the scores of an export too, not its labels alone, or to calibrate the classifier before.
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
from sklearn.datasets import load_iris
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import LinearSVC

rows, classes = load_iris(return_X_y=True)
rows = rows.astype(np.float32)
model = OneVsRestClassifier(LinearSVC(random_state=0, max_iter=10000)).fit(rows, classes)
session = onnxruntime.InferenceSession(to_onnx(model, rows[:1], options={"zipmap": False}).SerializeToString())
labels, scores = session.run(None, {session.get_inputs()[0].name: rows})
margins = model.decision_function(rows)
wrong, turned = labels != model.predict(rows), scores.argmax(axis=1) != labels
print("skl2onnx", skl2onnx.__version__, "scikit-learn", sklearn.__version__, "onnxruntime", onnxruntime.__version__)
print("rows with another class than scikit-learn's: %d of %d" % (wrong.sum(), len(rows)))
print("rows whose largest score is of another class than the label: %d" % turned.sum())
print("largest difference of a score to a margin: %.3f" % abs(scores - margins).max())
print("rows whose margins have a negative sum: %d" % (margins.sum(axis=1) < 0).sum())
print("first row: margins %s, scores %s" % (margins[0].round(3), scores[0].round(3)))
assert not wrong.any() and turned.all(), "it has changed"
PYTHON

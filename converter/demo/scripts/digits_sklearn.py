"""Trains scikit-learn on its handwritten digits (8 x 8 pixels) and converts the model; change it into yours.

Writes digits.skops (the model), rows.csv and labels.csv (rows it has not seen, and what they are), row.json (one of
them) and digits.onnx (for edge-run).
"""

import json
from pathlib import Path

import skops.io
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import converter

digits = load_digits(as_frame=True)
seen, held, answers, held_answers = train_test_split(
    digits.data, digits.target, test_size=0.2, random_state=0, stratify=digits.target
)
model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(seen, answers)

skops.io.dump(model, "digits.skops")
held.to_csv("rows.csv", index=False)
held_answers.to_csv("labels.csv", index=False)
Path("row.json").write_text(json.dumps(held.iloc[0].to_dict()))

artifact = converter.convert(model, target="onnx", sample=held, expect=held_answers, name="digits")
converter.write(artifact, "digits.onnx")
print(artifact)

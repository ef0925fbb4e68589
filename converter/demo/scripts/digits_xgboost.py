"""Trains XGBoost on scikit-learn's handwritten digits (8 x 8 pixels) and converts the model; change it into yours.

Writes digits.ubj (the model), rows.csv and labels.csv (rows it has not seen, and what they are), row.json (one of
them) and digits.onnx (for edge-run).
"""

import json
from pathlib import Path

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from xgboost import XGBClassifier

import converter

digits = load_digits(as_frame=True)
seen, held, answers, held_answers = train_test_split(
    digits.data, digits.target, test_size=0.2, random_state=0, stratify=digits.target
)
model = XGBClassifier(n_estimators=40, max_depth=4, n_jobs=1).fit(seen, answers)

model.save_model("digits.ubj")
held.to_csv("rows.csv", index=False)
held_answers.to_csv("labels.csv", index=False)
Path("row.json").write_text(json.dumps(held.iloc[0].to_dict()))

artifact = converter.convert(model, target="onnx", sample=held, expect=held_answers, name="digits")
converter.write(artifact, "digits.onnx")
print(artifact)

"""A small model and the rows it has not seen."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

HELD_BACK = 0.2


@dataclass(frozen=True, slots=True)
class Trained:
    """Files for edge-convert and edge-run, and the truth to compare with: by row id, the digit."""

    model: Path
    sample: Path
    expect: Path
    rows: Path
    truth: dict[int, str]


def train(folder: Path) -> Trained:
    """A logistic regression on 8 x 8 pictures of digits: 1,437 to learn from, 360 held back."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from skops.io import dump

    digits = load_digits(as_frame=True)
    seen, held, seen_truth, held_truth = train_test_split(
        digits.data, digits.target, test_size=HELD_BACK, random_state=0, stratify=digits.target
    )
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(seen, seen_truth)
    files = Trained(
        model=folder / "digits.skops",
        sample=folder / "sample.csv",
        expect=folder / "expect.csv",
        rows=folder / "held-back.jsonl",
        truth={int(i): str(t) for i, t in held_truth.items()},
    )
    dump(model, files.model)
    seen[:300].to_csv(files.sample, index=False)
    seen_truth[:300].to_csv(files.expect, index=False)
    with files.rows.open("w") as out:
        for index, row in held.iterrows():
            out.write(json.dumps({"id": int(index), **row.to_dict()}) + "\n")
    return files

"""Trains PyTorch on digits that it draws itself (8 x 8 pixels) and converts the model; change it into yours.

Writes rows.csv and labels.csv (rows it has not seen, and what they are), row.json (one of them) and digits.onnx (for
edge-run).
"""

import json
from pathlib import Path

import numpy as np
import torch

import converter

FONT = ("75557", "26227", "71747", "71717", "55711", "74717", "74757", "71111", "75757", "75717")
"""Each digit in five rows of three pixels, as the bits of a number from 0 to 7."""
random = np.random.default_rng(0)
torch.manual_seed(0)


def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures [count, 64] from 0 to 16, somewhere on 8 x 8, with noise, and which digits they are."""
    digits = random.integers(0, 10, count)
    pictures = random.uniform(0, 5, (count, 8, 8)).astype(np.float32)
    for picture, digit in zip(pictures, digits, strict=True):
        top, left = random.integers(0, 4), random.integers(0, 6)
        bits = np.array([[int(row) >> shift & 1 for shift in (2, 1, 0)] for row in FONT[digit]])
        picture[top : top + 5, left : left + 3] += 11 * bits
    return pictures.reshape(count, 64), digits


seen, answers = draw(4000)
held, held_answers = draw(300)
model = torch.nn.Sequential(torch.nn.Linear(64, 96), torch.nn.ReLU(), torch.nn.Linear(96, 10))
optimizer = torch.optim.Adam(model.parameters(), 3e-3)
for _ in range(300):
    loss = torch.nn.functional.cross_entropy(model(torch.tensor(seen)), torch.tensor(answers))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
model.eval()

np.savetxt("rows.csv", held, delimiter=",", fmt="%.4g")
np.savetxt("labels.csv", held_answers, fmt="%d")
Path("row.json").write_text(json.dumps([round(float(value), 2) for value in held[0]]))

artifact = converter.convert(
    model, target="onnx", sample=held, expect=held_answers, name="digits", task="classify", labels=tuple("0123456789")
)
converter.write(artifact, "digits.onnx")
print(artifact)

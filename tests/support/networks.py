"""Small real networks on real rows: digits as pictures and as sequences, diabetes and breast cancer as tables.

The frameworks are imported where they are used: what asks for none of them runs without.
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import sklearn.datasets


@dataclass(frozen=True)
class Task:
    """Rows to train on and rows held back, as the networks take them."""

    train: np.ndarray
    target: np.ndarray
    held: np.ndarray
    truth: np.ndarray


@cache
def task(name: str, *, channels: str = "first") -> Task:
    """digits [rows, 1, 8, 8] (or channels last), sequence [rows, 8, 8], words [rows, 12], else [rows, features]."""
    if name in ("digits", "sequence"):
        rows, target = sklearn.datasets.load_digits(return_X_y=True)
        rows = (rows.reshape(-1, 8, 8) / 16).astype(np.float32)
        if name == "digits":
            rows = rows[:, None] if channels == "first" else rows[..., None]
    elif name == "words":
        random = np.random.default_rng(3)
        rows = random.integers(0, 40, (900, 12))
        target = (np.sum(rows > 20, axis=1) > 5).astype(np.int64) + (rows[:, 0] > 30)
    else:
        load = {"diabetes": sklearn.datasets.load_diabetes, "cancer": sklearn.datasets.load_breast_cancer}[name]
        rows, target = load(return_X_y=True)
        rows = ((rows - rows.mean(axis=0)) / rows.std(axis=0)).astype(np.float32)
    held = np.arange(len(rows)) % 3 == 0
    return Task(rows[~held], target[~held], rows[held], target[held])


@cache
def torch_network(kind: str) -> Any:
    """A trained nn.Module: "cnn", "lstm", "transformer", "words", "mlp" (one number) or "binary" (one logit)."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    made = {
        "cnn": lambda: nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(12, 24, 3),
            nn.ReLU(), nn.Flatten(), nn.Dropout(0.2), nn.Linear(96, 10),
        ),
        "lstm": lambda: _torch_lstm(nn),
        "transformer": lambda: _torch_transformer(torch, nn, words=0),
        "words": lambda: _torch_transformer(torch, nn, words=40),
        "mlp": lambda: nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 1)),
        "binary": lambda: nn.Sequential(nn.Linear(30, 8), nn.ReLU(), nn.Linear(8, 1)),
    }[kind]()  # fmt: skip
    data = task(TASKS[kind])
    rows, target = torch.from_numpy(data.train), torch.from_numpy(data.target)
    loss = {
        "mlp": lambda made: nn.functional.mse_loss(made[:, 0], target.float() / 100),
        "binary": lambda made: nn.functional.binary_cross_entropy_with_logits(made[:, 0], target.float()),
    }.get(kind, lambda made: nn.functional.cross_entropy(made, target))
    optimizer = torch.optim.Adam(made.parameters(), 1e-2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for _ in range(50):
        optimizer.zero_grad()
        loss(made(rows)).backward()
        optimizer.step()
    torch.set_num_threads(threads)
    return made.eval()


TASKS = {
    "cnn": "digits", "lstm": "sequence", "transformer": "sequence", "words": "words", "mlp": "diabetes",
    "binary": "cancer",
}  # fmt: skip


def _torch_lstm(nn: Any) -> Any:
    class Lstm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.out = nn.LSTM(8, 24, batch_first=True), nn.Linear(24, 10)

        def forward(self, rows: Any) -> Any:
            return self.out(self.inner(rows)[0][:, -1])

    return Lstm()


def _torch_transformer(torch: Any, nn: Any, words: int) -> Any:
    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(words, 16) if words else nn.Linear(8, 16)
            self.places = nn.Parameter(torch.randn(16, 16) * 0.1)
            layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
            self.inner, self.out = nn.TransformerEncoder(layer, 1), nn.Linear(16, 3 if words else 10)

        def forward(self, tokens: Any) -> Any:
            embedded = self.embed(tokens) + self.places[: tokens.shape[1]]
            return self.out(self.inner(embedded).mean(1))

    return Transformer()


def torch_answers(network: Any, rows: np.ndarray) -> np.ndarray:
    """The module's own."""
    import torch

    with torch.no_grad():
        return network(torch.from_numpy(rows)).numpy()


def keras_library() -> Any:
    """Keras on TensorFlow, without what they write at their import."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        import keras
    return keras


@cache
def keras_network(kind: str) -> Any:
    """A trained Keras model, with softmax or sigmoid where it classifies; kinds as for PyTorch."""
    keras = keras_library()
    keras.utils.set_random_seed(0)
    layers = keras.layers
    body: dict[str, Any] = {
        "cnn": lambda x: layers.Flatten()(
            layers.Conv2D(24, 3, activation="relu")(
                layers.MaxPooling2D()(layers.Conv2D(12, 3, padding="same", activation="relu")(x))
            )
        ),
        "lstm": lambda x: layers.LSTM(24)(x),
        "transformer": lambda x: _attended(layers, layers.Dense(16)(x)),
        "words": lambda x: _attended(layers, layers.Embedding(40, 16)(x)),
        "mlp": lambda x: layers.Dense(16, activation="relu")(x),
        "binary": lambda x: layers.Dense(8, activation="relu")(x),
    }
    head = {"mlp": (1, None, "mse"), "binary": (1, "sigmoid", "binary_crossentropy"), "words": (3, *_CLASSES)}
    data = task(TASKS[kind], channels="last")
    given = keras.Input(data.train.shape[1:], dtype="int32" if kind == "words" else "float32", name="rows")
    width, activation, loss = head.get(kind, (10, *_CLASSES))
    model = keras.Model(given, layers.Dense(width, activation=activation)(body[kind](given)), name=kind)
    model.compile(keras.optimizers.Adam(1e-2), loss)
    target = data.target / 100 if kind == "mlp" else data.target
    model.fit(data.train, target, epochs=6, batch_size=64, verbose=0)
    return model


_CLASSES = ("softmax", "sparse_categorical_crossentropy")


def _attended(layers: Any, embedded: Any) -> Any:
    attended = layers.MultiHeadAttention(2, 8)(embedded, embedded)
    # Not `+`: the old .h5 format cannot build an operation again that is no layer.
    return layers.GlobalAveragePooling1D()(layers.LayerNormalization()(layers.Add()([embedded, attended])))

"""Scores and probabilities: what turns the one into the other, and what watches that they are some."""

from __future__ import annotations

import logging
import math

import numpy as np

from edge.data.tensor import Array

log = logging.getLogger("edge.model")

ROUNDING = 0.02
"""How far probabilities of a quantised model may lie outside of 0 to 1 by rounding alone."""


def sigmoid(values: Array) -> Array:
    """1 / (1 + e^-x), without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * values)))


def softmax(values: Array) -> Array:
    """Along the last axis."""
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def activate(values: Array, activation: str) -> Array:
    """Scores to probabilities along the last axis: by "softmax", "sigmoid", or "" where they are some already."""
    if activation == "sigmoid":
        return sigmoid(values)
    return softmax(values) if activation == "softmax" else values


class Watch:
    """Sees that what is published as a probability is one, and says once where it is not. One thread at a time."""

    def __init__(self, model: str) -> None:
        """`model`: its name, for the log; "" where it is not known."""
        self._model = model
        self._told = False
        self.finite = True
        """Whether all of the scores that were seen last are numbers."""

    def __call__(self, scores: Array) -> Array:
        """The scores; what lies outside of 0 to 1 by rounding is set to the end."""
        self.finite = True
        if not scores.size:
            return scores
        low, high = float(scores.min()), float(scores.max())
        self.finite = math.isfinite(low) and math.isfinite(high)
        if low >= 0 and high <= 1:
            return scores
        if low >= -ROUNDING and high <= 1 + ROUNDING:
            return np.clip(scores, 0, 1)
        if not self._told and self.finite:
            self._told = True
            log.warning(
                "scores are no probabilities",
                extra={
                    **({"model": self._model} if self._model else {}),
                    "seen": f"{low:.3g} to {high:.3g}",
                    "fix": "--activation softmax, if they are logits",
                },
            )
        return scores

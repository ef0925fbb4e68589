"""Where boxes move: a Kalman filter of constant velocity for each of centre x, centre y, width and height.

The four are independent of one another in the model of SORT and ByteTrack (their matrices hold nothing across), so each
is a filter of two states, position and velocity, and those of all tracks are done at once without a matrix to invert.
The noise is ByteTrack's: shares of the box's height, for a step of a 30th of a second. Longer steps, where frames were
dropped or a board is slow, grow the uncertainty with time and not with frames.

Y. Zhang et al., ByteTrack: Multi-Object Tracking by Associating Every Detection Box, ECCV 2022 (arXiv 2110.06864);
A. Bewley et al., Simple Online and Realtime Tracking, ICIP 2016 (arXiv 1602.00763).
"""

from __future__ import annotations

import numpy as np

from edge.data.tensor import Array

STEPS_A_SECOND = 30.0
POSITION = 1 / 20
"""Standard deviation of a position, measured or after one step, as a share of the height."""
VELOCITY = 1 / 60
"""The same of a velocity, for each step; ByteTrack's 1/160 suits people in a street, and loses what turns."""


class Motion:
    """States of N boxes, float64: `mean` and `velocity` [N, 4], `cov` [3, N, 4]: variance of the position, covariance,
    variance of the velocity. Velocities are pixels a step."""

    def __init__(self) -> None:
        self.mean = np.empty((0, 4))
        self.velocity = np.empty((0, 4))
        self.cov = np.empty((3, 0, 4))

    def predict(self, seconds: float, unseen: Array) -> None:
        """All go on for so long; what was `unseen`, bool [N], no longer grows or shrinks."""
        steps = seconds * STEPS_A_SECOND
        self.velocity[unseen, 2:] = 0.0
        self.mean += self.velocity * steps
        self.mean[:, 2:] = np.maximum(self.mean[:, 2:], 1.0)
        height = self.mean[:, 3:] ** 2 * steps
        variance, shared, speed = self.cov
        variance += steps * (2 * shared + steps * speed) + POSITION**2 * height
        shared += steps * speed
        speed += VELOCITY**2 * height

    def update(self, which: Array, measured: Array) -> None:
        """`which` [K] were seen at `measured` [K, 4]."""
        variance, shared, speed = self.cov[:, which]
        noise = (POSITION * self.mean[which, 3:]) ** 2
        total = variance + noise
        gain, gain_speed = variance / total, shared / total
        off = measured - self.mean[which]
        self.mean[which] += gain * off
        self.velocity[which] += gain_speed * off
        self.cov[:, which] = (variance * (1 - gain), shared * (1 - gain), speed - gain_speed * shared)

    def add(self, measured: Array) -> None:
        """New ones [K, 4], which stand still as far as is known."""
        height = np.broadcast_to(measured[:, 3:], measured.shape)
        new = np.stack(((2 * POSITION * height) ** 2, np.zeros_like(measured), (10 * VELOCITY * height) ** 2))
        self.mean = np.concatenate((self.mean, measured))
        self.velocity = np.concatenate((self.velocity, np.zeros_like(measured)))
        self.cov = np.concatenate((self.cov, new), axis=1)

    def keep(self, which: Array) -> None:
        """Only these are left, bool [N]."""
        self.mean, self.velocity, self.cov = self.mean[which], self.velocity[which], self.cov[:, which]


def centred(corners: Array) -> Array:
    """Boxes x_min y_min x_max y_max [N, 4] as centre x, centre y, width, height."""
    size = corners[:, 2:] - corners[:, :2]
    return np.concatenate((corners[:, :2] + size / 2, size), axis=1)


def cornered(centres: Array) -> Array:
    """The other way."""
    half = centres[:, 2:] / 2
    return np.concatenate((centres[:, :2] - half, centres[:, :2] + half), axis=1)


def overlaps(a: Array, b: Array) -> Array:
    """Intersection over union of each box [N, 4] with each box [M, 4], corners, as [N, M]."""
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    np.maximum(sides, 0, out=sides)
    common = sides[..., 0] * sides[..., 1]
    area_a, area_b = ((c[:, 2] - c[:, 0]) * (c[:, 3] - c[:, 1]) for c in (a, b))
    union = area_a[:, None] + area_b[None, :] - common
    return np.asarray(common / np.maximum(union, 1e-9))

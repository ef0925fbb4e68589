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
    """States of N boxes, float64 [N, 5, 4]: mean, velocity, variance of the position, covariance, variance of the
    velocity. Velocities are pixels a step. In one array, since to take some of the rows costs the same for all five."""

    def __init__(self) -> None:
        self.state = np.empty((0, 5, 4))

    @property
    def mean(self) -> Array:
        """Centre x, centre y, width, height [N, 4]."""
        return self.state[:, 0]

    def predict(self, seconds: float, unseen: Array) -> None:
        """All go on for so long; what was `unseen`, bool [N], no longer grows or shrinks."""
        steps = seconds * STEPS_A_SECOND
        mean, velocity, variance, shared, speed = self.state.transpose(1, 0, 2)
        velocity[unseen, 2:] = 0.0
        mean += velocity * steps
        np.maximum(mean[:, 2:], 1.0, out=mean[:, 2:])
        height = mean[:, 3:] ** 2 * steps
        gained = steps * speed
        variance += steps * (2 * shared + gained) + POSITION**2 * height
        shared += gained
        speed += VELOCITY**2 * height

    def update(self, which: Array, measured: Array) -> None:
        """`which` [K] were seen at `measured` [K, 4]."""
        state = self.state[which]
        mean, velocity, variance, shared, speed = state.transpose(1, 0, 2)
        total = variance + (POSITION * mean[:, 3:]) ** 2
        gain, gain_speed = variance / total, shared / total
        off = measured - mean
        mean += gain * off
        velocity += gain_speed * off
        speed -= gain_speed * shared
        left = 1 - gain
        variance *= left
        shared *= left
        self.state[which] = state

    def add(self, measured: Array) -> None:
        """New ones [K, 4], which stand still as far as is known."""
        new = np.zeros((len(measured), 5, 4))
        new[:, 0] = measured
        new[:, 2] = (2 * POSITION * measured[:, 3:]) ** 2
        new[:, 4] = (10 * VELOCITY * measured[:, 3:]) ** 2
        self.state = np.concatenate((self.state, new))

    def keep(self, which: Array) -> None:
        """Only these are left, bool [N]."""
        self.state = self.state[which]


def centred(corners: Array) -> Array:
    """Boxes x_min y_min x_max y_max [N, 4] as centre x, centre y, width, height."""
    boxes = np.empty_like(corners)
    np.subtract(corners[:, 2:], corners[:, :2], out=boxes[:, 2:])
    np.add(corners[:, :2], boxes[:, 2:] / 2, out=boxes[:, :2])
    return boxes


def cornered(centres: Array) -> Array:
    """The other way."""
    boxes, half = np.empty_like(centres), centres[:, 2:] / 2
    np.subtract(centres[:, :2], half, out=boxes[:, :2])
    np.add(centres[:, :2], half, out=boxes[:, 2:])
    return boxes


def overlaps(a: Array, b: Array) -> Array:
    """Intersection over union of each box [N, 4] with each box [M, 4], corners, as [N, M]."""
    # Coordinates first, and whole rows of them: a last axis of two costs several times as much.
    a, b = a.T, b.T
    sides = np.minimum(a[2:, :, None], b[2:, None, :])
    sides -= np.maximum(a[:2, :, None], b[:2, None, :])
    np.maximum(sides, 0, out=sides)
    common = sides[0] * sides[1]
    area_a, area_b = ((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
    union = area_a[:, None] + area_b
    union -= common
    np.maximum(union, 1e-9, out=union)
    common /= union
    return np.asarray(common)

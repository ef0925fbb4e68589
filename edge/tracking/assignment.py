"""Which detection belongs to which track: the pairs whose gains add up to the most.

In most frames each track's best detection is nobody else's, and that is the answer. Only tracks that want the same, and
what they touch, go through the Hungarian method (H. W. Kuhn, 1955; with potentials, after J. Munkres, 1957).
"""

from __future__ import annotations

import math

import numpy as np

from edge.data.tensor import Array


def pairs(gain: Array) -> tuple[Array, Array]:
    """Of a matrix [N, M] rows and columns, int64 [K] each, in the order of the rows; only gains above 0 pair up."""
    if not gain.size:
        none = np.empty(0, dtype=np.int64)
        return none, none
    rows = (gain.max(axis=1) > 0).nonzero()[0]
    wanted = gain.argmax(axis=1)[rows]
    times = np.bincount(wanted, minlength=gain.shape[1])
    contested = times > 1
    if not contested.any():
        return rows, wanted
    in_rows, in_columns = _touched(gain > 0, contested)
    taken = np.full(len(gain), -1)
    taken[rows] = wanted
    at, to = np.flatnonzero(in_rows), np.flatnonzero(in_columns)
    solved = _hungarian(gain[np.ix_(at, to)])
    taken[at] = np.where(solved >= 0, to[solved], -1)
    rows = np.flatnonzero(taken >= 0)
    return rows, taken[rows]


def _touched(linked: Array, columns: Array) -> tuple[Array, Array]:
    """Rows and columns, as bool, that hang together with these columns."""
    while True:
        rows = np.asarray(linked[:, columns].any(axis=1))
        more = np.asarray(columns | linked[rows].any(axis=0))
        if (more == columns).all():
            return rows, columns
        columns = more


def _hungarian(gain: Array) -> Array:
    """The column of each row, -1 where none is worth it: each row has a column of its own that gains nothing. In plain
    numbers, since what contends is a handful: arrays pay off past a hundred columns."""
    count, columns = gain.shape
    width = columns + count
    nothing = [0.0] * count
    costs = [[-g if g > 0 else 0.0 for g in row] + nothing for row in gain.tolist()]
    row_of = [-1] * (width + 1)
    """By column the row it has; the last column is where a row begins its search."""
    rows_by, columns_by = [0.0] * count, [0.0] * (width + 1)
    for row in range(count):
        row_of[width] = row
        at = width
        least, before = [math.inf] * width, [-1] * width
        free, done = list(range(width)), []
        while row_of[at] >= 0:
            done.append(at)
            cost, paid = costs[row_of[at]], rows_by[row_of[at]]
            to, step = -1, math.inf
            for column in free:
                slack = cost[column] - paid - columns_by[column]
                if slack < least[column]:
                    least[column], before[column] = slack, at
                if least[column] < step:
                    to, step = column, least[column]
            for column in done:
                rows_by[row_of[column]] += step
                columns_by[column] -= step
            for column in free:
                least[column] -= step
            free.remove(to)
            at = to
        while at != width:
            row_of[at] = row_of[before[at]]
            at = before[at]
    found = np.full(count, -1)
    for column, row in enumerate(row_of[:columns]):
        if row >= 0 and gain[row, column] > 0:
            found[row] = column
    return found

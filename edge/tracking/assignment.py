"""Which detection belongs to which track: the pairs whose gains add up to the most.

In most frames each track's best detection is nobody else's, and that is the answer. Only tracks that want the same, and
what they touch, go through the Hungarian method (H. W. Kuhn, 1955; with potentials, after J. Munkres, 1957).
"""

from __future__ import annotations

import numpy as np

from edge.data.tensor import Array


def pairs(gain: Array) -> tuple[Array, Array]:
    """Of a matrix [N, M] rows and columns, int64 [K] each, in the order of the rows; only gains above 0 pair up."""
    if not gain.size:
        none = np.empty(0, dtype=np.int64)
        return none, none
    best = gain.argmax(axis=1)
    rows = np.flatnonzero(gain[np.arange(len(gain)), best] > 0)
    wanted = best[rows]
    if len(np.unique(wanted)) == len(wanted):
        return rows, wanted
    contested = np.bincount(wanted, minlength=gain.shape[1]) > 1
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
    """The column of each row, -1 where none is worth it: each row has a column of its own that gains nothing."""
    count, columns = gain.shape
    width = columns + count
    cost = np.zeros((count, width))
    cost[:, :columns] = -np.maximum(gain, 0)
    row_of = np.full(width + 1, -1)
    """By column the row it has; the last column is where a row begins its search."""
    rows_by, columns_by = np.zeros(count), np.zeros(width + 1)
    for row in range(count):
        row_of[width] = row
        at = width
        least, before = np.full(width, np.inf), np.full(width, -1)
        done = np.zeros(width + 1, dtype=bool)
        while row_of[at] >= 0:
            done[at] = True
            this = row_of[at]
            free = ~done[:width]
            slack = cost[this] - rows_by[this] - columns_by[:width]
            nearer = free & (slack < least)
            least[nearer], before[nearer] = slack[nearer], at
            to = int(np.where(free, least, np.inf).argmin())
            step = least[to]
            rows_by[row_of[done]] += step
            columns_by[done] -= step
            least[free] -= step
            at = to
        while at != width:
            row_of[at] = row_of[before[at]]
            at = int(before[at])
    found = np.full(count, -1)
    real = np.flatnonzero(row_of[:columns] >= 0)
    found[row_of[real]] = real
    return np.where((found >= 0) & (gain[np.arange(count), found] > 0), found, -1)

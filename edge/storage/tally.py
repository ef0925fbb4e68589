"""What waits in a spool, counted. A large file is counted and checked as it is read, a slice at a time: to do it at the
start, all of it would be read.

SQLite's check of a file cannot be done in slices. What each row's checksum does not tell is whether rows are missing
between it and the one before: a page in the place of another one. So keys have to go up within a slice, each slice
begins with the last row of the one before, and the end of the table is looked at when it is opened: new rows go there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container
from itertools import pairwise

import msgspec
from msgspec.structs import replace

from edge.storage.dbfile import DamagedError, bytes_in_use

SLICE = 500
LOOKED_AT = 50
"""Rows at the end of the table, several pages of them."""
YEAR_2020_NS = 1_577_836_800_000_000_000

_KEYS = "SELECT (SELECT min(key) FROM messages), (SELECT max(key) FROM messages)"
_COUNT = """SELECT count(*), coalesce(sum(size), 0), min(stored_ns), max(stored_ns) FROM messages
  WHERE key > ? AND key <= ?"""
_STRANGE = "UPDATE messages SET stored_ns = ? WHERE key <= ? AND (stored_ns < ? OR stored_ns > ?)"
_OLDEST = "SELECT stored_ns FROM messages ORDER BY key LIMIT 1"
_UP = "SELECT key, size FROM messages WHERE key >= ? ORDER BY key LIMIT ?"
_LAST = "SELECT key FROM messages ORDER BY key DESC LIMIT ?"


class Uncounted(msgspec.Struct, frozen=True):
    """Rows of an earlier life with keys above `after` and up to `until`, of `size` bytes at most."""

    after: int
    until: int
    size: int

    @property
    def count(self) -> int:
        """As far as their keys tell: of one that is missing between them nothing is known."""
        return self.until - self.after


class Tally(msgspec.Struct, frozen=True):
    """As of the last commit and the marks of `remove`. Replaced whole, so any thread may read it."""

    count: int = 0
    size: int = 0
    oldest_ns: int | None = None
    rest: Uncounted | None = None

    @property
    def all_count(self) -> int:
        """Of what is counted and what is not; 0 only where nothing waits."""
        return self.count + (0 if self.rest is None else self.rest.count)

    @property
    def all_size(self) -> int:
        """At most."""
        return self.size + (0 if self.rest is None else self.rest.size)

    def less(self, rows: list[tuple[int, int]]) -> Tally:
        """Without these, by key and size."""
        rest = self.rest
        counted = [size for key, size in rows if rest is None or not rest.after < key <= rest.until]
        fewer = replace(self, count=self.count - len(counted), size=self.size - sum(counted))
        return fewer if fewer.all_count else replace(fewer, oldest_ns=None)


def of_file(db: sqlite3.Connection) -> Tally:
    """Nothing is counted yet. Raises DamagedError where the end of the table is not in order."""
    first, last = db.execute(_KEYS).fetchone()
    if last is None:
        return Tally()
    _check([key for (key,) in db.execute(_LAST, (LOOKED_AT,))][::-1])
    return Tally(rest=Uncounted(first - 1, last, bytes_in_use(db)))


def count_slice(db: sqlite3.Connection, tally: Tally, removed: Container[int]) -> Tally:
    """The next slice is checked and counted, without what was `removed` meanwhile. Raises DamagedError."""
    rest = tally.rest
    if rest is None:
        return tally
    rows = db.execute(_UP, (rest.after, SLICE)).fetchall()
    _check([key for key, _ in rows])
    sizes = [size for key, size in rows if rest.after < key <= rest.until and key not in removed]
    to = rows[-1][0] if len(rows) == SLICE else rest.until
    left = replace(rest, after=to, size=max(0, rest.size - sum(sizes))) if to < rest.until else None
    return replace(tally, count=tally.count + len(sizes), size=tally.size + sum(sizes), rest=left)


def count_rest(db: sqlite3.Connection, tally: Tally, opened_ns: int) -> Tally:
    """In a transaction, without rows that are marked as removed: all that is left is counted. Stamps that cannot be
    true, before 2020 or after `opened_ns`, become that."""
    rest = tally.rest
    if rest is None:
        return tally
    count, size, first, last = db.execute(_COUNT, (rest.after, rest.until)).fetchone()
    if count and (first < YEAR_2020_NS or last > opened_ns):
        db.execute(_STRANGE, (opened_ns, rest.until, YEAR_2020_NS, opened_ns))
    return replace(tally, count=tally.count + count, size=tally.size + size, rest=None)


def with_oldest(db: sqlite3.Connection, tally: Tally, opened_ns: int) -> Tally:
    """Since when the oldest waits."""
    row = db.execute(_OLDEST).fetchone()
    if row is None:
        return replace(tally, oldest_ns=None)
    believable = tally.rest is None or YEAR_2020_NS <= row[0] <= opened_ns
    return replace(tally, oldest_ns=int(row[0]) if believable else opened_ns)


def _check(keys: list[int]) -> None:
    for one, other in pairwise(keys):
        if other <= one:
            raise DamagedError(f"row {other} stands behind row {one}")

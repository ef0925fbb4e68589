"""The durable spool: one SQLite file, its log (`-wal`) and a lock beside it.

**Promise.** When `append` has returned, what it was given survives a killed process and a power cut: the
commit is synced (`synchronous=FULL`) before it returns. All messages of one `append` are one transaction, so
they cost one sync: this is the commit window, and its length is the caller's choice. What was not appended yet
is the caller's to lose. `remove` promises less and costs less: what it was told is marked in memory, deleted in
batches (256 keys, five seconds, the next `append`, or at once when nothing waits any more) and not synced. A
crash brings back at most those: repeats, which a consumer drops by `id`. With `forgets_at_once` each `remove` deletes,
without a sync: only a power cut brings something back.

**Format.** `PRAGMA application_id` is "ern1", `user_version` 1; a file with others is set aside like a damaged
one. Table `messages`, by age: `key`, growing and never used twice by a process; `stored_ns`; `kind` (0 result,
1 error, 2 answer, 3 event; 16 more where `payload` holds words too, see `dbfile.py`); `seq`; `size`; `crc` (CRC-32 of
all that follows and precedes it but the times: SQLite's pages have no checksum, so a rotten card would otherwise
publish rot); reply `topic` and `correlation`; `origin`, by which a source knows an input again whose result is here;
`payload`.

**Limits.** `max_bytes` counts payload, reply topic and correlation data. A row adds about 30 bytes and pages are
4 KiB, so the file takes 1.1 times that for results of 300 bytes, 1.3 for 100, and 2 at worst (just over 2 KB).
Pages that fall free are used again before the file grows, and an emptied file is cut back to a few pages. The log
adds 4 MiB, or what a single `append` writes. Up to three damaged files are kept; what is older goes. Past the
limits the oldest go, counted in `dropped` and `dropped_by`: "full", "age", "damaged".

**Age** is counted on a clock of the spool's own: the system's, read once at `open`, carried on by the monotonic
one. A clock that jumps, as on a board without a battery when NTP sets it, ages nothing. Stamps of earlier runs
that cannot be true (before 2020, or in the future) count from `open`.

**Power cut.** The log is synced at each append; frames that were torn or lost behind the last sync fail their
checksum and are dropped at the next `open`. The log is copied into the file after 4 MiB, log synced first, file
synced before the log is used again. So after a cut the file holds every message whose `append` returned, less
what `remove` was told, plus perhaps what was under way. This asks of the disk that a sync is one; a card that
lies about it can lose what it had claimed.

**Wear.** An append costs one page of log (4 KiB) and one more for each page it fills: with what was confirmed
deleted along, 8 KB a message one by one and 0.75 KB in groups of 64, for messages of 300 bytes. The file is written
once in 4 MiB of log, and of messages that are gone by then nothing is written to it. There is no `-shm` file, no
second writer, no `auto_vacuum` (its map would be written with every page).

**Start.** A file of up to 16 MB is checked and counted whole. A larger one is as it is read (`tally.py`): until then
`len` and `bytes` say what its keys and pages tell, which is at most too much.

**Damage.** A file that is garbage, cut short, holds wrong pages or rows is set aside as `<name>.damaged-<time>`;
rows that can be read are carried over, with their keys. What is missing then is counted as "damaged" where it is
known how much there was. Damage inside the log looks like the end of it: SQLite drops what follows.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from edge.data.message import Message
from edge.data.units import SECOND_NS
from edge.errors import UnavailableError
from edge.plugins.contexts import SpoolContext
from edge.plugins.declarations import SpoolInfo
from edge.plugins.protocols import Clock, Entry
from edge.storage import dbfile
from edge.storage.dbfile import COLUMNS, INSERT, DamagedError, message_of, named, row_of
from edge.storage.lock import SpoolLock
from edge.storage.memory import size_of
from edge.storage.tally import Tally, count_rest, count_slice, of_file, with_oldest
from edge.telemetry.clock import SystemClock

log = logging.getLogger("edge.storage")

REMOVE_BATCH = 256
REMOVE_AFTER_NS = 5_000_000_000
QUIET_NS = SECOND_NS
SHRINK_PAGES = 1024

T = TypeVar("T")

_SELECT = f"SELECT {COLUMNS} FROM messages WHERE key > ? ORDER BY key LIMIT ?"  # noqa: S608 - our own constant
_SIZES = "SELECT key, size FROM messages WHERE key IN (SELECT value FROM json_each(?))"
_DELETE = "DELETE FROM messages WHERE key IN (SELECT value FROM json_each(?))"
_NEWEST = "SELECT origin FROM messages ORDER BY key DESC LIMIT ?"


class SqliteSpool:
    """All methods are called by one thread at a time; `len`, `bytes`, `oldest_ns` and the counts from any."""

    durable = True

    def __init__(
        self,
        path: Path,
        max_bytes: int,
        max_age_s: float | None = None,
        clock: Clock | None = None,
        *,
        forgets_at_once: bool = False,
    ) -> None:
        """`forgets_at_once`: as `SpoolContext`'s. After a power cut it may come back all the same."""
        self._path = path
        self._remove_batch = 1 if forgets_at_once else REMOVE_BATCH
        self._max_bytes = max_bytes
        self._max_age_ns = None if max_age_s is None else int(max_age_s * SECOND_NS)
        self._clock = clock or SystemClock()
        self._lock = SpoolLock(path)
        self._db: sqlite3.Connection | None = None
        self._checked = False
        self._next_key = 1
        self._earlier = self._opened_ns = 0
        self._base_ns: int | None = None
        self._tally = Tally()
        self._removed: set[int] = set()
        self._removed_since_ns = self._appended_ns = 0
        self._kept = False  # the disk has refused to delete
        self.dropped = 0
        self.dropped_by: dict[str, int] = {"full": 0, "age": 0, "damaged": 0}
        self.damaged = 0

    # --- the seam -----------------------------------------------------------------------------------

    def open(self) -> None:
        """Raises SpoolError where another process holds the spool or the folder can never be used."""
        self._attempt(lambda _: None)

    def append(self, messages: Sequence[Message]) -> list[int]:
        """One transaction, synced before it returns. Raises UnavailableError, and then nothing was stored."""
        if not messages:
            return []
        return self._attempt(lambda db: self._store(db, messages))

    def after(self, key: int, limit: int) -> list[Entry]:
        """Entries that were there at `open` count as replayed: they have outlived the process that made them."""
        if self._too_old():
            self._attempt(self._drop_aged)
        return self._attempt(lambda db: self._read(db, key, limit))

    def remove(self, keys: Iterable[int]) -> None:
        """Marks, and now and then deletes. Raises UnavailableError where not even a mark can be made."""
        wanted = [k for k in keys if k not in self._removed]
        sizes = self._attempt(lambda db: db.execute(_SIZES, (_json(wanted),)).fetchall()) if wanted else []
        if sizes:
            if not self._removed:
                self._removed_since_ns = self._clock.monotonic_ns()
            self._removed.update(k for k, _ in sizes)
            self._tally = self._tally.less(sizes)
        if self._removal_due():
            self._flush()

    def origins(self, limit: int) -> list[bytes]:
        """Those of the newest `limit` that wait."""
        return self._attempt(lambda db: [row[0] for row in db.execute(_NEWEST, (limit,)) if row[0] is not None])

    def __len__(self) -> int:
        return self._tally.all_count

    @property
    def bytes(self) -> int:
        """Bytes of payload, reply topic and correlation data that wait."""
        return self._tally.all_size

    @property
    def oldest_ns(self) -> int | None:
        """About when the oldest entry was stored, on the system's clock; None where nothing waits."""
        return self._tally.oldest_ns

    def close(self) -> None:
        """Deletes what was marked, folds the log into the file, lets the next process in."""
        if self._db is not None and self._removed:
            self._flush()
        self._disconnect()
        self._lock.release()

    # --- the connection -----------------------------------------------------------------------------

    def _attempt(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Does `work`, once more after a damaged file was set aside. Connects where there is no connection."""
        try:
            return self._try(work)
        except DamagedError as exc:
            self._set_aside(exc)
        return self._try(work)

    def _try(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._db is None:
            self._connect()
        assert self._db is not None
        with named(self._path):
            return work(self._db)

    def _connect(self) -> None:
        self._lock.acquire()
        small = dbfile.is_small(self._path)
        db = dbfile.connect(self._path, check=small and not self._checked)
        try:
            with named(self._path):
                self._take_stock(db, at_once=small)
        except UnavailableError:
            dbfile.close(db)
            raise
        self._checked = True
        self._db = db

    def _disconnect(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            dbfile.close(db)

    def _take_stock(self, db: sqlite3.Connection, *, at_once: bool) -> None:
        """Counts what is there, or leaves it for when it is read. What `remove` marked before the connection was lost
        is deleted first."""
        if self._base_ns is None:
            self._base_ns = self._clock.time_ns() - self._clock.monotonic_ns()
        now = self._now_ns()
        self._transact(db, lambda: self._delete_removed(db), durable=False)
        self._removed.clear()
        self._opened_ns = now
        self._tally = of_file(db)
        self._earlier = 0 if self._tally.rest is None else self._tally.rest.until
        self._next_key = max(self._next_key, self._earlier + 1)
        if at_once:
            self._transact(db, lambda: self._count_rest(db), durable=False)
        self._tally = with_oldest(db, self._tally, now)

    def _count_rest(self, db: sqlite3.Connection) -> None:
        self._tally = count_rest(db, self._tally, self._opened_ns)

    def _set_aside(self, reason: DamagedError) -> None:
        counted = self._opened_ns and self._tally.rest is None
        known, self._checked = len(self) if counted else None, False
        self._disconnect()
        self._lock.acquire()
        aside, saved = dbfile.set_aside(self._path, self._clock.time_ns())
        self._connect()
        lost = None if known is None else max(0, known - len(self))
        self.damaged += 1
        self._drop("damaged", lost or 0)
        log.error(
            "spool damaged, set aside",
            extra={
                "spool": str(self._path),
                "aside": str(aside),
                "reason": str(reason),
                "saved": saved,
                "gone": "not known: the file was damaged before it was counted" if lost is None else lost,
            },
        )

    # --- inside a transaction -----------------------------------------------------------------------

    def _transact(self, db: sqlite3.Connection, work: Callable[[], T], *, durable: bool) -> T:
        db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        db.execute("BEGIN IMMEDIATE")
        try:
            done = work()
            db.execute("COMMIT")
        except sqlite3.Error as exc:
            self._undo(db, exc)
            raise
        return done

    def _undo(self, db: sqlite3.Connection, cause: sqlite3.Error) -> None:
        # After a failed sync the kernel may call the lost pages clean: only the file itself can be believed then.
        unsure = getattr(cause, "sqlite_errorcode", 0) in (
            sqlite3.SQLITE_IOERR_FSYNC,
            sqlite3.SQLITE_IOERR_DIR_FSYNC,
            sqlite3.SQLITE_READONLY_DBMOVED,
        )
        try:
            if db.in_transaction:
                db.execute("ROLLBACK")
        except sqlite3.Error:
            unsure = True
        if unsure and db is self._db:
            self._disconnect()

    def _store(self, db: sqlite3.Connection, messages: Sequence[Message]) -> list[int]:
        keys = list(range(self._next_key, self._next_key + len(messages)))
        now = self._now_ns()
        # One that would never fit costs nobody else the place.
        fitting = [(k, size, m) for k, m in zip(keys, messages, strict=True) if (size := size_of(m)) <= self._max_bytes]
        incoming = sum(size for _, size, _ in fitting)
        first = 0
        while incoming > self._max_bytes:
            incoming -= fitting[first][1]
            first += 1
        rows = [row_of(k, now, size, m) for k, size, m in fitting[first:]]

        def work() -> tuple[Tally, dict[str, int]]:
            # Where some of these have to go, all that is older goes before them.
            tally, dropped = self._clear(db, -1 if first else self._max_bytes - incoming)
            db.executemany(INSERT, rows)
            return replace(tally, count=tally.count + len(rows), size=tally.size + incoming), dropped

        tally, dropped = self._transact(db, work, durable=True)
        self._next_key = keys[-1] + 1
        self._appended_ns = self._clock.monotonic_ns()
        self._committed(db, tally, dropped)
        self._drop("full", len(messages) - len(rows))
        return keys

    def _drop_aged(self, db: sqlite3.Connection) -> None:
        self._committed(db, *self._transact(db, lambda: self._clear(db, self._max_bytes), durable=False))

    def _clear(self, db: sqlite3.Connection, allowed: int) -> tuple[Tally, dict[str, int]]:
        """Deletes what was marked, then the oldest until `allowed` bytes are left and none is too old."""
        self._delete_removed(db)
        if self._tally.all_size > allowed or self._too_old():
            self._count_rest(db)
        tally, dropped, last = self._tally, {"full": 0, "age": 0}, 0
        if tally.size > allowed or self._too_old():
            horizon = self._horizon_ns()
            for key, size, stored_ns in db.execute("SELECT key, size, stored_ns FROM messages ORDER BY key"):
                if tally.size <= allowed and stored_ns >= horizon:
                    break
                dropped["full" if tally.size > allowed else "age"] += 1
                tally = replace(tally, count=tally.count - 1, size=tally.size - size)
                last = key
            db.execute("DELETE FROM messages WHERE key <= ?", (last,))
        return tally, dropped

    def _delete_removed(self, db: sqlite3.Connection) -> None:
        if self._removed:
            db.execute(_DELETE, (_json(list(self._removed)),))

    def _committed(self, db: sqlite3.Connection, tally: Tally, dropped: dict[str, int]) -> None:
        self._removed.clear()
        self._kept = False
        self._tally = with_oldest(db, tally, self._opened_ns)
        for reason, count in dropped.items():
            self._drop(reason, count)

    # --- reading and forgetting ---------------------------------------------------------------------

    def _read(self, db: sqlite3.Connection, key: int, limit: int) -> list[Entry]:
        rows = db.execute(_SELECT, (key, limit + len(self._removed))).fetchall()
        # Before the last row of a slice is given out: the next one begins with it, and what is given out may go.
        while (
            rows and (rest := self._tally.rest) is not None and rows[0][0] <= rest.until and rows[-1][0] >= rest.after
        ):
            self._tally = count_slice(db, self._tally, self._removed)
        waiting = [row for row in rows if row[0] not in self._removed]
        return [Entry(row[0], message_of(row), row[0] <= self._earlier) for row in waiting[:limit]]

    def _removal_due(self) -> bool:
        if not self._removed:
            return False
        now = self._clock.monotonic_ns()
        # At once where nothing waits: the outage is over. But not while messages come and go one by one, for
        # then the next append deletes along, without a commit of its own.
        idle = len(self) == 0 and now - self._appended_ns >= QUIET_NS
        late = now - self._removed_since_ns >= REMOVE_AFTER_NS
        return late or (not self._kept and (idle or len(self._removed) >= self._remove_batch))

    def _flush(self) -> None:
        """Deletes what was marked. Where the disk refuses, the marks stay: at worst they become repeats."""
        try:
            self._attempt(self._delete)
        except UnavailableError as exc:
            self._removed_since_ns, self._kept = self._clock.monotonic_ns(), True
            log.warning("spool keeps what was confirmed", extra={"spool": str(self._path), "reason": str(exc)})

    def _delete(self, db: sqlite3.Connection) -> None:
        self._transact(db, lambda: self._delete_removed(db), durable=False)
        self._committed(db, self._tally, {})
        if len(self) == 0 and db.execute("PRAGMA page_count").fetchone()[0] > SHRINK_PAGES:
            db.execute("VACUUM")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _now_ns(self) -> int:
        return (self._base_ns or 0) + self._clock.monotonic_ns()

    def _horizon_ns(self) -> int:
        return 0 if self._max_age_ns is None else self._now_ns() - self._max_age_ns

    def _too_old(self) -> bool:
        oldest = self._tally.oldest_ns
        return oldest is not None and oldest < self._horizon_ns()

    def _drop(self, reason: str, count: int) -> None:
        self.dropped += count
        self.dropped_by[reason] += count


def _json(keys: Sequence[int]) -> str:
    return msgspec.json.encode(keys).decode()


def create(context: SpoolContext) -> SqliteSpool:
    """A file `<path>.spool`; nothing is opened yet."""
    path = context.path.with_name(f"{context.path.name}.spool")
    return SqliteSpool(path, context.max_bytes, context.max_age_s, forgets_at_once=context.forgets_at_once)


SPOOL = SpoolInfo(edge_api=1, create=create)

"""The file below `edge.storage.sqlite`: opening it, telling what its errors mean, setting a damaged one aside."""

from __future__ import annotations

import logging
import os
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from edge.data.message import Kind, Message, Words
from edge.data.sample import Reply
from edge.data.units import SECOND_NS
from edge.errors import SpoolError, UnavailableError
from edge.storage.atomic import sync_folder
from edge.storage.lock import folder_error

log = logging.getLogger("edge.storage")

APPLICATION_ID = 0x65726E31
FORMAT = 1
KINDS: tuple[Kind, ...] = ("result", "error", "answer", "event")
WORDED = 16
"""Added to a kind: the payload column holds the payload's length, the payload, and its words as MessagePack."""
ASIDE_KEPT = 3
SMALL = 16_000_000
"""Bytes that are read in a moment, from a card too."""
_VERSIONS = (b"\2\2\0\x40\x20\x20", b"\1\1\0\x40\x20\x20")  # with a log, and before it has one
_SALVAGE_ROWS = 1000
_PIECE = 1 << 20

COLUMNS = "key, stored_ns, kind, seq, size, crc, topic, correlation, origin, payload"
INSERT = f"INSERT INTO messages ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - our own constant
_SCHEMA = """CREATE TABLE messages (
  key INTEGER PRIMARY KEY,
  stored_ns INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  size INTEGER NOT NULL,
  crc INTEGER NOT NULL,
  topic BLOB,
  correlation BLOB,
  origin BLOB,
  payload BLOB NOT NULL
)"""
_PRAGMAS = (
    "PRAGMA page_size=4096",
    "PRAGMA locking_mode=EXCLUSIVE",  # before WAL: the index of the log is then kept in memory, without a -shm file
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA wal_autocheckpoint=1000",
    "PRAGMA journal_size_limit=4194304",
    "PRAGMA secure_delete=OFF",  # Debian's SQLite overwrites what is deleted: a second write to the card for nothing
    "PRAGMA cell_size_check=ON",
    "PRAGMA mmap_size=0",  # a card that goes away is an error here, not a SIGBUS
    "PRAGMA cache_size=-2048",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA trusted_schema=OFF",
)

Row = tuple[Any, ...]


class DamagedError(UnavailableError):
    """The file is not what we wrote: it has to be set aside."""


def connect(path: Path, *, check: bool) -> sqlite3.Connection:
    """Opens or creates the file; `check` reads all of it. Raises DamagedError, SpoolError, UnavailableError."""
    if path.exists() and not path.is_file():  # a link to /dev/null, too, whose rights would be those of a spool
        raise SpoolError(
            f"{path}: a folder or a device, where the spool's file belongs; move it, or pass another --state-dir"
        )
    _check_header(path)
    with named(path, opening=True):
        _make_private(path)
        db = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
    db.text_factory = bytes  # we store no text: where damage makes some, it must not fail to decode
    try:
        with named(path, opening=True):
            _prepare(db, path, check=check)
    except UnavailableError:
        close(db)
        raise
    return db


def is_small(path: Path) -> bool:
    """Whether the whole file is checked and counted when it is opened; a larger one as it is read."""
    try:
        return path.stat().st_size <= SMALL
    except OSError:
        return True  # told by what opens it


def bytes_in_use(db: sqlite3.Connection) -> int:
    """Of the pages that hold something."""
    pages, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def close(db: sqlite3.Connection) -> None:
    """Closes a connection of which nothing more is asked, not even that it closes well."""
    with suppress(sqlite3.Error):
        db.close()


def _prepare(db: sqlite3.Connection, path: Path, *, check: bool) -> None:
    for pragma in _PRAGMAS:
        db.execute(pragma).fetchall()
    tables = db.execute("SELECT sql FROM sqlite_schema").fetchall()
    identity = (db.execute("PRAGMA application_id").fetchone()[0], db.execute("PRAGMA user_version").fetchone()[0])
    if not tables and identity == (0, 0):
        db.execute("BEGIN IMMEDIATE")
        db.execute(_SCHEMA)
        db.execute(f"PRAGMA application_id={APPLICATION_ID}")
        db.execute(f"PRAGMA user_version={FORMAT}")
        db.execute("COMMIT")
        return
    if identity != (APPLICATION_ID, FORMAT) or tables != [(_SCHEMA.encode(),)]:
        raise DamagedError(f"{path}: application {identity[0]:#x} format {identity[1]}, not this spool's own")
    if check:
        _read_through(path)
        verdict = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != (b"ok",):
            raise DamagedError(f"{path}: {verdict[0].decode(errors='replace') if verdict else 'unreadable'}")


def _read_through(path: Path) -> None:
    """Front to back, into the system's memory: SQLite's check goes from the back to the front, page by page, where no
    disk reads ahead. Cold, 275 MB took 3.8 s that way and take 0.7 s this way; a card gains more.
    """
    with suppress(OSError), path.open("rb", buffering=0) as file:  # what cannot be read, the check will tell
        piece = bytearray(_PIECE)
        while file.readinto(piece):
            continue


def _check_header(path: Path) -> None:
    """Some damage here makes SQLite take the file for a read-only one, or another's, instead of a damaged one."""
    try:
        with path.open("rb") as file:
            head = file.read(24)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise folder_error(path, exc) from exc
    if head and (head[:18] != b"SQLite format 3\0\x10\0" or head[18:] not in _VERSIONS):
        raise DamagedError(f"{path}: begins with {head!r}, not as this spool does")


def _make_private(path: Path) -> None:
    """Results are nobody else's to read. By its name, never by a descriptor: to close one drops SQLite's locks."""
    try:
        if not path.exists():
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            return
        for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
            if file.exists() and file.stat().st_mode & 0o077:
                file.chmod(0o600)
    except OSError as exc:
        raise folder_error(path.parent, exc) from exc


@contextmanager
def named(path: Path, *, opening: bool = False) -> Iterator[None]:
    """SQLite's errors by their codes: damage, or a disk that is full, read-only or gone."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise
    except UnicodeDecodeError as exc:  # a damaged schema, quoted in the error that sqlite3 tried to raise
        raise DamagedError(f"{path}: {exc}") from exc
    except sqlite3.DatabaseError as exc:
        code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        if code == sqlite3.SQLITE_IOERR_CORRUPTFS or code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise DamagedError(f"{path}: {exc}") from exc
        if code == sqlite3.SQLITE_ERROR:
            if not opening:
                raise  # our own statement is wrong: a bug
            raise DamagedError(f"{path}: {exc}") from exc
        name = getattr(exc, "sqlite_errorname", "SQLITE_ERROR")
        raise UnavailableError(f"{path}: {exc} ({name}); free space on, or mend, the disk that holds it") from exc


def row_of(key: int, stored_ns: int, size: int, message: Message) -> Row:
    """A message as its row."""
    topic = None if message.reply is None else message.reply.topic.encode()
    correlation = None if message.reply is None else message.reply.correlation
    kind, payload = KINDS.index(message.kind), message.payload
    if message.words is not None:
        kind += WORDED
        payload = len(payload).to_bytes(4, "big") + payload + msgspec.msgpack.encode(message.words)
    texts = (topic, correlation, message.origin, payload)
    return (key, stored_ns, kind, message.seq, size, _crc((key, kind, message.seq, size), texts), *texts)


def message_of(row: Row) -> Message:
    """The message of a row. Raises DamagedError where its checksum tells that it is not what was stored."""
    key, _, kind, seq, size, crc, topic, correlation, origin, payload = row
    try:
        intact = crc == _crc((key, kind, seq, size), row[6:]) and kind % WORDED in range(len(KINDS))
        reply = None if topic is None else Reply(topic.decode(), correlation)
    except (TypeError, AttributeError, UnicodeDecodeError):
        intact = False
    if not intact:
        raise DamagedError(f"row {key} does not match its checksum")
    if kind < WORDED:
        return Message(KINDS[kind], payload, seq, reply, origin)
    end = 4 + int.from_bytes(payload[:4], "big")
    words = msgspec.msgpack.decode(payload[end:], type=Words)
    return Message(KINDS[kind - WORDED], payload[4:end], seq, reply, origin, words)


def _crc(numbers: tuple[int, ...], texts: Sequence[bytes | None]) -> int:
    """Over the numbers, and over topic, correlation data, origin and payload with their lengths."""
    crc = zlib.crc32(f"{numbers} {[len(t or b'') for t in texts]}".encode())
    for text in texts:
        crc = zlib.crc32(text or b"", crc)
    return crc


def set_aside(path: Path, now_ns: int) -> tuple[Path, int]:
    """Moves a damaged file away with its log, in favour of a new one that holds what could be read of it.

    Returns where the damaged one is now, and how many rows were saved. What a full disk does not let us copy
    stays in the file that was set aside. Raises UnavailableError, and then nothing was moved.
    """
    fresh = path.with_name(path.name + ".salvage")
    try:
        _discard(fresh)
        # The copy first: a kill in the middle leaves the damaged file in its place, and this begins again.
        saved = _salvage(path, fresh)
        aside = _free_name(path, now_ns)
        for suffix in ("-journal", "-wal"):
            _move(path.with_name(path.name + suffix), aside.with_name(aside.name + suffix))
        path.rename(aside)
        _move(fresh, path)
        sync_folder(path.parent)
        _forget_old(path)
    except OSError as exc:
        raise folder_error(path.parent, exc) from exc
    return aside, saved


def _salvage(damaged: Path, fresh: Path) -> int:
    """Copies the readable rows to a new file, from the front until the damage and from the back until it."""
    saved = 0
    try:
        with closing(connect(fresh, check=False)) as target:
            for order in ("ASC", "DESC"):
                last = target.execute("SELECT coalesce(max(key), 0) FROM messages").fetchone()[0]
                query = f"SELECT {COLUMNS} FROM messages WHERE key > ? ORDER BY key {order}"  # noqa: S608 - constants
                saved += _copy(_readable(damaged, query, last), target, fresh)
    except UnavailableError as exc:
        log.warning("salvage ended early", extra={"spool": str(damaged), "reason": str(exc)})
    return saved


def _readable(damaged: Path, query: str, last: int) -> Iterator[Row]:
    with (
        suppress(sqlite3.Error, UnicodeDecodeError),
        closing(sqlite3.connect(damaged, timeout=0, isolation_level=None)) as source,
    ):
        source.execute("PRAGMA locking_mode=EXCLUSIVE").fetchall()
        source.execute("PRAGMA writable_schema=ON").fetchall()  # else a file that was cut short gives nothing at all
        source.text_factory = bytes
        for row in source.execute(query, (last,)):
            try:
                message_of(row)
            except DamagedError:
                continue
            yield row


def _copy(rows: Iterator[Row], target: sqlite3.Connection, path: Path) -> int:
    copied = 0
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _SALVAGE_ROWS:
            copied += _insert(batch, target, path)
            batch = []
    return copied + _insert(batch, target, path)


def _insert(batch: list[Row], target: sqlite3.Connection, path: Path) -> int:
    with named(path):
        target.execute("BEGIN IMMEDIATE")
        target.executemany(INSERT.replace("INSERT", "INSERT OR IGNORE"), batch)
        target.execute("COMMIT")
    return len(batch)


def _free_name(path: Path, now_ns: int) -> Path:
    stamp = datetime.fromtimestamp(now_ns / SECOND_NS, UTC).strftime("%Y%m%dT%H%M%SZ")
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    return aside


def _move(source: Path, target: Path) -> None:
    with suppress(FileNotFoundError):
        source.rename(target)


def _discard(path: Path) -> None:
    for suffix in ("", "-wal", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _forget_old(path: Path) -> None:
    # A card that fails goes on damaging files; kept without limit they would fill what is left of it.
    aside = [p for p in path.parent.glob(f"{path.name}.damaged-*") if not p.name.endswith(("-wal", "-journal"))]
    for old in sorted(aside, key=lambda p: (p.stat().st_mtime_ns, p.name))[:-ASIDE_KEPT]:
        log.warning("forgetting an old damaged spool", extra={"file": str(old)})
        _discard(old)

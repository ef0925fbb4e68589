"""What a repository says, verified by `tuf`: which release this device is to run, and its file.

Of a process of its own (`__main__.py`), so that the library's memory goes back. The metadata are worked on in memory
(/dev/shm) and written back, whole and synced, only where they changed: a check that finds nothing new writes nothing.
What was verified before a check failed is written back too: it is the floor under a roll-back.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    RepositoryError,
)
from tuf.api.metadata import Metadata, TargetFile
from tuf.ngclient import Updater

from edge.data import small_file
from edge.errors import ConfigError
from edge.storage import atomic
from edge.storage.lock import make_folder
from edge.updates import fetch, glance, release, seen
from edge.updates.order import Answer, Order, base_url
from edge.updates.reference_time import set_reference_time
from edge.updates.release import Channel, Release
from edge.updates.seen import Seen

MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of this process alone is made in it
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ROOM = 4_000_000
"""Bytes that a model leaves free on the disk that it is fetched to: the service keeps its results there."""
BUILT_S = 1_795_800_000
"""No clock of a device that has this code is before that, in seconds since 1970."""


def ask(order: Order) -> Answer:
    """Never raises for what a repository, a link or a disk may do: the reason is in the answer."""
    fresh = msgspec.structs.replace
    freshness = Answer(freshness="known" if order.synced else "unknown")
    try:
        return fresh(_ask(order), freshness=freshness.freshness)
    except ExpiredMetadataError as exc:
        if not order.synced:
            return Answer(fault="clock", reason=f"{exc}, by a clock that is not synchronised", freshness="unknown")
        return fresh(freshness, fault="refused", reason=_says(exc))
    except DownloadLengthMismatchError as exc:
        return fresh(freshness, fault="refused", reason=_says(exc))
    except DownloadError as exc:
        missing = isinstance(exc, DownloadHTTPError) and exc.status_code in glance.NOT_THERE
        return fresh(freshness, fault="missing" if missing else "away", reason=_says(exc))
    except (RepositoryError, ValueError) as exc:
        return fresh(freshness, fault="refused", reason=_says(exc))
    except ConfigError as exc:
        return fresh(freshness, fault="setup", reason=str(exc))
    except OSError as exc:
        reason = f"{order.folder}: {exc.strerror or exc}"
        full = exc.errno in FULL
        return fresh(freshness, fault="disk", reason=f"{reason}; make room" if full else reason)


def _says(exc: BaseException) -> str:
    """Also of an error with an empty message: the one behind it."""
    text = str(exc) or type(exc).__name__
    return text if exc.__cause__ is None or str(exc.__cause__) in text else f"{text}: {exc.__cause__}"


def _ask(order: Order) -> Answer:
    base = base_url(order.uri)
    with closing(fetch.make(order)) as fetcher:
        return _asked(order, fetcher, base)


def _asked(order: Order, fetcher: fetch.Fetcher, base: str) -> Answer:
    root = _root(order)
    with _metadata(order) as folder:
        updater = Updater(
            str(folder),
            f"{base}metadata/",
            fetcher=fetch.Metadata(fetcher),
            bootstrap=root,
        )
        if not order.synced:
            set_reference_time(updater, max(time.time(), BUILT_S, seen.latest_time(order.folder)))
        updater.refresh()
        channel = _channel(updater, order)
        found = release.choose(channel.releases, order.device, order.running, order.refused)
        wanted = _target(updater, found) if found is not None else None
        verified = _seen(order, base, root, folder, channel)
    seen.keep(order.folder, verified)
    if order.synced:
        seen.raise_latest_time(order.folder)
    if order.fetch is None or found is None or wanted is None:
        return Answer(release=found)
    if found.sha256 != order.fetch.sha256:
        return Answer(fault="away", reason=f"version {order.fetch.version} is no longer offered", release=found)
    return Answer(release=found, staged=_fetched(fetcher, f"{base}targets/", order.folder / "staging", wanted))


def _channel(updater: Updater, order: Order) -> Channel:
    target = updater.get_targetinfo(release.channel_target(order.model, order.channel))
    if target is None:
        raise ConfigError(
            f"--updates {order.uri}: it has no model {order.model!r} in a channel {order.channel!r}; "
            "edge-fleet add puts one there, --updates-channel names another"
        )
    return release.decode(target.unrecognized_fields.get("custom", {}))


def _seen(order: Order, base: str, root: bytes, metadata: Path, channel: Channel) -> Seen:
    """What is in `metadata` now, verified, and how long it holds."""
    newest = [Metadata.from_file(str(file)).signed for file in metadata.glob("*.json")]
    return Seen(
        uri=base,
        model=order.model,
        channel=order.channel,
        bootstrap=seen.digest(root),
        timestamp=seen.digest((metadata / "timestamp.json").read_bytes()),
        root=1 + max(signed.version for signed in newest if signed.type == "root"),
        until=min(signed.expires for signed in newest).timestamp(),
        releases=channel.releases,
    )


def _target(updater: Updater, wanted: Release) -> TargetFile:
    """The file's own entry. Raises RepositoryError where it is not the one that the channel names."""
    target = updater.get_targetinfo(wanted.file)
    if target is None or target.hashes.get("sha256") != wanted.sha256 or target.length != wanted.length:
        raise RepositoryError(f"{wanted.file} is not signed as the channel says")
    return target


def _fetched(fetcher: fetch.Fetcher, base: str, staging: Path, target: TargetFile) -> Path:
    make_folder(staging)
    sha256 = target.hashes["sha256"]
    part = staging / f"{sha256}.part"
    _require_room(part, target.length)
    folder, slash, name = target.path.rpartition("/")
    try:
        fetch.resume(fetcher, f"{base}{folder}{slash}{sha256}.{name}", part, target.length)
        with part.open("rb") as file:
            target.verify_length_and_hashes(file)
    except (RepositoryError, DownloadLengthMismatchError):
        part.unlink(missing_ok=True)  # a poisoned beginning would fail for ever
        raise
    except OSError as exc:
        if exc.errno in FULL:  # somebody else took the room meanwhile: results of the service want it more
            part.unlink(missing_ok=True)
        raise
    atomic.sync_folder(staging)
    return part


def _require_room(part: Path, length: int) -> None:
    """Raises OSError where the file would take what the service keeps its results on."""
    wanted = length - (part.stat().st_size if part.exists() else 0) + ROOM
    free = shutil.disk_usage(part.parent).free
    if free < wanted:
        part.unlink(missing_ok=True)
        raise OSError(errno.ENOSPC, f"{free / 1e6:.0f} MB are free, it takes {wanted / 1e6:.0f} MB to fetch the model")


# --- what is kept on disk ------------------------------------------------------------------------------


def _root(order: Order) -> bytes:
    """The root of trust: what `--updates-root` names, which is kept; else what was kept. Raises ConfigError."""
    kept = order.folder / "root.json"
    if order.root is None:
        try:
            return kept.read_bytes()
        except OSError:
            raise ConfigError(
                "--updates-root FILE: name the repository's root.json, once; edge-fleet init made it"
            ) from None
    try:
        given = small_file.read(order.root)
    except OSError as exc:
        raise ConfigError(f"--updates-root {order.root}: {exc.strerror}") from exc
    if not kept.exists() or kept.read_bytes() != given:
        _require_root(order.root, given)
        atomic.write(kept, given)
    return given


def _require_root(path: Path, data: bytes) -> None:
    """Raises ConfigError for what cannot be a root of trust, so that it is never kept as one."""
    try:
        kind = Metadata.from_bytes(data).signed.type
    except (RepositoryError, ValueError):
        kind = "no metadata"
    if kind != "root":
        raise ConfigError(
            f"--updates-root {path}: it is no root of trust ({kind}); name the root.json that edge-fleet init made"
        )


@contextmanager
def _metadata(order: Order) -> Iterator[Path]:
    """A copy in memory of what was verified before; what changed is written back, also after an error."""
    kept = order.folder / "metadata"
    place = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="edge-run-", dir=place) as name:
        work = Path(name) / "metadata"
        if kept.is_dir():
            shutil.copytree(kept, work)
        work.mkdir(exist_ok=True)
        before, tempfile.tempdir = tempfile.tempdir, name
        try:
            yield work
        finally:
            tempfile.tempdir = before
            _keep(work, kept)


def _keep(work: Path, kept: Path) -> None:
    for file in sorted(work.rglob("*.json")):
        if file.is_symlink():  # root.json: every root is kept by its number, and the bootstrap is always given
            continue
        target = kept / file.relative_to(work)
        data = file.read_bytes()
        if not target.exists() or target.read_bytes() != data:
            make_folder(target.parent)
            atomic.write(target, data)

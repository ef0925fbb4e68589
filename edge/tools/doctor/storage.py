"""The state folder, the disk, and what wears an SD card out."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.errors import SpoolError
from edge.settings.settings import Settings
from edge.tools.doctor.host import Host
from edge.tools.doctor.row import Row, fail, ok, warn

IN_MEMORY = ("tmpfs", "ramfs", "overlay")
CARD = re.compile(r"/dev/(mmcblk\d+)")
WORN = 9
"""JEDEC's estimate of an eMMC's life in tenths: 0x09 says that 80 to 90 % are used, 0x0B that all is."""
NOISY = frozenset({"auto", "persistent"})


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of /proc/mounts."""

    device: str
    point: str
    kind: str
    options: tuple[str, ...]


def rows(settings: Settings, host: Host) -> Iterator[Row]:
    """State, disk, card."""
    folder = Path(settings.delivery.state_dir)
    mount = mount_of(folder, host)
    state = _state(folder, mount)
    yield state
    if state.verdict != "fail":
        yield _disk(settings, folder)
    if settings.capture.rules and settings.capture.folder is not None:
        yield _capture(settings.capture.folder)
    yield from _card(settings, mount, host)


def mounts(host: Host) -> list[Mount]:
    """What is mounted; a space in a name is written as \\040 there."""
    entries = []
    for line in host.text("proc/mounts").splitlines():
        parts = line.split()
        if len(parts) >= 4:
            point = parts[1].replace("\\040", " ")
            entries.append(Mount(parts[0], point, parts[2], tuple(parts[3].split(","))))
    return entries


def mount_of(folder: Path, host: Host) -> Mount | None:
    """The mount that holds a folder: the deepest point above it, the last one where several lie upon each other."""
    path = folder.absolute()
    held = [m for m in mounts(host) if path.is_relative_to(m.point)]
    return max(enumerate(held), key=lambda pair: (len(Path(pair[1].point).parts), pair[0]))[1] if held else None


def _capture(folder: Path) -> Row:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as exc:
        return warn("capture", f"{folder}: {exc.strerror}, so no sample would be kept", "say another --capture-dir")
    return ok("capture", f"{folder}, writable", folder=str(folder))


def _state(folder: Path, mount: Mount | None) -> Row:
    code = SpoolError.exit_code
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"edge-run")
            os.fsync(file.fileno())
    except (FileExistsError, NotADirectoryError):
        return fail("state", f"{folder} is not a folder", "say --state-dir", code)
    except OSError as exc:
        text = f"{folder}: {exc.strerror}, so results would wait in memory only"
        return fail("state", text, "say --state-dir, or make it writable for this user", code)
    if mount is not None and mount.kind in IN_MEMORY:
        text = f"{folder} is in memory ({mount.kind}): what waits there is gone after a power cut"
        return warn(
            "state", text, "--state-dir on a disk; with raspi-config's overlay, on a second partition or a stick"
        )
    return ok("state", f"{folder}, writable", folder=str(folder))


def _disk(settings: Settings, folder: Path) -> Row:
    space = os.statvfs(folder)
    free = space.f_bavail * space.f_frsize
    facts = {"free_bytes": free, "spool_max_bytes": settings.delivery.spool_max}
    if free < settings.delivery.spool_max:
        text = f"{free / 1e6:,.0f} MB free, the spool may take {settings.delivery.spool_max / 1e6:,.0f} MB"
        return warn("disk", text, f"make room, or --spool-max {max(1, int(free / 2e6))}MB", **facts)
    if space.f_files and not space.f_favail:
        return warn(
            "disk", "no inodes left: no new file can be made", "remove files; many small ones took them", **facts
        )
    return ok("disk", f"{free / 1e9:.1f} GB free", **facts)


# --- the card -------------------------------------------------------------------------------------------


def _card(settings: Settings, mount: Mount | None, host: Host) -> Iterator[Row]:
    disk = card_of(mount)
    problems = list(_problems(settings, mount, host))
    yield from problems
    if problems:
        return
    if disk is None:
        yield ok("card", f"the state folder is not on an SD card ({mount.device if mount else 'unknown'})")
    else:
        yield ok("card", f"{disk}: noatime, no swap and no journal on it, no errors")


def card_of(mount: Mount | None) -> str | None:
    """`mmcblk0` where the mount is on an SD card or an eMMC."""
    match = CARD.match(mount.device) if mount is not None else None
    return match[1] if match else None


def _problems(settings: Settings, mount: Mount | None, host: Host) -> Iterator[Row]:
    if mount is not None:
        yield from _damage(mount, host)
    root = mount_of(Path("/"), host)
    if mount is not None and card_of(mount) is not None:
        if not {"noatime", "relatime", "ro"} & set(mount.options):
            text = f"{mount.point} notes each time a file is read (no noatime)"
            yield warn("card", text, f"put noatime into the options of {mount.point} in /etc/fstab")
        if settings.delivery.durability == "always":
            text = "--durability always writes each result to the card"
            yield warn("card", text, "--durability outage, where the source can be asked again (MQTT)")
    yield from _swap(root, host)
    if root is not None and card_of(root) is not None and journal_on_disk(host):
        text = "the journal writes each log line to the card (Storage=persistent)"
        fix = "Storage=volatile below [Journal] in /etc/systemd/journald.conf.d/volatile.conf; or log2ram"
        yield warn("card", text, fix)


def _damage(mount: Mount, host: Host) -> Iterator[Row]:
    name = Path(mount.device).name
    errors = host.text(f"sys/fs/ext4/{name}/errors_count")
    if errors.isdigit() and int(errors):
        text = f"{int(errors)} file system errors on {mount.device}: the card may be dying"
        yield warn("card", text, "copy what matters, then a new card; sudo touch /forcefsck && sudo reboot looks at it")
    disk = card_of(mount)
    life = [int(v, 16) for v in host.text(f"sys/block/{disk}/device/life_time").split() if v.startswith("0x")]
    if disk and life and max(life) >= WORN:
        text = f"{disk} says that {min(100, (max(life) - 1) * 10)} % of its life are used"
        yield warn("card", text, "replace it before it fails; --durability outage and a volatile journal spare it")


def _swap(root: Mount | None, host: Host) -> Iterator[Row]:
    for line in host.text("proc/swaps").splitlines()[1:]:
        where, kind, *_ = line.split()
        on_card = CARD.match(where) or (kind == "file" and card_of(mount_of(Path(where), host) or root))
        if on_card:
            fix = "swap in memory: Mechanism=zram in /etc/rpi/swap.conf (trixie), or zram-tools (bookworm)"
            yield warn("card", f"swap on the card: {where}", fix)


def journal_on_disk(host: Host) -> bool:
    """True where journald keeps its files on the root disk: not volatile, /var/log/journal there, /var/log no tmpfs.

    Drop-ins are read as systemd reads them: by file name, /etc before /run before /usr/lib for one name.
    """
    folder = host.root / "var/log/journal"
    log = mount_of(Path("/var/log/journal"), host)
    if not folder.is_dir() or (log is not None and log.kind == "tmpfs"):
        return False
    drop_ins = {}
    for base in ("usr/lib", "run", "etc"):
        for file in (host.root / base / "systemd/journald.conf.d").glob("*.conf"):
            drop_ins[file.name] = file
    storage = "auto"
    for file in (host.root / "etc/systemd/journald.conf", *(drop_ins[name] for name in sorted(drop_ins))):
        storage = _storage(host.text(str(file.relative_to(host.root)))) or storage
    return storage in NOISY


def _storage(text: str) -> str | None:
    matches = re.findall(r"^\s*Storage\s*=\s*(\w+)", text, re.MULTILINE)
    return matches[-1] if matches else None

"""What a device keeps between two lives of the process, beside its spools: who it is for the broker.

The MQTT client id must be stable (the broker keeps our session under it) and never the same on two devices (the
broker would throw one of them out). So it is drawn by lot once and kept in the state folder together with the
board's serial number: an SD card that was copied into a second board gets a new one there.

Losing it costs inputs: the broker goes on keeping them for a client that never comes back. So it is synced to disk
before it is first used, and where the board has a serial number it is not drawn but made of that and the folder's
name: a damaged file, or a disk that cannot be written, then changes nothing.
"""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

import msgspec

from edge.storage import state_file

log = logging.getLogger("edge.storage.instance")

SERIALS = (Path("/proc/device-tree/serial-number"), Path("/sys/class/dmi/id/product_uuid"))


class _Instance(msgspec.Struct, frozen=True):
    id: str
    board: str = ""


def board_serial() -> str:
    """The board's serial number, or "" where the machine does not tell."""
    for path in SERIALS:
        try:
            return path.read_text(errors="replace").strip("\0\n ")
        except OSError:
            continue
    return ""


def instance_id(state_dir: Path) -> str:
    """Eight hexadecimal digits, this device's own.

    Without a serial number and a folder that can be written they hold for this life only.
    """
    path = state_dir / "instance.json"
    serial = board_serial()
    known = state_file.read(path, _Instance)
    if known is not None and known.board == serial:
        return known.id
    instance = _Instance(_own_id(serial, state_dir), serial)
    state_file.write(path, instance, log, "client id is not kept")
    return instance.id


def _own_id(serial: str, state_dir: Path) -> str:
    if not serial:
        return os.urandom(4).hex()
    return hashlib.blake2b(f"{serial}\0{state_dir.absolute()}".encode(), digest_size=4).hexdigest()

"""A disk that fails on demand: a small tmpfs that can be filled, and the shim that makes it read-only."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

from support.powercut import build_shim

SIZE = "8m"


class Disk:
    """`folder` is where the state goes. Where nobody may mount, the shim plays the full disk as well."""

    def __init__(self, place: Path) -> None:
        self.folder = place / "disk"
        self.folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(self.folder)]
        self.mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
        self._filler = self.folder / "filler"
        self._fail = place / "fail"
        self._shim = build_shim(place)

    @property
    def environment(self) -> dict[str, str]:
        """For the process whose disk this is."""
        return {"LD_PRELOAD": str(self._shim), "DISKSHIM_ROOT": str(self.folder), "DISKSHIM_FAIL": str(self._fail)}

    def fill(self) -> None:
        """Not a byte more fits."""
        if not self.mounted:
            self._say("28")
            return
        fd = os.open(self._filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        with contextlib.suppress(OSError):
            for chunk in (65536, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        os.write(fd, bytes(chunk))
        os.close(fd)

    def free(self) -> None:
        self._filler.unlink(missing_ok=True)
        self._say("")

    def make_read_only(self) -> None:
        """Every change fails with EROFS, as after an error on a card that is mounted `errors=remount-ro`.

        Not by a remount: the kernel refuses one while a file is open for writing, and a real one comes just then.
        """
        self._say("30")

    def make_writable(self) -> None:
        self._say("")

    def close(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "-l", str(self.folder)], check=True)

    def _say(self, trouble: str) -> None:
        partial = self._fail.with_suffix(".new")
        partial.write_text(trouble)
        partial.rename(self._fail)

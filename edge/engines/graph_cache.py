"""A model's graph as the engine optimised it for this processor, kept in the state folder.

To optimise takes half of the time that a picture's model takes to load, and a fifth more memory. So it is done once, in
the child process in which a model that was never seen is tried anyway (`probe.py`); later starts read what it wrote:

    graphs/<the model's sha256>-<key>.onnx    the engine's own file
    graphs/<the model's sha256>-<key>.sha256  the hash of that file, and a line that says what was mended in it;
                                              "none": it was tried, and there is none

The key holds what the graph depends on: engine, version, processor with its features. What does not match its hash, or
has none, is not used: a damaged file, or one that was put there. Nothing is synced: what a power cut leaves does not
match either. Any file may be deleted at any time; it costs the time to make it again. Graphs of other keys of the
model go when a new one comes, and the oldest of other models, so that there are never many.

A model whose weights are in another file has none: its hash does not tell of them.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import platform
import time
from pathlib import Path

from edge.model.identity import external_files, sha256

log = logging.getLogger("edge.model")

FOLDER = "graphs"
LEAST_BYTES, MOST_BYTES = 1_000_000, 512_000_000
"""Smaller models load in a few milliseconds in either way; larger ones would fill an SD card."""
FREE_SHARE = 4
"""So many times a model's size must be free: the room is the spool's."""
MODELS_MOST = 8
STALE_S = 3600.0
NONE = "none"
_FEATURES = ("model name", "flags", "Features", "CPU implementer", "CPU architecture", "CPU variant", "CPU part")


class Graph:
    """The place for the graph of one model, engine and processor."""

    def __init__(self, model: Path, engine: str, cache_dir: Path) -> None:
        """`engine` is its name, version and whatever else the graph depends on. Raises OSError without a model."""
        self._model = model
        self._sha256 = sha256(model)
        key = hashlib.blake2b(f"{engine}\n{processor()}".encode(), digest_size=6).hexdigest()
        self._folder = cache_dir / FOLDER
        self.path = self._folder / f"{self._sha256}-{key}.onnx"
        self.partial = self._folder / f".{self.path.stem}-{os.getpid()}.onnx"
        """Where the engine writes it."""
        self.notes = self.partial.with_suffix(".txt")
        """Where the process that has it written says what it mended, a line each."""
        self._hash = self.path.with_suffix(".sha256")

    @property
    def usable(self) -> bool:
        """True where it is there, and what was written."""
        recorded = self._recorded()
        if recorded in ("", NONE):
            return False
        with contextlib.suppress(OSError):
            if sha256(self.path) == recorded:
                return True
            log.warning("optimised graph is damaged, it is made again", extra={"path": str(self.path)})
        self.drop()
        return False

    @property
    def is_due(self) -> bool:
        """True where it is worth making and was not tried yet. Makes the folder."""
        if self.usable or self._recorded() == NONE:
            return False
        try:
            size = self._model.stat().st_size
            if not LEAST_BYTES <= size <= MOST_BYTES or has_weights_elsewhere(self._model):
                return False
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.access(self._folder, os.W_OK) and _free(self._folder) >= FREE_SHARE * size
        except OSError:
            return False

    @property
    def repairs(self) -> tuple[str, ...]:
        """What was mended in the graph that is kept, in a user's words."""
        return tuple(self._lines()[1:])

    def keep(self) -> None:
        """After it was tried: takes over what the engine wrote, and removes what this one replaces."""
        try:
            if not self.partial.exists():
                self._hash.write_text(NONE)
                return
            self._hash.write_text("\n".join([sha256(self.partial), *self._mended()]))
            self.partial.rename(self.path)
            self._make_room()
        except OSError as exc:
            log.warning("optimised graph is not kept", extra={"path": str(self.path), "reason": exc.strerror})
            self.discard()

    def discard(self) -> None:
        """Removes what the engine wrote; once kept, nothing."""
        with contextlib.suppress(OSError):
            self.partial.unlink(missing_ok=True)
            self.notes.unlink(missing_ok=True)

    def drop(self) -> None:
        """Removes it, so that it is made again."""
        for path in (self.path, self._hash):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _recorded(self) -> str:
        return next(iter(self._lines()), "")

    def _lines(self) -> list[str]:
        try:
            return self._hash.read_text(encoding="utf-8").split("\n")
        except (OSError, ValueError):
            return []

    def _mended(self) -> list[str]:
        """What the child process that wrote the graph has left of its repairs."""
        try:
            return self.notes.read_text(encoding="utf-8").splitlines()
        except OSError:
            return []
        finally:
            with contextlib.suppress(OSError):
                self.notes.unlink(missing_ok=True)

    def _make_room(self) -> None:
        graphs = [(p.stat().st_mtime, p) for p in self._folder.glob("*.onnx") if p != self.path]
        mine = [p for _, p in graphs if p.name.startswith(self._sha256)]
        others = [p for _, p in sorted(graphs, reverse=True) if p not in mine]
        for path in (*mine, *others[MODELS_MOST - 1 :]):
            path.unlink(missing_ok=True)
            path.with_suffix(".sha256").unlink(missing_ok=True)
        for path in self._folder.glob(".*"):
            if path.stat().st_mtime < time.time() - STALE_S:  # of a process that was killed meanwhile
                path.unlink(missing_ok=True)


def read_ahead(model: Path, cache_dir: Path) -> None:
    """Reads and hashes a model and its graphs, so that whoever asks next need not. Raises OSError."""
    for path in (cache_dir / FOLDER).glob(f"{sha256(model)}-*.onnx"):
        sha256(path)


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """What an optimised graph depends on of this machine: its kind, the processors' models and features."""
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    features = {" ".join(line.split()) for line in lines if line.partition(":")[0].strip() in _FEATURES}
    return "\n".join([platform.machine(), *sorted(features)])


def _free(folder: Path) -> int:
    space = os.statvfs(folder)
    return space.f_bavail * space.f_frsize


def has_weights_elsewhere(model: Path) -> bool:
    """Whether some of its weights lie in other files. Raises OSError."""
    return bool(external_files(model))

"""A model before its conversion, and what a file or folder shows of itself without being opened."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from converter.errors import UnrecognisedError

HEAD_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Source:
    """A native `value`, or a `path` (for a model registry also a URI in `uri`).

    `framework` is the exporter's name; `form` is what the exporter's recogniser called the file, or "object", "skops"
    or "pickle", in which an object of any framework may be. `globals` are what a pickle would import.
    """

    framework: str
    form: str
    path: Path | None = None
    value: Any = None
    uri: str = ""
    globals: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.uri or (self.path.name if self.path else type(self.value).__name__)

    @property
    def file(self) -> Path:
        """The path of a source that is a file or folder."""
        if self.path is None:
            raise UnrecognisedError(f"{self.name}: a file belongs here")
        return self.path

    @property
    def size(self) -> int:
        """Bytes on the disk; 0 for an object in memory."""
        if self.path is None or not self.path.exists():
            return 0
        files = self.path.rglob("*") if self.path.is_dir() else (self.path,)
        return sum(f.stat().st_size for f in files if f.is_file())


class Probe:
    """A file or folder as recognisers see it: nothing of it is executed, each part is read when asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def head(self) -> bytes:
        """The first bytes of a file; none of a folder."""
        if self.path.is_dir():
            return b""
        with self.path.open("rb") as file:
            return file.read(HEAD_BYTES)

    @cached_property
    def members(self) -> tuple[str, ...]:
        """The names in a zip archive; none for anything else. Raises UnrecognisedError for a damaged archive."""
        if not self.head.startswith(b"PK\x03\x04"):
            return ()
        try:
            with zipfile.ZipFile(self.path) as archive:
                return tuple(archive.namelist())
        except (zipfile.BadZipFile, OSError, ValueError) as exc:
            raise UnrecognisedError(
                f"{self.path.name}: a zip archive that is cut short or damaged ({exc}); copy it again"
            ) from exc

    @cached_property
    def leaves(self) -> frozenset[str]:
        """The names in a zip archive below its one folder."""
        return frozenset(n.partition("/")[2] for n in self.members)

    @cached_property
    def json(self) -> Any:
        """What a JSON file holds; None for anything else. Raises UnrecognisedError for JSON that is damaged."""
        if not self.head.lstrip().startswith(b"{"):
            return None
        try:
            return json.loads(self.path.read_bytes())
        except (ValueError, RecursionError) as exc:
            raise UnrecognisedError(
                f"{self.path.name}: JSON that is cut short or damaged ({exc}); save it again"
            ) from exc

"""What a `--source` says: which plug-in, and what is for it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from edge.plugins import registry
from edge.plugins.declarations import SourceInfo

GROUP = "edge.sources"
FILES = "files"
"""The plug-in for folders, globs and files whose suffix no plug-in has."""
LINES = "lines"
CAMERA = "camera"
CAMERA_DEVICES = "/dev/video"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+._-]+")  # one letter is none: C:\ is a drive


class SourceUri(NamedTuple):
    """`name` is registered in `edge.sources`: a scheme, or the suffix of a file. `rest` is for the plug-in."""

    name: str
    rest: str

    @property
    def declared(self) -> SourceInfo:
        """What the plug-in says of itself; imports its module, no library. Raises ConfigError."""
        return registry.declared(SourceInfo, self.name)


def parse(uri: str) -> SourceUri:
    """`mqtt:a/b` to ("mqtt", "a/b"), `rows.csv` to (".csv", "rows.csv"), `pictures/` to ("files", "pictures/").

    A scheme that there is not is given back as it is: `registry` says which there are.
    """
    if uri == "-":
        return SourceUri(LINES, uri)
    if uri.startswith(CAMERA_DEVICES):
        return SourceUri(CAMERA, uri)
    scheme, colon, rest = uri.partition(":")
    if colon and _SCHEME.fullmatch(scheme):
        if registry.is_own(GROUP, scheme):
            return SourceUri(scheme, rest)
        if not Path(uri).exists():
            return parse(rest.removeprefix("//")) if scheme == "file" else SourceUri(scheme, rest)
    return SourceUri(registry.name_for(GROUP, Path(uri).suffix) or FILES, uri)

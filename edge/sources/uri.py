"""What a `--source` says: which plug-in, and what is for it."""

from __future__ import annotations

import re
from pathlib import Path

FILES = {
    ".csv": "csv",
    ".jsonl": "lines",
    ".ndjson": "lines",
    ".npy": "arrays",
    ".npz": "arrays",
    ".wav": "wav",
    **dict.fromkeys((".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v"), "video"),
}
PICTURES = ("camera", "picamera", "rtsp", "video")
PICTURE_FILES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif")
SCHEMES = ("mqtt", "synthetic", "camera", "picamera", "rtsp", "rtsps", "microphone")


def split_source(uri: str) -> tuple[str, str]:
    """The plug-in's name and what is for it: `mqtt:a/b` to ("mqtt", "a/b"), `rows.csv` to ("csv", "rows.csv")."""
    if uri == "-":
        return "lines", "-"
    scheme, colon, rest = uri.partition(":")
    if colon and scheme in SCHEMES:
        return ("rtsp", uri) if scheme.startswith("rtsp") else (scheme, rest)
    if colon and not Path(uri).exists() and len(scheme) > 1 and scheme.isidentifier():
        if scheme == "file":
            return split_source(rest.removeprefix("//"))
        return scheme, rest
    return FILES.get(Path(uri).suffix.lower(), "files"), uri


def gives_pictures(uri: str) -> bool:
    """True where it surely does; of a folder or a topic nobody knows before it is read."""
    name, rest = split_source(uri)
    return name in PICTURES or (name == "files" and Path(rest).suffix.lower() in PICTURE_FILES)


def told(uri: str) -> str:
    """A source as it may stand in a log: without user and password."""
    return re.sub(r"//[^/]*@", "//", uri)

"""Names and tags in InfluxDB's line protocol, where a point ends with its line and a tag with a blank."""

from __future__ import annotations

_MEASUREMENT = {",": r"\,", " ": r"\ ", "\n": r"\ ", "\r": r"\ ", "\\": "/"}
_TO_MEASUREMENT = str.maketrans(_MEASUREMENT)
_TO_TAG = str.maketrans({**_MEASUREMENT, "=": r"\="})


def measurement(name: str) -> str:
    """What a point is of. A line break, for which there is no sign, becomes a blank, a backslash a slash."""
    return name.translate(_TO_MEASUREMENT)


def tag(text: str) -> str:
    """The name of a tag or a field, or a tag's value; the same as of a measurement. An empty one is none."""
    return text.translate(_TO_TAG)

"""One input is one file: what lies behind its end is passed over, but never another file."""

from __future__ import annotations

from edge.data import magic
from edge.errors import SampleError


def refuse_more(first: str, data: bytes, end: int) -> None:
    """`data` begins with `first`, which takes `end` bytes. Raises SampleError where another file follows."""
    second = magic.follows(data, end)
    if second is not None:
        raise SampleError(f"{second} behind {first}, at byte {end}: several files in one input; send each alone")

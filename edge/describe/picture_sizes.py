"""How large the pictures of a model are: what its file says, or what is usual where it leaves that free."""

from __future__ import annotations

from edge.data.tensor import TensorSpec
from edge.describe import signature
from edge.describe.metadata import Metadata

_LINES = ((320, 48), (320, 32))
"""Lines of text, as PP-OCR reads them since its third version and before."""


def doubts(size: tuple[int, int] | None) -> list[str]:
    """What the user should hear of a size that the file leaves free; None: the model fits pictures itself."""
    if size is None:
        return []
    return [f"the file leaves the size of pictures free: {size[0]}x{size[1]} is a guess; --input-size says another"]


def candidates(
    spec: TensorSpec, layout: signature.Layout, metadata: Metadata
) -> tuple[tuple[tuple[int, int], ...], bool, str]:
    """Pairs of width and height, of which the first that runs is taken; whether it is a guess; what it is known by."""
    shape = spec.shape or ()
    sides = shape[-2:] if layout == "NCHW" else shape[-3:-1]
    if all(isinstance(side, int) for side in sides):
        return (signature.size(spec, layout),), False, "the shape of the input"
    if metadata.size is not None:
        return (metadata.size,), False, metadata.pictures_from or "the metadata of the file"
    if metadata.characters and not any(isinstance(side, int) for side in sides):
        return _LINES, True, "the usual size of a line of text"
    return (signature.size(spec, layout),), True, "the usual size"

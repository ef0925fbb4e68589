"""From samples to tensors, a file for each kind of input."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from edge.data.tensor import TensorSpec
from edge.model.manifest import Manifest
from edge.plugins.declarations import Declaration, Gives
from edge.plugins.protocols import Preprocessor


class PreprocessorInfo(Declaration, frozen=True, kw_only=True):
    """A preprocessor. The entry point's name is the `kind` of the manifest's first input that a sample fills."""

    GROUP: ClassVar[str] = "edge.preprocess"

    create: Callable[[Manifest, tuple[TensorSpec, ...]], Preprocessor]
    """Gets the manifest and the engine's inputs. Raises ModelError where they do not fit."""
    takes: tuple[Gives, ...] = ()
    """What of that which a source surely gives it can take; empty: that is not known. A source that surely gives
    something else is refused at the start."""

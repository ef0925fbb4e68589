"""What stands behind the decoder of a pipeline, and is given each result in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from edge.data.result import Result
from edge.data.sample import Frame, ModelInput, Payload, Sample
from edge.data.tensor import Tensors

Follow: TypeAlias = Callable[[Sample, Result, Frame | None], Result]
"""Adds to a result what only those before it or another model tell. It is given its part of the sample."""
Watch: TypeAlias = Callable[[Result, Tensors, ModelInput], None]
"""Is shown a result with the outputs that it was made of."""
Keep: TypeAlias = Callable[[Payload, Frame | None, Result], None]
"""Is shown a result with its input."""


class Stages(msgspec.Struct, frozen=True):
    """Each of `follows` is given what the one before it has made of the result; `watches` and `keep` see it as it is
    published."""

    follows: tuple[Follow, ...] = ()
    watches: tuple[Watch, ...] = ()
    keep: Keep | None = None

    @property
    def any(self) -> bool:
        """Whether each result is looked at as it is made."""
        return bool(self.follows or self.watches or self.keep)


NO_STAGES = Stages()

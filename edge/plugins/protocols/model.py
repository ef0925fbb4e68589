"""From a sample to predictions: preprocessor, engine, postprocessor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import msgspec

from edge.data.result import Prediction
from edge.data.sample import ModelInput, Payload, Sample
from edge.data.tensor import Array, Tensors, TensorSpec


class Preprocessor(Protocol):
    """A sample to tensors. Called by one thread at a time; may keep state (a window).

    What one may be able to do beside: `AheadPreprocessor`, `BatchPreprocessor`, `FreePreprocessor`, `RowPreprocessor`.
    """

    def split(self, payload: Payload) -> Sequence[Payload]:
        """The samples that one decoded payload holds: a batch is cut along its first axis.

        Raises SampleError where the payload's form is none that the model takes.
        """

    def __call__(self, sample: Sample) -> ModelInput | None:
        """Raises SampleError. None: the window is not full yet."""


@runtime_checkable
class AheadPreprocessor(Protocol):
    """Capability of a preprocessor that works outside the interpreter's lock."""

    ahead: bool
    """True where it keeps no state: the next sample is prepared while the model runs."""


@runtime_checkable
class BatchPreprocessor(Protocol):
    """Capability of a preprocessor that makes the inputs of several samples at once."""

    def many(self, payloads: Sequence[Payload]) -> Sequence[ModelInput] | None:
        """Of payloads that `split` gave: the same as one by one, or None where it cannot or one of them is bad."""


@runtime_checkable
class PicturePreprocessor(Protocol):
    """Capability of a preprocessor that decodes pictures: `ModelInput.picture` where it keeps them."""

    keeps_pictures: bool


@runtime_checkable
class LookingPreprocessor(Protocol):
    """Capability of a preprocessor that decodes pictures: `look` is shown each as it was decoded, whole, in the thread
    that prepares; what it returns is `ModelInput.look`."""

    look: Callable[[Array], Array | None] | None


@runtime_checkable
class FreePreprocessor(Protocol):
    """Capability of a preprocessor that keeps nothing from sample to sample: a batch that takes long runs in pieces,
    with the samples of other senders between them."""

    by_row: bool
    """True: where a JSON array holds arrays or objects, each of its elements is a sample, as `split` has it. A long one
    is decoded by pieces, and not given to `split`."""


class Postprocessor(Protocol):
    """The outputs of one sample to predictions. Pure.

    What one may be able to do beside: `BatchPostprocessor`, `ComparingPostprocessor`,
    `ThresholdPostprocessor`.
    """

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> Sequence[Prediction]:
        """`outputs` hold real values: what was quantised has been scaled. Raises SampleError."""


@runtime_checkable
class BatchPostprocessor(Protocol):
    """Capability of a postprocessor that reads the outputs of several samples at once."""

    def many(self, outputs: Tensors, count: int) -> Sequence[Sequence[Prediction]] | None:
        """Of `count` samples whose outputs lie along the first axis: the same as one by one, or None where it cannot
        or one of them is bad."""


@runtime_checkable
class ComparingPostprocessor(Protocol):
    """Capability of a postprocessor that compares outputs with the input."""

    compares: bool
    """True: an input that was quantised is given as the real values that it stands for, like the outputs; else it is
    given as the model got it."""


@runtime_checkable
class ThresholdPostprocessor(Protocol):
    """Capability of a detector that tells the same objects, and further ones, where its threshold is lower."""

    threshold: float
    """The lowest score that is told: the manifest's, or the detector's own where that says none."""


class EngineOptions(msgspec.Struct, frozen=True):
    """`threads` for one inference; `provider` is an execution provider's or a delegate's name.

    `own_file`: the caller made the file itself, so an engine that a damaged one could kill need not try it first.
    `instances`: so many threads call `infer` at once; an engine that runs one at a time may hold as many sessions.
    """

    threads: int = 1
    provider: str = "cpu"
    cache_dir: Path | None = None
    own_file: bool = False
    instances: int = 1


@runtime_checkable
class Engine(Protocol):
    """A loaded model, ready: what `EngineLibrary.load` returns."""

    name: str
    version: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    metadata: Mapping[str, str]
    """What the model file says of itself, as text by key."""

    def infer(self, tensors: Tensors) -> dict[str, Any]:
        """Runs the model once; safe from several threads, keeps nothing of what it is given.

        `tensors` hold the native dtypes of `inputs`. Raises SampleError where the model refuses them.
        """

    def close(self) -> None: ...


@runtime_checkable
class RepairingEngine(Protocol):
    """Capability of an engine that may mend a graph for it to run faster."""

    repairs: tuple[str, ...]
    """What was mended in this one, in a user's words."""


@runtime_checkable
class CouplingEngine(Protocol):
    """Capability of an engine that knows models whose rows of one batch change one another's outputs."""

    couples_rows: bool
    """True: samples of several senders never run together."""


@runtime_checkable
class RememberingEngine(Protocol):
    """Capability of an engine that knows models whose outputs depend on the samples before."""

    remembers: bool
    """True: nothing runs between the samples of one batch, and `reset` alone parts those of two senders."""


@runtime_checkable
class ResettableEngine(Protocol):
    """Capability of an engine whose models may keep something from sample to sample by themselves."""

    def reset(self) -> None:
        """Forgets it: another stream begins."""


class EngineLibrary(Protocol):
    """What loads models: a module, or an object of a class that derives from this one."""

    def load(self, path: Path, options: EngineOptions) -> Engine:
        """Raises ModelError for a file that cannot run, ConfigError for options that it cannot have."""

    def version(self) -> str:
        """The library's, before any model is loaded. Raises ConfigError where it is not installed."""

    def providers(self) -> Sequence[str]:
        """Names for `--provider` that work here, the usual one first."""
        return ("cpu",)

    def loads_at_once(self, path: Path, options: EngineOptions) -> bool:
        """False: `load` will fork a child to try the file in, so no other thread may import meanwhile.

        Raises OSError, ConfigError.
        """
        return True

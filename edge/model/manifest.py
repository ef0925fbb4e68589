"""The manifest: what travels inside a model file so that the device needs no other word.

It is JSON, under the ONNX metadata key `edge.manifest` or in the zip entry `edge-manifest.json` of a
.tflite (see `container.py`). Fields that are not known are ignored, so that an older runtime reads a newer
manifest; `schema` grows only when the meaning of an old field changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from edge.data.vocabulary import Activation, Color, CropRounding, Layout, Resample, Resize
from edge.data.vocabulary import Task as Task
from edge.errors import ModelError

SCHEMA = 1
ONNX_KEY = "edge.manifest"
TFLITE_ENTRY = "edge-manifest.json"


class Struct(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A part of the manifest."""


class Feature(Struct, frozen=True, kw_only=True):
    """A column of a table. `missing`: a value that is missing is passed on (NaN, or "" for text).

    `values` are the texts that the model knows, where the original refuses any other; empty: all are passed on.
    """

    name: str
    kind: Literal["number", "text"] = "number"
    missing: bool = False
    unit: str = ""
    values: tuple[str, ...] = ()


class Window(Struct, frozen=True, kw_only=True):
    """Samples gathered before an inference: `size` rows (or audio samples), a new one every `hop`."""

    size: int
    hop: int
    context: int = 0
    """Audio samples of the window before that are put in front."""


class Input(Struct, frozen=True, kw_only=True):
    """One input of the model and how a sample becomes it.

    `kind`: "table" (all features in one tensor), "column" (one feature, one tensor), "image", "tensor" (an
    array as it is), "audio", "constant" (always `value`), or the name of a plug-in of `edge.preprocess`. An input that
    `state_from` names an output for starts as zeros and is fed with that output.
    """

    name: str
    kind: str = "tensor"
    dtype: str = "float32"
    shape: tuple[int | str | None, ...] = ()
    features: tuple[Feature, ...] = ()
    layout: Layout = "NHWC"
    color: Color = "RGB"
    size: tuple[int, int] | None = None
    """Width and height in pixels; None: the model takes any."""
    resize: Resize = "stretch"
    pad: int = 114
    antialias: bool = True
    """False: plain bilinear sampling also where a picture shrinks, as OpenCV does it."""
    resample: Resample = ""
    """Resized by exactly this kernel, widened where a picture shrinks, as Pillow does it; "": bilinear, smoothed nearly
    so where `antialias` says it, in a third of the time."""
    crop_fraction: float = 1.0
    """With `crop`: the share of the shorter side that is kept (0.875 for 224 out of 256), with `stretch` of each."""
    crop_rounding: CropRounding = "down"
    """With `resample`: the pixel at which a middle begins that lies between two: the one before ("down", as
    transformers), or the even one ("even", as torchvision and timm)."""
    mean: tuple[float, ...] = ()
    """In pixel values (0 to 255), in the order of `color`: value = (pixel - mean) / std."""
    std: tuple[float, ...] = ()
    scaling: Literal["", "standard", "minmax"] = ""
    window: Window | None = None
    sample_rate: int = 0
    frontend: str = ""
    """What makes features of sound: "" (the wave itself), "log-mel", "mfcc", "micro"."""
    frontend_options: dict[str, Any] = {}
    state_from: str = ""
    value: Any = None
    key: str = ""
    """What a sample may call it beside `name`: its name in the framework, where the file's is another."""


class Output(Struct, frozen=True, kw_only=True):
    """One output. `role` tells the decoder what it is; "" where the name or the order does."""

    name: str
    role: str = ""
    unit: str = ""
    names: tuple[str, ...] = ()
    """Of the values of a regression, or of the columns of a raw output."""
    values: tuple[str, ...] = ()
    """What an output with the role "label" gives, as text, in class order; () where it gives `labels`."""
    key: str = ""
    """What a raw result calls it instead of `name`: its name in the framework."""


class Provenance(Struct, frozen=True, kw_only=True):
    """Where the file comes from."""

    framework: str = ""
    versions: dict[str, str] = {}
    source: str = ""
    source_sha256: str = ""
    passes: tuple[str, ...] = ()
    created: str = ""
    notes: tuple[str, ...] = ()


class Parity(Struct, frozen=True, kw_only=True):
    """How the file compares with the model it was made from."""

    rows: int = 0
    source: Literal["sample", "generated", ""] = ""
    """Where the rows came from: real ones say more than generated ones."""
    max_difference: float = 0.0
    mean_difference: float = 0.0
    agreement: float | None = None
    """Share of rows with the same class (argmax or label)."""
    accuracy_before: float | None = None
    accuracy_after: float | None = None
    tolerance: float = 0.0
    passed: bool = True
    forced: bool = False


class GoldenTensor(Struct, frozen=True, kw_only=True):
    """`data`: base64 of the little-endian, row-major, zlib-compressed bytes; text as a JSON list."""

    dtype: str
    shape: tuple[int, ...]
    data: str | list[str]


class Golden(Struct, frozen=True, kw_only=True):
    """An input and the output that the file gave where it was made."""

    inputs: dict[str, GoldenTensor]
    outputs: dict[str, GoldenTensor]


class Manifest(Struct, frozen=True, kw_only=True):
    """All that the device needs to know. `labels` are in the order of the class index."""

    name: str
    schema: int = SCHEMA
    version: str = "1"
    task: Task = "raw"
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    decoder: str = ""
    """The postprocessor by name; "" means the one named like the task."""
    decoder_options: dict[str, Any] = {}
    activation: Activation = ""
    """What turns the scores of the model into probabilities; "" where they are already."""
    labels: tuple[str, ...] = ()
    threshold: float | None = None
    top_k: int | None = None
    nms: float | None = None
    """Intersection over union above which two boxes of one class are the same object."""
    license: str = ""
    description: str = ""
    provenance: Provenance | None = None
    parity: Parity | None = None
    batch_independent: bool = True
    """False: what a row is answered depends on the rows beside it, so each has to run alone."""
    golden: tuple[Golden, ...] = ()
    golden_tolerance: float = 1e-3
    """Largest |difference| / max(1, |golden|) that a device may show."""
    reference: Any = None
    """What the sample of the conversion looked like (`edge.drift.reference`): read where drift is watched, so that a
    damaged one costs nothing but that."""

    @property
    def takes_pictures(self) -> bool:
        """Whether one of its inputs is a picture."""
        return any(part.kind == "image" for part in self.inputs)

    def output_of(self, role: str, names: Sequence[str]) -> str:
        """The output with a role, else the first of those that the file has. Raises ModelError where it has it not."""
        name = next((output.name for output in self.outputs if output.role == role), names[0] if names else "")
        if name not in names:
            raise ModelError(f"{self.name}: the manifest names the output {name!r}, the file has {', '.join(names)}")
        return name

    @property
    def features(self) -> tuple[Feature, ...]:
        """Every feature of every table or column input, in order."""
        return tuple(f for i in self.inputs for f in i.features)


def decode(text: str | bytes) -> Manifest:
    """A manifest from JSON. Raises ValueError that says what is wrong."""
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except msgspec.MsgspecError as exc:
        raise ValueError(str(exc)) from exc
    if manifest.schema > SCHEMA:
        raise ValueError(f"schema {manifest.schema} is newer than this edge-run reads ({SCHEMA}): upgrade edge-run")
    return manifest


def encode(manifest: Manifest) -> bytes:
    """JSON, with every field that is not at its default."""
    return msgspec.json.encode(
        {"schema": manifest.schema, **msgspec.to_builtins(manifest)},
    )

"""What names, dtypes and shapes suggest: which input is the data, which is a state, which never changes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from edge.data.tensor import STRING, Array, TensorSpec, dequantize, numpy_dtype
from edge.describe import audio
from edge.describe.audio import RATE, SPEECH_RATE
from edge.describe.heads import Head
from edge.errors import SampleError
from edge.model.manifest import Output, Task, Window
from edge.plugins.protocols import Engine

Kind = Literal["image", "audio", "table", "column", "tensor"]

_PICTURE_SIZE = re.compile(r"^(im_shape|image_shape|im_info|orig_target_sizes|scale_factor|image_size)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Roles:
    """`states` is input name to output name; `constants` are input names."""

    kind: Kind
    data: tuple[TensorSpec, ...]
    states: Mapping[str, str]
    constants: tuple[str, ...]
    held: tuple[TensorSpec, ...] = ()
    """The inputs that are states."""


def roles(
    inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], *, sound: bool = False, features: bool = False
) -> Roles:
    """Sorts the inputs. `sound`: somebody says that the model takes it, its shape need not; `features` of it."""
    constants = tuple(s.name for s in inputs if _is_rate(s) or (_PICTURE_SIZE.match(s.name) and len(inputs) > 1))
    rest = [s for s in inputs if s.name not in constants]
    states = find_states(rest, outputs)
    data = tuple(s for s in rest if s.name not in states)
    held = tuple(s for s in rest if s.name in states)
    kind = "audio" if features and len(data) == 1 else _kind(data, constants, held, sound)
    return Roles(kind, data, states, constants, held)


def _is_rate(spec: TensorSpec) -> bool:
    return bool(RATE.match(spec.name)) and spec.dtype in ("int64", "int32") and spec.shape in ((), (1,))


def _kind(data: tuple[TensorSpec, ...], constants: Sequence[str], states: Sequence[TensorSpec], sound: bool) -> Kind:
    if len(data) > 1:
        columns = all(s.shape is not None and (len(s.shape) == 2 and s.shape[1] == 1) for s in data)
        return "column" if columns and not states else "tensor"
    if not data:
        return "tensor"
    spec = data[0]
    if spec.shape is None or spec.dtype == STRING:
        return "tensor"
    if layout(spec) is not None:
        return "image"
    if audio.is_sound(spec, constants, states, said=sound):
        return "audio"
    return "table" if _is_rows(spec) or (_is_window(spec) and not states) else "tensor"


def _is_rows(spec: TensorSpec) -> bool:
    """[1, features] or [free, features]."""
    shape = spec.shape or ()
    return len(shape) == 2 and isinstance(shape[1], int) and (shape[0] == 1 or not isinstance(shape[0], int))


def _is_window(spec: TensorSpec) -> bool:
    """[1, steps, features] with few features: readings of sensors over time."""
    shape = spec.shape or ()
    if len(shape) != 3 or not isinstance(shape[1], int) or not isinstance(shape[2], int):
        return False
    numeric = spec.dtype.startswith("float") or spec.quantization is not None
    return numeric and (shape[0] == 1 or not isinstance(shape[0], int)) and shape[1] >= 4 and 1 <= shape[2] <= 64


def window(found: Roles, size: int | None, hop: int | None) -> Window | None:
    """The window over rows of a table: the steps of [1, steps, features], or what the user says. Half overlaps."""
    if found.kind != "table" or len(found.data) != 1:
        return None
    shape = found.data[0].shape or ()
    steps = size or (shape[1] if len(shape) == 3 else None)
    if not isinstance(steps, int):
        return None
    return Window(size=steps, hop=hop or max(1, steps // 2))


def layout(spec: TensorSpec) -> Literal["NHWC", "NCHW"] | None:
    """How a picture lies in this input; None where it holds none.

    One channel higher than wide is a spectrogram (frames x bands), not a picture.
    """
    shape = spec.shape
    if shape is None or len(shape) not in (3, 4) or spec.dtype == STRING:
        return None
    if len(shape) == 4 and shape[0] not in (1, None) and isinstance(shape[0], int):
        return None
    first, last = shape[-3], shape[-1]
    found: Literal["NHWC", "NCHW"] | None = None
    if last in (1, 3) and not (first == 3 and last == 1):
        found, sides, channels = "NHWC", (shape[-3], shape[-2]), last
    elif first in (1, 3):
        found, sides, channels = "NCHW", (shape[-2], shape[-1]), first
    if found is None:
        return None
    known = [s for s in sides if isinstance(s, int)]
    if any(s < 8 for s in known) or (len(shape) == 3 and (len(known) < 2 or min(known) < 16 or channels == 1)):
        return None
    if channels == 1 and len(known) == 2 and known[0] > known[1]:
        return None
    return found


def size(spec: TensorSpec, how: str) -> tuple[int, int]:
    """Width and height; a size that is free in the file is the usual one."""
    shape = spec.shape or ()
    height, width = (shape[-2], shape[-1]) if how == "NCHW" else (shape[-3], shape[-2])
    # YOLO's exporters call it "images"; TensorFlow's detectors take bytes of any size and fit them themselves.
    usual = 640 if spec.name in ("images", "image_arrays", "input_images") else 320 if spec.dtype == "uint8" else 224
    if not isinstance(height, int):
        height = width if isinstance(width, int) else usual
    return (width if isinstance(width, int) else height), height


def find_states(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> dict[str, str]:
    """Inputs that an output is fed back to: by name (`state`/`stateN`, `h`/`hn`), else in order by equal shape.

    The first input and the first output are the data and stay out of the second rule.
    """
    found: dict[str, str] = {}
    for spec in inputs:
        for other in outputs:
            if other.name not in found.values() and _follows(spec.name, other.name) and _alike(spec, other):
                found[spec.name] = other.name
                break
    if found or any(layout(s) for s in inputs):
        return found
    left = list(outputs[1:])
    for spec in inputs[1:]:
        if spec.shape is None or not spec.shape or not all(isinstance(d, int) for d in spec.shape[1:]):
            continue
        match = next((o for o in left if o.shape == spec.shape and o.dtype == spec.dtype), None)
        # Two ordinary inputs may well be like two outputs: a state has its layers or units in more dimensions.
        if match is not None and len(spec.shape) > 2:
            found[spec.name] = match.name
            left.remove(match)
    return found


def _follows(name: str, other: str) -> bool:
    if name == other or len(other) < len(name):
        # `x` and `x` cannot be one name in ONNX; in TFLite the output may be the input itself.
        return False
    low, high = name.lower(), other.lower()
    ends = ("n", "_n", "_out", "_new", "_next", "out", "new", ".1", "_o", "_output")
    swaps = (
        ("_in", "_out"),
        ("in_", "out_"),
        ("prev", "next"),
        ("past", "present"),
        ("input", "output"),
        ("old", "new"),
    )
    swapped = any(a in low and low.replace(a, b) == high for a, b in swaps)
    stately = re.search(r"state|hidden|cell|cache|^h\d?$|^c\d?$|past|prev|mem|buf|lstm|gru|rnn", low) is not None
    return stately and (swapped or any(low + e == high for e in ends))


def _alike(spec: TensorSpec, other: TensorSpec) -> bool:
    if spec.shape is None or other.shape is None or spec.dtype != other.dtype or len(spec.shape) != len(other.shape):
        return False
    return all(
        a == b or not isinstance(a, int) or not isinstance(b, int) for a, b in zip(spec.shape, other.shape, strict=True)
    )


def constant(spec: TensorSpec, picture: tuple[int, int] | None) -> Any:
    """The value of an input that never changes: the sample rate, or the size of the picture."""
    if _is_rate(spec):
        return SPEECH_RATE if not spec.shape else [SPEECH_RATE]
    width, height = picture or (1, 1)
    if spec.name.lower() == "scale_factor":
        values: list[float] = [1, 1]
    elif spec.name.lower() == "orig_target_sizes":
        values = [width, height]
    else:
        values = [height, width, 1]
    count = spec.fixed()[-1] if spec.shape else 1
    return np.resize(values[:count] or [1], spec.fixed()).tolist()


def run_on_noise(engine: Engine, found: Roles, picture: tuple[int, int]) -> dict[str, Array]:
    """Real outputs for one noisy input, float32; empty where the model refuses it."""
    rng = np.random.default_rng(0)
    tensors: dict[str, Array] = {}
    for spec in engine.inputs:
        if spec.shape is None:
            return {}
        shape = _shape(spec, found, picture)
        dtype = numpy_dtype(spec.dtype)
        if spec.name in found.constants:
            tensors[spec.name] = np.asarray(constant(spec, picture), dtype=dtype).reshape(spec.fixed())
        elif spec.name in found.states:
            tensors[spec.name] = np.zeros(shape, dtype)
        elif dtype.kind in "iu":
            top = 255 if dtype.itemsize > 1 else np.iinfo(dtype).max
            tensors[spec.name] = rng.integers(max(np.iinfo(dtype).min, -128), top, shape, endpoint=True).astype(dtype)
        elif dtype.kind == "f":
            tensors[spec.name] = rng.normal(0.5, 0.5, shape).astype(dtype)
        else:
            tensors[spec.name] = np.full(shape, "" if dtype.kind == "O" else 0, dtype)
    try:
        outputs = engine.infer(tensors)
    except SampleError:
        return {}
    specs = {s.name: s for s in engine.outputs}
    real = {
        n: dequantize(a, specs[n]) for n, a in outputs.items() if isinstance(a, np.ndarray) and a.dtype.kind in "iufb"
    }
    return {n: a.astype(np.float32) if a.dtype.kind == "f" else a for n, a in real.items()}


def _shape(spec: TensorSpec, found: Roles, picture: tuple[int, int]) -> tuple[int, ...]:
    if spec in found.data and found.kind == "image":
        width, height = picture
        how = layout(spec)
        fixed = list(spec.fixed())
        if how == "NCHW":
            fixed[-2:] = height, width
        else:
            fixed[-3:-1] = height, width
        return tuple(fixed)
    if spec in found.data and found.kind == "audio":
        heard, shape = audio.hear(spec, found.held), list(spec.fixed())
        if not heard.frontend:
            shape[audio.axis(spec.shape or ())] = heard.size + heard.context
        return tuple(shape)
    return spec.fixed()


def is_vector(values: Array) -> bool:
    """One value a class: [C], [1, C] or [1, C, 1, 1]. [1, N, 1] is a list of N things of one number each."""
    return values.size == max(values.shape, default=1) and not (values.ndim == 3 and values.shape[1] > 1)


def channels(spec: TensorSpec) -> int:
    """Of a picture: 1 or 3."""
    shape = spec.shape or ()
    last = shape[-3] if layout(spec) == "NCHW" else shape[-1] if shape else 3
    return last if isinstance(last, int) else 3


def is_distribution(values: Array) -> bool:
    """Scores of classes already turned into probabilities."""
    # What was 8 bits adds up to 1 less well, and two numbers of any model may come near it.
    allowed = 0.05 if np.array_equal(values * 256, np.rint(values * 256)) else 2e-3
    return values.size > 1 and bool(values.min() >= -1e-3 and abs(float(values.sum()) - 1) < allowed)


def scores(outputs: Mapping[str, Array], labels: int) -> str | None:
    """The output that holds the scores of classes: a distribution, as many as labels, or the only one."""
    by_count = [n for n, a in outputs.items() if labels and a.size in (labels, labels - 1, labels + 1) and a.size > 1]
    spread = [n for n, a in outputs.items() if is_distribution(a)]
    for candidates in ([n for n in spread if n in by_count], by_count, spread, list(outputs)):
        if len(candidates) == 1:
            return candidates[0]
    return None


def named_head(outputs: Sequence[TensorSpec], task: Task | None) -> Head | None:
    """Names that skl2onnx and onnxmltools give: label and probabilities, label and scores, variable."""
    names = {s.name.lower(): s for s in outputs}
    label = next((s for n, s in names.items() if n in ("label", "output_label", "class_label")), None)
    probability = next((s for n, s in names.items() if re.match(r"^(output_)?(probabilit(y|ies)|probs?)$", n)), None)
    rating = names.get("scores")
    if task not in (None, "classify", "anomaly"):
        return None
    if label is not None and probability is not None and task != "anomaly":
        wanted = (Output(name=label.name, role="label"), Output(name=probability.name, role="scores"))
        return Head("classify", "classify", wanted)
    if label is not None and rating is not None and task != "classify" and (rating.shape or ())[1:] in ((), (1,)):
        wanted = (Output(name=label.name, role="label"), Output(name=rating.name, role="score"))
        return Head("anomaly", "anomaly", wanted)
    if label is not None and task != "anomaly":
        rest = [s for s in outputs if s is not label and s.dtype.startswith("float")]
        scored = (Output(name=rest[0].name, role="scores"),) if len(rest) == 1 else ()
        return Head("classify", "classify", (Output(name=label.name, role="label"), *scored))
    if "variable" in names and task is None:
        return Head("regress", "regress", (Output(name=names["variable"].name, role="value"),))
    return None


def reconstruction(found: Roles, outputs: Mapping[str, Array]) -> str | None:
    """The output that gives the input back: an autoencoder's, of the shape of its one input and no small one."""
    if len(found.data) != 1 or len(outputs) != 1 or found.states:
        return None
    spec = found.data[0]
    ((name, values),) = outputs.items()
    small = values.size < 8
    return name if values.shape == spec.fixed() and not small else None

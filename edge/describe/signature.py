"""What names, dtypes and shapes of inputs suggest: which is the data, which is a state, which never changes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from edge.data.tensor import STRING, TensorSpec
from edge.data.vocabulary import Layout as Layout
from edge.describe import audio
from edge.describe.audio import RATE
from edge.model.manifest import Window

Kind = Literal["image", "audio", "table", "column", "tensor"]

_PICTURE_SIZE = re.compile(r"^(im_shape|image_shape|im_info|orig_target_sizes|scale_factor|image_size)$", re.IGNORECASE)


class Roles(msgspec.Struct, frozen=True):
    """`states` is input name to output name; `constants` are input names."""

    kind: Kind
    data: tuple[TensorSpec, ...]
    states: Mapping[str, str]
    constants: tuple[str, ...]
    held: tuple[TensorSpec, ...] = ()
    """The inputs that are states."""


def roles(
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    *,
    sound: bool = False,
    features: bool = False,
    pictures: Layout | None = None,
    planes: bool = False,
) -> Roles:
    """Sorts the inputs. `sound`, `pictures`: the source or the user says that the model takes them, its shape need not;
    `features`: of sound. `planes`: a plane of numbers, height x width, holds a grey picture, not rows."""
    constants = tuple(s.name for s in inputs if _is_rate(s) or (_PICTURE_SIZE.match(s.name) and len(inputs) > 1))
    rest = [s for s in inputs if s.name not in constants]
    states = find_states(rest, outputs)
    data = tuple(s for s in rest if s.name not in states)
    held = tuple(s for s in rest if s.name in states)
    kind = "audio" if features and len(data) == 1 else _kind(data, constants, held, sound)
    if pictures is not None and len(data) == 1 and layout(data[0], pictures) is not None:
        kind = "image"
    if (planes or pictures is not None) and len(data) == 1 and is_plane(data[0]):
        kind, data = "image", (msgspec.structs.replace(data[0], shape=(1, *(data[0].shape or ())[1:])),)
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
    if audio.is_sound(spec, constants, states, stated=sound):
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


def window(roles: Roles, size: int | None, hop: int | None) -> Window | None:
    """The window over rows of a table: the steps of [1, steps, features], or what the user says. Half overlaps."""
    if roles.kind != "table" or len(roles.data) != 1:
        return None
    shape = roles.data[0].shape or ()
    steps = size or (shape[1] if len(shape) == 3 else None)
    if not isinstance(steps, int):
        return None
    return Window(size=steps, hop=hop or max(1, steps // 2))


def doubts(roles: Roles) -> list[str]:
    """What the user should hear of [1, steps, features] with no more steps than features: PyTorch's convolutions have
    them the other way round."""
    shape = roles.data[0].shape or () if roles.kind == "table" and len(roles.data) == 1 else ()
    if len(shape) != 3 or not isinstance(shape[1], int) or not isinstance(shape[2], int) or shape[1] > shape[2]:
        return []
    return [
        f"{roles.data[0].name!r} is taken for {shape[1]} rows of {shape[2]} features; where it takes {shape[2]} rows "
        f"of {shape[1]}, export it with the rows first"
    ]


def layout(spec: TensorSpec, stated: Layout | None = None) -> Layout | None:
    """How a picture lies in this input; None where it holds none. `said`: the user says that it holds one, and how.

    One channel higher than wide is a spectrogram (frames x bands), not a picture.
    """
    shape = spec.shape
    if shape is None or len(shape) not in (3, 4) or spec.dtype == STRING:
        return None
    if stated is not None and (len(shape) == 4 or min((d for d in shape if isinstance(d, int)), default=0) in (1, 3)):
        return stated
    if len(shape) == 4 and isinstance(shape[0], int) and shape[0] != 1:
        return None
    guess = _by_channels(spec, shape)
    if guess is None:
        return None
    sides, channels = (shape[-3:-1], shape[-1]) if guess == "NHWC" else (shape[-2:], shape[-3])
    known = [s for s in sides if isinstance(s, int)]
    if any(s < 8 for s in known):
        return None
    if len(shape) == 3 and (
        channels == 1 or min(known, default=16) < 16 or (len(known) < 2 and not _named(spec, sides))
    ):
        return None
    if channels == 1 and len(known) == 2 and known[0] > known[1]:
        return None
    return guess


def _named(spec: TensorSpec, sides: Sequence[int | str | None]) -> bool:
    """Three dimensions with free sides are a picture where its name or theirs say so."""
    words = {str(side).lower() for side in sides if not isinstance(side, int)}
    return words <= {"h", "w", "height", "width"} or re.match("(?i)(images?|img|pixel|picture)", spec.name) is not None


def free_layouts(spec: TensorSpec) -> tuple[Layout, ...]:
    """How a picture may lie in an input whose channels are free and whose names say nothing; () where they say it."""
    shape = spec.shape or ()
    if len(shape) != 4 or layout(spec) is not None or (isinstance(shape[0], int) and shape[0] != 1):
        return ()
    if not spec.dtype.startswith("float") and spec.dtype not in ("uint8", "int8"):
        return ()
    places: tuple[tuple[Layout, int | str | None, tuple[int | str | None, ...]], ...] = (
        ("NCHW", shape[1], shape[2:]),
        ("NHWC", shape[3], shape[1:3]),
    )
    return tuple(
        how
        for how, channels, sides in places
        if not isinstance(channels, int) and all(not isinstance(s, int) or s >= 8 for s in sides)
    )


def picture_flags(spec: TensorSpec, wanted: tuple[int, int] | None = None) -> str:
    """The flags that make a picture of such an input; empty where no flag is needed or none can. `wanted`: its width
    and height, as the user says."""
    layouts = free_layouts(spec)
    if not layouts:
        return ""
    width, height = wanted or size(spec, layouts[0])
    others = "".join(f" (or {how})" for how in layouts[1:])
    return f"--input-size {width}x{height} --layout {layouts[0]}{others}"


def is_plane(spec: TensorSpec) -> bool:
    """[1, height, width] or [free, height, width]: a grey picture without an axis for its channel, or rows in time."""
    shape = spec.shape or ()
    if len(shape) != 3 or shape[0] == 3 or shape[-1] in (1, 3):
        return False
    sides = [d for d in shape[1:] if isinstance(d, int) and d >= 8]
    return len(sides) == 2 and (shape[0] == 1 or not isinstance(shape[0], int)) and spec.dtype != STRING


def _by_channels(spec: TensorSpec, shape: Sequence[int | str | None]) -> Layout | None:
    """By the dimension of 1 or 3; where channels are free (exports of Optimum), by its name or the input's."""
    first, last = shape[-3], shape[-1]
    if last in (1, 3) and not (first == 3 and last == 1):
        return "NHWC"
    if first in (1, 3):
        return "NCHW"
    if len(shape) != 4 or isinstance(first, int):
        return None
    if "channel" in str(first).lower() or spec.name == "pixel_values":
        return "NCHW"
    return "NHWC" if not isinstance(last, int) and "channel" in str(last).lower() else None


def fixed_batch(spec: TensorSpec) -> int:
    """How many pictures an input takes at once, where that is fixed and more than one; else 0."""
    shape = spec.shape or ()
    if len(shape) != 4 or not isinstance(shape[0], int) or shape[0] < 2:
        return 0
    one = TensorSpec(spec.name, spec.dtype, (1, *shape[1:]))
    return shape[0] if layout(one) is not None else 0


def size(spec: TensorSpec, how: Layout) -> tuple[int, int]:
    """Width and height; a size that is free in the file is the usual one."""
    shape = spec.shape or ()
    height, width = (shape[-2], shape[-1]) if how == "NCHW" else (shape[-3], shape[-2])
    # YOLO's exporters call it "images"; TensorFlow's detectors take bytes of any size and fit them themselves.
    usual = 640 if spec.name in ("images", "image_arrays", "input_images") else 320 if spec.dtype == "uint8" else 224
    if not isinstance(height, int):
        height = width if isinstance(width, int) else usual
    if not isinstance(width, int):
        width = 320 if height in (32, 48) else height  # a line of text
    return width, height


def channels(spec: TensorSpec, how: Layout) -> int:
    """Of a picture: 1 or 3; free ones are 3."""
    shape = spec.shape or ()
    last = shape[-3] if how == "NCHW" else shape[-1]
    return last if isinstance(last, int) else 3


def with_channel(spec: TensorSpec, how: Layout) -> TensorSpec:
    """The input of a picture with one channel where the file leaves their number free."""
    shape, at = list(spec.shape or ()), -3 if how == "NCHW" else -1
    if not isinstance(shape[at], int):
        shape[at] = 1
    return msgspec.structs.replace(spec, shape=tuple(shape))


def find_states(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> dict[str, str]:
    """Inputs that an output is fed back to: by name (`state`/`stateN`, `h`/`hn`), else in order by equal shape.

    The first input and the first output are the data and stay out of the second rule; so does what may be a picture.
    """
    states: dict[str, str] = {}
    for at, spec in enumerate(inputs):
        for other in outputs:
            follows = _follows(spec.name, other.name) or (at > 0 and layout(spec) is None and _turns(spec, other))
            if other.name not in states.values() and follows and _alike(spec, other):
                states[spec.name] = other.name
                break
    if states:
        return states
    left = list(outputs[1:])
    for spec in inputs[1:]:
        if spec.shape is None or not spec.shape or not all(isinstance(d, int) for d in spec.shape[1:]):
            continue
        if layout(spec) is not None:
            continue
        match = next((o for o in left if o.shape == spec.shape and o.dtype == spec.dtype), None)
        # Two ordinary inputs may well be like two outputs: a state has its layers or units in more dimensions.
        if match is not None and len(spec.shape) > 2:
            states[spec.name] = match.name
            left.remove(match)
    return states


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


def _turns(spec: TensorSpec, other: TensorSpec) -> bool:
    """`h_in` and `h_out`, `r1i` and `r1o` (video matting)."""
    name = re.fullmatch(r"(?i)(.+?)(_?)i(n?)", spec.name)
    return name is not None and other.name.lower() == f"{name[1]}{name[2]}o{'ut' if name[3] else ''}".lower()


def _alike(spec: TensorSpec, other: TensorSpec) -> bool:
    if spec.shape is None or other.shape is None or spec.dtype != other.dtype or len(spec.shape) != len(other.shape):
        return False
    return all(
        a == b or not isinstance(a, int) or not isinstance(b, int) for a, b in zip(spec.shape, other.shape, strict=True)
    )

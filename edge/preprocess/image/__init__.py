"""Pictures to the tensor of a model.

What is taken: a picture file, an `Image`, an array of pixels (uint8, height x width, or with 1, 3 or 4
channels last), or an array already shaped like the model's input, with or without its batch dimension, which
is passed on as it is. Whole numbers from 0 to 255 in the shape of a picture are pixels, also in JSON; to pass
a tensor as it is, send floats or the batch dimension. JSON may also carry a picture file as base64 text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from edge.data import codec
from edge.data.array_rows import ArrayRows
from edge.data.picture import from_text
from edge.data.sample import EncodedImage, Frame, Image, ModelInput, Payload, Sample, Sound
from edge.data.tensor import Array, TensorSpec, fits, numpy_dtype, quantize, to_integers
from edge.errors import ModelError, SampleError
from edge.model.constants import constants
from edge.model.manifest import Input, Manifest
from edge.preprocess import PreprocessorInfo
from edge.preprocess.image.decode import Decoded, decode_within, opencv, to_rgb
from edge.preprocess.image.fill import Filler

KEPT_MOST = 8_000_000
"""Bytes of a picture that is kept beside its tensor, 1080p and less: several wait at once."""
_ACCEPTED = "send a JPEG, PNG, BMP or WebP picture, or pixels (height x width x 3, uint8)"


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> ImagePreprocessor:
    """The preprocessor of a model with one picture input. Raises ModelError where the manifest cannot fit it."""
    pictures = [i for i in manifest.inputs if i.kind == "image"]
    by_name = {s.name: s for s in specs}
    if len(pictures) != 1:
        raise ModelError(f"{manifest.name}: the manifest names {len(pictures)} image inputs, one is needed")
    spec = by_name.get(pictures[0].name)
    if spec is None:
        raise ModelError(f"{manifest.name}: the model has no input {pictures[0].name!r}; it has {', '.join(by_name)}")
    opencv()  # a missing library is told at start, not at the first picture
    return ImagePreprocessor(pictures[0], spec, constants(manifest, specs))


class ImagePreprocessor:
    """One picture in, one tensor out, whose memory is used again once the caller releases it."""

    ahead = True
    by_row = False
    keeps_pictures = False
    look: Callable[[Array], Array | None] | None = None

    def __init__(self, part: Input, spec: TensorSpec, constants: Mapping[str, Array]) -> None:
        shape = spec.shape
        if shape is None or len(shape) not in (3, 4):
            raise ModelError(f"input {spec.name!r}: a picture needs 3 or 4 dimensions, the model has {shape}")
        batched = len(shape) == 4
        if batched and isinstance(shape[0], int) and shape[0] != 1:
            raise ModelError(f"input {spec.name!r} takes {shape[0]} pictures at once; export the model with batch 1")
        self._part, self._spec, self._constants = part, spec, dict(constants)
        self._batched = batched
        self._planar = part.layout == "NCHW"
        height, width = (shape[-2], shape[-1]) if self._planar else (shape[-3], shape[-2])
        self._channels = 1 if part.color == "GRAY" else 3
        self._fixed = part.size or ((width, height) if isinstance(width, int) and isinstance(height, int) else None)
        self._fillers: dict[tuple[int, int], Filler] = {}

    def split(self, payload: Payload) -> Sequence[Payload]:
        """A batch of arrays or lists is cut along its first axis, a list of pictures of any sizes into
        these; a picture stays whole."""
        payload = _open(payload)
        if isinstance(payload, (Image, EncodedImage)):
            return (payload,)
        if isinstance(payload, list) and payload and _is_one_of_many(payload[0]):
            return payload
        array = _as_array(payload)
        if self._is_tensor(array) or _is_picture(array):
            return (array,)
        one = array[0] if array.ndim and len(array) else array
        if array.ndim and (
            self._is_tensor(array[:1]) or self._is_tensor(one) or (array.ndim == 4 and _is_picture(one))
        ):
            return ArrayRows(array)
        raise self._refuse(array)

    def __call__(self, sample: Sample) -> ModelInput:
        """`frame` says how the picture was fitted. Raises SampleError for what cannot be decoded or fitted."""
        found = picture(sample.payload)
        return self._from_pixels(*found) if isinstance(found, Decoded) else self._from_tensor(found)

    def _from_pixels(self, pixels: Array, whole: tuple[int, int]) -> ModelInput:
        """`whole`: width and height of the picture, of which `pixels` may be fewer."""
        height, width = pixels.shape[:2]
        size = self._fixed or (width, height)
        filler = self._fillers.get(size)
        if filler is None:
            if len(self._fillers) >= 4:  # a model of any size keeps the buffers of a few sizes, not of all
                self._fillers.clear()
            filler = self._fillers[size] = Filler(self._part, self._spec, size, self._channels)
        lease, frame = filler.fill(pixels)
        if whole != (width, height):
            frame = Frame(
                *whole,
                frame.scale_x * width / whole[0],
                frame.scale_y * height / whole[1],
                frame.offset_x,
                frame.offset_y,
            )
        tensor = lease.tensor if self._batched else lease.tensor[0]
        is_whole = whole == (width, height)
        kept = self.keeps_pictures and is_whole and pixels.nbytes <= KEPT_MOST
        look = self.look(pixels) if self.look is not None and is_whole else None
        tensors = {self._spec.name: tensor, **self._constants}
        return ModelInput(tensors, frame, lease.release, pixels if kept else None, look)

    def _is_tensor(self, array: Array) -> bool:
        shape = self._spec.shape or ()
        if array.dtype == np.uint8 and _is_picture(array) and self._spec.dtype != "uint8":
            return False  # pixels: they still have to be scaled
        shapes = (shape, shape[1:] if self._batched else shape)
        return self._is_plane(array) or any(fits(array.shape, wanted) for wanted in shapes)

    def _is_plane(self, array: Array) -> bool:
        """A picture of one channel is often sent without that axis: 28 x 28 for [1, 1, 28, 28]."""
        return self._channels == 1 and self._fixed is not None and array.shape == self._fixed[::-1]

    def _from_tensor(self, array: Array) -> ModelInput:
        spec = self._spec
        if not self._is_tensor(array):
            raise self._refuse(array)
        if self._is_plane(array):
            array = array[None] if self._planar else array[..., None]
        wanted = len(spec.shape or ())
        tensor = array if array.ndim == wanted else array[None]
        height, width = tensor.shape[-2:] if self._planar else tensor.shape[-3:-1]
        if spec.quantization is not None and tensor.dtype.kind == "f":
            native = quantize(tensor, spec)
        else:
            native = _cast(tensor, spec)
        return ModelInput({spec.name: native, **self._constants}, Frame(width, height))

    def _refuse(self, array: Array) -> SampleError:
        shape = list(self._spec.shape or ())
        return SampleError(f"an array {list(array.shape)} of {array.dtype} where the model takes {shape}; {_ACCEPTED}")


def picture(payload: Payload) -> Decoded | Array:
    """An input of the contract as RGB, height x width x 3, uint8; an array that is no picture as it is. Raises
    SampleError."""
    payload = _open(payload)
    if isinstance(payload, EncodedImage):
        return decode_within(payload.data)
    if isinstance(payload, Image):
        return _whole(payload.pixels)
    array = _as_array(payload)
    return _whole(to_rgb(array)) if _is_picture(array) else array


def _whole(pixels: Array) -> Decoded:
    return Decoded(pixels, (pixels.shape[1], pixels.shape[0]))


def _open(payload: Payload) -> Payload:
    if isinstance(payload, (bytes, bytearray, memoryview)):
        payload = codec.decode(bytes(payload))
    if isinstance(payload, Sound):
        raise SampleError(f"sound, but the model takes a picture; {_ACCEPTED}")
    if isinstance(payload, dict):
        rest = {k: v for k, v in payload.items() if k != "id"}
        if len(rest) != 1:
            raise SampleError(f"an object with {sorted(rest)} where one picture belongs; {_ACCEPTED}")
        (payload,) = rest.values()
    if isinstance(payload, str):
        try:
            return from_text(payload)
        except ValueError as exc:
            raise SampleError(f"text that is not a base64 picture ({exc}); {_ACCEPTED}") from exc
    return payload


def _as_array(payload: Payload) -> Array:
    if isinstance(payload, np.ndarray):
        return payload
    if not isinstance(payload, (list, tuple)):
        raise SampleError(f"a {type(payload).__name__} where a picture belongs; {_ACCEPTED}")
    try:
        array = np.array(payload)
    except ValueError:
        raise SampleError(f"a list whose rows differ in length; {_ACCEPTED}") from None
    if array.dtype.kind not in "iufb":
        raise SampleError(f"a list that does not hold numbers only; {_ACCEPTED}")
    if array.dtype.kind == "i" and array.size and array.min() >= 0 and array.max() <= 255:
        return array.astype(np.uint8) if _is_picture(array.astype(np.uint8)) else array
    return array


def _is_one_of_many(first: object) -> bool:
    return isinstance(first, (dict, str, bytes)) or (isinstance(first, np.ndarray) and _is_picture(first))


def _is_picture(array: Array) -> bool:
    shape = array.shape
    plausible = array.ndim == 2 or (array.ndim == 3 and shape[2] in (1, 3, 4))
    return array.dtype == np.uint8 and plausible and 0 not in shape


def _cast(tensor: Array, spec: TensorSpec) -> Array:
    dtype = numpy_dtype(spec.dtype)
    if dtype.kind in "iu":
        native = tensor if tensor.dtype == dtype else to_integers(tensor, dtype)
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            native = tensor.astype(dtype, copy=False)
        native = native if dtype.kind != "f" or np.isfinite(native).all() else None
    if native is None:
        limits = f" ({np.iinfo(dtype).min} to {np.iinfo(dtype).max}, whole)" if dtype.kind in "iu" else ""
        raise SampleError(
            f"values {tensor.min()} to {tensor.max()} do not fit input {spec.name!r} of {spec.dtype}{limits}"
        )
    return np.ascontiguousarray(native)


PREPROCESSOR = PreprocessorInfo(edge_api=1, create=create, takes=("pictures",))

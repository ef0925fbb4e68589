"""Pixels to a tensor: fit, colour, numbers.

The order is chosen for speed: fit first (fewer pixels follow), then colour, then numbers. A picture is split
into planes of one channel and each is scaled by one vectorised OpenCV call, 13 times faster at 224 x 224 than
`cv2.dnn.blobFromImage` of OpenCV 5 and 25 times faster than numpy. Integer inputs go through a table of the
256 values that a pixel can have, so quantisation costs one look-up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from edge.data.sample import Frame
from edge.data.tensor import Array, TensorSpec, numpy_dtype, quantize
from edge.data.vocabulary import CropRounding
from edge.errors import ModelError
from edge.model.manifest import Input
from edge.preprocess.image.decode import opencv
from edge.preprocess.image.resample import Resampler, Span

_FREE_MOST = 8
"""Tensors kept for the next pictures: three that wait, one in the model, one being filled, and a few more for a
moment's disorder. A new one for each frame costs more than to fill it: the system has to find, and clear, hundreds of
pages."""


class Lease:
    """A tensor lent to one picture; `release` gives it back, once, from any thread."""

    def __init__(self, tensor: Array, free: deque[Array]) -> None:
        self.tensor = tensor
        self._free: deque[Array] | None = free

    def release(self) -> None:
        """The tensor may be filled again. A second call does nothing."""
        free, self._free = self._free, None
        if free is not None:
            free.append(self.tensor)


class Filler:
    """Fits pictures into one size and writes each into a tensor, which is used again once its lease was released."""

    def __init__(self, part: Input, spec: TensorSpec, size: tuple[int, int], channels: int) -> None:
        self._part, self._size, self._channels = part, size, channels
        width, height = size
        self._planar = part.layout == "NCHW"
        self._fitted = np.full((height, width, 3), part.pad, np.uint8)
        self._last: tuple[int, int] | None = None
        self._geometry = Frame(width, height)
        self._resampler: Resampler | None = None
        self._shape = (1, channels, height, width) if self._planar else (1, height, width, channels)
        self._dtype = numpy_dtype(spec.dtype)
        self._free: deque[Array] = deque(maxlen=_FREE_MOST)
        self._coloured = np.zeros((height, width) if channels == 1 else (height, width, 3), np.uint8)
        self._mean, self._std = _normalization(part, spec, channels)
        self._uniform = len(set(self._mean)) == 1 and len(set(self._std)) == 1
        small = self._dtype.kind in "iu" and self._dtype.itemsize <= 2
        self._table = _table(spec, self._mean, self._std) if small else None
        self._kind = _kind(self._table) if self._table is not None else ""
        self._planes = [np.zeros((height, width), np.uint8) for _ in range(channels)]
        self._scaled = [np.zeros((height, width), np.float32) for _ in range(channels)]
        self._real = np.zeros(self._shape, np.float32) if self._table is None and self._dtype != np.float32 else None

    def fill(self, pixels: Array) -> tuple[Lease, Frame]:
        """`pixels`: RGB, height x width x 3, uint8. The tensor has a batch dimension of 1."""
        frame = self._fit(pixels)
        coloured = self._colour()
        tensor = self._take()
        if self._table is not None:
            self._look_up(coloured, tensor)
            return Lease(tensor, self._free), frame
        # float32 is what OpenCV writes; the other types are copied from it.
        target = tensor if self._real is None else self._real
        if self._planar or not self._uniform:
            self._scale_planes(coloured, target)
        else:
            _scale(coloured, self._mean[0], self._std[0], target[0].reshape(coloured.shape))
        if self._real is not None:
            np.copyto(tensor, self._real, casting="unsafe")
        return Lease(tensor, self._free), frame

    def _take(self) -> Array:
        try:
            return self._free.pop()  # the last that came back: it may still be in a cache
        except IndexError:
            return np.zeros(self._shape, self._dtype)

    def _fit(self, pixels: Array) -> Frame:
        height, width = pixels.shape[:2]
        if self._last != (width, height):
            self._last = (width, height)
            self._resampler = None
            part, rounding = self._part, self._part.crop_rounding if self._part.resample else None
            self._geometry = fit(width, height, self._size, part.resize, part.crop_fraction, rounding)
            self._fitted[:] = self._part.pad
        frame = self._geometry
        target = self._size
        if self._part.resize == "crop" or self._part.crop_fraction < 1:
            left, top = max(0.0, -frame.offset_x / frame.scale_x), max(0.0, -frame.offset_y / frame.scale_y)
            right, bottom = left + target[0] / frame.scale_x, top + target[1] / frame.scale_y
            if self._part.resample:
                self._resample(pixels, target, self._fitted, (left, right), (top, bottom))
                return frame
            cut = pixels[
                round(top) : max(round(bottom), round(top) + 1), round(left) : max(round(right), round(left) + 1)
            ]
            resize(cut, target, self._fitted, antialias=self._part.antialias)
            return frame
        inner = target if self._part.resize == "stretch" else _inner(frame, self._part.resize)
        x, y = round(frame.offset_x), round(frame.offset_y)
        view = self._fitted[y : y + inner[1], x : x + inner[0]]
        if inner == (width, height):
            np.copyto(view, pixels)
        elif self._part.resample:
            self._resample(pixels, inner, view, (0, width), (0, height))
        else:
            resize(pixels, inner, view, antialias=self._part.antialias)
        return frame

    def _resample(self, pixels: Array, size: tuple[int, int], target: Array, across: Span, down: Span) -> None:
        if self._resampler is None:
            source = (pixels.shape[1], pixels.shape[0])
            self._resampler = Resampler(source, size, across, down, self._part.resample)
        self._resampler(pixels, target)

    def _colour(self) -> Array:
        cv2 = opencv()
        if self._channels == 1:
            cv2.cvtColor(self._fitted, cv2.COLOR_RGB2GRAY, dst=self._coloured)
            return self._coloured
        if self._part.color == "BGR":
            cv2.cvtColor(self._fitted, cv2.COLOR_RGB2BGR, dst=self._coloured)
            return self._coloured
        return self._fitted

    def _look_up(self, coloured: Array, tensor: Array) -> None:
        cv2 = opencv()
        native = coloured
        if self._kind == "signed":
            native = np.bitwise_xor(coloured, 128, out=self._coloured).view(np.int8)  # pixel - 128
        elif self._kind != "same":
            native = cv2.LUT(coloured, self._table)
        if not self._planar:
            np.copyto(tensor[0], native.reshape(self._shape[1:]))
        elif self._channels == 1:
            np.copyto(tensor[0, 0], native)
        else:
            cv2.split(native, list(tensor[0]))

    def _scale_planes(self, coloured: Array, target: Array) -> None:
        cv2 = opencv()
        planes = [coloured] if self._channels == 1 else cv2.split(coloured, self._planes)
        scaled = list(target[0]) if self._planar else self._scaled
        for plane, mean, std, to in zip(planes, self._mean, self._std, scaled, strict=True):
            _scale(plane, mean, std, to)
        if not self._planar:
            cv2.merge(scaled, target[0])


def _scale(pixels: Array, mean: float, std: float, target: Array) -> None:
    """target = (pixels - mean) / std, uint8 to float32 in one pass."""
    cv2 = opencv()
    cv2.addWeighted(pixels, 1.0 / std, pixels, 0.0, -mean / std, dst=target, dtype=cv2.CV_32F)


def resize(pixels: Array, size: tuple[int, int], target: Array, *, antialias: bool) -> None:
    """Fills `target` (height x width x 3, uint8) with `pixels` resized to `size` (width, height), bilinear.

    With `antialias` a picture that shrinks is smoothed as Pillow smooths it, by a triangle as wide as the
    factor s, whose variance is s^2 / 6. Averaging whole blocks of f pixels first and sampling linearly after
    has the variance f^2 / 4, the same for f = 0.816 s, and costs no more than plain sampling: a tenth of
    Pillow's time and an eighth of cv2.INTER_AREA's at 640 x 480.
    """
    cv2 = opencv()
    height, width = pixels.shape[:2]
    by_x, by_y = (round(0.816 * width / size[0]), round(0.816 * height / size[1])) if antialias else (1, 1)
    if max(by_x, by_y) <= 1:
        cv2.resize(pixels, size, dst=target, interpolation=cv2.INTER_LINEAR)
        return
    by_x, by_y = max(1, by_x), max(1, by_y)
    blocks = (width // by_x, height // by_y)
    whole = pixels[: blocks[1] * by_y, : blocks[0] * by_x]
    small = cv2.resize(whole, blocks, interpolation=cv2.INTER_AREA)
    if whole.shape == pixels.shape:
        cv2.resize(small, size, dst=target, interpolation=cv2.INTER_LINEAR)
        return
    # The last columns and rows are no whole block: the samples are placed as if they were there.
    x, y = width / by_x / size[0], height / by_y / size[1]
    places = np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5]])
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cv2.warpAffine(small, places, size, dst=target, flags=how, borderMode=cv2.BORDER_REPLICATE)


def fit(
    width: int,
    height: int,
    size: tuple[int, int],
    how: str,
    crop_fraction: float = 1.0,
    rounding: CropRounding | None = None,
) -> Frame:
    """Where a picture lands in a model input of `size` (width, height); all in pixels. `rounding`: what is cut is cut
    from a picture of whole pixels, as transformers and torchvision do it: first the size, then the middle."""
    if rounding is not None and (how == "crop" or (how == "stretch" and crop_fraction < 1)):
        return _cut(width, height, size, how, crop_fraction, rounding)
    if how == "stretch":
        wide, high = size[0] / width / crop_fraction, size[1] / height / crop_fraction
        return Frame(width, height, wide, high, (size[0] - width * wide) / 2, (size[1] - height * high) / 2)
    ratios = (size[0] / width, size[1] / height)
    if how == "crop":
        scale = max(ratios) / crop_fraction
        return Frame(width, height, scale, scale, (size[0] - width * scale) / 2, (size[1] - height * scale) / 2)
    scale = min(ratios)
    frame = Frame(width, height, scale, scale, 0, 0)
    if how == "letterbox-topleft":
        return frame
    inner = _inner(frame, how)
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    return Frame(width, height, inner[0] / width, inner[1] / height, left, top)


def _cut(
    width: int, height: int, size: tuple[int, int], how: str, crop_fraction: float, rounding: CropRounding
) -> Frame:
    # The fraction is rounded where files are read: what is all but whole is whole.
    resized = [int(side / crop_fraction + 0.02) for side in size]
    if how == "crop":
        scale = max(resized[0] / width, resized[1] / height)
        resized = [max(side, int(length * scale + 1e-6)) for side, length in zip(resized, (width, height), strict=True)]
    left, top = (_middle(r - s, rounding) for r, s in zip(resized, size, strict=True))
    return Frame(width, height, resized[0] / width, resized[1] / height, -left, -top)


def _middle(left_over: int, rounding: CropRounding) -> int:
    return round(left_over / 2) if rounding == "even" else left_over // 2


def _inner(frame: Frame, how: str) -> tuple[int, int]:
    """Whole pixels that a letterboxed picture takes, as the training code rounds: YOLOX cuts, Ultralytics rounds.

    Boxes are mapped back as each does: YOLOX with the scale before, Ultralytics with that of each side behind
    (`ultralytics/utils/ops.py`, scale_boxes).
    """
    width, height = frame.width * frame.scale_x, frame.height * frame.scale_y
    if how == "letterbox-topleft":
        # The small number keeps a product that should be whole from falling below it.
        return max(1, int(width + 1e-6)), max(1, int(height + 1e-6))
    return max(1, round(width)), max(1, round(height))


def _normalization(part: Input, spec: TensorSpec, channels: int) -> tuple[list[float], list[float]]:
    mean, std = part.mean, part.std
    if not mean and not std and spec.quantization is not None and spec.dtype == "int8":
        std = (255.0,)  # the range 0 to 1 is what a quantised picture input stands for unless it says otherwise
    return _for_each(mean or (0.0,), channels, "mean"), _for_each(std or (1.0,), channels, "std")


def _for_each(values: Sequence[float], channels: int, what: str) -> list[float]:
    if len(values) not in (1, channels):
        raise ModelError(f"{what} has {len(values)} values for {channels} channels; give 1 or {channels}")
    if what == "std" and 0 in values:
        raise ModelError("std is 0: nothing can be divided by it")
    return list(values) if len(values) == channels else [values[0]] * channels


def _table(spec: TensorSpec, mean: list[float], std: list[float]) -> Array:
    """What each of the 256 pixel values becomes: shape [1, 256, channels], in the input's own dtype."""
    pixels = np.arange(256, dtype=np.float64)[None, :, None]
    real = (pixels - np.array(mean)) / np.array(std)
    # Pixels are the bytes of uint8 unless something is done to them.
    if spec.quantization is not None and (spec.dtype != "uint8" or any(mean) or any(s != 1 for s in std)):
        return quantize(real, spec)
    limits = np.iinfo(spec.dtype)
    return np.asarray(np.clip(np.rint(real), limits.min, limits.max).astype(spec.dtype))


def _kind(table: Array) -> str:
    pixels = np.arange(256)[:, None]
    if table.dtype.itemsize > 1:
        return ""
    if np.array_equal(table[0], np.broadcast_to(pixels, table[0].shape)):
        return "same"
    if table.dtype == np.int8 and np.array_equal(table[0], np.broadcast_to(pixels - 128, table[0].shape)):
        return "signed"
    return ""

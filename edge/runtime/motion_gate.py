"""`--motion`: frames in which nothing moves are not inferred.

A frame is shrunk to a hundred cells or so in width and compared with a background that follows the scene within some
seconds. So the noise of a sensor is averaged away, and what is left of it is measured in each frame; a change of light
of the whole scene is taken off, and what stands still long enough becomes background. Every so often a frame passes
all the same.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from edge.data.picture import picture_of
from edge.data.sample import EncodedImage, Payload, Sample
from edge.data.streams import RATE, stream_of
from edge.data.tensor import Array
from edge.data.units import SECOND_NS
from edge.errors import SampleError
from edge.preprocess.image.decode import opencv
from edge.preprocess.image.header import MAX_PIXELS, read_header

Grid: TypeAlias = npt.NDArray[np.float32]

COLUMNS = 128
FOLLOWS_S = 2.0
"""In which the background takes over two thirds of a change."""
LEAST = 6.0
"""Of 255: what changes by less is no motion, however quiet the sensor."""
NOISE = 5.0
"""Times the noise of this frame, and a cell has changed."""
MOST = 50.0
"""Of 255: so much is motion, for where all the scene changes that is no noise."""
ANOTHER_SCENE = 0.6
"""Share of the cells that change when the light is switched, or the camera turned: the background begins anew."""
SMALL = 8_000_000
"""Pixels up to which a picture is decoded for this whose decoder cannot make it smaller meanwhile."""
STREAMS_MOST = 64


class _Stream(msgspec.Struct):
    """Times as its samples tell them, in nanoseconds."""

    background: Grid
    time_ns: int
    passed_ns: int
    still_ns: int = 0


class MotionGate:
    """Belongs to the thread that captures."""

    def __init__(self, share: float, keepalive_s: float, *, live: bool) -> None:
        """`share` of the picture that has to change; a frame passes at the latest after `keepalive_s`, 0: never.
        `live`: frames are of now, not of a recording."""
        self._share, self._live = share, live
        self._keepalive_ns = int(keepalive_s * SECOND_NS)
        self._streams: OrderedDict[str, _Stream] = OrderedDict()
        self._count = 0

    def __call__(self, sample: Sample) -> Sample | None:
        """The sample, with the time in which nothing had moved; None where nothing moves.

        What is no picture, or asks for an answer, passes; so does what was sent before: it may have passed then, and
        its result have died with the process.
        """
        if sample.reply is not None or sample.redelivered:
            return sample
        grid = shrunk(sample.payload)
        if grid is None:
            return sample
        self._count += 1
        name = stream_of(sample.source)
        now_ns = (
            sample.captured_ns
            if self._live
            else self._count * SECOND_NS // RATE
            if sample.at_ns is None
            else sample.at_ns
        )
        stream = self._streams.get(name)
        if stream is None or stream.background.shape != grid.shape or now_ns < stream.time_ns:
            still_ns = stream.still_ns if stream is not None else 0
            self._streams[name] = stream = _Stream(grid, now_ns, now_ns, still_ns)
            moves = True
        else:
            moves = self._moves(stream, grid, now_ns)
        self._streams.move_to_end(name)
        if len(self._streams) > STREAMS_MOST:
            self._streams.popitem(last=False)
        due = self._keepalive_ns and now_ns - stream.passed_ns >= self._keepalive_ns
        if moves or due:
            stream.time_ns = stream.passed_ns = now_ns
            return replace(sample, still_ns=stream.still_ns) if stream.still_ns else sample
        stream.still_ns += now_ns - stream.time_ns
        stream.time_ns = now_ns
        return None

    def _moves(self, stream: _Stream, grid: Grid, now_ns: int) -> bool:
        share = changed(stream.background, grid)
        if share > ANOTHER_SCENE:
            stream.background = grid
        else:
            keeps = math.exp(-max(now_ns - stream.time_ns, SECOND_NS // RATE) / SECOND_NS / FOLLOWS_S)
            stream.background = grid + np.float32(keeps) * (stream.background - grid)
        return share >= self._share


def changed(background: Grid, grid: Grid) -> float:
    """Share of the cells that are other than before, beyond noise and the light of the whole scene."""
    before, now = (float(np.median(g[::2, ::2])) + 8.0 for g in (background, grid))  # + 8: no ratio of two dark frames
    change = np.abs(grid - background)
    # A cell at its brightest stays there when the light changes: it has not changed either.
    np.minimum(change, np.abs(grid - np.float32(min(max(now / before, 0.5), 2.0)) * background), out=change)
    noise = 1.4826 * float(np.median(change[::2, ::2]))
    return int(np.count_nonzero(change > min(max(LEAST, NOISE * noise), MOST))) / int(change.size)


def shrunk(payload: Payload) -> Grid | None:
    """A picture in grey, COLUMNS wide, 0 to 255; None for what is no picture, or too large to look at here."""
    picture = picture_of(payload)
    if picture is None:
        return None
    grey = _grey(picture.data) if isinstance(picture, EncodedImage) else _green(picture.pixels)
    if grey is None:
        return None
    height, width = grey.shape
    size = (min(COLUMNS, width), max(1, round(height * min(COLUMNS, width) / width)))
    cv2 = opencv()
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.float32)


def _green(pixels: Array) -> Array:
    """As good as grey, and every so many pixels are enough: three to a cell in each direction, or more."""
    step = max(1, pixels.shape[1] // (3 * COLUMNS))
    return np.ascontiguousarray(pixels[::step, ::step, 1])


def _grey(data: bytes) -> Array | None:
    try:
        header = read_header(data)
    except SampleError:
        return None  # told where it is prepared
    reduces = header.kind == "JPEG" and not header.progressive
    if header.pixels > (MAX_PIXELS if reduces else SMALL):
        return None
    cv2 = opencv()
    factor = next((f for f in (8, 4, 2) if reduces and header.width >= 2 * COLUMNS * f), 1)
    how = cv2.IMREAD_GRAYSCALE if factor == 1 else getattr(cv2, f"IMREAD_REDUCED_GRAYSCALE_{factor}")
    try:
        grey = cv2.imdecode(np.frombuffer(data, np.uint8), how)
    except cv2.error:
        return None
    return None if grey is None or not grey.size else np.asarray(grey)

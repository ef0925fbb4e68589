"""Sound: PCM and `.wav` bytes to samples.

The header is read as recorders and pipes really write it. A recorder that was cut off, or writes into a pipe, leaves
the size of the sound at 0 or at the largest number it knows: then the sound goes on to the end of the file. Chunks of
any kind may come before it, of odd size with a byte of padding or without. The form may be extensible, float, or RF64,
which has sizes of 64 bits: https://www.mmsp.ece.mcgill.ca/Documents/AudioFormats/WAVE/WAVE.html, EBU Tech 3306.
"""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

import msgspec
import numpy as np

from edge.data import magic
from edge.data.one_file import refuse_more
from edge.data.sample import Sound
from edge.data.tensor import Array
from edge.errors import SampleError

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
UNKNOWN_FROM = 0x7FFF_0000
"""Sizes that say "until the end": 2 GB and 4 GB, less a header or a page."""
CHUNK_MOST = 2**24
"""Bytes of a chunk before the sound (a picture, a transcript): more is damage."""
_CODECS = {2: "ADPCM", 6: "A-law", 7: "mu-law", 0x11: "ADPCM", 0x55: "MP3"}


class WavFormat(msgspec.Struct, frozen=True):
    """`width`: bytes of a sample; `left`: bytes of sound, None where it goes on to the end of the file."""

    rate: int
    channels: int
    width: int
    real: bool
    left: int | None

    @property
    def frame(self) -> int:
        """Bytes of one sample of every channel."""
        return self.width * self.channels


def read_wav_header(file: BinaryIO) -> WavFormat:
    """Reads up to the first byte of sound. Raises ValueError for anything else than PCM or floats in a .wav file."""
    head = _exactly(file, 12)
    if not magic.is_wav(head):
        raise ValueError("it does not begin like one")
    form: tuple[int, int, int, int] | None = None
    large = 0
    kind, size = _next_chunk(file)
    while kind != b"data":
        if size > CHUNK_MOST:
            raise ValueError(f"a chunk {kind!r} of {size} bytes before the sound")
        body = _exactly(file, size)
        if kind == b"fmt ":
            form = _form(body)
        elif kind == b"ds64":
            (large,) = struct.unpack_from("<Q", body, 8)
        kind, size = _next_chunk(file, odd=size % 2 == 1)
    if form is None:
        raise ValueError("no 'fmt ' chunk before the sound")
    return _wav_format(form, _sound_bytes(size, large, struct.unpack_from("<I", head, 4)[0], file))


def _sound_bytes(size: int, large: int, whole: int, file: BinaryIO) -> int | None:
    if size == 0xFFFF_FFFF and large:  # RF64
        return large
    if size >= UNKNOWN_FROM:
        return None
    # A file without sound says so in its own size too; a header that was never finished says nothing.
    return size or (0 if file.seekable() and whole and whole + 8 == _length(file) and _is_end(file) else None)


def _is_end(file: BinaryIO) -> bool:
    """Whether nothing follows, or a chunk; what follows stays unread."""
    at = file.tell()
    head = file.read(8)
    file.seek(at)
    left = _length(file) - at
    named = head[:4].isascii() and head[:4].decode("ascii").isprintable()
    return not head or (len(head) == 8 and named and 8 + int.from_bytes(head[4:], "little") <= left)


def _length(file: BinaryIO) -> int:
    at = file.tell()
    length = file.seek(0, io.SEEK_END)
    file.seek(at)
    return length


def _next_chunk(file: BinaryIO, *, odd: bool = False) -> tuple[bytes, int]:
    head = _exactly(file, 8)
    # A chunk of odd size is padded; some writers forget it, and then the first letter is not a 0.
    if odd and head[0] == 0:
        head = head[1:] + _exactly(file, 1)
    return head[:4], int.from_bytes(head[4:8], "little")


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise ValueError("it ends in its header")
    return data


def _form(body: bytes) -> tuple[int, int, int, int]:
    """Format, channels, rate and bytes of one sample."""
    if len(body) < 16:
        raise ValueError("its 'fmt ' chunk is too short")
    kind, channels, rate, _, align, bits = struct.unpack_from("<HHIIHH", body)
    if kind == EXTENSIBLE and len(body) >= 26:
        (kind,) = struct.unpack_from("<H", body, 24)  # the first bytes of the sub-format's name
    if not 1 <= channels <= 64 or not 1 <= rate <= 10_000_000:
        raise ValueError(f"{channels} channels at {rate} Hz")
    if kind not in (PCM, FLOAT):
        raise ValueError(f"its sound is {_CODECS.get(kind, f'of format {kind}')}, not PCM")
    # 24 bits may lie in 4 bytes, at their upper end.
    width = align // channels if align % channels == 0 and align // channels >= bits / 8 else -(-bits // 8)
    known = (4, 8) if kind == FLOAT else (1, 2, 3, 4)
    if width not in known:
        raise ValueError(f"{bits} bits a sample; {', '.join(str(8 * w) for w in known)} are known")
    return kind, channels, rate, width


def _wav_format(form: tuple[int, int, int, int], left: int | None) -> WavFormat:
    kind, channels, rate, width = form
    return WavFormat(rate, channels, width, kind == FLOAT, left)


def decode_frames(data: bytes, form: WavFormat) -> Array:
    """n x channels: int16, int32 where it is wider, float32 from -1 to 1. `data` holds whole frames."""
    return _samples(data, form).reshape(-1, form.channels)


def _samples(data: bytes, form: WavFormat) -> Array:
    if form.real:
        return np.frombuffer(data, f"<f{form.width}").astype(np.float32)
    if form.width == 1:  # 8 bits are unsigned in a .wav file
        return (np.frombuffer(data, np.uint8).astype(np.int16) - 128) << 8
    if form.width == 3:
        padded = np.zeros((len(data) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return padded.view("<i4").ravel().astype(np.int32, copy=False)
    return np.frombuffer(data, f"<i{form.width}").astype(f"int{8 * form.width}", copy=False)


def decode_wav(data: bytes) -> Sound:
    """A whole `.wav` file: one stretch that stands alone. Raises SampleError."""
    file = io.BytesIO(data)
    try:
        form = read_wav_header(file)
    except ValueError as exc:
        raise SampleError(f"not a PCM .wav file that can be read: {exc}") from exc
    sound = file.read() if form.left is None else file.read(form.left)
    refuse_more("a sound", data, file.tell())
    if form.left is not None and len(sound) < form.left:
        raise SampleError(f"the .wav file ends in the middle: {len(sound)} bytes of sound, {form.left} promised")
    whole = sound[: len(sound) // form.frame * form.frame]
    return Sound(decode_frames(whole, form), form.rate, last=True)

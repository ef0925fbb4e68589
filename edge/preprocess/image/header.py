"""What the header of an encoded picture says, read before anything is decoded.

A decoder allocates width x height before it sees the first pixel, so a file of a few kilobytes can ask for
gigabytes: the size is read here first. A file that was cut off, or whose checksums are wrong, is told from a whole one
by its structure too, because decoders fill what is missing with grey and say nothing.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable

import msgspec

from edge.data import magic
from edge.data.one_file import refuse_more
from edge.errors import SampleError

MAX_PIXELS = 50_000_000
"""Pictures above this are refused: 150 MB decoded, as much as a board with 1 GB can spare."""

REDUCIBLE = 4
"""A JPEG may have as many times more: it can be decoded at half its size and less."""

_ZEROS = bytes(64)
"""As many are damage in a JPEG's scan: a lost sector, a gap in a download."""
_NOT_ZERO = re.compile(rb"[^\0]")
_JPEG_END = re.compile(magic.JPEG_END)
"""Found in a third of the time that `bytes.find` takes for two bytes."""
_JPEG_WITHOUT_LENGTH = frozenset((0x01, *range(0xD0, 0xD9)))
_JPEG_NOT_A_FRAME = frozenset((0xC4, 0xC8, 0xCC))
_JPEG_SEQUENTIAL = frozenset((0xC0, 0xC1))
_JPEG_OF_SEVERAL = (b"MPF\0", b"Container:")
"""What a phone's picture says before its scan where it holds further ones (CIPA DC-007; Google's containers in XMP): a
smaller one, another exposure, depth. The first is the picture."""


class PictureHeader(msgspec.Struct, frozen=True):
    """Format, size in pixels as stored (before EXIF orientation), and whether there is transparency.

    `deep`: 16 bits a channel. `exif`: the picture may be turned by what it says there. `progressive`: a JPEG whose
    decoder holds all coefficients.
    """

    kind: str
    width: int
    height: int
    alpha: bool = False
    deep: bool = False
    exif: bool = False
    progressive: bool = False
    cmyk: bool = False
    animated: bool = False
    """There are more pictures in it than the first, which is the one decoded."""

    @property
    def pixels(self) -> int:
        """Their count."""
        return self.width * self.height


def read_header(data: bytes) -> PictureHeader:
    """The header of a JPEG, PNG, BMP, WebP or GIF file.

    Raises SampleError for anything else, for a file that was cut off and for one above `MAX_PIXELS`.
    """
    try:
        header = _read(data)
    except (struct.error, IndexError) as exc:
        raise _truncated(len(data)) from exc
    if header.width < 1 or header.height < 1:
        raise SampleError(f"a {header.kind} picture of {header.width} x {header.height} pixels has nothing in it")
    limit = MAX_PIXELS * (REDUCIBLE if header.kind == "JPEG" else 1)
    if header.pixels > limit:
        raise SampleError(
            f"a {header.kind} picture of {header.width} x {header.height} pixels is too large to decode "
            f"(limit {limit // 1_000_000} megapixels); make it smaller before sending it"
        )
    return header


def _read(data: bytes) -> PictureHeader:
    kind = magic.picture(data[:64])
    if kind is None:
        raise SampleError(f"not a JPEG, PNG, BMP, WebP or GIF picture (it begins with {data[:8].hex(' ')})")
    return _READERS[kind](data)


def _truncated(size: int) -> SampleError:
    return SampleError(f"the picture ends in the middle after {size} bytes (truncated); send the whole file")


def _jpeg(data: bytes) -> PictureHeader:
    # ITU T.81 annex B: markers follow one another, each but a few with a length, up to the entropy-coded scan.
    at, size, inks, exif, frame, tables = 2, None, 0, False, 0, b""
    while True:
        while data[at + 1] == 0xFF:  # fill bytes
            at += 1
        if data[at] != 0xFF:
            raise SampleError(f"a damaged JPEG picture: no marker at byte {at}")
        marker = data[at + 1]
        if marker == 0xDA:
            break
        if marker in _JPEG_WITHOUT_LENGTH:
            at += 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        if 0xC0 <= marker <= 0xCF and marker not in _JPEG_NOT_A_FRAME:
            frame, inks = marker, data[at + 9]
            size = struct.unpack_from(">HH", data, at + 5)
        elif marker == 0xC4:
            tables += data[at + 4 : at + 2 + length]
        exif = exif or (marker == 0xE1 and data[at + 4 : at + 8] == b"Exif")
        at += 2 + length
    # Inside the scan a data byte FF is always followed by 00, so FF D9 can only be the end of the image.
    found = _JPEG_END.search(data, at)
    if found is None:
        raise _truncated(len(data))
    end = found.start()
    if size is None:
        raise SampleError("a damaged JPEG picture: it has no frame header")
    if all(data.find(word, 0, at) < 0 for word in _JPEG_OF_SEVERAL):
        refuse_more("a JPEG picture", data, end + 2)
    if frame in _JPEG_SEQUENTIAL and not _zeros_are_flat(tables):
        _refuse_gap(data, at, end)
    return PictureHeader("JPEG", size[1], size[0], exif=exif, progressive=frame in (0xC2, 0xCA), cmyk=inks == 4)


def _zeros_are_flat(tables: bytes) -> bool:
    """True where a row of zero bits is an area of one colour, in the Huffman tables of every channel.

    The code of zeros is a table's first: it has to be "no change" (0) for a block's mean and "the rest is 0" (0) behind
    it. The usual tables, which a file may leave out, have another one for the detail of the brightness.
    """
    at, flat = 0, bool(tables)
    while at < len(tables):
        flat = flat and tables[at + 17] == 0
        at += 17 + sum(tables[at + 1 : at + 17])
    return flat


def _refuse_gap(data: bytes, at: int, end: int) -> None:
    """Raises SampleError for a stretch of zeros in the scan, which decodes to grey blocks without a complaint.

    Zeros up to the end of the picture are a camera's padding.
    """
    gap = data.find(_ZEROS, at, end)
    if gap >= 0 and (behind := _NOT_ZERO.search(data, gap)) is not None and behind.start() < end:
        raise SampleError(
            f"a damaged JPEG picture: {behind.start() - gap} bytes from byte {gap} are zeros; send the whole file again"
        )


def _png(data: bytes) -> PictureHeader:
    # https://www.w3.org/TR/png-3/#5DataRep: chunks of a length, a type, the data and their CRC.
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    transparent = exif = animated = False
    at, kind = 8, b""
    while kind != b"IEND":
        (length,) = struct.unpack_from(">I", data, at)
        kind, end = data[at + 4 : at + 8], at + 8 + length
        (checksum,) = struct.unpack_from(">I", data, end)
        # A chunk that a decoder may leave out has a small first letter.
        if kind[:1].isupper() and zlib.crc32(memoryview(data)[at + 4 : end]) != checksum:
            raise SampleError(f"a damaged PNG picture: the checksum at byte {end} is wrong; send the whole file again")
        transparent = transparent or kind == b"tRNS"
        exif = exif or kind == b"eXIf"
        animated = animated or (kind == b"acTL" and data[at + 8 : at + 12] > bytes((0, 0, 0, 1)))
        at = end + 4
    refuse_more("a PNG picture", data, at)
    alpha = colour in (4, 6) or transparent
    return PictureHeader("PNG", width, height, alpha=alpha, deep=bits == 16, exif=exif, animated=animated)


def _gif(data: bytes) -> PictureHeader:
    """https://www.w3.org/Graphics/GIF/spec-gif89a.txt: up to the end of the first picture, which is the one decoded."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + _gif_colours(flags)
    while data[at] == 0x21:  # an extension: its label, then blocks
        at = _after_gif_blocks(data, at + 2)
    if data[at] != 0x2C:
        raise SampleError(f"a damaged GIF picture: no picture at byte {at}")
    end = _after_gif_blocks(data, at + 11 + _gif_colours(data[at + 9]))
    if data[end : end + 1] == b";":
        refuse_more("a GIF picture", data, end + 1)
    while data[end : end + 1] == b"\x21":
        end = _after_gif_blocks(data, end + 2)
    return PictureHeader("GIF", width, height, animated=data[end : end + 1] == b"\x2c")


def _gif_colours(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _after_gif_blocks(data: bytes, at: int) -> int:
    while size := data[at]:
        at += 1 + size
    return at + 1


def _bmp(data: bytes) -> PictureHeader:
    (pixels_at, info) = struct.unpack_from("<II", data, 10)
    if info == 12:
        width, height = struct.unpack_from("<HH", data, 18)
        return PictureHeader("BMP", width, height)
    width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    height = abs(height)  # negative: the rows run from the top
    if compression == 0 and width > 0 and width * height <= MAX_PIXELS:
        stride = (width * bits + 31) // 32 * 4
        end = pixels_at + stride * height
        if end > len(data):
            raise _truncated(len(data))
        refuse_more("a BMP picture", data, end)
    return PictureHeader("BMP", width, height)


def _webp(data: bytes) -> PictureHeader:
    (size,) = struct.unpack_from("<I", data, 4)
    if size + 8 > len(data):
        raise _truncated(len(data))
    refuse_more("a WebP picture", data, size + 8)
    kind = data[12:16]
    if kind == b"VP8X":
        flags = data[20]
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        return PictureHeader("WebP", width, height, alpha=bool(flags & 0x10), animated=bool(flags & 0x02))
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return PictureHeader("WebP", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, alpha=bool(bits >> 28 & 1))
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return PictureHeader("WebP", width & 0x3FFF, height & 0x3FFF)
    raise SampleError(f"a WebP picture of an unknown kind {kind!r}")


_READERS: dict[magic.PictureKind, Callable[[bytes], PictureHeader]] = {
    "JPEG": _jpeg, "PNG": _png, "BMP": _bmp, "WebP": _webp, "GIF": _gif,
}  # fmt: skip

"""What bytes are, told by how they begin: the one list of it. Imports nothing.

"begin" is the first 64 bytes, or all where there are fewer.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

PictureKind: TypeAlias = Literal["JPEG", "PNG", "BMP", "GIF", "WebP"]

JPEG, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_PICTURES: tuple[tuple[bytes, PictureKind], ...] = (
    (JPEG, "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"BM", "BMP"),
    (b"GIF8", "GIF"),
)
SUFFIX_OF: dict[PictureKind, str] = {"JPEG": ".jpg", "PNG": ".png", "BMP": ".bmp", "GIF": ".gif", "WebP": ".webp"}
MEDIA_TYPE_OF: dict[PictureKind, str] = {
    "JPEG": "image/jpeg", "PNG": "image/png", "BMP": "image/bmp", "GIF": "image/gif", "WebP": "image/webp",
}  # fmt: skip

LONGEST = 12
"""Bytes that tell each of them."""
PADDING = b"\0\r\n\t "
"""What some programs put behind a file in a stream: it means nothing."""
PADDED = 4096
NPY = b"\x93NUMPY"
ORT = b"ORTM"
ZIP = b"PK\x03\x04"
HDF5 = b"\x89HDF\r\n\x1a\n"
GIT_LFS = b"version https://git-lfs"

_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"\x80\x04", "a Python pickle (run edge-convert on it)"),
    (b"\x80\x05", "a Python pickle (run edge-convert on it)"),
    (ZIP, "a zip archive (a PyTorch, Keras or skops model? run edge-convert on it)"),
    (HDF5, "an HDF5 file (a Keras model? run edge-convert on it)"),
    (GIT_LFS, "a Git LFS pointer (run 'git lfs pull')"),
    (NPY, "a .npy array, not a model"),
    (b"GGUF", "a language model for llama.cpp (GGUF), which nothing here runs"),
    (b"7767517\n", "a model of ncnn; take the .onnx file that it was made from"),
    (b"RKNN", "a model for Rockchip's processors (RKNN); take the .onnx file that it was made from"),
    (b"\x1f\x8b", "a gzip archive; unpack it, and give what is in it"),
    (b"\xfd7zXZ\0", "an xz archive; unpack it, and give what is in it"),
    (b"<", "text or a web page, not a model"),
    (b"{", "JSON text, or a model of XGBoost (run edge-convert on it)"),
)


_BY_SUFFIX: dict[str, str] = {
    **dict.fromkeys(
        (".engine", ".plan", ".trt"),
        "an engine of TensorRT, for one kind of GPU; take the .onnx file that it was made from",
    ),
    ".mlmodel": "a model of Core ML, for Apple's devices; take the model that it was made from",
    ".pb": "a graph of TensorFlow 1, frozen; save the model as a SavedModel folder and run edge-convert on that",
    ".pmml": "a model in PMML; run edge-convert on the model that it was made from",
    ".xml": "text in XML, perhaps a model of OpenVINO; take the .onnx file that it was made from",
}
"""Models of others, in formats that do not say so by how they begin."""
_SAFETENSORS = "weights without a network (safetensors); load them into the model they belong to, and convert that"
_LONGEST_HEADER = 100_000_000
"""Bytes of a safetensors file's header, by its specification."""


_NO_INPUTS: tuple[tuple[bytes, str], ...] = (
    (b"PAR1", "a Parquet file, which edge-score reads; edge-run reads .csv and .jsonl"),
    (b"ARROW1", "an Arrow file; save the rows as .csv or .jsonl, or as Parquet for edge-score"),
    (ZIP, "a zip archive, or a workbook of Excel; save its rows as .csv, or unpack it"),
    (b"\xd0\xcf\x11\xe0", "a workbook of an older Excel; save its rows as .csv"),
    (HDF5, "an HDF5 file; save its rows as .csv or .npy"),
    (b"\x1f\x8b", "a gzip archive; unpack it"),
    (b"\x80\x04", "a Python pickle, which is never opened; save its rows as .csv or .npy"),
    (b"\x80\x05", "a Python pickle, which is never opened; save its rows as .csv or .npy"),
    (b"%PDF", "a PDF document; save its pages as pictures"),
    (b"\x1a\x45\xdf\xa3", "a video (Matroska); its name has to end in .mkv or .webm"),
)


def no_input(begin: bytes) -> str | None:
    """What bytes are that no model is fed with, with the way out: "a PDF document; ...". None: not known."""
    if begin[4:8] == b"ftyp":
        return "a video, or a picture of HEIF; a video's name has to end in .mp4 or .mov, a picture is JPEG or PNG"
    if begin[:4] == b"RIFF" and begin[8:11] == b"AVI":
        return "a video (AVI); its name has to end in .avi"
    return next((name for magic, name in _NO_INPUTS if begin.startswith(magic)), None)


def picture(begin: bytes) -> PictureKind | None:
    """The kind of picture file, or None."""
    for magic, kind in _PICTURES:
        if begin.startswith(magic):
            return kind
    return "WebP" if begin[:4] == b"RIFF" and begin[8:12] == b"WEBP" else None


def picture_suffix(begin: bytes) -> str:
    """What the name of a picture file ends with; `.bin` where it is none that is known."""
    kind = picture(begin)
    return SUFFIX_OF[kind] if kind is not None else ".bin"


def is_wav(begin: bytes) -> bool:
    """A sound in RIFF, or in RF64, its form of 64 bits."""
    return begin[:4] in (b"RIFF", b"RF64") and begin[8:12] == b"WAVE"


def is_npy(begin: bytes) -> bool:
    """An array as numpy saves it."""
    return begin.startswith(NPY)


def follows(data: bytes, at: int) -> str | None:
    """What begins at `at`, or behind the few bytes that some programs put there: a picture, a sound or an array."""
    begin = data[at : at + PADDED].lstrip(PADDING)[:64]
    kind = picture(begin)
    if kind == "BMP" and begin[6:10] != bytes(4):
        return None  # two letters are soon found; four bytes of a header are always zeros
    if kind is not None:
        return f"a {kind} picture"
    return "a sound" if is_wav(begin) else "an array" if is_npy(begin) else None


def is_tflite(begin: bytes) -> bool:
    """A FlatBuffer with the file identifier of TensorFlow Lite."""
    return begin[4:8] == b"TFL3"


def is_onnx(begin: bytes) -> bool:
    """ONNX Runtime's own format (.ort), or most likely ONNX, which has no magic number.

    ModelProto is protobuf: nearly always field 1 (ir_version, a small varint) comes first; a writer may begin with
    another field (2 producer_name, 7 graph, 8 opset_import, 14 metadata), all length-delimited.
    """
    if len(begin) < 9:
        return False
    if begin[4:8] == ORT:
        return True
    return (begin[0] == 0x08 and begin[1] < 0x40) or begin[0] in (0x12, 0x3A, 0x42, 0x72)


def other(begin: bytes, suffix: str) -> str | None:
    """What a file is that is no model of ours, with the way out: "a PNG picture". None: not known.

    `suffix` is its name's, which tells where the content does not.
    """
    kind = picture(begin)
    if kind is not None:
        return f"a {kind} picture"
    if begin[8:9] == b"{" and int.from_bytes(begin[:8], "little") <= _LONGEST_HEADER:
        return _SAFETENSORS
    named = _BY_SUFFIX.get(suffix.lower())
    return named or next((name for magic, name in _OTHERS if begin.startswith(magic)), None)


def description(begin: bytes, suffix: str = "") -> str:
    """For a message about a file that is no model: what it is instead, or how it begins."""
    name = other(begin, suffix)
    return f"this is {name}" if name else f"not a model file (it begins with {begin[:8].hex(' ')})"

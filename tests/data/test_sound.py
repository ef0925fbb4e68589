"""`.wav` files as recorders and pipes write them: the same sound, whatever the header looks like."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.data.codec import decode
from edge.data.sound import decode_wav
from edge.errors import EndOfStream, SampleError, SourceError
from edge.plugins.contexts import SourceContext
from edge.preprocess.audio.stream import mono
from edge.sources import wav
from edge.telemetry.clock import SystemClock

SOUND = np.array([-1.0, 0.0, 0.5, 0.25, -0.25, 0.75])
FORMS = {
    "8": (1, 8, lambda x: (x * 128 + 128).clip(0, 255).astype(np.uint8).tobytes()),
    "16": (1, 16, lambda x: (x * 2**15).astype("<i2").tobytes()),
    "24": (1, 24, lambda x: (x * 2**31).astype("<i4").view(np.uint8).reshape(-1, 4)[:, 1:].tobytes()),
    "32": (1, 32, lambda x: (x * 2**31).astype("<i4").tobytes()),
    "float 32": (3, 32, lambda x: x.astype("<f4").tobytes()),
    "float 64": (3, 64, lambda x: x.astype("<f8").tobytes()),
}


def chunk(name: bytes, body: bytes, size: int | None = None, *, padded: bool = True) -> bytes:
    size = len(body) if size is None else size
    return name + struct.pack("<I", size) + body + (b"\0" if len(body) % 2 and padded else b"")


def file(form="16", *, extensible=False, before=(), behind=b"", size=None, whole=None, rf64=False, rate=8000) -> bytes:
    kind, bits, pack = FORMS[form]
    data, align = pack(SOUND), bits // 8
    fmt = struct.pack("<HHIIHH", 0xFFFE if extensible else kind, 1, rate, rate * align, align, bits)
    if extensible:
        fmt += (
            struct.pack("<HHI", 22, bits, 4) + struct.pack("<H", kind) + bytes.fromhex("000000001000800000aa00389b71")
        )
    chunks = chunk(b"fmt ", fmt) + b"".join(before) + chunk(b"data", data, size) + behind
    if rf64:
        chunks = chunk(b"ds64", struct.pack("<QQQI", len(chunks), len(data), len(SOUND), 0)) + chunks
    return (
        (b"RF64" if rf64 else b"RIFF")
        + struct.pack("<I", 4 + len(chunks) if whole is None else whole)
        + b"WAVE"
        + chunks
    )


def streamed(tmp_path, data: bytes):
    (tmp_path / "a.wav").write_bytes(data)
    made = wav.create(str(tmp_path / "a.wav"), SourceContext(clock=SystemClock()))
    made.open()
    found = []
    try:
        while True:
            found.append(made.read(1).payload)
    except EndOfStream:
        return np.concatenate([mono(s.samples) for s in found]), found
    finally:
        made.close()


TEXT = chunk(b"LIST", b"INFOISFT\x0e\0\0\0Lavf60.16.100\0")
WRITERS = {
    "plain": {},
    "ffmpeg into a pipe": {"size": 0xFFFFFFFF, "whole": 0xFFFFFFFF, "before": (TEXT,)},
    "arecord into a pipe": {"size": 0x80000000, "whole": 0x80000024},
    "sox into a pipe": {"size": 0x7FFFF000, "whole": 0x7FFFF024},
    "a recorder that was cut off": {"size": 0, "whole": 0},
    "a recorder that wrote its own size only": {"size": 0, "whole": 36},
    "a recorder that wrote all sizes but the sound's": {"size": 0},
    "chunks before": {
        "before": (TEXT, chunk(b"fact", b"\6\0\0\0"), chunk(b"bext", bytes(603)), chunk(b"JUNK", b"abc"))
    },
    "odd chunks without padding": {
        "before": (chunk(b"JUNK", b"abc", padded=False), chunk(b"id3 ", b"x", padded=False))
    },
    "chunks behind": {"behind": TEXT},
    "RF64": {"rf64": True, "size": 0xFFFFFFFF, "whole": 0xFFFFFFFF, "behind": TEXT},
}


@pytest.mark.parametrize("extensible", [False, True], ids=["plain", "extensible"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("writer", WRITERS)
def test_every_writer_s_file_holds_the_same_sound(tmp_path, writer, form, extensible):
    data = file(form, extensible=extensible, **WRITERS[writer])
    expected = mono(decode_wav(file(form)).samples)
    np.testing.assert_allclose(expected, SOUND, atol=1 / 128)
    np.testing.assert_array_equal(mono(decode(data).samples), expected)
    found, stretches = streamed(tmp_path, data)
    np.testing.assert_array_equal(found, expected)
    assert [s.last for s in stretches] == [False] * (len(stretches) - 1) + [True]


def test_a_file_without_sound_has_none(tmp_path):
    empty = b"RIFF" + struct.pack("<I", 36 + len(TEXT)) + b"WAVE" + file()[12:36] + chunk(b"data", b"") + TEXT
    assert decode_wav(empty).samples.size == 0
    (tmp_path / "a.wav").write_bytes(empty)
    made = wav.create(str(tmp_path / "a.wav"), SourceContext(clock=SystemClock()))
    made.open()
    with pytest.raises(EndOfStream):
        made.read(1)
    made.close()


def test_what_was_promised_and_is_not_there_is_told(tmp_path):
    data = file(size=len(SOUND) * 2 + 2)
    with pytest.raises(SampleError, match="ends in the middle"):
        decode_wav(data)
    with pytest.raises(SourceError, match="ends in the middle"):
        streamed(tmp_path, data)


@pytest.mark.parametrize("kind", [2, 6, 7, 0x55])
def test_sound_that_is_not_pcm_is_named(kind):
    data = bytearray(file())
    data[20:22] = struct.pack("<H", kind)
    with pytest.raises(SampleError, match="not PCM"):
        decode_wav(bytes(data))


def test_numbers_that_are_none_are_refused():
    with pytest.raises(SampleError, match="NaN"):
        mono(np.array([0.0, np.nan], np.float32))


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_no_byte_of_a_file_makes_anything_else_than_sound_or_a_bad_sample(data):
    found = bytearray(
        file(data.draw(st.sampled_from(list(FORMS))), extensible=data.draw(st.booleans()), before=(TEXT,))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        found[data.draw(st.integers(12, len(found) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(12, len(found)))
    try:
        sound = decode_wav(bytes(found[:cut]))
    except SampleError:
        return
    assert sound.samples.ndim == 2
    assert sound.rate > 0


@pytest.mark.parametrize("behind", [file(), b"\xff\xd8\xff\xe0 a picture", b"\x93NUMPY"])
def test_a_sound_with_another_file_behind_it_is_refused(behind):
    with pytest.raises(SampleError, match="several files in one input; send each alone"):
        decode(file() + behind)

from __future__ import annotations

import io
import os
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from edge.data import codec
from edge.errors import ConfigError, EndOfStream, SampleError
from edge.sources.lines import LineSource
from edge.testing.fakes import FakeClock


def open_source(path) -> LineSource:
    source = LineSource(path, "rows", FakeClock())
    source.open()
    return source


def test_a_pipe_without_a_writer_holds_up_neither_open_nor_read(tmp_path):
    path = tmp_path / "rows.jsonl"
    os.mkfifo(path)
    source = open_source(path)
    assert source.read(0.01) is None
    writer = os.open(path, os.O_WRONLY)
    os.write(writer, b"[1]\n[2]")
    assert source.read(1).payload == b"[1]"
    os.close(writer)
    assert source.read(1).payload == b"[2]"
    with pytest.raises(EndOfStream):
        source.read(1)
    source.close()


def a_sound() -> bytes:
    """10 is the byte of a newline."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 16000, 0, "NONE", ""))
        sound.writeframes(np.full(400, 2570, "<i2").tobytes())
    return file.getvalue()


def an_array() -> bytes:
    file = io.BytesIO()
    np.save(file, np.full(20, 10, np.uint8))
    return file.getvalue()


@pytest.mark.parametrize("content", [a_sound(), an_array(), b"\x89PNG\r\n\x1a\n...\n..."], ids=["wav", "npy", "png"])
def test_a_file_of_bytes_is_one_input_though_it_holds_newlines(tmp_path, content):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"[1]\n" + content)
    source = open_source(path)
    assert [source.read(1).payload, source.read(1).payload] == [b"[1]", content]
    with pytest.raises(EndOfStream):
        source.read(1)
    source.close()


def a_picture(kind: str, shade: int) -> bytes:
    pixels = np.random.default_rng(shade).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    pixels[:, :20] = shade
    options = {"progressive": True} if kind == "progressive" else {}
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, "JPEG" if kind in ("thumbnail", "progressive") else kind, **options)
    data = file.getvalue()
    if kind == "thumbnail":  # a whole picture inside of the first segment
        inner = b"Exif\0\0" + a_picture("JPEG", 3)
        data = data[:2] + b"\xff\xe1" + (len(inner) + 2).to_bytes(2, "big") + inner + data[2:]
    return data


KINDS = ["JPEG", "thumbnail", "progressive", "PNG", "BMP", "WebP"]


def all_of(content: bytes, chunk: int) -> tuple[list[bytes], list[str]]:
    """What a pipe gives that gets so many bytes at once: payloads, and what is said of the rest."""
    reader, writer = os.pipe()
    source = LineSource(Path(f"/dev/fd/{reader}"), "pipe", FakeClock())
    source.open()
    payloads, said = [], []
    chunks = iter([*(content[at : at + chunk] for at in range(0, len(content), chunk)), b""])
    while True:
        following = next(chunks, None)
        if following:
            os.write(writer, following)
        elif following is not None:
            os.close(writer)
        try:
            sample = source.read(0)
        except SampleError as exc:
            said.append(str(exc))
        except EndOfStream:
            source.close()
            os.close(reader)
            return payloads, said
        else:
            payloads += [] if sample is None else [sample.payload]


@given(
    kinds=st.lists(st.sampled_from([*KINDS, "npy", "wav", "row"]), min_size=1, max_size=5),
    gaps=st.lists(st.sampled_from([b"", b"\n", b"\0\0\0"]), min_size=5, max_size=5),
    chunk=st.integers(700, 9000),
)
@settings(max_examples=60, deadline=None)
def test_files_that_follow_one_another_are_an_input_each(kinds, gaps, chunk):
    makes = {"npy": an_array, "wav": a_sound, "row": lambda: b"[1, 2]\n"}
    files = [makes[k]() if k in makes else a_picture(k, n) for n, k in enumerate(kinds)]
    # A sound says its length wrongly as often as not: it ends where another file begins.
    files = [f for f, k, behind in zip(files, kinds, [*kinds[1:], "row"], strict=True) if (k, behind) != ("wav", "row")]
    bare = [f[:1] == b"[" or f[8:12] == b"WAVE" for f in files]
    content = b"".join(f if alone else f + gap for f, gap, alone in zip(files, gaps, bare, strict=False))
    payloads, said = all_of(content, chunk)
    assert said == []
    assert [p.strip() if p[:1] == b"[" else p for p in payloads] == [f.strip() if f[:1] == b"[" else f for f in files]


def test_what_is_no_input_behind_a_picture_is_told_and_what_follows_it_is_read():
    first, second = a_picture("JPEG", 1), a_picture("PNG", 2)
    payloads, said = all_of(first + b"SEFT\n" * 9 + second + b"trailer of a telephone", 800)
    assert payloads == [first, second]
    assert said == ["45 bytes behind input 1 are no input: left out", "22 bytes behind input 2 are no input: left out"]


def test_a_picture_that_lacks_its_end_does_not_take_the_next_one_along():
    first, second = a_picture("JPEG", 1), a_picture("JPEG", 2)
    assert all_of(first[:-300] + second, 4000) == ([first[:-300], second], [])


def test_a_picture_that_holds_further_ones_for_itself_is_one_input():
    main, preview = a_picture("JPEG", 1), a_picture("JPEG", 2)
    index = b"MPF\0" + bytes(20)
    content = main[:2] + b"\xff\xe2" + (len(index) + 2).to_bytes(2, "big") + index + main[2:] + preview
    assert all_of(content, 4000) == ([content], [])


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="a folder"):
        open_source(tmp_path)


def test_a_byte_order_mark_does_not_cost_the_first_line():
    assert codec.decode(b"\xef\xbb\xbf[1, 2]") == [1, 2]


@pytest.mark.parametrize("empty", [b"\n", b"\r\n", b" \n\n\r\n"])
def test_a_line_behind_very_many_empty_ones_has_its_own_number(tmp_path, empty):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"[1]\n" + empty * 50_001 + b"[2]\n" + empty + b"[3]")
    source = open_source(path)
    found = [source.read(0) for _ in range(3)]
    source.close()
    assert [s.payload for s in found] == [b"[1]", b"[2]", b"[3]"]
    lines = empty.count(b"\n")
    assert [s.token for s in found] == [1, 50_001 * lines + 2, 50_002 * lines + 3]

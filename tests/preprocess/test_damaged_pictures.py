"""Pictures that are damaged inside: no grey half is taken for a picture."""

from __future__ import annotations

import io
import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from edge.data import magic
from edge.data.sample import EncodedImage, Sample
from edge.data.tensor import TensorSpec
from edge.errors import SampleError
from edge.model.manifest import Input, Manifest
from edge.preprocess.image import create
from edge.preprocess.image.decode import Decoded, decode, decode_within
from edge.telemetry import memory

NOISE = np.random.default_rng(3).integers(0, 256, (96, 128, 3), dtype=np.uint8)
SMOOTH = cv2.GaussianBlur(NOISE, (9, 9), 0)
KINDS = {
    "baseline": {"quality": 90},
    "progressive": {"quality": 80, "progressive": True},
    "full colour": {"quality": 75, "subsampling": 0},
    "restarts": {"quality": 90, "restart_marker_blocks": 4},
    "exif": {"quality": 90, "exif": b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\1\0\0\0\0\0\0"},
}


def jpeg(kind: str, pixels=SMOOTH) -> bytes:
    file = io.BytesIO()
    picture = Pillow.fromarray(pixels)
    (picture.convert("CMYK") if kind == "cmyk" else picture).save(file, "JPEG", **KINDS.get(kind, {}))
    return file.getvalue()


def scan(data: bytes) -> int:
    """Where the last scan begins."""
    return data.rfind(b"\xff\xda") + 14


@pytest.mark.parametrize("kind", [*KINDS, "cmyk"])
def test_a_whole_jpeg_gives_the_same_pixels_as_opencv(kind):
    data = jpeg(kind)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(decode(data), expected)


@pytest.mark.parametrize("kind", [*KINDS, "cmyk"])
@given(share=st.floats(0.02, 0.95))
@settings(max_examples=25, deadline=None)
def test_a_scan_that_lacks_its_end_is_told_though_the_file_ends_as_it_should(kind, share):
    data = jpeg(kind)
    at = scan(data)
    with pytest.raises(SampleError, match="damaged JPEG picture"):
        decode(data[: at + int((len(data) - at) * share)] + b"\xff\xd9")


@pytest.mark.parametrize("kind", [*KINDS, "cmyk"])
def test_a_scan_with_other_bytes_in_it_is_told_where_the_decoder_gets_out_of_step(kind):
    """Huffman codes fall back into step by themselves, so some damage cannot be told from a picture."""
    rng, told = np.random.default_rng(5), 0
    for _ in range(40):
        data = bytearray(jpeg(kind))
        at = int(rng.integers(scan(data), len(data) - 210))
        data[at : at + 200] = rng.integers(0, 255, 200, np.uint8).tobytes()
        try:
            decode(bytes(data))
        except SampleError as exc:
            told += "damaged JPEG picture" in str(exc)
    assert told >= 24


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_no_byte_of_a_jpeg_makes_anything_else_than_a_picture_or_a_bad_sample(kind, data):
    found = bytearray(jpeg(kind))
    for _ in range(data.draw(st.integers(1, 4))):
        found[data.draw(st.integers(0, len(found) - 1))] = data.draw(st.integers(0, 255))
    try:
        pixels = decode(bytes(found))
    except SampleError:
        return
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3


@pytest.mark.parametrize("kind", KINDS)
@given(zeros=st.integers(0, 640), behind=st.binary(max_size=64).filter(lambda b: magic.follows(b, 0) is None))
@example(zeros=65, behind=b"b" + magic.JPEG_END)
@settings(max_examples=15, deadline=None)
def test_padding_before_the_end_and_anything_behind_it_is_no_damage(kind, zeros, behind):
    data = jpeg(kind)
    np.testing.assert_array_equal(decode(data[:-2] + bytes(zeros) + data[-2:] + behind), decode(data))


@pytest.mark.parametrize("kind", ["baseline", "full colour", "restarts", "exif", "cmyk"])
@given(share=st.floats(0, 0.99))
@settings(max_examples=20, deadline=None)
def test_a_gap_of_zeros_in_a_scan_is_told(kind, share):
    """A lost sector: the decoder makes grey blocks of it, and often complains of nothing."""
    data = bytearray(jpeg(kind, NOISE))
    at = scan(data) + int((len(data) - scan(data) - 600) * share)
    data[at : at + 512] = bytes(512)
    with pytest.raises(SampleError, match="damaged JPEG picture"):
        decode(bytes(data))


@pytest.mark.parametrize("colour", [0, 128, 255])
@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_picture_of_one_colour_may_be_all_zeros(colour, optimize, mode):
    file = io.BytesIO()
    Pillow.new("RGB", (640, 480), (colour,) * 3).convert(mode).save(file, "JPEG", optimize=optimize)
    assert np.unique(decode(file.getvalue())).tolist() == [colour]


def encoded(kind: str, colour: int = 9) -> bytes:
    file = io.BytesIO()
    if kind == "npy":
        np.save(file, np.full((4, 5, 3), colour, np.uint8))
    else:
        Pillow.new("RGB", (5, 4), (colour,) * 3).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("padding", [b"", b"\n", bytes(300)])
@pytest.mark.parametrize("second", ["JPEG", "PNG", "BMP", "WebP", "GIF", "npy"])
@pytest.mark.parametrize("first", ["JPEG", "PNG", "BMP", "WebP", "GIF"])
def test_two_pictures_in_one_input_are_refused(first, second, padding):
    with pytest.raises(SampleError, match="several files in one input; send each alone"):
        decode(encoded(first) + padding + encoded(second))


@pytest.mark.parametrize("said", [b"MPF\0II*\0", b"http://ns.adobe.com/xap/1.0/\0<Container:Directory/>"])
def test_a_phone_s_picture_that_says_it_holds_more_is_its_first(said):
    segment = (b"\xff\xe2" if said.startswith(b"MPF") else b"\xff\xe1") + (len(said) + 2).to_bytes(2, "big") + said
    first = encoded("JPEG", 200)
    assert decode(first[:2] + segment + first[2:] + encoded("JPEG", 9)).mean() == pytest.approx(200, abs=2)


@pytest.mark.parametrize("more", [{}, {"compress_level": 0}, {"optimize": True}])
@given(share=st.floats(0, 0.999), change=st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_a_png_with_any_other_byte_is_told(more, share, change):
    file = io.BytesIO()
    Pillow.fromarray(SMOOTH[:24, :24]).save(file, "PNG", **more)
    data = bytearray(file.getvalue())
    data[int(len(data) * share)] ^= change
    with pytest.raises(SampleError):
        decode(bytes(data))


@given(share=st.floats(0, 0.98))
@settings(max_examples=60, deadline=None)
def test_a_gif_that_is_cut_anywhere_is_told(share):
    file = io.BytesIO()
    Pillow.fromarray(SMOOTH).save(file, "GIF")
    with pytest.raises(SampleError):
        decode(file.getvalue()[: int(len(file.getvalue()) * share)])


# --- memory ---------------------------------------------------------------------------------------------------

LIMITED = """
import io, resource, sys
import numpy as np
from edge.errors import SampleError
from edge.preprocess.image.decode import decode_within, opencv
data = open(sys.argv[1], "rb").read()
opencv()
decode_within(open(sys.argv[2], "rb").read())
pages = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (pages + int(sys.argv[3]), pages + int(sys.argv[3])))
try:
    found = decode_within(data)
    print(found.pixels.shape, found.size)
except SampleError as exc:
    print(exc)
"""


@pytest.fixture
def within(tmp_path):
    """What becomes of a picture in a process that may take so many bytes more."""

    def ask(kind: str, size: tuple[int, int], spare: int, **more) -> str:
        small, large = tmp_path / "small", tmp_path / "large"
        Pillow.new("RGB", (8, 8)).save(small, kind)
        Pillow.new("RGB", size, (10, 200, 30)).save(large, kind, **more)
        command = [sys.executable, "-c", LIMITED, str(large), str(small), str(spare)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=150)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return ask


def test_a_small_file_of_many_pixels_does_not_take_the_memory_there_is(within):
    assert "7000 x 7000 pixels is too large for the memory there is" in within("PNG", (7000, 7000), 250_000_000)


def test_it_is_decoded_where_there_is_enough(within):
    assert within("PNG", (3000, 2000), 250_000_000) == "(2000, 3000, 3) (3000, 2000)"


def test_a_jpeg_is_reduced_until_it_fits(within):
    assert within("JPEG", (7000, 5000), 150_000_000) == "(2500, 3500, 3) (7000, 5000)"
    assert within("JPEG", (7001, 5003), 40_000_000) == "(1251, 1751, 3) (7001, 5003)"


def test_a_progressive_jpeg_cannot_be_reduced_enough(within):
    assert "too large for the memory" in within("JPEG", (6000, 5000), 150_000_000, progressive=True)


def test_boxes_of_a_reduced_picture_are_in_pixels_of_the_whole_one(monkeypatch):
    part = Input(name="in", kind="image", resize="letterbox")
    made = create(Manifest(name="m", inputs=(part,)), (TensorSpec("in", "float32", (1, 64, 64, 3)),))
    whole, half = np.zeros((400, 600, 3), np.uint8), np.zeros((200, 300, 3), np.uint8)
    frames = []
    for pixels in (whole, half):
        monkeypatch.setattr("edge.preprocess.image.decode_within", lambda _, p=pixels: Decoded(p, (600, 400)))
        frames.append(made(Sample(EncodedImage(b""), "test", 0, 0)).frame)
    assert frames[0] == frames[1]


@pytest.mark.parametrize(
    ("files", "spare"),
    [
        ({"proc/meminfo": "MemTotal: 9 kB\nMemAvailable:  100 kB\n"}, 102_400),
        (
            {
                "proc/meminfo": "MemAvailable: 100 kB\n", "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/b/memory.current": "1\n",
                "sys/fs/cgroup/a/memory.max": "5000\n", "sys/fs/cgroup/a/memory.current": "4000\n",
                "sys/fs/cgroup/a/memory.stat": "anon 3000\ninactive_file 500\n",
            },
            1500,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu:/x\n2:memory:/x\n0::/\n",
                "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "900\n",
                "sys/fs/cgroup/memory/x/memory.usage_in_bytes": "1000\n",
            },
            0,
        ),
        ({}, None),
    ],
)  # fmt: skip
def test_the_narrowest_limit_says_how_much_memory_there_is(tmp_path, files, spare):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert memory.available(tmp_path) == spare


def test_a_decoded_picture_says_its_size():
    assert decode_within(jpeg("baseline")).size == (128, 96)

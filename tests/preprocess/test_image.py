from __future__ import annotations

import base64
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from edge.data.sample import EncodedImage, Image, Sample
from edge.data.tensor import Quantization, TensorSpec
from edge.errors import ModelError, SampleError
from edge.model.manifest import Input, Manifest
from edge.preprocess.image import ImagePreprocessor, create
from edge.preprocess.image.decode import decode, tell_animation

WIDTH, HEIGHT = 96, 64


def preprocessor(dtype: str = "float32", *, quantization: Quantization | None = None, **fields) -> ImagePreprocessor:
    part = Input(name="in", kind="image", **fields)
    channels = 1 if part.color == "GRAY" else 3
    shape = (1, channels, HEIGHT, WIDTH) if part.layout == "NCHW" else (1, HEIGHT, WIDTH, channels)
    spec = TensorSpec("in", dtype, shape, quantization)
    return create(Manifest(name="m", inputs=(part,)), (spec,))


def run(made: ImagePreprocessor, payload):
    (part,) = made.split(payload)
    return made(Sample(part, "test", 0, 0))


def run_all(made: ImagePreprocessor, payload):
    return [made(Sample(part, "test", 0, 0)) for part in made.split(payload)]


def tensor(made: ImagePreprocessor, payload):
    return run(made, payload).tensors["in"]


@pytest.fixture
def pixels():
    rows = np.linspace(0, 255, 48)[:, None] * np.ones(80)
    columns = np.ones(48)[:, None] * np.linspace(255, 0, 80)
    return np.stack((rows, columns, (rows + columns) / 2), axis=2).astype(np.uint8)


def encoded(pixels, kind: str, **more) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, kind, **more)
    return file.getvalue()


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("color", ["RGB", "BGR", "GRAY"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_a_tensor_holds_what_the_formula_says(pixels, layout, color, dtype):
    mean, std = ((120.0,), (50.0,)) if color == "GRAY" else ((120.0, 110.0, 100.0), (50.0, 60.0, 70.0))
    made = preprocessor(dtype, layout=layout, color=color, mean=mean, std=std)

    fitted = cv2.resize(pixels, (WIDTH, HEIGHT))
    coloured = {"RGB": fitted, "BGR": fitted[..., ::-1], "GRAY": cv2.cvtColor(fitted, cv2.COLOR_RGB2GRAY)[..., None]}
    expected = ((coloured[color].astype(np.float64) - mean) / std)[None]
    if layout == "NCHW":
        expected = expected.transpose(0, 3, 1, 2)

    found = tensor(made, Image(pixels))
    assert found.dtype == dtype
    np.testing.assert_allclose(found.astype(np.float64), expected, atol=2e-3 if dtype == "float16" else 1e-5)


def test_pixels_go_straight_into_a_uint8_input(pixels):
    made = preprocessor("uint8", quantization=Quantization(0.0078125, 128))
    np.testing.assert_array_equal(tensor(made, Image(pixels))[0], cv2.resize(pixels, (WIDTH, HEIGHT)))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_an_int8_input_of_the_range_0_to_1_takes_pixels_less_128(pixels, layout):
    made = preprocessor("int8", quantization=Quantization(1 / 255, -128), layout=layout)
    found = tensor(made, Image(pixels))[0]
    expected = cv2.resize(pixels, (WIDTH, HEIGHT)).astype(int) - 128
    np.testing.assert_array_equal(found.transpose(1, 2, 0) if layout == "NCHW" else found, expected)


def test_an_int8_input_is_quantised_by_its_own_scale_after_mean_and_std(pixels):
    made = preprocessor("int8", quantization=Quantization(0.02, 3), mean=(100.0, 110.0, 120.0), std=(50.0, 60.0, 70.0))
    real = (cv2.resize(pixels, (WIDTH, HEIGHT)) - np.array([100.0, 110.0, 120.0])) / (50.0, 60.0, 70.0)
    expected = np.clip(np.rint(real / 0.02) + 3, -128, 127)
    np.testing.assert_array_equal(tensor(made, Image(pixels))[0], expected)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("part", [{"std": (1.0,)}, {"mean": (127.5,), "std": (127.5,)}], ids=["pixels", "-1 to 1"])
@pytest.mark.parametrize(("dtype", "zero"), [("int8", -128), ("int16", 0)])
def test_what_pixels_become_is_quantised_by_the_scale_of_the_input(pixels, layout, part, dtype, zero):
    quantization = Quantization(255 / 65534, zero) if dtype == "int16" else Quantization(1.0, zero)
    found = tensor(preprocessor(dtype, quantization=quantization, layout=layout, **part), Image(pixels))[0]
    real = (cv2.resize(pixels, (WIDTH, HEIGHT)) - part.get("mean", (0,))[0]) / part["std"][0]
    expected = np.clip(np.rint(real / quantization.scale) + zero, np.iinfo(dtype).min, np.iinfo(dtype).max)
    np.testing.assert_array_equal(found.transpose(1, 2, 0) if layout == "NCHW" else found, expected)


def test_a_tensor_is_not_overwritten_before_it_is_released(pixels):
    made = preprocessor(layout="NCHW")
    first = tensor(made, Image(pixels))
    kept = first.copy()
    second = tensor(made, Image(pixels[::-1].copy()))
    np.testing.assert_array_equal(first, kept)
    assert not np.array_equal(first, second)


def test_a_tensor_that_was_released_is_used_again(pixels):
    made = preprocessor(layout="NCHW")
    places = set()
    for _ in range(20):
        given = run(made, Image(pixels))
        places.add(given.tensors["in"].__array_interface__["data"][0])
        given.release()
    assert len(places) == 1


def test_a_tensor_that_is_released_twice_is_lent_once(pixels):
    made = preprocessor(layout="NCHW")
    given = run(made, Image(pixels))
    given.release()
    given.release()
    one, other = tensor(made, Image(pixels)), tensor(made, Image(pixels))
    assert not np.shares_memory(one, other)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "GIF"])
def test_a_picture_file_is_decoded(pixels, kind):
    found = decode(encoded(pixels, kind))
    assert found.shape == pixels.shape
    if kind in ("PNG", "BMP"):
        np.testing.assert_array_equal(found, pixels)
    else:
        assert np.abs(found.astype(int) - pixels).mean() < 8


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(pixels, kind, orientation):
    if kind == "WEBP" and tuple(map(int, cv2.__version__.split(".")[:2])) < (4, 12):
        pytest.skip("OpenCV reads the orientation of WebP from 4.12 on")
    exif = Pillow.Exif()
    exif[0x112] = orientation
    more = {"lossless": True} if kind == "WEBP" else {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    data = encoded(pixels, kind, exif=exif, **more)
    from PIL import ImageOps

    expected = np.asarray(ImageOps.exif_transpose(Pillow.open(io.BytesIO(data))).convert("RGB"))
    found = decode(data)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= 4


def test_transparency_is_laid_on_white(pixels):
    alpha = np.full(pixels.shape[:2], 255, np.uint8)
    alpha[:, :40] = 0
    alpha[:, 40:60] = 128
    found = decode(encoded(np.dstack((pixels, alpha)), "PNG"))
    assert (found[:, :40] == 255).all()
    np.testing.assert_array_equal(found[:, 60:], pixels[:, 60:])
    half = (pixels[:, 40:60].astype(int) * 128 + 255 * 127) / 255
    assert np.abs(found[:, 40:60] - half).max() <= 1


def test_sixteen_bits_become_eight(pixels):
    deep = pixels[..., 0].astype(np.uint16) * 257
    file = io.BytesIO()
    Pillow.fromarray(deep).save(file, "PNG")
    found = decode(file.getvalue())
    assert np.abs(found[..., 1].astype(int) - pixels[..., 0]).max() <= 1


def test_sixteen_bits_with_transparency_become_eight(pixels):
    deep = np.dstack((pixels[..., ::-1], np.full(pixels.shape[:2], 255, np.uint8))).astype(np.uint16) * 257
    data = cv2.imencode(".png", deep)[1].tobytes()
    np.testing.assert_array_equal(decode(data), pixels)


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_an_opencv_that_cannot_decode_to_rgb_gives_the_same(pixels, kind, monkeypatch):
    """4.10 and before: Debian trixie's."""
    monkeypatch.delattr(cv2, "IMREAD_COLOR_RGB")
    np.testing.assert_array_equal(decode(encoded(pixels, kind)), pixels)


def test_grey_and_cmyk_pictures_become_rgb(pixels):
    grey = decode(encoded(pixels[..., 0], "JPEG", quality=95))
    assert grey.shape == pixels.shape
    assert np.ptp(grey.astype(int), axis=2).max() == 0
    file = io.BytesIO()
    Pillow.fromarray(pixels).convert("CMYK").save(file, "JPEG", quality=95)
    expected = np.asarray(Pillow.open(io.BytesIO(file.getvalue())).convert("RGB")).astype(int)
    assert np.abs(decode(file.getvalue()) - expected).mean() < 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.97])
def test_a_truncated_picture_is_one_bad_sample(kind, share):
    noise = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    data = encoded(noise, kind)
    with pytest.raises(SampleError):
        decode(data[: int(len(data) * share)])


def test_a_truncated_jpeg_with_a_whole_thumbnail_in_it_is_told(pixels):
    thumbnail = encoded(pixels[:8, :8], "JPEG")
    data = encoded(np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = data[:2] + segment + data[2:]
    assert decode(whole).shape == (80, 80, 3)
    with pytest.raises(SampleError, match="truncated"):
        decode(whole[: int(len(whole) * 0.8)])


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_a_picture_that_moves_the_first_frame_is_taken_and_the_others_are_told(kind, caplog):
    frames = [Pillow.new("RGB", (16, 12), colour) for colour in ("red", "blue", "green")]
    still, moving = io.BytesIO(), io.BytesIO()
    frames[0].save(still, kind, lossless=True)
    frames[0].save(moving, kind, save_all=True, append_images=frames[1:], lossless=True)
    tell_animation.cache_clear()

    assert (decode(still.getvalue()) == [255, 0, 0]).all()
    assert not caplog.records
    assert (decode(moving.getvalue()) == [255, 0, 0]).all()
    decode(moving.getvalue())

    (told,) = caplog.records
    assert "the first picture alone is inferred" in told.fix


def bomb(kind: str) -> bytes:
    """A small file that claims 30000 x 30000 pixels."""
    if kind == "PNG":
        header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
        chunks = b"".join(
            struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d))
            for n, d in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
        )
        return b"\x89PNG\r\n\x1a\n" + chunks
    small = encoded(np.zeros((16, 16, 3), np.uint8), kind)
    if kind == "BMP":
        return small[:18] + struct.pack("<ii", 30_000, 30_000) + small[26:]
    at = small.index(b"\xff\xc0")
    return small[: at + 5] + struct.pack(">HH", 30_000, 30_000) + small[at + 9 :]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP"])
def test_a_decompression_bomb_is_refused_by_its_header(kind):
    with pytest.raises(SampleError, match="30000 x 30000 pixels is too large"):
        decode(bomb(kind))


@pytest.mark.parametrize("resize", ["stretch", "letterbox", "letterbox-topleft", "crop"])
def test_one_pixel_fills_the_input(resize):
    made = preprocessor("uint8", resize=resize)
    found = tensor(made, EncodedImage(encoded(np.full((1, 1, 3), 200, np.uint8), "PNG")))
    assert (found[0, HEIGHT // 2, WIDTH // 2 if resize != "letterbox-topleft" else 0] == 200).all()


@pytest.mark.parametrize("shape", [(1, 3000), (3000, 1)])
@pytest.mark.parametrize("resize", ["stretch", "letterbox", "letterbox-topleft", "crop"])
def test_a_picture_of_one_row_or_column_is_fitted(resize, shape):
    assert tensor(preprocessor(resize=resize), np.zeros((*shape, 3), np.uint8)).shape == (1, HEIGHT, WIDTH, 3)


def test_a_letterbox_keeps_the_shape_and_pads(pixels):
    tall = np.full((64, 32, 3), 7, np.uint8)
    found = run(preprocessor("uint8", resize="letterbox", pad=50), tall)
    inner = found.tensors["in"][0]
    assert (inner[:, 32:64] == 7).all()
    assert (inner[:, :32] == 50).all()
    assert (inner[:, 64:] == 50).all()
    assert (found.frame.scale_x, found.frame.offset_x, found.frame.offset_y) == (1.0, 32, 0)


@pytest.mark.parametrize("size", [(501, 375), (333, 491), (7, 400), (900, 4)])
def test_a_letterbox_says_how_much_each_side_shrank_to_whole_pixels(size):
    # ultralytics/utils/ops.py, scale_boxes
    found = run(preprocessor("uint8", resize="letterbox"), np.zeros((size[1], size[0], 3), np.uint8)).frame
    gain = min(WIDTH / size[0], HEIGHT / size[1])
    inner = [max(1, round(side * gain)) for side in size]
    assert (found.scale_x, found.scale_y) == pytest.approx([i / s for i, s in zip(inner, size, strict=True)])
    pad = [round((side - i) / 2 - 0.1) for side, i in zip((WIDTH, HEIGHT), inner, strict=True)]
    assert [found.offset_x, found.offset_y] == pad


def test_the_padding_is_whole_again_after_a_picture_of_another_shape():
    made = preprocessor("uint8", resize="letterbox-topleft", pad=9)
    tensor(made, np.full((64, 96, 3), 200, np.uint8))
    found = tensor(made, np.full((64, 32, 3), 7, np.uint8))[0]
    assert (found[:, :32] == 7).all()
    assert (found[:, 32:] == 9).all()


def test_a_crop_takes_the_middle():
    wide = np.zeros((64, 192, 3), np.uint8)
    wide[:, 48:144] = 255
    assert (tensor(preprocessor("uint8", resize="crop"), wide) == 255).all()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 400), st.integers(1, 400), st.sampled_from(["stretch", "letterbox", "letterbox-topleft", "crop"]),
    st.booleans(),
)  # fmt: skip
def test_a_mark_in_the_picture_is_where_the_frame_says(width, height, resize, antialias):
    picture = np.zeros((height, width, 3), np.uint8)
    x, y = width // 2, height // 2
    picture[max(0, y - 40) : y + 40, max(0, x - 40) : x + 40] = 255
    found = run(preprocessor("uint8", resize=resize, pad=0, antialias=antialias), picture)
    inner = found.tensors["in"][0].max(axis=2)
    left, right = max(0, x - 40), min(width, x + 40)
    columns = np.flatnonzero(inner.max(axis=0) > 127)
    expected = np.array([left, right]) * found.frame.scale_x + found.frame.offset_x
    # YOLOX cuts a last pixel that is not whole and maps boxes back with the unrounded scale all the same.
    cut = 1.0 if resize == "letterbox-topleft" else 0.0
    tolerance = 1.01 + found.frame.scale_x + cut
    assert abs(columns.min() - max(0, expected[0])) <= tolerance
    assert abs(columns.max() + 1 - min(WIDTH, expected[1])) <= tolerance


def test_a_picture_that_shrinks_is_smoothed_as_pillow_smooths_it():
    noise = np.random.default_rng(0).integers(0, 256, (479, 641, 3), dtype=np.uint8)
    expected = np.asarray(Pillow.fromarray(noise).resize((WIDTH, HEIGHT), Pillow.BILINEAR)).astype(int)
    smoothed = np.abs(tensor(preprocessor("uint8"), noise)[0] - expected).mean()
    sampled = np.abs(tensor(preprocessor("uint8", antialias=False), noise)[0] - expected).mean()
    assert smoothed < 8
    assert sampled > 3 * smoothed


def test_arrays_of_one_and_four_channels_are_pictures(pixels):
    made = preprocessor("uint8")
    grey = tensor(made, pixels[..., 0])
    assert grey.shape == (1, HEIGHT, WIDTH, 3)
    np.testing.assert_array_equal(tensor(made, pixels[..., :1]), grey)
    opaque = np.dstack((pixels, np.full(pixels.shape[:2], 255, np.uint8)))
    np.testing.assert_array_equal(tensor(made, opaque), tensor(made, pixels))


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("as_list", [True, False])
def test_an_array_shaped_like_the_input_is_taken_as_it_is(batch, as_list):
    made = preprocessor(layout="NCHW", mean=(100.0,), std=(50.0,))
    values = np.random.default_rng(0).normal(size=(1, 3, HEIGHT, WIDTH)).astype(np.float32)
    given = values if batch else values[0]
    np.testing.assert_array_equal(tensor(made, given.tolist() if as_list else given), values)


def test_a_picture_of_one_channel_may_come_without_that_axis():
    made = preprocessor(layout="NCHW", color="GRAY")
    values = np.random.default_rng(0).random((HEIGHT, WIDTH)).astype(np.float32)
    np.testing.assert_array_equal(tensor(made, values)[0, 0], values)


def test_whole_numbers_in_the_shape_of_a_picture_are_pixels(pixels):
    made = preprocessor(std=(255.0,))
    np.testing.assert_array_equal(tensor(made, pixels.tolist()), tensor(made, pixels))


def test_a_batch_is_cut_into_pictures(pixels):
    parts = preprocessor().split(np.stack((pixels, pixels[::-1])))
    assert [p.shape for p in parts] == [pixels.shape] * 2


def test_a_batch_of_tensors_is_cut(pixels):
    made = preprocessor(layout="NCHW")
    parts = made.split(np.zeros((5, 3, HEIGHT, WIDTH), np.float32))
    assert len(parts) == 5
    assert made(Sample(parts[3], "test", 0, 0)).tensors["in"].shape == (1, 3, HEIGHT, WIDTH)


def test_a_picture_as_base64_text_in_json_is_decoded(pixels):
    made = preprocessor("uint8")
    text = base64.b64encode(encoded(pixels, "PNG")).decode()
    expected = tensor(made, Image(pixels)).copy()
    for payload in (text, {"image": text, "id": 7}, {"image": f"data:image/png;base64,{text}"}):
        np.testing.assert_array_equal(tensor(made, payload), expected)


@pytest.mark.parametrize(
    "payload",
    [
        [], {}, [[]], {"a": 1, "b": 2}, "no base64!", "zwölf", 7, [["a"]], [[1, 2], [3]], np.zeros((3, 5), np.float32),
        np.zeros((0, 5, 3), np.uint8), np.zeros((5, 5, 7), np.uint8), EncodedImage(b"GIF89a"),
        EncodedImage(b"\xff\xd8\xff"), EncodedImage(b"RIFF\x00\x00\x00\x00WEBP"), {"image": "aGVsbG8="}, None,
    ],
)  # fmt: skip
def test_what_is_no_picture_is_one_bad_sample(payload):
    with pytest.raises(SampleError):
        run_all(preprocessor(), payload)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200), st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF0000WEBP", b"GIF89a"])
)
def test_any_bytes_are_a_picture_or_a_bad_sample(data, magic):
    try:
        decode(magic + data)
    except SampleError:
        return


def test_values_that_an_integer_input_cannot_hold_are_refused():
    made = preprocessor("uint8")
    with pytest.raises(SampleError, match="do not fit"):
        tensor(made, np.full((1, HEIGHT, WIDTH, 3), 300))


def test_real_values_are_quantised_where_the_array_is_shaped_like_the_input():
    made = preprocessor("int8", quantization=Quantization(1 / 255, -128))
    found = tensor(made, np.ones((1, HEIGHT, WIDTH, 3), np.float32))
    assert (found == 127).all()


@pytest.mark.parametrize("fields", [{"mean": (1.0, 2.0)}, {"std": (0.0,)}, {"std": (1.0, 2.0, 3.0, 4.0)}])
def test_mean_and_std_that_do_not_fit_are_a_model_error(fields, pixels):
    with pytest.raises(ModelError):
        tensor(preprocessor(**fields), pixels)


def test_a_model_of_any_size_takes_pictures_as_they_are(pixels):
    part = Input(name="in", kind="image", layout="NCHW")
    made = create(Manifest(name="m", inputs=(part,)), (TensorSpec("in", "float32", (None, 3, None, None)),))
    assert tensor(made, pixels).shape == (1, 3, 48, 80)
    assert tensor(made, pixels[:20]).shape == (1, 3, 20, 80)


def test_constants_are_fed_beside_the_picture(pixels):
    parts = (Input(name="in", kind="image"), Input(name="scale", kind="constant", value=[[1.0, 1.0]]))
    specs = (TensorSpec("in", "float32", (1, 8, 8, 3)), TensorSpec("scale", "float32", (1, 2)))
    found = run(create(Manifest(name="m", inputs=parts), specs), pixels)
    assert found.tensors["scale"].tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize(
    ("dtype", "value"), [("int32", 0.5), ("int32", 2.0**40), ("float32", np.nan), ("float32", np.inf), ("float16", 1e6)]
)
def test_a_tensor_with_values_that_the_model_cannot_hold_is_a_bad_sample(dtype, value):
    made, given = preprocessor(dtype), np.zeros((1, HEIGHT, WIDTH, 3))
    given[0, 1, 2, 0] = value
    with pytest.raises(SampleError, match="do not fit input"):
        run(made, given)


@pytest.mark.parametrize("shape", [(1, 28, 28), ("n", 28, 28)])
@pytest.mark.parametrize("colour", [0, 130, 255])
def test_a_picture_fills_a_plane_without_a_channel(shape, colour):
    part = Input(name="in", kind="image", layout="NCHW", color="GRAY", size=(28, 28), std=(255,))
    made = create(Manifest(name="m", inputs=(part,)), (TensorSpec("in", "float32", shape),))
    found = tensor(made, EncodedImage(encoded(np.full((40, 60, 3), colour, np.uint8), "PNG")))
    assert found.shape == (1, 28, 28)
    np.testing.assert_allclose(found, colour / 255, atol=0.01)
    assert tensor(made, np.full((28, 28), 0.5, np.float32)).tolist() == np.full((1, 28, 28), 0.5).tolist()

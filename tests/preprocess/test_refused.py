"""What a model cannot take is told with what it takes: the sample is skipped, a manifest that cannot fit is refused."""

from __future__ import annotations

import numpy as np
import pytest

from edge.data.sample import EncodedImage, Image, Sample, Sound
from edge.data.tensor import Quantization, TensorSpec
from edge.errors import ModelError, SampleError
from edge.model.manifest import Feature, Input, Manifest, Window
from edge.plugins import registry

PICTURE = Image(np.zeros((4, 4, 3), np.uint8))
SOUND = Sound(np.zeros(8, np.float32), 16_000)


def make(kind: str, *specs: TensorSpec, preprocess: str = "", **fields):
    """A preprocessor of a model whose inputs are all of this kind."""
    inputs = tuple(Input(name=s.name, kind=kind, **fields) for s in specs)
    return registry.find("edge.preprocess", preprocess or kind).create(Manifest(name="m", inputs=inputs), specs)


def feed(made, payload):
    """The first tensor of each sample."""
    return [next(iter(made(Sample(part, "test", 0, 0)).tensors.values())) for part in made.split(payload)]


def tensor(dtype: str = "float32", *shape, **more):
    return make("tensor", TensorSpec("in", dtype, shape or (1, 2), **more))


# --- tensors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "payload", "says"),
    [
        ("float32", PICTURE, r"a picture, but the model takes 'in' float32 \[1, 2\]"),
        ("float32", SOUND, "sound, but the model takes 'in' float32 .*; --frontend and --window say how"),
        ("float32", [[1, 2], [3]], r"input 'in': rows of different lengths; it takes \[1, 2\]"),
        ("float32", ["a", "b"], "input 'in': <U1 values; it takes float32"),
        ("float32", [None, 1], "input 'in': mixed values; it takes float32"),
        ("float32", [1e300, 0], "input 'in': values that float32 cannot hold"),
        ("uint8", [256, 0], "input 'in': values that uint8 cannot hold"),
        ("int64", [1.5, 0], "input 'in': values that int64 cannot hold"),
        ("float32", [1, 2, 3], r"input 'in': shape \[3\]; it takes \[1, 2\]"),
        ("float32", {"im": [1, 2]}, r"unknown input 'im'; the model takes 'in' float32 \[1, 2\]"),
        ("float32", {"id": 7}, "missing input 'in'; the model takes 'in'"),
    ],
)
def test_what_is_no_such_tensor_is_told_with_what_the_model_takes(dtype, payload, says):
    with pytest.raises(SampleError, match=says):
        feed(tensor(dtype), payload)


def test_a_quantised_tensor_takes_real_values_and_refuses_those_that_are_none():
    made = tensor("int8", 1, 2, quantization=Quantization(0.5, 0))
    (given,) = feed(made, [0.25, 1.0])
    assert (given.dtype, given.tolist()) == (np.float32, [[0.25, 1.0]])
    with pytest.raises(SampleError, match="input 'in': it holds NaN or infinite values"):
        feed(made, [float("nan"), 1.0])


def test_of_several_inputs_one_array_is_none():
    made = make("tensor", TensorSpec("a", "float32", (1, 2)), TensorSpec("b", "float32", None))
    with pytest.raises(SampleError, match=r"one array, but the model takes an object of 'a' float32 \[1, 2\], 'b'"):
        feed(made, [1, 2])


def test_a_batch_of_tensors_is_taken_one_by_one_and_one_without_its_batch_gets_it():
    made = tensor("float32", "n", 2)
    assert [t.tolist() for t in feed(made, [[1, 2], [3, 4]])] == [[[1, 2]], [[3, 4]]]
    assert [t.tolist() for t in feed(made, [5, 6])] == [[[5, 6]]]
    assert [t.tolist() for t in feed(tensor("float32", 1, 2, 2), [1, 2, 3, 4])] == [[[[1, 2], [3, 4]]]]


def test_text_is_taken_by_an_input_of_text():
    (given,) = feed(tensor("string", 1, 2), ["a", "b"])
    assert (given.dtype, given.tolist()) == (object, [["a", "b"]])


# --- rows ----------------------------------------------------------------------------------------------------------


def table(dtype: str = "float32", names: tuple[str, ...] = ("a", "b"), **fields):
    features = tuple(Feature(name=n) for n in names)
    return make("table", TensorSpec("x", dtype, ("n", 2)), features=features, **fields)


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ([], r"an empty array; the model takes 2 features \(a, b\)"),
        (PICTURE, "a picture, but the model takes 2 features"),
        (SOUND, "sound, but the model takes 2 features"),
        (np.zeros((0, 2)), "an array without rows; the model takes 2 features"),
        (np.zeros((1, 2, 2)), r"an array of shape \[1, 2, 2\]; the model takes rows of 2 features"),
        (np.array(5.0), "1 values; the model takes 2 features"),
        ([1, 2, 3], "3 values; the model takes 2 features"),
        (7, "1 values; the model takes 2 features"),
        ([1e300, 0], "feature 'a' is 1e.?300, too large for float32"),
        (["x", 0], "feature 'a' is 'x'; a number belongs there"),
    ],
)
def test_what_is_no_such_row_is_told_with_the_features(payload, says):
    with pytest.raises(SampleError, match=says):
        feed(table(), payload)


def test_an_object_is_no_row_of_features_without_names_but_for_that_of_its_input():
    made = table(names=("", ""))
    assert [t.tolist() for t in feed(made, {"x": [1, 2]})] == [[[1, 2]]]
    with pytest.raises(SampleError, match=r'no names: send an array of 2 values, or \{"x": \[...\]\}'):
        feed(made, {"a": 1, "b": 2})


TEXTS = (
    Feature(name="site", kind="text", values=("north", "south")),
    Feature(name="note", kind="text", missing=True),
)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"site": None, "note": "x"}, "feature 'site' is missing; the model takes no missing values there"),
        ({"site": 7, "note": "x"}, "feature 'site' is 7; text belongs there"),
        ({"site": "west", "note": "x"}, "feature 'site' is 'west', which the model does not know; it knows north"),
    ],
)  # fmt: skip
def test_a_text_that_the_model_does_not_know_is_told(row, says):
    specs = [TensorSpec(f.name, "string", ("n", 1)) for f in TEXTS]
    inputs = tuple(Input(name=f.name, kind="column", features=(f,)) for f in TEXTS)
    made = registry.find("edge.preprocess", "table").create(Manifest(name="m", inputs=inputs), tuple(specs))
    ((part,),) = [made.split({"site": "north", "note": None})]
    assert [t.tolist() for t in made(Sample(part, "test", 0, 0)).tensors.values()] == [[["north"]], [[""]]]
    with pytest.raises(SampleError, match=says):
        feed(made, row)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda: table(names=("a", "b", "c")), "names 3 features, the input 'x' takes 2; re-run edge-convert"),
        (lambda: table("int64", std=(2.0,)), "input 'x' takes int64, which cannot be scaled: leave mean and std out"),
        (lambda: make("table", TensorSpec("x", "float32", ("n", "m"))), "how many features the input 'x' takes"),
        (lambda: make("image", TensorSpec("x", "float32", (1, 2))), "a picture needs 3 or 4 dimensions"),
        (lambda: make("image", TensorSpec("x", "float32", (2, 8, 8, 3))), "takes 2 pictures at once; .* with batch 1"),
        (lambda: make("image", *(TensorSpec(n, "float32", (1, 8, 8, 3)) for n in "ab")), "names 2 image inputs"),
        (lambda: make("image", TensorSpec("x", "float32", (1, 8, 8, 3)), mean=(1.0, 2.0)), "2 values for 3 channels"),
        (lambda: make("image", TensorSpec("x", "float32", (1, 8, 8, 3)), std=(0.0,)), "std is 0: nothing can be"),
        (lambda: make("audio", TensorSpec("x", "float32", (1, None))), "needs sample_rate and a window"),
        (lambda: make("audio", *(TensorSpec(n, "float32", (1, None)) for n in "ab")), "2 inputs of sound"),
        (lambda: make("tensor", TensorSpec("x", "float32", (1, 4)), preprocess="window"), "0 inputs with a window"),
    ],
)  # fmt: skip
def test_a_manifest_that_cannot_fit_its_file_is_refused_at_the_start(made, says):
    with pytest.raises(ModelError, match=says):
        feed(made(), PICTURE)


# --- pictures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (SOUND, "sound, but the model takes a picture; send a JPEG"),
        (7, "a int where a picture belongs; send a JPEG"),
        ([[1, 2], [3]], "a list whose rows differ in length; send a JPEG"),
        ([["a"]], "a list that does not hold numbers only; send a JPEG"),
        ({"left": "x", "right": "y"}, r"an object with \['left', 'right'\] where one picture belongs"),
        ({"picture": "%%%"}, "text that is not a base64 picture"),
        (np.zeros((5, 5), np.float64), "send a JPEG"),
        (EncodedImage(b"\x89PNG\r\n\x1a\n"), r"ends in the middle after 8 bytes \(truncated\)"),
        (EncodedImage(b"GIF89a\1\0\1\0\0\0\0\x2b\0"), "a damaged GIF picture: no picture at byte 13"),
    ],
)
def test_what_is_no_picture_is_told_with_what_to_send(payload, says):
    made = make("image", TensorSpec("x", "float32", (1, 8, 8, 3)))
    with pytest.raises(SampleError, match=says):
        feed(made, payload)


def test_a_png_whose_checksum_is_wrong_is_told_with_its_place():
    import cv2

    data = bytearray(cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes())
    data[29] ^= 1
    with pytest.raises(SampleError, match="the checksum at byte 29 is wrong; send the whole file again"):
        feed(make("image", TensorSpec("x", "float32", (1, 8, 8, 3))), EncodedImage(bytes(data)))


# --- sound ---------------------------------------------------------------------------------------------------------


def hearing(dtype: str = "float32"):
    spec = TensorSpec("x", dtype, (1, None))
    return make("audio", spec, sample_rate=16_000, window=Window(size=4, hop=4))


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (PICTURE, "a picture, but the model takes sound"),
        ({"a": [1], "b": [2]}, r"an object with \['a', 'b'\] where one array of samples belongs"),
        ([[1, 2], [3]], "a list whose rows differ in length where sound belongs"),
        (["a"], "values where sound belongs: send numbers"),
        ([], "values where sound belongs: send numbers"),
        ([float("inf")], "sound that holds NaN or infinite values"),
        (np.zeros((3, 3), np.float32), r"an array \[3, 3\] where sound belongs: a vector of samples at 16000 Hz"),
        (Sound(np.zeros((2, 2, 2), np.float32), 16_000), r"sound of shape \[2, 2, 2\]: samples, or samples x channels"),
        (Sound(np.zeros(4, np.float32), 0), "sound at 0 Hz"),
        (Sound(np.array([0, np.nan], np.float32), 16_000), "sound that holds NaN or infinite values"),
        (Sound(np.zeros(4, np.uint8), 16_000), "sound of uint8: int16, or float from -1 to 1, belongs there"),
    ],
)
def test_what_is_no_sound_is_told_with_what_belongs_there(payload, says):
    with pytest.raises(SampleError, match=says):
        feed(hearing(), payload)


def test_sound_in_an_object_is_taken_beside_an_id():
    assert [t.tolist() for t in feed(hearing(), {"id": 1, "sound": [0.5, 0.25, 0.5, 0.25]})] == [
        [[0.5, 0.25, 0.5, 0.25]]
    ]


def test_a_tensor_of_whole_numbers_is_held_to_the_dtype_of_the_model():
    (given,) = feed(hearing("int16"), [[1.0, 2.0, 3.0, 4.0]])
    assert (given.dtype, given.tolist()) == (np.int16, [[1, 2, 3, 4]])
    with pytest.raises(SampleError, match="values that int16 cannot hold in the input 'x'"):
        feed(hearing("int16"), [[0.5, 2.0, 3.0, 4.0]])


@pytest.mark.parametrize(
    ("row", "way_out"),
    [
        ({"a": "0.5", "b": 1}, "a number belongs there; send it without quotes, or say --text-numbers"),
        ({"a": "0,5", "b": 1}, "a number belongs there; a decimal point, and nothing between thousands"),
        ({"a": "1.234,5", "b": 1}, "a number belongs there; a decimal point, and nothing between thousands"),
        ({"a": "24.12.2025", "b": 1}, "a number belongs there$"),
        ({"A": 1, "b": 1}, "unknown feature 'A'; did you mean 'a'?"),
        ({"a": 1, "b": 1, "": 0}, "unknown feature ''; a column without a name is an index, or a separator at the end"),
        ({"a": 1, "b": 1, "day": 0}, "--ignore-unknown leaves it out"),
    ],
)
def test_a_row_that_does_not_fit_is_told_with_the_way_out(row, way_out):
    with pytest.raises(SampleError, match=way_out):
        feed(table(), row)

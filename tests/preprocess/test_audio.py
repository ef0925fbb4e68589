from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.data.sample import EncodedImage, Sample, Sound
from edge.data.tensor import Quantization, TensorSpec
from edge.errors import ModelError, SampleError
from edge.model.manifest import Input, Manifest, Window
from edge.preprocess.audio import create


def preprocessor(*, size=8, hop=8, context=0, shape=(None, None), dtype="float32", **fields):
    part = Input(
        name="in", kind="audio", sample_rate=16_000, window=Window(size=size, hop=hop, context=context), **fields
    )
    rate = Input(name="sr", kind="constant", value=16_000)
    specs = (TensorSpec("in", dtype, shape), TensorSpec("sr", "int64", ()))
    return create(Manifest(name="m", inputs=(part, rate)), specs)


def hear(made, payload) -> list:
    return [made(Sample(p, "test", 0, 0)) for p in made.split(payload)]


def windows(made, payload) -> list:
    return [m.tensors["in"][0].tolist() for m in hear(made, payload)]


def ramp(start: int, stop: int) -> np.ndarray:
    return np.arange(start, stop, dtype=np.float32)


@given(st.lists(st.integers(1, 30), max_size=12), st.integers(1, 9), st.integers(1, 12), st.integers(0, 5))
def test_windows_do_not_depend_on_how_sound_comes_in(lengths, size, hop, context):
    total = sum(lengths)
    padded = np.concatenate((np.zeros(context), ramp(0, total)))
    count = max(0, (total - size) // hop + 1)
    expected = [padded[i * hop : i * hop + context + size].tolist() for i in range(count)]
    made = preprocessor(size=size, hop=hop, context=context)
    found, at = [], 0
    for length in lengths:
        found += windows(made, Sound(ramp(at, at + length), 16_000))
        at += length
    assert found == expected


def test_a_stream_that_ends_too_soon_gets_silence_behind_it():
    assert windows(preprocessor(), Sound(ramp(1, 4), 16_000, last=True)) == [[1, 2, 3, 0, 0, 0, 0, 0]]


def test_after_the_last_stretch_another_stream_begins():
    made = preprocessor(context=2)
    windows(made, Sound(ramp(1, 14), 16_000, last=True))
    assert windows(made, Sound(ramp(50, 58), 16_000)) == [[0, 0, *range(50, 58)]]


def test_constants_are_fed_beside_the_sound():
    (found,) = hear(preprocessor(), ramp(0, 8))
    assert found.tensors["sr"].item() == 16_000


def test_whole_numbers_are_16_bits():
    assert windows(preprocessor(), np.full(8, 16_384, np.int16)) == [[0.5] * 8]


def test_channels_are_averaged():
    both = np.stack((ramp(0, 8), ramp(2, 10)), axis=1)
    assert windows(preprocessor(), Sound(both, 16_000)) == [list(range(1, 9))]


def test_another_rate_is_resampled():
    tone = np.sin(2 * np.pi * 440 * np.arange(44_100) / 44_100).astype(np.float32)
    made = preprocessor(size=8000, hop=8000)
    (found,) = windows(made, Sound(tone, 44_100))
    spectrum = np.abs(np.fft.rfft(found))
    assert spectrum.argmax() * 16_000 / 8000 == 440


def test_a_tensor_shaped_like_the_input_is_taken_as_it_is():
    made = preprocessor(size=8, context=2)
    values = np.random.default_rng(0).random((1, 10)).astype(np.float32)
    np.testing.assert_array_equal(hear(made, values)[0].tensors["in"], values)


@pytest.mark.parametrize(
    "payload", [np.zeros((2, 3, 4)), ["a"], [[1], [1, 2]], {"a": 1, "b": 2}, EncodedImage(b""), [], [float("nan")] * 9]
)
def test_what_is_no_sound_is_one_bad_sample(payload):
    with pytest.raises(SampleError):
        hear(preprocessor(), payload)


@pytest.mark.parametrize(
    ("name", "options", "count"), [("log-mel", {"num_bins": 40}, 98 * 40), ("mfcc", {"num_ceps": 10}, 98 * 10)]
)
def test_kaldis_features_fill_the_input(name, options, count):
    made = preprocessor(size=16_000, hop=16_000, shape=(1, count), frontend=name, frontend_options=options)
    tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000).astype(np.float32)
    features = hear(made, tone)[0].tensors["in"].reshape(98, -1)
    assert np.isfinite(features).all()
    if name == "log-mel":
        centres = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 42)[1:-1] / 2595) - 1)
        assert abs(features.mean(axis=0).argmax() - np.abs(centres - 1000).argmin()) <= 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"frontend": "whisper"}, "there is no front end 'whisper'"),
        ({"frontend": "log-mel", "size": 16_000, "shape": (1, 7)}, "makes 3920 values"),
        ({"frontend": "mfcc", "frontend_options": {"colour": 1}}, "no option 'colour'"),
        ({"size": 0}, "a window with size and hop"),
    ],
)
def test_a_manifest_that_does_not_fit_is_a_model_error(fields, said):
    with pytest.raises(ModelError, match=said):
        preprocessor(**fields)


def test_frames_for_a_wake_word_follow_one_another_in_one_front_end():
    from pymicro_features import MicroFrontend

    noise = np.random.default_rng(0).integers(-9000, 9000, 16_000).astype(np.int16)
    part = Input(name="in", kind="audio", sample_rate=16_000, window=Window(size=480, hop=480), frontend="micro")
    spec = TensorSpec("in", "int8", (1, 3, 40), Quantization(26 / 255, -128))
    made = create(Manifest(name="m", inputs=(part,)), (spec,))
    found = [m.tensors["in"] for m in hear(made, Sound(noise, 16_000)) if m is not None]
    whole, data, expected = MicroFrontend(), noise.tobytes(), []
    while data:
        step = whole.process_samples(data)
        expected += [step.features] if step.features else []
        data = data[step.samples_read * 2 :]
    assert {t.shape for t in found} == {(1, 3, 40)}
    together = np.concatenate(found, axis=1)[0]
    np.testing.assert_array_equal(together, np.float32(expected[: len(together)]))
    assert len(together) >= 16_000 // 160 - 6

from __future__ import annotations

import logging

import pytest

from edge.errors import ConfigError
from edge.runtime.thermal import PERIOD_S, SLOWEST_HZ, HeatLimit, admission
from edge.settings import layers
from edge.telemetry.metrics import Metrics
from edge.testing.fakes import FakeClock, ListSource


class Device:
    """A camera, a clock that the test moves on, and a thermometer that shows what the test says."""

    def __init__(self, max_celsius=75.0, frames_a_second=30.0):
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.celsius: float | None = 50.0
        self.rate = frames_a_second
        self.limit = HeatLimit(max_celsius, lambda: self.celsius, clock=self.clock, metrics=self.metrics)

    def run(self, seconds):
        """Frames a second that the model looked at."""
        frames = int(seconds * self.rate)
        admitted = 0
        for _ in range(frames):
            self.clock.advance(1 / self.rate)
            admitted += self.limit.admit()
        return admitted / seconds


@pytest.fixture
def device():
    return Device()


def test_a_cool_board_looks_at_every_frame(device):
    assert device.run(60) == pytest.approx(30)
    assert device.limit.limit_hz is None


def test_at_the_limit_fewer_frames_are_looked_at(device):
    device.run(18)
    device.celsius = 75.0
    device.run(4)
    assert device.limit.limit_hz == pytest.approx(27, rel=0.05)
    assert device.run(2) == pytest.approx(27, rel=0.05)


def test_a_hotter_board_is_slowed_faster(device):
    device.run(18)
    device.celsius = 79.0
    device.run(4)
    assert device.limit.limit_hz == pytest.approx(18, rel=0.05)


def test_a_model_that_was_slower_than_the_camera_is_slowed_from_its_own_rate():
    # 30 frames a second come, the model takes 4: a limit of 27 would cool nothing.
    device = Device(frames_a_second=4)
    device.celsius = 76.0
    device.run(6)
    assert device.limit.limit_hz == pytest.approx(3.6, rel=0.1)


def test_between_the_limit_and_three_degrees_below_the_rate_stays(device):
    device.celsius = 80.0
    device.run(11)
    device.celsius = 73.0
    before = device.limit.limit_hz
    device.run(60)
    assert device.limit.limit_hz == before


def test_a_cool_board_gets_back_to_every_frame_step_by_step(device):
    device.celsius = 80.0
    device.run(11)
    low = device.limit.limit_hz
    device.celsius = 60.0
    device.run(PERIOD_S)
    assert device.limit.limit_hz == pytest.approx(low * 1.1)
    device.run(120)
    assert device.limit.limit_hz is None
    assert device.run(10) == pytest.approx(30)


def test_however_hot_it_gets_it_goes_on_looking(device):
    device.celsius = 110.0
    device.run(200)
    assert device.limit.limit_hz == SLOWEST_HZ
    assert device.run(100) == pytest.approx(SLOWEST_HZ, rel=0.2)


def test_without_a_thermometer_nothing_is_shed(device):
    device.celsius = None
    assert device.run(60) == pytest.approx(30)


def test_the_log_tells_the_two_changes_and_no_frames(device, caplog):
    caplog.set_level(logging.INFO, "edge.heat")
    device.celsius = 80.0
    device.run(60)
    device.celsius = 50.0
    device.run(400)
    assert [r.getMessage() for r in caplog.records] == [
        "hot: fewer frames, before the firmware throttles",
        "cool again: every frame counts",
    ]


def test_the_limit_is_a_gauge(device):
    device.celsius = 80.0
    device.run(6)
    assert device.metrics.snapshot()["heat_limit_hz"] == device.limit.limit_hz
    device.celsius = 50.0
    device.run(200)
    assert device.metrics.snapshot()["heat_limit_hz"] == 0


@pytest.mark.parametrize("seconds_to_warm", [20.0, 60.0, 240.0])
def test_a_board_in_a_cupboard_settles_below_the_firmwares_limit(device, seconds_to_warm):
    # A first-order board: at 30 frames a second it would reach 95 C, idle 50; the firmware throttles at 80.
    celsius, hottest, looked_at = 50.0, 0.0, []
    device.limit = HeatLimit(75.0, lambda: celsius, clock=device.clock, metrics=device.metrics)
    for _ in range(1800):
        rate = device.run(1)
        celsius += (50.0 + 1.5 * rate - celsius) / seconds_to_warm
        hottest = max(hottest, celsius)
        looked_at.append(rate)
    assert hottest < 80.0
    # 16.7 frames a second hold 75 C: most of what is possible is used.
    assert 12 < sum(looked_at[-600:]) / 600 < 17.5


def limited(live, thermometer=lambda: 90.0, flags=("--max-temperature", "75")):
    """What `edge-run` with these flags lets through of ten seconds at 30 frames a second."""
    settings = layers.read(["--model", "m.onnx", "--source", "camera:0", *flags], {}, "0")
    clock = FakeClock()
    source = ListSource([], live=live)
    admit = admission(settings.input.max_temperature, source, thermometer, clock=clock, metrics=Metrics())
    frames = 0
    for _ in range(300):
        clock.advance(1 / 30)
        frames += admit is None or admit()
    return frames


def test_the_flag_limits_a_live_source_and_no_other(caplog):
    assert limited(live=True) < 250
    assert limited(live=True, flags=()) == 300
    assert limited(live=False) == 300
    assert "for live sources" in caplog.text


def test_a_board_without_a_thermometer_is_told_at_the_start(caplog):
    assert limited(live=True, thermometer=lambda: None) == 300
    assert "no thermometer" in caplog.text


@pytest.mark.parametrize("said", ["hot", "10", "200"])
def test_a_temperature_that_no_processor_has_is_refused(said):
    with pytest.raises(ConfigError, match="max-temperature"):
        layers.read(["--model", "m.onnx", "--max-temperature", said], {}, "0")

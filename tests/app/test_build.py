"""An `App` is whole before it runs: its parts, the order of their start and end, and nothing that was not asked for."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import onnxmodels

from edge.app import loading
from edge.app.build import build
from edge.app.run import Made, Part, Run
from edge.app.service import App
from edge.errors import ConfigError
from edge.mqtt.topics import Topics
from edge.runtime import ending
from edge.runtime.stop import Stop
from edge.settings import layers
from edge.telemetry.clock import SystemClock
from edge.telemetry.watchdog import Heartbeats, Watchdog


@pytest.fixture
def built(tmp_path):
    """The app of `edge-run --model m.onnx` with these flags, of a table model where none is given."""
    table = onnxmodels.scores(tmp_path / "m.onnx", classes=2, features=2)
    apps: list[App] = []

    def make(*flags: str, model: Path = table) -> App:
        settings = layers.read(["--model", str(model), "--state-dir", str(tmp_path / "state"), *flags], {}, "0")
        loaded = loading.open_model(settings)
        apps.append(build(settings, loaded))
        return apps[-1]

    yield make
    for part in reversed([part for app in apps for part in app.parts]):
        part.stop()


def names(app: App) -> list[str]:
    return [part.name for part in app.parts]


def test_what_is_not_asked_for_is_no_part(built):
    assert names(built("--mqtt", "none", "--source", "synthetic:1")) == ["engine", "health"]


def test_inputs_are_subscribed_to_before_the_broker_is_told_that_we_are_online(built):
    assert names(built("--mqtt", "mqtt://127.0.0.1:1")) == [
        "engine",
        "inputs",
        "topics",
        "crash marks",
        "mqtt",
        "health",
    ]


def test_all_parts_are_there_when_it_is_built_and_none_of_them_is_started(built, tmp_path):
    pytest.importorskip("starlette")
    pictures = onnxmodels.pictures(tmp_path / "p.onnx")
    flags = ("--mqtt", "embedded", "--http", "0", "--home-assistant", "--save-frames", str(tmp_path / "frames"))
    app = built(*flags, model=pictures)
    assert names(app) == [
        "embedded broker", "engine", "home assistant", "frame saver", "inputs", "crash marks", "http", "mqtt",
        "results handed out", "health",
    ]  # fmt: skip
    assert not (tmp_path / "frames").exists()
    assert not list((tmp_path / "state").glob("*.health"))


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--source", "synthetic:1", "--mask"), "--mask"),
        (("--source", "smoke:3"), "no source 'smoke'"),
        (("--source", "synthetic:1", "--capture", "drift"), "add --drift"),
        (("--source", "synthetic:1", "--capture", "random:1,trial-differs"), "add --trial"),
        (("--source", "synthetic:1", "--task", "raw", "--capture", "score<0.5"), "does raw, which has no score"),
        (("--source", "synthetic:1", "--task", "raw", "--capture", "class:cat"), "does raw, which has no classes"),
        (
            ("--source", "synthetic:1", "--task", "classify", "--labels", "cat,dog", "--capture", "class:dig"),
            "did you mean dog",
        ),
        (("--source", "synthetic:1", "--window", "4", "--capture", "random:1"), "takes windows"),
        (("--source", "synthetic:1", "--capture-to", "https://h/x"), "nothing is kept that could be sent; add"),
        (("--source", "synthetic:1", "--grpc", "0"), "--grpc 0 without --http: name the port of HTTP too"),
        (("--mqtt", "embedded:x"), "--mqtt embedded:x: 'x' is not a port; say embedded:1883"),
        (("--source", "synthetic:1", "--task", "detect"), "no decoder is known to fit the outputs .*--decoder"),
        (("--source", "synthetic:1", "--save-frames", "d"), "m.onnx takes no picture, so there is none to keep"),
        (("--source", "synthetic:1", "--then", "b.onnx"), "--then looks at objects, and m.onnx does classify"),
        (("--source", "synthetic:1", "--sample-rate", "16000"), "--sample-rate: this model takes no sound"),
        (("--source", "synthetic:1", "--std", "0"), "--std 0: nothing can be divided by 0"),
        (("--source", "synthetic:1", "--mean", "1,2,3"), "--mean 1,2,3: 3 numbers, the input .* has 2 features"),
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_an_error_before_anything_is_started(built, flags, says):
    with pytest.raises(ConfigError, match=says):
        built("--mqtt", "none", *flags)


@pytest.mark.parametrize(("rule", "said"), [("score<60", True), ("score>1", True), ("score<0.6", False)])
def test_a_rule_beyond_what_scores_are_is_said_at_the_start(built, caplog, rule, said):
    built("--mqtt", "none", "--source", "synthetic:1", "--task", "classify", "--capture", rule)

    assert ("picks every sample, or none, unless scores are margins" in caplog.text) == said


def test_rules_of_rows_are_refused_for_a_model_of_pictures(built, tmp_path):
    pictures = onnxmodels.pictures(tmp_path / "p.onnx")
    with pytest.raises(ConfigError, match="--ignore-unknown is for models that take rows by name; this one"):
        built("--mqtt", "none", "--source", "synthetic:1", "--ignore-unknown", model=pictures)


class Ran:
    """A runner that notes that it ran."""

    def __init__(self, notes: list[str], failure: Exception | None = None) -> None:
        self._notes, self._failure = notes, failure

    def life(self) -> Iterator[None]:
        self._notes.append("run")
        if self._failure is not None:
            raise self._failure
        yield


@pytest.fixture
def noted(built):
    """An app of the parts a, b and c that note their start and their end; what the runner or a part raises is given."""
    before = {number: signal.getsignal(number) for number in ending.ALL}

    def make(*, run: Exception | None = None, start_of_b: Exception | None = None) -> tuple[App, list[str]]:
        notes: list[str] = []

        def part(name: str) -> Part:
            def start() -> None:
                notes.append(f"start {name}")
                if name == "b" and start_of_b is not None:
                    raise start_of_b

            return Part(name, start, lambda: notes.append(f"stop {name}"))

        clock = SystemClock()
        loaded = built("--mqtt", "none", "--source", "synthetic:1").runs[0].made.loaded
        hearts, stop = Heartbeats(clock), Stop()
        made = Made(loaded, Ran(notes, run), (part("b"),), (), hearts)
        runs = (Run("m", Topics("edge/pi/m"), stop, made),)
        return App(stop, runs, Watchdog(hearts, clock, {}), first=(part("a"),), last=(part("c"),)), notes

    yield make
    for number, handler in before.items():
        signal.signal(number, handler)


def test_parts_start_in_order_and_stop_the_other_way_round(noted):
    app, notes = noted()
    app.run()
    assert notes == ["start a", "start b", "start c", "run", "stop b", "stop c", "stop a"]


def test_an_error_of_the_run_stops_all_parts_and_goes_on_up(noted):
    app, notes = noted(run=ConfigError("no"))
    with pytest.raises(ConfigError, match="no"):
        app.run()
    assert notes[-3:] == ["stop b", "stop c", "stop a"]


def test_a_part_that_does_not_start_stops_itself_and_those_before_it(noted):
    app, notes = noted(start_of_b=ConfigError("taken"))
    with pytest.raises(ConfigError, match="taken"):
        app.run()
    assert notes == ["start a", "start b", "stop b", "stop a"]


def test_a_signal_is_a_request_to_stop(noted):
    app, _ = noted()
    app.run()
    os.kill(os.getpid(), signal.SIGTERM)
    assert app.stop.wait(150.0)
    assert app.stop.failure is None


def test_instances_are_as_many_as_asked_for_of_a_model_that_keeps_nothing(built):
    app = built("--mqtt", "none", "--source", "synthetic:40", "--sink", "console", "--instances", "3")
    assert app.runs[0].made.runner.instances == 3


def test_a_window_keeps_rows_so_its_model_has_one_instance_and_that_is_said(built, caplog):
    app = built("--mqtt", "none", "--source", "synthetic:1", "--instances", "3", "--window", "1")
    assert app.runs[0].made.runner.instances == 1
    assert "one instance: the model, or its window, keeps something" in caplog.text


def test_auto_divides_the_cores_by_the_threads_of_one_inference(monkeypatch):
    monkeypatch.setattr("edge.telemetry.board.cores", lambda: 4)
    asked = {
        flags: loading.asked_instances(layers.read(["m.onnx", "--instances", "auto", *flags], {}, "0"))
        for flags in ((), ("--threads", "2"), ("--threads", "8"))
    }
    assert list(asked.values()) == [4, 2, 1]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--source", "synthetic:1"), "does classify"),
        (("--http", "0"), "there is none"),
    ],
)
def test_track_where_there_is_nothing_to_follow_is_refused(built, tmp_path, flags, said):
    detector = {} if "synthetic:1" in flags else {"model": onnxmodels.one_box(tmp_path / "box.onnx")}
    with pytest.raises(ConfigError, match=said):
        built("--mqtt", "none", "--track", *flags, **detector)


def test_a_path_into_what_no_source_brings_is_refused(built):
    with pytest.raises(ConfigError, match="--input-path is for what a --source brings, and there is none"):
        built("--mqtt", "none", "--http", "0", "--input-path", "$.a")


def test_how_often_a_still_frame_passes_says_nothing_without_motion():
    with pytest.raises(ConfigError, match="add --motion"):
        layers.read(["--model", "m.onnx", "--source", "camera:0", "--motion-keepalive", "5"], {}, "0")


def test_motion_where_there_is_no_picture_to_look_at_is_refused(built, tmp_path):
    with pytest.raises(ConfigError, match="--motion looks at pictures"):
        built("--mqtt", "none", "--source", "synthetic:1", "--motion", "0.01")
    pictures = onnxmodels.pictures(tmp_path / "pictures.onnx")
    with pytest.raises(ConfigError, match="--motion looks at what a --source brings, and there is none"):
        built("--mqtt", "none", "--http", "0", "--motion", "0.01", model=pictures)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--zone", "door=0,0,1,0,1,1"), "add --track"),
        (("--track", "--zone", "door=0,0,1,0,1,1", "--zone", "door=0,0,1,0,0,1"), "two of this name"),
    ],
)
def test_zones_that_do_not_fit_are_refused(built, tmp_path, flags, said):
    box = onnxmodels.one_box(tmp_path / "box.onnx")
    with pytest.raises(ConfigError, match=said):
        built("--mqtt", "none", "--source", "synthetic:1", *flags, model=box)

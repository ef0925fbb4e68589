"""Several runs in one process: each ends by itself, and the others go on."""

from __future__ import annotations

import importlib
import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from support import onnxmodels

from edge.app import inputs, start
from edge.app.run import Made, Part, Run
from edge.app.service import App
from edge.data.message import Message
from edge.errors import ConfigError, ModelError, SpoolError
from edge.mqtt.topics import Topics
from edge.runtime import ending
from edge.runtime.stop import Stop
from edge.settings import layers
from edge.storage.sqlite import SqliteSpool
from edge.telemetry.clock import SystemClock
from edge.telemetry.watchdog import Heartbeats, Watchdog

ONE = ""
"""One connection to the broker, as without a word."""
EACH = 'mqtt-connections = "each"'


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in ending.ALL}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def app(tmp_path, monkeypatch):
    """The process of these `[[run]]` tables, in a folder with the models a, b (rows) and broken."""
    monkeypatch.chdir(tmp_path)
    onnxmodels.scores(tmp_path / "a.onnx", classes=2, features=2)
    onnxmodels.scores(tmp_path / "b.onnx", classes=3, features=2)
    (tmp_path / "broken.onnx").write_bytes(b"no model")

    def made(*tables: str, head: str = 'mqtt = "none"') -> App:
        text = "".join(f"[[run]]\n{table}\n" for table in tables)
        (tmp_path / "runs.toml").write_text(f'device = "pi"\nstate-dir = "state"\n{head}\n{text}')
        return start.app(layers.read(["--config", "runs.toml"], {}, "0"))

    return made


def run(name: str, model: str, source: str = "synthetic:3") -> str:
    return f'name = "{name}"\nmodel = "{model}.onnx"\nsource = "{source}"\nsink = "file:{name}.jsonl"'


def results(name: str) -> list[Any]:
    file = Path(f"{name}.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_each_run_has_its_own_source_model_and_results(app):
    app(run("one", "a"), run("two", "b", "synthetic:5")).run()
    assert [r["id"].rsplit("/", 2)[0] for r in results("one")] == ["pi/one"] * 3
    assert [len(r["predictions"]) for r in results("two")] == [3] * 5


def test_a_file_that_several_runs_have_is_loaded_once(app):
    one, two, other = (run.made.loaded.engine for run in app(run("one", "a"), run("two", "a"), run("three", "b")).runs)
    assert one is two
    assert one is not other


def test_a_model_that_cannot_be_loaded_stops_no_other_and_gives_the_exit_code_in_the_end(app):
    with pytest.raises(ModelError, match="broken"):
        app(run("bad", "broken"), run("good", "a")).run()
    assert len(results("good")) == 3
    assert not results("bad")


def test_one_without_a_name_whose_model_cannot_be_read_is_called_as_when_it_could(app, tmp_path):
    """Else nobody knows its topics: what the broker still sends there would be dropped."""
    named = tmp_path / "a.onnx.json"
    named.write_text('{"name": "pump"}')
    tables = 'model = "a.onnx"', 'model = "b.onnx"'
    assert [one.name for one in app(*tables, head=ONE).runs] == ["pump", "b"]
    (tmp_path / "a.onnx").write_bytes(b"no model")
    assert [(one.name, one.ended) for one in app(*tables, head=ONE).runs] == [("pump", True), ("b", False)]
    other = 'name = "pump"\nmodel = "b.onnx"'
    # A name that another run has is its own.
    assert [one.name for one in app(tables[0], other, head=ONE).runs] == ["a", "pump"]


def test_of_two_files_that_had_one_name_one_after_the_other_the_first_has_it_where_neither_can_be_read(app, tmp_path):
    for file in ("a.onnx", "b.onnx"):
        named = tmp_path / f"{file}.json"
        named.write_text('{"name": "pump"}')
        app(f'model = "{file}"', 'name = "beside"\nmodel = "c.onnx"', head=ONE)
        named.unlink()
    for file in ("a.onnx", "b.onnx"):
        (tmp_path / file).write_bytes(b"no model")
    tables = 'model = "a.onnx"', 'model = "b.onnx"', 'model = "c.onnx"'
    assert [one.name for one in app(*tables, head=ONE).runs] == ["pump", "b", "c"]


def test_a_setting_that_does_not_fit_the_model_stops_no_other_run(app):
    with pytest.raises(ConfigError, match="--labels"):
        app(run("bad", "a") + '\nlabels = "x,y,z"', run("good", "a")).run()
    assert len(results("good")) == 3


def test_a_source_that_there_is_not_stops_no_other_run(app):
    with pytest.raises(ConfigError, match="gone"):
        app(run("bad", "a", "gone.csv"), run("good", "b", "synthetic:30")).run()
    assert len(results("good")) == 30


@pytest.mark.parametrize("module", ["edge.sources.synthetic", "edge.sinks.console"])
def test_a_plug_in_with_a_bug_that_shows_where_it_is_made_stops_no_other_run(app, monkeypatch, module):
    declared = importlib.import_module(module)
    name = "SOURCE" if hasattr(declared, "SOURCE") else "SINK"

    def create(rest: str, context: object) -> object:
        raise ZeroDivisionError("made badly")

    monkeypatch.setattr(declared, name, structs.replace(getattr(declared, name), create=create))
    (Path.cwd() / "rows.csv").write_text("1,2\n3,4\n")
    source, sink = ("synthetic:3", "file:bad.jsonl") if name == "SOURCE" else ("rows.csv", "console")
    bad = f'name = "bad"\nmodel = "a.onnx"\nsource = "{source}"\nsink = "{sink}"'
    with pytest.raises(ZeroDivisionError, match="made badly"):
        app(bad, run("good", "a", "rows.csv")).run()
    assert len(results("good")) == 2


def test_a_bug_that_shows_where_a_part_starts_stops_no_other_run(lives):
    def start() -> None:
        raise ZeroDivisionError("started badly")

    process, told, runs = lives(bad=Ran(9), good=Ran(2))
    runs["bad"].made = structs.replace(runs["bad"].made, parts=(Part("bad", start, lambda: None),))
    with pytest.raises(ZeroDivisionError, match="started badly"):
        process.run()
    assert told == ["bad", "good"]


def test_where_no_run_can_begin_it_ends_with_the_first_one_s_error(app):
    with pytest.raises(ModelError, match="broken"):
        app(run("bad", "broken"), run("worse", "broken").replace("broken", "none")).run()


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        (run("x", "a", "camera:0"), run("y", "b", "camera:0"), "both read camera:0"),
        (run("x", "a", "camera:0"), run("y", "b", "/dev/video0"), "both read /dev/video0"),
        (run("x", "a", "camera:/dev/video0"), run("y", "b", "camera:0?fps=5"), "both read camera:0.fps=5"),
        (run("x", "a"), run("y", "b").replace('name = "y"\n', ""), ""),
    ],
)
def test_runs_that_would_take_each_other_s_samples_are_refused(app, first, second, says):
    if not says:
        assert [one.name for one in app(first, second, head="").runs] == ["x", "b"]
        return
    with pytest.raises(ConfigError, match=says):
        app(first, second, head="")


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ('source = "mqtt:a/+"', 'source = "mqtt:+/b"', "hear a/. and ./b"),
        ('source = "mqtt:$share/g/a"', 'source = "mqtt:a"', "some topics are of both"),
        ('source = "mqtt:a/#"', '[run.join.features]\na = "a/x"\nb = "c"', "joins a/x"),
        ('source = "mqtt:a/#"', 'source = "mqtt:a/b"', ""),
        ('source = "mqtt:a"', 'source = "mqtt:a"', ""),
        ('source = "mqtt:a/+"', 'source = "mqtt:a/b/+"', ""),
    ],
)
def test_over_one_connection_topics_that_overlap_in_part_are_refused(app, first, second, says):
    tables = [f'name = "{name}"\nmodel = "a.onnx"\n{said}' for name, said in (("x", first), ("y", second))]
    assert [one.name for one in app(*tables, head=EACH).runs] == ["x", "y"]
    if not says:
        assert [one.name for one in app(*tables, head=ONE).runs] == ["x", "y"]
        return
    with pytest.raises(ConfigError, match=says):
        app(*tables, head=ONE)


def test_a_run_with_a_source_that_is_none_stops_no_other_over_one_connection(app):
    made = app('name = "x"\nmodel = "a.onnx"\nsource = "sparkplug:one"', 'name = "y"\nmodel = "a.onnx"', head=ONE)
    assert [(one.name, one.ended) for one in made.runs] == [("x", True), ("y", False)]


@pytest.fixture
def shelf(tmp_path):
    """A file of inputs that a run has left, so many."""

    def made(name: str, count: int) -> None:
        (tmp_path / "state").mkdir(exist_ok=True)
        spool = SqliteSpool(tmp_path / "state" / f"pi.{name}.inputs.spool", 1000)
        spool.append([Message("result", b"an input", 0)] * count)
        spool.close()

    return made


def test_inputs_that_wait_for_a_run_that_is_not_here_are_told_and_kept(app, shelf, caplog):
    for name, count in (("gone", 2), ("camera", 3), ("x", 4), ("empty", 0)):
        shelf(name, count)
    fed = [f'name = "{name}"\nmodel = "a.onnx"' for name in ("x", "y")]
    for _ in range(2):
        caplog.clear()
        app(*fed, run("camera", "a"), head=ONE)
        told = [record for record in caplog.records if "inputs wait on disk" in record.message]
        assert [(record.run, record.inputs) for record in told] == [("camera", 3), ("gone", 2)]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_inputs_are_on_disk_also_where_results_are_in_memory_alone(app, tmp_path, monkeypatch, kind):
    """They are acknowledged: in memory they would be lost with the process."""
    made: list[bool] = []
    monkeypatch.setattr(inputs, "GuardedSpool", lambda name, spool, *_, **__: made.append(spool.durable))
    app(*[f'name = "{name}"\nmodel = "a.onnx"\nspool = "{kind}"\ndurability = "none"' for name in "xy"], head=ONE)
    assert made == [True, True]


# --- ends -------------------------------------------------------------------------------------------------


class Ran:
    """A runner of so many looks, that ends with an error where it is given one."""

    def __init__(self, looks: int, error: Exception | None = None) -> None:
        self.left, self._error = looks, error

    def life(self) -> Iterator[None]:
        while self.left:
            yield
            self.left -= 1
        if self._error is not None:
            raise self._error


@pytest.fixture
def lives(app):
    """A process of such runners, and the names of the runs that it was told had ended, in order."""
    loaded = app(run("one", "a")).runs[0].made.loaded

    def made(**runners: Ran) -> tuple[App, list[str], dict[str, Run]]:
        stop, clock, told = Stop(), SystemClock(), []
        runs = {
            name: Run(name, Topics(f"edge/pi/{name}"), stop.of_run(), Made(loaded, ran, (), (), Heartbeats(clock)))
            for name, ran in runners.items()
        }
        watchdog = Watchdog(Heartbeats(clock), clock, {})
        return App(stop, tuple(runs.values()), watchdog, left=lambda run: told.append(run.name)), told, runs

    return made


def test_an_error_of_one_run_is_raised_when_all_have_ended(lives):
    long = Ran(3)
    process, told, runs = lives(bad=Ran(1, SpoolError("no room")), long=long)
    with pytest.raises(SpoolError, match="no room"):
        process.run()
    assert (told, long.left) == (["bad", "long"], 0)
    assert (runs["bad"].reason, runs["long"].reason) == ("no room", "")


def test_a_bug_in_one_run_stops_no_other_and_is_raised_in_the_end(lives):
    process, told, _ = lives(bug=Ran(0, ZeroDivisionError("oh")), long=Ran(2))
    with pytest.raises(ZeroDivisionError):
        process.run()
    assert told == ["bug", "long"]


def test_of_several_errors_the_first_run_s_is_raised(lives):
    process, told, _ = lives(first=Ran(2, SpoolError("later")), second=Ran(0, ModelError("sooner")))
    with pytest.raises(SpoolError, match="later"):
        process.run()
    assert told == ["second", "first"]


def test_an_error_that_another_start_may_mend_is_raised_before_one_that_it_cannot(lives):
    process, _, _ = lives(first=Ran(0, ModelError("no model")), second=Ran(1, SpoolError("a full disk")))
    with pytest.raises(SpoolError, match="a full disk"):
        process.run()


def test_a_run_that_has_ended_is_offline_at_each_birth_and_says_why(lives):
    process, _, runs = lives(bad=Ran(0, SpoolError("no room")), done=Ran(0))
    with pytest.raises(SpoolError):
        process.run()
    status, error = runs["bad"].born()
    assert (status.topic, status.payload, status.retain) == ("edge/pi/bad/status", b"offline", True)
    assert error.topic == "edge/pi/bad/error"
    assert "no room" in json.loads(error.payload)["reason"]
    assert [m.payload for m in runs["done"].born()] == [b"offline"]


def test_of_topics_that_another_process_has_nothing_is_said(lives):
    _, _, runs = lives(one=Ran(0))
    held = Part("topics", _refuse, lambda: None)
    run = Run("one", Topics("edge/pi/one"), Stop(), structs.replace(runs["one"].made, parts=(held,)))
    with ExitStack() as stack:
        run.begin(stack)
    assert (run.reason, run.ended) == ("another process", True)
    assert not run.born()
    assert not run.farewell()


def _refuse() -> None:
    raise ConfigError("another process")


def test_a_request_to_stop_reaches_every_run(lives):
    process, _, runs = lives(one=Ran(1), two=Ran(1))
    process.stop.request()
    process.run()
    assert all(run.stop.asked for run in runs.values())

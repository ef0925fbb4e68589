"""The installed command, as a user types it: exit codes, one-line errors, sources and sinks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from support import onnxmodels
from support.processes import BINARIES, until

import edge
from edge.app.loading import load_file
from edge.model import container
from edge.model.manifest import encode
from edge.telemetry.clock import clock_synced


@pytest.fixture
def run(tmp_path):
    def start(*args, stdin=b"", **environ):
        env = {k: v for k, v in os.environ.items() if not k.startswith("EDGE_")}
        env.update({"XDG_STATE_HOME": str(tmp_path / "state"), **environ})
        return subprocess.run(
            [str(BINARIES / "edge-run"), *map(str, args)], input=stdin, capture_output=True, env=env, timeout=150,
            cwd=tmp_path,
        )  # fmt: skip

    return start


def results(done):
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


def labels(done):
    return [r["predictions"][0]["label"] for r in results(done)]


def one_line(done):
    text = done.stderr.decode()
    assert "Traceback" not in text
    return text.strip().splitlines()[-1]


def test_version_is_told_without_loading_an_engine(run):
    assert run("--version").stdout.startswith(b"edge-run 0.")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.onnx", None, "there is no such file"),
        ("empty.onnx", b"", "the file is empty"),
        ("photo.onnx", b"\xff\xd8\xff\xe0" + b"x" * 200, "a JPEG picture"),
        ("pickle.onnx", b"\x80\x04\x95" + b"x" * 200, "a Python pickle"),
        ("noise.onnx", bytes(range(100, 200)), "not a model file"),
        ("noise2.onnx", b"\x08\x07" + bytes(range(100, 200)), "truncated or damaged"),
    ],
)
def test_a_file_that_is_no_model_ends_with_3_and_one_line(run, tmp_path, name, content, says):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = run("--model", name)
    assert done.returncode == 3
    assert says in one_line(done)
    assert name in one_line(done)


def test_a_model_that_is_cut_short_ends_with_3(run, tmp_path, flowers):
    whole = flowers.path.read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    done = run("--model", "cut.onnx")
    assert done.returncode == 3
    assert "truncated or damaged" in one_line(done)


def test_a_model_with_an_operator_nobody_knows_ends_with_3(run, tmp_path):
    import onnx
    from onnx import TensorProto, helper

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])
    graph = helper.make_graph([helper.make_node("Frobnicate", ["x"], ["y"])], "g", [x], [y])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "odd.onnx"
    )
    done = run("--model", "odd.onnx")
    assert done.returncode == 3
    assert "Frobnicate" in one_line(done)


def test_an_unknown_flag_names_the_nearest(run):
    done = run("--modle", "x.onnx")
    assert done.returncode == 2
    assert "did you mean --model?" in one_line(done)


def test_an_unknown_key_in_the_file_names_the_nearest(run, tmp_path):
    (tmp_path / "edge.toml").write_text('modell = "x.onnx"\n')
    done = run("--config", "edge.toml")
    assert done.returncode == 2
    assert "unknown key 'modell'; did you mean model?" in one_line(done)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "no model: say edge-run model.onnx, or edge-run demo"),
        (("--model", "x.onnx", "--spool-max", "lots"), "--spool-max lots: a size like 256MB belongs there"),
        (("--model", "x.onnx", "--durability", "maybe"), "one of none, outage, always belongs there"),
        (("--model", "x.onnx", "--mqtt", "none"), "nothing feeds the model"),
        (("--model", "MODEL", "--mqtt", "http://x"), "not the address of a broker"),
        (("--model", "MODEL", "--mqtt", "none", "--source", "nowhere.csv"), "nowhere.csv"),
        (("--model", "MODEL", "--mqtt", "none", "--source", "synthetic:many"), "is not a count"),
        (("--model", "MODEL", "--mqtt", "none", "--source", "smoke:3"), "there is no source 'smoke'"),
        (("--model", "MODEL", "--mqtt", "none", "--source", "mqtt:x"), "needs a broker"),
        (("MODEL", "--mqtt", "none", "--source", "-", "--save-frames", "kept"), "takes no picture, so there is none"),
        (("--model", "MODEL", "--provider", "tpu9000", "--mqtt", "none", "--source", "-"), "tpu9000"),
    ],
)
def test_what_cannot_be_configured_ends_with_2_and_says_the_way_out(run, flowers, args, says):
    done = run(*(flowers.path if a == "MODEL" else a for a in args))
    assert done.returncode == 2, done.stderr
    assert says in one_line(done)


def test_a_flag_wins_over_a_variable_and_a_variable_over_the_file(run, tmp_path, flowers):
    (tmp_path / "edge.toml").write_text(f'model = "{flowers.path}"\nmqtt = "none"\nsource = "-"\ndevice = "file"\n')
    row = json.dumps(flowers.rows[0]).encode()

    def device(*args, **environ):
        return results(run("--config", "edge.toml", *args, stdin=row, **environ))[0]["device"]

    assert device() == "file"
    assert device(EDGE_DEVICE="variable") == "variable"
    assert device("--device", "flag", EDGE_DEVICE="variable") == "flag"


def test_a_state_folder_that_is_a_file_ends_with_4(run, tmp_path, flowers):
    (tmp_path / "taken").write_text("")
    done = run(
        "--model", flowers.path, "--state-dir", "taken", "--source", "synthetic:1", "--mqtt", "mqtt://127.0.0.1:1"
    )
    assert done.returncode == 4
    assert "--state-dir" in one_line(done)


def test_lines_of_json_on_standard_input(run, flowers):
    lines = b"".join(json.dumps(r).encode() + b"\n" for r in flowers.rows[:3]) + b"\n[5.1,3.5,1.4,0.2]"
    done = run("--model", flowers.path, "--source", "-", "--mqtt", "none", stdin=lines)
    assert labels(done) == [*flowers.answers[:3], flowers.answers[0]]


def test_a_bad_line_is_said_and_the_next_one_inferred(run, flowers):
    good = json.dumps(flowers.rows[0]).encode() + b"\n"
    done = run("--model", flowers.path, "--source", "-", "--mqtt", "none", stdin=good + b"{oops\n" + good)
    assert labels(done) == [flowers.answers[0]] * 2
    assert b"sample skipped" in done.stderr
    assert b"end of the source  read=3  results=2  skipped=1  reasons=1 x not JSON" in done.stderr.replace(b'"', b"")


def test_rows_of_a_csv_file_with_a_header_in_any_order(run, tmp_path, flowers):
    names = flowers.names[::-1]
    rows = "\n".join(",".join(str(r[n]) for n in names) for r in flowers.rows)
    (tmp_path / "rows.csv").write_text(",".join(names) + "\n" + rows + "\n")
    assert labels(run("--model", flowers.path, "--source", "rows.csv", "--mqtt", "none")) == flowers.answers


def test_rows_of_a_csv_file_without_a_header(run, tmp_path, flowers):
    (tmp_path / "rows.csv").write_text("\n".join(";".join(map(str, r.values())) for r in flowers.rows[:5]))
    assert labels(run("--model", flowers.path, "--source", "rows.csv", "--mqtt", "none")) == flowers.answers[:5]


def test_a_column_too_many_is_named_and_can_be_left_out(run, tmp_path, flowers):
    header, row = ",".join([*flowers.names, "species"]), ",".join([*map(str, flowers.rows[0].values()), "setosa"])
    (tmp_path / "rows.csv").write_text(f"{header}\n{row}\n")
    refused = run("--model", flowers.path, "--source", "rows.csv", "--mqtt", "none")
    assert b"unknown feature 'species'" in refused.stderr
    taken = run("--model", flowers.path, "--source", "rows.csv", "--mqtt", "none", "--ignore-unknown")
    assert labels(taken) == flowers.answers[:1]


def test_rows_of_numpy_files(run, tmp_path, flowers):
    array = np.array([list(r.values()) for r in flowers.rows])
    np.save(tmp_path / "rows.npy", array)
    np.savez(tmp_path / "rows.npz", X=array)
    for name in ("rows.npy", "rows.npz"):
        assert labels(run("--model", flowers.path, "--source", name, "--mqtt", "none")) == flowers.answers


def test_results_into_a_file_and_nothing_on_standard_output(run, tmp_path, flowers):
    done = run(
        *("--model", flowers.path, "--source", "synthetic:10", "--mqtt", "none", "--sink", "file:out.jsonl"),
    )
    assert done.returncode == 0
    assert done.stdout == b""
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 10


def test_a_file_of_results_in_a_folder_that_there_is_not_is_told_at_once(run, flowers):
    done = run("--model", flowers.path, "--source", "synthetic:1", "--mqtt", "none", "--sink", "file:nowhere/out.jsonl")
    assert done.returncode == 4
    assert "--sink file:nowhere/out.jsonl: there is no folder nowhere; make it" in one_line(done)


def test_a_terminal_that_goes_away_ends_in_order_and_under_nohup_it_does_not(tmp_path, flowers):
    words = [str(BINARIES / "edge-run"), "--model", str(flowers.path), "--source", "-", "--mqtt", "none"]

    def start(folder, *before):
        folder.mkdir()
        process = subprocess.Popen(
            [*before, *words, "--sink", "file:out.jsonl"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder,
            env={**os.environ, "XDG_STATE_HOME": str(folder / "state")},
        )  # fmt: skip
        assert process.stdin is not None
        return process, process.stdin

    def count(folder):
        out = folder / "out.jsonl"
        return out.read_bytes().count(b"\n") if out.exists() else 0

    row = b"[5.1, 3.5, 1.4, 0.2]\n"
    ends, its_input = start(tmp_path / "ends")
    its_input.write(row)
    its_input.flush()
    until(lambda: count(tmp_path / "ends") == 1, "a result")
    ends.send_signal(signal.SIGHUP)
    assert ends.wait(150) == 0
    its_input.close()
    assert not list((tmp_path / "ends").rglob("*.health"))  # as a kill would leave it

    stays, its_input = start(tmp_path / "stays", "nohup")
    its_input.write(row)
    its_input.flush()
    until(lambda: count(tmp_path / "stays") == 1, "a result")
    stays.send_signal(signal.SIGHUP)
    its_input.write(row)
    its_input.close()
    assert stays.wait(150) == 0
    assert count(tmp_path / "stays") == 2


def test_results_go_to_every_sink(run, tmp_path, flowers):
    done = run(
        *("--model", flowers.path, "--source", "synthetic:5", "--mqtt", "none"),
        *("--sink", "file:out.jsonl", "--sink", "console"),
    )
    assert len(results(done)) == 5
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 5


def test_logs_are_json_when_asked(run, flowers):
    done = run(
        *("--model", flowers.path, "--source", "synthetic:1", "--mqtt", "none", "--log-format", "json"),
    )
    entries = [json.loads(line) for line in done.stderr.splitlines()]
    assert "model ready" in [e["message"] for e in entries]


def test_an_embedded_broker_needs_no_server(run, flowers):
    done = run("--model", flowers.path, "--source", "synthetic:5", "--mqtt", "embedded", "--sink", "console")
    assert len(results(done)) == 5
    assert b"for trying out only" in done.stderr


def test_check_prints_a_table_and_ends_with_0(run, flowers):
    done = run("--model", flowers.path, "--check", "--mqtt", "none", "--source", "synthetic:1")
    assert done.returncode == 0, done.stdout
    lines = [line.split() for line in done.stdout.decode().splitlines() if line and not line.startswith(" ")]
    parts = {words[1]: words[0] for words in lines}
    assert {"python", "packages", "board", "model", "golden", "latency", "source", "broker", "state", "clock"} <= set(
        parts
    )
    assert parts["golden"] == "ok"


def test_check_ends_with_the_code_of_what_fails(run, tmp_path):
    (tmp_path / "empty.onnx").write_bytes(b"")
    done = run("--model", "empty.onnx", "--check", "--mqtt", "none", "--source", "synthetic:1")
    assert done.returncode == 3
    assert b"fail  model" in done.stdout


def test_golden_samples_that_come_out_otherwise_end_with_3(run, tmp_path, flowers):
    import onnx

    model = onnx.load(flowers.path)
    weights = next(n for n in model.graph.node if n.op_type == "LinearClassifier")
    next(a for a in weights.attribute if a.name == "coefficients").floats[0] += 1.0
    onnx.save(model, tmp_path / "bent.onnx")
    done = run("--model", "bent.onnx", "--mqtt", "none", "--source", "synthetic:1")
    assert done.returncode == 3
    assert "golden sample" in one_line(done)
    assert run("--model", "bent.onnx", "--mqtt", "none", "--source", "synthetic:1", "--no-golden").returncode == 0


def test_a_plain_run_loads_nothing_it_does_not_use(tmp_path, flowers):
    import sys

    script = (
        "import sys, edge.cli.run\n"
        f"code = edge.cli.run.run(['--model', {str(flowers.path)!r}, '--source', 'synthetic:1', '--mqtt', 'none'])\n"
        "heavy = {'cv2', 'starlette', 'httptools', 'torch', 'sklearn', 'pandas', 'onnx', 'amqtt', 'tensorflow',\n"
        "         'prometheus_client', 'ai_edge_litert', 'converter', 'asyncio',\n"
        "         'edge.tools.bench', 'edge.app.profile', 'edge.http', 'edge.tools.doctor',\n"
        "         'edge.tools.systemd', 'edge.homeassistant', 'edge.describe.describe', 'paho', 'ssl', 'http',\n"
        "         'email', 'zipfile', 'importlib.metadata', 'difflib', 'tomllib', 'subprocess', 'wave', 'json',\n"
        "         'csv', 'edge.updates', 'edge.app.updating', 'tuf'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else code)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=150, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()


def test_next_to_nothing_is_loaded_before_a_signal_has_an_answer():
    import sys

    script = (
        "import signal, sys; before = set(sys.modules); from edge.cli import run\n"
        "run.ending.listen = lambda *_: sys.exit(','.join(sorted(set(sys.modules) - before)))\n"
        "run.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=150)
    loaded = set(done.stderr.strip().split(","))
    assert loaded <= {"__future__", "gc", "edge", "edge.cli", "edge.cli.run", "edge.errors", "edge.runtime",
                      "edge.runtime.ending"}  # fmt: skip
    assert "edge.runtime.ending" in loaded


def test_a_run_with_a_broker_loads_no_more_than_a_connection_needs(tmp_path, flowers, broker):
    import sys

    url = f"mqtt://127.0.0.1:{broker.port}"
    script = (
        "import sys, edge.cli.run\n"
        f"code = edge.cli.run.run(['--model', {str(flowers.path)!r}, '--source', 'synthetic:1', '--mqtt', {url!r},\n"
        f"                     '--state-dir', {str(tmp_path)!r}])\n"
        "more = {'http.client', 'email', 'tempfile', '_ssl', 'json', 'importlib.metadata', 'asyncio',\n"
        "        'socks.client', 'edge.mqtt.embedded',\n"
        "        'edge.http', 'edge.mqtt.masks', 'edge.sinks.http', 'cv2'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {more}' if more or 'paho' not in sys.modules else code)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=150, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()


def test_an_engine_that_is_not_installed_is_one_line_and_2(tmp_path, flowers):
    import sys

    script = (
        "import sys; sys.modules['onnxruntime'] = None; sys.maxsize = 2**31 - 1; import edge.cli.run; "
        f"sys.exit(edge.cli.run.run(['--model', {str(flowers.path)!r}, '--source', 'synthetic:1', '--mqtt', 'none']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=150, cwd=tmp_path)
    assert done.returncode == 2
    assert "an .onnx model needs onnxruntime" in one_line(done)
    assert "install the 64-bit Raspberry Pi OS" in one_line(done)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_the_start_ends_with_0(tmp_path, number):
    os.mkfifo(tmp_path / "slow.onnx")  # a model that is being loaded for as long as nobody writes to it
    process = subprocess.Popen(
        [str(BINARIES / "edge-run"), "--model", "slow.onnx", "--source", "-", "--mqtt", "none"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=tmp_path,
    )  # fmt: skip

    def listens_to_signals():
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt"))
        return all(caught >> (n - 1) & 1 for n in (signal.SIGTERM, signal.SIGHUP))

    until(listens_to_signals, "handlers")
    process.send_signal(number)
    _, said = process.communicate(timeout=150)
    assert process.returncode == 0
    assert b"Traceback" not in said


def test_a_signal_that_came_before_python_listened_ends_with_0(tmp_path):
    # As the image has it: `env` keeps the signal back. Here it waits before there is any Python.
    signalled = ["env", "--block-signal=TERM", "sh", "-c", 'kill -TERM $$; exec "$0" "$@"']
    command = [*signalled, str(BINARIES / "edge-run"), "--model", "m.onnx", "--source", "-", "--mqtt", "none"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=150, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()


def test_a_signal_during_an_import_that_makes_its_own_error_of_it_ends_with_0(tmp_path):
    # onnxruntime and numpy do: what their C++ is interrupted by becomes "ImportError: initialization failed".
    os.mkfifo(tmp_path / "never")
    package = tmp_path / "onnxruntime"
    package.mkdir()
    (package / "__init__.py").write_text(
        "try:\n"
        "    print('importing', flush=True)\n"
        f"    open({str(tmp_path / 'never')!r})\n"
        "except BaseException:\n"
        "    raise ImportError('initialization failed') from None\n"
    )
    (tmp_path / "m.onnx").write_bytes(b"\x08\x07" * 64)
    process = subprocess.Popen(
        [str(BINARIES / "edge-run"), "--model", "m.onnx", "--source", "-", "--mqtt", "none"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"importing\n"
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=150)
    assert process.returncode == 0, said.decode()


def test_nothing_is_kept_in_the_home_folder_or_sent_home(tmp_path, flowers):
    # ONNX Runtime 1.32 would keep a database of usage figures there.
    command = [str(BINARIES / "edge-run"), "--model", str(flowers.path), "--source", "synthetic:1", "--mqtt", "none"]
    env = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state"), "PATH": os.environ["PATH"]}
    for more in ([], ["--check"]):
        subprocess.run([*command, *more], env=env, capture_output=True, timeout=150, check=True)
    assert [f.name for f in tmp_path.iterdir()] == ["state"]


def test_a_reader_that_leaves_early_is_no_error(tmp_path, flowers):
    line = f"{BINARIES / 'edge-run'} --model {flowers.path} --check --mqtt none --source synthetic:1 | true"
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], env=env, capture_output=True, timeout=150)
    assert (done.returncode, done.stderr) == (0, b"")


# --- rows that lack something -------------------------------------------------------------------------------


@pytest.fixture
def lenient(tmp_path, flowers):
    """The flowers, told that a value of any feature may be missing."""
    path = tmp_path / "lenient.onnx"
    path.write_bytes(flowers.path.read_bytes())
    manifest = container.read_manifest(path, load_file(path).engine.metadata)
    (table,) = manifest.inputs
    features = tuple(replace(f, missing=True) for f in table.features)
    manifest = replace(manifest, inputs=(replace(table, features=features),), task="raw", decoder="", golden=())
    path.with_name(path.name + ".json").write_bytes(encode(manifest))
    return path


def test_an_absent_feature_is_refused_unless_the_sender_leaves_out_what_is_missing(run, lenient, flowers):
    row = dict(flowers.rows[0])
    row.pop("petal_width")
    ask = ("--model", lenient, "--source", "-", "--mqtt", "none")
    refused = run(*ask, stdin=json.dumps(row).encode())
    assert b"missing feature 'petal_width'; send null" in refused.stderr
    assert refused.stdout == b""
    taken = run(*ask, "--absent", "missing", stdin=json.dumps(row).encode() + b"\n{}\n")
    assert taken.stdout.count(b"predictions") == 1
    assert b"missing feature 'sepal_length', 'sepal_width', 'petal_length' and 1 more" in taken.stderr


def test_a_csv_file_without_any_of_the_features_gives_no_result(run, tmp_path, lenient):
    (tmp_path / "rows.csv").write_text("length,width\n1,2\n3,4\n")
    done = run("--model", lenient, "--source", "rows.csv", "--mqtt", "none", "--ignore-unknown", "--absent", "missing")
    assert (done.returncode, done.stdout) == (5, b"")
    assert b"nothing of it could be used; 2 skipped: 2 x missing feature" in done.stderr
    assert done.stderr.count(b"left out") == 2


def test_flags_for_rows_are_refused_where_the_model_takes_pictures(run, tmp_path):
    model = onnxmodels.brightness(tmp_path / "brightness.onnx")
    done = run("--model", model, "--source", "-", "--mqtt", "none", "--absent", "missing", stdin=b"")
    assert done.returncode == 2
    assert b"--absent missing is for models that take rows by name" in done.stderr


def test_numbers_beyond_2_53_come_through_a_pipe_and_a_file(run, tmp_path):
    model, rows = onnxmodels.identity(tmp_path / "whole.onnx", "int64", ("n", 2)), [2**53 + 1, -(2**63)]
    (tmp_path / "rows.csv").write_text(",".join(map(str, rows)))
    np.save(tmp_path / "rows.npy", np.array([rows]))
    for source, stdin in (("-", json.dumps(rows).encode()), ("rows.csv", b""), ("rows.npy", b"")):
        (found,) = results(run("--model", model, "--source", source, "--mqtt", "none", "--task", "raw", stdin=stdin))
        assert found["predictions"][0]["data"] == rows


def test_predict_says_whether_the_clock_is_synchronised(tmp_path):
    model = edge.load(onnxmodels.identity(tmp_path / "m.onnx"))
    assert model.predict([1, 2, 3]).clock_synced == clock_synced()

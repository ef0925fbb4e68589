"""`edge-run --http`, as a user types it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys

import pytest
from support import onnxmodels
from support.processes import BINARIES, Client, EdgeRun, free_port


@pytest.fixture
def model(tmp_path):
    return onnxmodels.scores(tmp_path / "scores.onnx", classes=3, features=4)


@pytest.fixture
def edge_run(tmp_path):
    made = []

    def start(*args, **more):
        made.append(EdgeRun(tmp_path / f"run{len(made)}", *map(str, args), **more))
        return made[-1]

    yield start
    for one in made:
        one.stop()


def ends_with(model, *args, **environ):
    env = {k: v for k, v in os.environ.items() if not k.startswith("EDGE_")} | environ
    command = [str(BINARIES / "edge-run"), "--model", str(model), *map(str, args)]
    done = subprocess.run(command, capture_output=True, env=env, timeout=150, cwd=model.parent, check=False)
    (line,) = [x for x in done.stderr.decode().splitlines() if x.startswith("edge-run: error")]
    assert b"Traceback" not in done.stderr
    return done.returncode, line


def ask(port, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=150)
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response.status, data


def test_http_alone_feeds_the_model_until_a_signal(edge_run, model):
    port = free_port()
    process = edge_run("--model", model, "--mqtt", "none", "--http", port)
    process.wait_until_said("listening")

    status, data = ask(port, "POST", "/predict", b"[1, 2, 3, 4]")

    assert status == 200
    assert json.loads(data)["source"] == "http"
    assert process.process.poll() is None
    assert process.stop(signal.SIGTERM) == 0


def test_numbers_are_unique_across_the_flow_and_http(edge_run, model, broker):
    port = free_port()
    edge_run("--model", model, "--mqtt", broker.url, "--device", "d", "--http", port)
    client = Client(broker.port, "edge/d/scores/result", "edge/d/scores/status")
    client.wait_for_text("edge/d/scores/status", b"online")
    for _ in range(20):
        client.publish("edge/d/scores/input", b"[1, 2, 3, 4]")
    asked = [json.loads(ask(port, "POST", "/predict", b"[1, 2, 3, 4]")[1])["id"] for _ in range(20)]
    published = [result["id"] for result in client.wait_for("result", 20)]

    assert len({*asked, *published}) == 40
    assert not {*asked} & {*published}
    text = ask(port, "GET", "/metrics")[1]
    assert re.search(rb'edge_run_inferences_total{model="scores",outcome="ok"} 40.0', text)
    client.close()


def test_the_page_s_events_carry_the_flow_s_results(edge_run, model, broker):
    port = free_port()
    edge_run("--model", model, "--mqtt", broker.url, "--device", "d", "--http", port)
    client = Client(broker.port, "edge/d/scores/result", "edge/d/scores/status")
    client.wait_for_text("edge/d/scores/status", b"online")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=150)
    connection.request("GET", "/events")
    response = connection.getresponse()

    client.publish("edge/d/scores/input", b"[1, 2, 3, 4]")
    lines = iter(response.readline, b"")
    data = next(line for line in lines if line.startswith(b"data: "))
    (result,) = client.wait_for("result")
    response.close()
    connection.close()

    assert json.loads(data[6:])["id"] == result["id"]
    client.close()


def test_an_address_that_others_reach_without_a_token_ends_with_2(model):
    code, line = ends_with(model, "--mqtt", "none", "--http", "0.0.0.0:8080")

    assert code == 2
    assert "--http-token-file" in line


def test_the_token_comes_from_a_file_named_by_a_variable(edge_run, model, tmp_path):
    (tmp_path / "token").touch(0o600)
    (tmp_path / "token").write_text("abcdefgh12345678\n")
    port = free_port()
    environ = {"EDGE_HTTP_TOKEN_FILE": str(tmp_path / "token")}
    process = edge_run("--model", model, "--mqtt", "none", "--http", f"0.0.0.0:{port}", environ=environ)
    process.wait_until_said("listening")

    assert ask(port, "GET", "/v2")[0] == 401
    assert ask(port, "GET", "/v2", Authorization="Bearer abcdefgh12345678")[0] == 200
    assert "abcdefgh" not in process.said()


def test_the_password_of_a_camera_is_told_nowhere(edge_run, tmp_path):
    picture = onnxmodels.brightness(tmp_path / "brightness.onnx")
    camera = f"rtsp://somebody:s3cret@127.0.0.1:{free_port()}/stream"
    port = free_port()
    process = edge_run("--model", picture, "--mqtt", "none", "--http", port, "--source", camera)
    process.wait_until_said("listening")

    told = b"".join(ask(port, "GET", path)[1] for path in ("/metrics", "/live/state"))
    assert b"rtsp://127.0.0.1" in told
    assert b"s3cret" not in told
    assert b"somebody" not in told
    process.stop()
    assert "s3cret" not in process.said()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--http", "here"], "is not a port"),
        (["--http", "8080", "--http-token-file", "nowhere"], "--http-token-file nowhere"),
        (["--http", "8080", "--http-share", "2"], "at most 1"),
        (["--http", "8080", "--http-max-body", "lots"], "a size like 256MB"),
        (["--http", "8080", "--http-cert", "nowhere"], "--http-cert nowhere"),
        (["--htp", "8080"], "did you mean --http"),
        (["--http", "8080", "--grpc", "here"], "--grpc here: 'here' is not a port"),
        (["--source", "synthetic:1", "--grpc", "8081"], "--grpc 8081 without --http"),
    ],
)
def test_what_is_wrong_with_a_flag_is_one_line_and_2(model, args, says):
    code, line = ends_with(model, "--mqtt", "none", *args)

    assert code == 2
    assert says in line


def test_a_port_that_is_taken_ends_with_2(edge_run, model):
    port = free_port()
    edge_run("--model", model, "--mqtt", "none", "--http", port).wait_until_said("listening")

    code, line = ends_with(model, "--mqtt", "none", "--http", port)

    assert code == 2
    assert f"127.0.0.1:{port}" in line


def test_no_server_library_is_loaded_without_http(model):
    code = (
        "import sys; from edge.app import assembly, service; import edge.cli.run, pathlib; "
        f"assembly.load_file(pathlib.Path({str(model)!r})); "
        "print([m for m in ('starlette', 'httptools', 'prometheus_client', 'edge.http') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("library", ["starlette", "simdjson"])
def test_a_missing_library_is_one_line_and_2(model, tmp_path, library):
    code = (
        f"import sys; sys.modules[{library!r}] = None; from edge.cli import run; "
        f"sys.exit(run.run(['--model', {str(model)!r}, '--mqtt', 'none', '--http', '0']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)

    assert done.returncode == 2
    assert f"--http needs {library}: pip install 'edge-run[http]'" in done.stderr

"""One endpoint for several models."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from support import onnxmodels
from support.http import Site

from edge.app import assembly
from edge.data.sample import Sample
from edge.http.options import Served
from edge.telemetry.metrics import Metrics

pytest.importorskip("grpc", reason="needs the extra [grpc]")
triton = pytest.importorskip("tritonclient.grpc", exc_type=ImportError)
from tritonclient.utils import InferenceServerException  # noqa: E402


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The models `pair` (two features, classes) and `trio` (three), and a run that could not begin: `broken`."""
    folder = tmp_path_factory.mktemp("models")
    site = Site(onnxmodels.scores(folder / "pair.onnx", classes=2, features=2), grpc=("127.0.0.1", 0))
    trio = assembly.load_file(onnxmodels.scores(folder / "trio.onnx", classes=3, features=3))
    stats = {"results": 0, "skipped": 0, "dropped": {}, "lanes": {}}
    served = Served(
        trio.manifest, trio.engine, trio.sha256, "1.2.3",
        lambda: assembly.make_pipeline(trio, "device", assembly.PipelineOptions(boot="b00t", seq=site.seq)),
        Metrics(), site.clock, lambda: {"model": {"name": "trio"}}, lambda: stats,
    )  # fmt: skip
    site.observe_trio = site.server.serve(served)
    site.server.fail("broken", "broken.onnx: no model")
    yield site.start()
    site.stop()


@pytest.mark.parametrize(("name", "row"), [("pair", [1, 2]), ("trio", [1, 2, 3])])
def test_a_model_is_named_by_the_query_or_the_path(two, name, row):
    body = {"inputs": [{"name": "x", "shape": [1, len(row)], "datatype": "FP32", "data": row}]}
    assert two.ask("POST", f"/predict?model={name}", row).json["model"]["name"] == name
    assert two.ask("POST", f"/v2/models/{name}/infer", body).json["model_name"] == name
    assert two.get(f"/v2/models/{name}").json["inputs"][0]["shape"] == [-1, len(row)]
    assert len(two.ask("POST", f"/v1/models/{name}:predict", {"instances": [row]}).json["predictions"]) == 1
    assert two.ask("POST", f"/invocations?model={name}", {"inputs": [row]}).status == 200
    assert two.get(f"/live/state?model={name}").json["info"]["model"]["name"] == name


@pytest.mark.parametrize("path", ["/predict", "/invocations"])
def test_a_request_that_names_no_model_is_refused_with_the_names(two, path):
    answer = two.ask("POST", path, [1, 2])
    assert answer.status == 400
    assert answer.error == f"this device serves 'pair', 'trio': say which, as in {path}?model=pair"


@pytest.mark.parametrize("path", ["/predict?model=nix", "/v2/models/nix/infer", "/v1/models/nix:predict"])
def test_a_model_that_there_is_not_is_told_with_those_that_there_are(two, path):
    answer = two.ask("POST", path, [1, 2])
    assert answer.status == 404
    assert "no model 'nix'; this device serves 'pair', 'trio'" in answer.error


@pytest.mark.parametrize("path", ["/predict?model=broken", "/v2/models/broken/infer"])
def test_a_model_whose_run_could_not_begin_is_told_with_the_reason(two, path):
    answer = two.ask("POST", path, [1, 2])
    assert answer.status == 503
    assert "broken.onnx: no model" in answer.error


def test_two_models_at_once_are_refused(two):
    assert two.ask("POST", "/predict?model=pair&model=trio", [1, 2]).status == 400


def test_the_lists_of_models_have_all(two):
    index = two.ask("POST", "/v2/repository/index").json
    assert [(one["name"], one["state"]) for one in index] == [
        ("pair", "READY"), ("trio", "READY"), ("broken", "UNAVAILABLE")
    ]  # fmt: skip
    assert two.get("/v1/models").json["models"] == ["pair", "trio"]
    assert [one["name"] for one in two.get("/v2/models/stats").json["model_stats"]] == ["pair", "trio"]
    assert [one["name"] for one in two.get("/v2/models/trio/stats").json["model_stats"]] == ["trio"]
    ended = {one["name"]: one["ended"] for one in two.get("/live/state").json["runs"]}
    assert ended == {"pair": "", "trio": "", "broken": "broken.onnx: no model"}


def test_each_series_says_which_model_it_is_of_and_stands_there_once(two):
    two.ask("POST", "/predict?model=trio", [1, 2, 3])
    lines = two.get("/metrics").body.decode().splitlines()
    helps = [line.split()[2] for line in lines if line.startswith("# HELP")]
    assert len(helps) == len(set(helps))
    assert 'edge_run_outbox_messages{model="pair"} 0.0' in lines
    assert 'edge_run_outbox_messages{model="trio"} 0.0' in lines
    assert 'edge_run_run_up{model="broken"} 0.0' in lines
    assert sum(line.startswith("edge_run_http_connections") for line in lines) == 1
    ok = {line.split('model="')[1][:4]: float(line.split()[-1]) for line in lines if 'outcome="ok"' in line}
    assert ok["trio"] >= 1


def test_the_page_is_shown_the_samples_of_one_run(two):
    two.observe_trio(Sample([7, 8, 9], "s", 0, 0), [])
    assert two.get("/live/sample?model=trio").json["values"] == [7, 8, 9]
    assert two.get("/live/sample?model=pair").json.get("values") != [7, 8, 9]


def test_grpc_answers_for_each_model(two):
    with contextlib.closing(triton.InferenceServerClient(f"127.0.0.1:{two.server.grpc_port}")) as asked:
        for name, row in (("pair", [1, 2]), ("trio", [1, 2, 3])):
            given = triton.InferInput("x", [1, len(row)], "FP32")
            given.set_data_from_numpy(np.array([row], np.float32))
            answer = asked.infer(name, [given])
            assert answer.get_response().model_name == name
            assert answer.as_numpy("scores").shape == (1, len(row))
            assert list(asked.get_model_metadata(name).inputs[0].shape) == [-1, len(row)]
            assert asked.is_model_ready(name)
        assert [one.name for one in asked.get_inference_statistics().model_stats] == ["pair", "trio"]
        assert [one.name for one in asked.get_inference_statistics("trio").model_stats] == ["trio"]
        assert [one.state for one in asked.get_model_repository_index().models] == ["READY", "READY", "UNAVAILABLE"]


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [("nix", "NOT_FOUND", "this device serves 'pair', 'trio'"), ("broken", "UNAVAILABLE", "broken.onnx: no model")],
)
def test_grpc_says_of_a_model_that_is_not_served_why(two, name, code, says):
    with contextlib.closing(triton.InferenceServerClient(f"127.0.0.1:{two.server.grpc_port}")) as asked:
        with pytest.raises(InferenceServerException, match=says) as caught:
            asked.get_model_metadata(name)
        assert caught.value.status() == f"StatusCode.{code}"


def test_the_only_model_may_be_named_too(tmp_path):
    site = Site(onnxmodels.scores(tmp_path / "pair.onnx", classes=2, features=2)).start()
    try:
        assert site.ask("POST", "/predict?model=pair", [1, 2]).status == 200
        assert site.ask("POST", "/predict?model=other", [1, 2]).status == 404
    finally:
        site.stop()

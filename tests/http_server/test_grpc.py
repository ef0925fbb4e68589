"""gRPC: Triton's own client, and messages that lie."""

from __future__ import annotations

import contextlib
import queue
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from support import onnxmodels
from support.http import Site, resident

from edge.errors import ConfigError

grpc = pytest.importorskip("grpc", reason="needs the extra [grpc]")
triton = pytest.importorskip("tritonclient.grpc", exc_type=ImportError)

from edge.http.grpc.messages import SERVICE, Messages  # noqa: E402

ROW = np.array([[1, 2, 3]], np.float32)
TOKEN = "correct-horse-battery-staple"


@pytest.fixture
def client():
    with contextlib.ExitStack() as stack:
        yield lambda site: stack.enter_context(
            contextlib.closing(triton.InferenceServerClient(f"127.0.0.1:{site.server.grpc_port}"))
        )


@pytest.fixture(scope="module")
def rows(models):
    site = Site(onnxmodels.identity(models / "rows.onnx"), grpc=("127.0.0.1", 0)).start()
    yield site
    site.stop()


def put(values, datatype="FP32", name="x"):
    made = triton.InferInput(name, list(values.shape), datatype)
    made.set_data_from_numpy(values)
    return made


# --- the client ------------------------------------------------------------------------------------------


def test_the_client_finds_server_and_model(rows, client):
    asked = client(rows)

    assert (asked.is_server_live(), asked.is_server_ready(), asked.is_model_ready("rows")) == (True, True, True)
    assert asked.get_server_metadata().name == "edge-run"
    (tensor,) = asked.get_model_metadata("rows", "1").inputs
    assert (tensor.name, tensor.datatype, list(tensor.shape)) == ("x", "FP32", [-1, 3])
    config = asked.get_model_config("rows").config
    assert (config.input[0].data_type, list(config.input[0].dims), config.max_batch_size > 0) == (11, [3], True)
    (listed,) = asked.get_model_repository_index().models
    assert (listed.name, listed.state) == ("rows", "READY")
    asked.load_model("rows")


def test_the_client_infers_and_the_statistics_count_it(rows, client):
    asked = client(rows)
    before = asked.get_inference_statistics("rows").model_stats[0].inference_count

    answer = asked.infer(
        "rows", [put(np.repeat(ROW, 4, 0))], request_id="r-1", outputs=[triton.InferRequestedOutput("y")]
    )

    assert np.array_equal(answer.as_numpy("y"), np.repeat(ROW, 4, 0))
    assert answer.get_response().id == "r-1"
    assert asked.get_inference_statistics("rows").model_stats[0].inference_count == before + 4


@pytest.mark.parametrize(
    ("dtype", "datatype"),
    [
        ("float16", "FP16"),
        ("float64", "FP64"),
        ("bool", "BOOL"),
        ("int8", "INT8"),
        ("uint64", "UINT64"),
        ("object", "BYTES"),
    ],
)
def test_the_client_sends_every_kind(serve, models, client, dtype, datatype):
    kind = "string" if dtype == "object" else dtype
    site = serve(onnxmodels.identity(models / f"grpc_{kind}.onnx", kind), grpc=("127.0.0.1", 0))
    values = np.array([["ä", "", "b"]], object) if dtype == "object" else np.array([[1, 0, 1]], dtype)

    found = client(site).infer(site.name, [put(values, datatype)]).as_numpy("y")

    assert [v.decode() if isinstance(v, bytes) else v for v in found.ravel()] == values.ravel().tolist()


def test_the_client_gets_classes(serve, models, client):
    site = serve(onnxmodels.scores(models / "grpc_classes.onnx"), grpc=("127.0.0.1", 0))
    wanted = [triton.InferRequestedOutput("scores", class_count=2)]

    answer = client(site).infer("grpc_classes", [put(np.ones((1, 64), np.float32))], outputs=wanted)

    assert all(re.fullmatch(rb"[\d.e-]+:\d+.*", text) for text in answer.as_numpy("scores").ravel())


def test_a_stream_answers_in_order_and_goes_on_behind_an_error(rows, client):
    asked, told = client(rows), queue.Queue()
    asked.start_stream(lambda result, error: told.put((result, error)))
    wrong = put(np.ones((1, 3), np.int32), "INT32")
    for number, given in enumerate([put(ROW), wrong, put(ROW * 2)]):
        asked.async_stream_infer("rows", [given], request_id=str(number))
    found = [told.get(timeout=20) for _ in range(3)]
    asked.stop_stream()

    assert np.array_equal(found[0][0].as_numpy("y"), ROW)
    assert "the model takes FP32" in str(found[1][1])
    assert np.array_equal(found[2][0].as_numpy("y"), ROW * 2)


@pytest.mark.parametrize(
    ("model", "given", "status"),
    [
        ("other", put(ROW), "NOT_FOUND"),
        ("rows", put(ROW, name="z"), "INVALID_ARGUMENT"),
        ("rows", put(np.ones((1, 4), np.float32)), "INVALID_ARGUMENT"),
        ("rows", put(np.ones((1, 3), np.int64), "INT64"), "INVALID_ARGUMENT"),
    ],
)
def test_an_error_has_its_status_and_our_words(rows, client, model, given, status):
    with pytest.raises(triton.InferenceServerException) as caught:
        client(rows).infer(model, [given])

    assert caught.value.status() == f"StatusCode.{status}"
    assert caught.value.message()


# --- the fences ------------------------------------------------------------------------------------------


def test_the_token_of_http_is_demanded(serve, models, client):
    site = serve(onnxmodels.identity(models / "grpc_token.onnx"), grpc=("127.0.0.1", 0), token=TOKEN)
    asked = client(site)

    for headers in ({}, {"authorization": "Bearer wrong"}):
        with pytest.raises(triton.InferenceServerException) as caught:
            asked.infer(site.name, [put(ROW)], headers=headers)
        assert caught.value.status() == "StatusCode.UNAUTHENTICATED"
    assert np.array_equal(
        asked.infer(site.name, [put(ROW)], headers={"authorization": f"Bearer {TOKEN}"}).as_numpy("y"), ROW
    )


def test_an_address_that_others_reach_demands_a_token(models):
    with pytest.raises(ConfigError, match="--http-token-file"):
        Site(onnxmodels.identity(models / "grpc_open.onnx"), grpc=("0.0.0.0", 0))


def test_a_port_that_is_taken_is_a_configuration_error(rows, models):
    site = Site(onnxmodels.identity(models / "grpc_taken.onnx"), grpc=("127.0.0.1", rows.server.grpc_port))

    with pytest.raises(ConfigError, match="--grpc"):
        site.start()
    site.stop()


def test_a_message_past_the_limit_is_refused(serve, models, client):
    site = serve(onnxmodels.identity(models / "grpc_large.onnx"), grpc=("127.0.0.1", 0), max_body=100_000)

    with pytest.raises(triton.InferenceServerException) as caught:
        client(site).infer(site.name, [put(np.ones((20_000, 3), np.float32))])

    assert caught.value.status() == "StatusCode.RESOURCE_EXHAUSTED"


def test_messages_that_lie_are_invalid_arguments_and_memory_stays_flat(rows, client):
    messages, rng = Messages(), random.Random(3)
    ask, answer = messages["ModelInferRequest"], messages["ModelInferResponse"]
    shapes = [[1, 3], [0, 3], [-1, 3], [2**62, 4], [3], [], [1, 3, 1], [2**31, 2**31], [1] * 60, [2**62, 3]]
    kinds = ["FP32", "FP64", "INT64", "BYTES", "BF16", "", "fp32"]
    blobs = [b"", b"\0" * 11, b"\0" * 12, b"\0" * 13, b"\xff\xff\xff\xff" * 3, b"\0" * 100_000]
    statuses = Counter()
    with grpc.insecure_channel(f"127.0.0.1:{rows.server.grpc_port}") as channel:
        infer = channel.unary_unary(f"/{SERVICE}/ModelInfer", ask.SerializeToString, answer.FromString)

        def lie() -> None:
            request = ask(model_name="rows")
            for _ in range(rng.choice([1, 1, 2])):
                tensor = request.inputs.add(name="x", datatype=rng.choice(kinds), shape=rng.choice(shapes))
                if rng.random() < 0.3:
                    tensor.contents.fp32_contents.extend([1.0] * rng.choice([0, 3, 4]))
            request.raw_input_contents.extend(rng.choice(blobs) for _ in range(rng.choice([0, 1, 1, 2])))
            try:
                infer(request)
                statuses["ok"] += 1
            except grpc.RpcError as exc:
                statuses[exc.code()] += 1

        for _ in range(200):
            lie()
        before = resident()
        for _ in range(1000):
            lie()

    assert set(statuses) <= {"ok", grpc.StatusCode.INVALID_ARGUMENT}
    assert statuses[grpc.StatusCode.INVALID_ARGUMENT] > 1000
    assert resident() - before < 30e6
    assert np.array_equal(client(rows).infer("rows", [put(ROW)]).as_numpy("y"), ROW)


def test_the_descriptor_is_what_the_proto_file_says(tmp_path):
    pytest.importorskip("grpc_tools", reason="needs grpcio-tools")
    import edge.http.grpc

    folder = Path(edge.http.grpc.__file__).parent
    made = tmp_path / "made.binpb"
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-I", folder, f"--descriptor_set_out={made}", "inference.proto"],
        check=True, cwd=folder,
    )  # fmt: skip

    assert made.read_bytes() == (folder / "inference.binpb").read_bytes()

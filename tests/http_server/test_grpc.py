"""gRPC: Triton's own client, and messages that lie."""

from __future__ import annotations

import contextlib
import queue
import random
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from support import onnxmodels
from support.http import CLIENT_WAIT_S, Site, SlowEngine, resident
from support.processes import until
from support.tls import make_certificate

from edge.app import assembly
from edge.errors import ConfigError
from edge.http.options import Limits

grpc = pytest.importorskip("grpc", reason="needs the extra [grpc]")
triton = pytest.importorskip("tritonclient.grpc", exc_type=ImportError)

from edge.http.grpc.messages import SERVICE, Messages  # noqa: E402
from edge.http.grpc.server import GUESSES_MOST  # noqa: E402

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
    found = [told.get(timeout=150) for _ in range(3)]
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


def test_an_answer_to_a_wrong_token_is_held_back_and_one_to_none_is_not(serve, models, client):
    limits = Limits(wrong_token_s=1000)
    address = ("127.0.0.1", 0)
    site = serve(onnxmodels.identity(models / "grpc_guess.onnx"), grpc=address, token=TOKEN, limits=limits, grace_s=0)
    right = {"authorization": f"Bearer {TOKEN}"}

    with grpc.insecure_channel(f"127.0.0.1:{site.server.grpc_port}") as channel:
        metadata = channel.unary_unary(f"/{SERVICE}/ServerMetadata")
        guess = metadata.future(b"", metadata=[("authorization", "Bearer wrong")])
        with pytest.raises(grpc.RpcError, match="UNAUTHENTICATED"):
            metadata(b"")
        assert client(site).get_server_metadata(headers=right).name == "edge-run"
        with pytest.raises(grpc.FutureTimeoutError):
            guess.result(0.1)
        guess.cancel()


def test_guesses_leave_room_for_those_who_know_the_token(serve, models):
    limits = Limits(wrong_token_s=1000)
    site = serve(
        onnxmodels.identity(models / "grpc_guesses.onnx"), grpc=("127.0.0.1", 0), token=TOKEN, limits=limits,
        grace_s=0, connections=GUESSES_MOST + 8,
    )  # fmt: skip

    with grpc.insecure_channel(f"127.0.0.1:{site.server.grpc_port}") as channel:
        metadata = channel.unary_unary(f"/{SERVICE}/ServerMetadata")
        guesses = [metadata.future(b"", metadata=[("authorization", "Bearer wrong")]) for _ in range(GUESSES_MOST + 4)]
        until(lambda: sum(g.done() for g in guesses) >= 4, "those past the limit are answered")

        assert metadata(b"", metadata=[("authorization", f"Bearer {TOKEN}")])
        for guess in guesses:
            guess.cancel()


def shows(site, cert):
    """Whether the server shows this certificate."""
    credentials = grpc.ssl_channel_credentials(cert.read_bytes())
    with grpc.secure_channel(f"127.0.0.1:{site.server.grpc_port}", credentials) as channel:
        live = channel.unary_unary(f"/{SERVICE}/ServerLive")
        try:
            return live(b"", timeout=CLIENT_WAIT_S) == b"\x08\x01"
        except grpc.RpcError:
            return False


def test_a_certificate_that_changes_is_shown_to_the_next_connection(serve, models, tmp_path):
    folders = [tmp_path / "first", tmp_path / "second"]
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    for folder in folders:
        folder.mkdir()
    first, second = (make_certificate(folder) for folder in folders)
    shutil.copy(first[0], cert)
    shutil.copy(first[1], key)
    site = serve(onnxmodels.identity(models / "grpc_tls.onnx"), grpc=("127.0.0.1", 0), cert=cert, key=key)

    assert (shows(site, first[0]), shows(site, second[0])) == (True, False)
    shutil.copy(second[0], cert)
    shutil.copy(second[1], key)

    until(lambda: shows(site, second[0]), "the new certificate is shown")
    assert not shows(site, first[0])


def test_a_key_may_stand_in_the_certificate_s_file(serve, models, tmp_path):
    cert, key = make_certificate(tmp_path)
    both = tmp_path / "both.pem"
    both.write_bytes(cert.read_bytes() + key.read_bytes())

    assert shows(serve(onnxmodels.identity(models / "grpc_both.onnx"), grpc=("127.0.0.1", 0), cert=both), cert)


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


@pytest.mark.parametrize("method", ["ModelInfer", "ModelMetadata", "ModelStreamInfer"])
@pytest.mark.parametrize("data", [b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\xff\xfe", b"\0" * 50])
def test_bytes_that_are_no_message_are_an_invalid_argument(rows, client, method, data):
    with grpc.insecure_channel(f"127.0.0.1:{rows.server.grpc_port}") as channel:
        if method == "ModelStreamInfer":
            stream = channel.stream_stream(f"/{SERVICE}/{method}", None, Messages()[f"{method}Response"].FromString)
            (told,) = stream(iter([data]))
            assert "bytes that are no ModelInferRequest" in told.error_message
        else:
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(f"/{SERVICE}/{method}")(data)
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


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


@pytest.mark.parametrize(
    ("fields", "shared", "says"),
    [
        (["fp32_contents", "int_contents"], "", "int_contents is set; FP32 stands in fp32_contents"),
        (["int64_contents"], "", "int64_contents is set; FP32 stands in fp32_contents"),
        (["fp32_contents"], "region", "no shared memory"),
    ],
)
def test_a_tensor_that_stands_in_two_places_or_elsewhere_is_refused(rows, fields, shared, says):
    messages = Messages()
    ask, answer = messages["ModelInferRequest"], messages["ModelInferResponse"]
    request = ask(model_name="rows")
    tensor = request.inputs.add(name="x", datatype="FP32", shape=[1, 3])
    for field in fields:
        getattr(tensor.contents, field).extend([1, 2, 3])
    if shared:
        tensor.parameters["shared_memory_region"].string_param = shared
    with grpc.insecure_channel(f"127.0.0.1:{rows.server.grpc_port}") as channel:
        infer = channel.unary_unary(f"/{SERVICE}/ModelInfer", ask.SerializeToString, answer.FromString)
        with pytest.raises(grpc.RpcError) as caught:
            infer(request)

    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert says in caught.value.details()


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


def test_a_call_under_way_ends_with_its_model_and_the_next_request_of_a_stream_is_the_new_one_s(models, client):
    first, second = (assembly.load_file(onnxmodels.identity(models / f"{n}.onnx")) for n in ("took", "over"))
    second = replace(second, manifest=replace(second.manifest, name="took", version="2"))
    slow = SlowEngine(first.engine)
    site = Site(first, engine=slow, grpc=("127.0.0.1", 0)).start()
    let_go, answers = threading.Event(), queue.Queue()
    try:
        asked = client(site)
        slow.gate.set()
        asked.start_stream(lambda result, error: answers.put((result, error)))
        asked.async_stream_infer("took", [put(ROW)])
        versions = [answers.get(timeout=CLIENT_WAIT_S)[0].get_response().model_version]
        slow.gate.clear()
        while slow.entered.acquire(blocking=False):
            pass
        old = asked.async_infer(
            "took", [put(np.repeat(ROW, 100_000, 0))], lambda result, error: answers.put((result, error))
        )
        assert slow.entered.acquire(timeout=CLIENT_WAIT_S)
        assert site.use(second, let_go.set).wait(CLIENT_WAIT_S)
        asked.async_stream_infer("took", [put(ROW)])
        versions.append(answers.get(timeout=CLIENT_WAIT_S)[0].get_response().model_version)
        told = (asked.get_model_metadata("took").versions, asked.get_model_config("took", "2").config.name)
        held = not let_go.is_set()
        slow.gate.set()
        versions.append(answers.get(timeout=CLIENT_WAIT_S)[0].get_response().model_version)
        assert let_go.wait(CLIENT_WAIT_S)
    finally:
        slow.gate.set()
        site.stop()

    assert old is not None
    assert (versions, held) == (["1", "2", "1"], True)
    assert (list(told[0]), told[1]) == (["2"], "took")

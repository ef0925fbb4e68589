"""Clients of other people's, as they come from PyPI or Debian."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess

import numpy as np
import pytest
from support import onnxmodels

triton = pytest.importorskip("tritonclient.http")


@pytest.fixture
def client(request):
    made = []

    def connect(site, **options):
        host, port = site.address
        made.append(triton.InferenceServerClient(f"{host}:{port}", **options))
        return made[-1]

    yield connect
    for one in made:
        one.close()


def put(name, array, datatype, *, binary):
    made = triton.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


# --- tritonclient ---------------------------------------------------------------------------------------


def test_triton_s_client_finds_server_and_model(numbers, client):
    triton_ = client(numbers)

    assert triton_.is_server_live()
    assert triton_.is_server_ready()
    assert triton_.is_model_ready("numbers")
    assert not triton_.is_model_ready("other")
    assert triton_.get_server_metadata()["name"] == "edge-run"
    assert triton_.get_model_metadata("numbers")["inputs"][0]["name"] == "x"
    assert triton_.get_model_config("numbers")["input"][0]["data_type"] == "TYPE_FP32"
    assert triton_.get_model_repository_index()[0]["state"] == "READY"
    assert triton_.get_inference_statistics("numbers")["model_stats"]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_triton_s_client_infers_in_every_mixture_of_json_and_binary(numbers, client, binary_in, binary_out):
    values = np.random.default_rng(3).normal(size=(4, 3)).astype(np.float32)

    answer = client(numbers).infer(
        "numbers",
        [put("x", values, "FP32", binary=binary_in)],
        outputs=[triton.InferRequestedOutput("y", binary_data=binary_out)],
        request_id="r-1",
    )

    assert np.array_equal(answer.as_numpy("y"), values)
    assert answer.get_response()["id"] == "r-1"


def test_triton_s_client_asks_for_no_output_and_gets_all(serve, models, client):
    site = serve(onnxmodels.two_and_two(models / "all.onnx"))
    a, b = np.array([[5, 7]], np.float32), np.array([[1, 2]], np.float32)

    answer = client(site).infer("all", [put("a", a, "FP32", binary=True), put("b", b, "FP32", binary=True)])

    assert answer.as_numpy("sum").tolist() == [[6, 9]]
    assert answer.as_numpy("difference").tolist() == [[4, 5]]


@pytest.mark.parametrize(
    ("dtype", "datatype"),
    [("float16", "FP16"), ("float64", "FP64"), ("bool", "BOOL"), ("int8", "INT8"), ("uint64", "UINT64")],
)
def test_triton_s_client_sends_every_kind_of_number(serve, models, client, dtype, datatype):
    site = serve(onnxmodels.identity(models / f"triton_{dtype}.onnx", dtype))
    values = np.array([[1, 0, 1]], dtype)

    answer = client(site).infer(site.name, [put("x", values, datatype, binary=True)])

    assert answer.as_numpy("y").dtype == dtype
    assert np.array_equal(answer.as_numpy("y"), values)


@pytest.mark.parametrize("binary", [True, False])
def test_triton_s_client_sends_texts(serve, models, client, binary):
    site = serve(onnxmodels.identity(models / "triton_text.onnx", "string"))
    values = np.array([["one", "", "zwölf"]], dtype=object)

    answer = client(site).infer(site.name, [put("x", values, "BYTES", binary=binary)])

    assert [v.decode() if isinstance(v, bytes) else v for v in answer.as_numpy("y").ravel()] == ["one", "", "zwölf"]


def test_triton_s_client_gets_classes(scores, client):
    answer = client(scores).infer(
        "scores",
        [put("x", np.ones((1, 64), np.float32), "FP32", binary=True)],
        outputs=[triton.InferRequestedOutput("scores", class_count=2)],
    )

    assert answer.as_numpy("scores").shape == (1, 2)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_what_triton_s_image_client_does_is_answered_as_it_expects(serve, models, protocol):
    """`image_client.py` of Triton's examples: it finds the layout in the configuration, stacks, asks for classes."""
    library = pytest.importorskip(f"tritonclient.{protocol}", exc_type=ImportError)
    site = serve(onnxmodels.pictures(models / "image_client.onnx"), grpc=("127.0.0.1", 0))
    port = site.address[1] if protocol == "http" else site.server.grpc_port
    with contextlib.closing(library.InferenceServerClient(f"127.0.0.1:{port}")) as asked:
        more = {} if protocol == "http" else {"as_json": True}
        metadata = asked.get_model_metadata(model_name=site.name, model_version="", **more)
        config = asked.get_model_config(model_name=site.name, model_version="", **more)
        config = config.get("config", config)
        (given,), (wanted,) = metadata["inputs"], metadata["outputs"]
        (told,) = config["input"]
        assert config["max_batch_size"] > 1
        assert (told["format"], [int(d) for d in told["dims"]]) == ("FORMAT_NCHW", [3, 32, 32])
        assert (len(given["shape"]), wanted["datatype"]) == (4, "FP32")
        colours = np.float32([[10, 200, 30], [250, 40, 60]])
        batch = np.repeat(np.repeat(colours[:, :, None, None], 32, 2), 32, 3)
        tensor = library.InferInput(given["name"], list(batch.shape), given["datatype"])
        tensor.set_data_from_numpy(batch)
        answer = asked.infer(site.name, [tensor], request_id="1", model_version="",
                             outputs=[library.InferRequestedOutput(wanted["name"], class_count=2)])  # fmt: skip

    found = [["".join(map(chr, text)).split(":")[:2] for text in row] for row in answer.as_numpy(wanted["name"])]
    assert [[(float(score), int(at)) for score, at in row] for row in found] == [
        [(200, 1), (30, 2)], [(250, 0), (60, 2)]
    ]  # fmt: skip


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_triton_s_client_compresses(numbers, client, coding):
    values = np.ones((2, 3), np.float32)

    answer = client(numbers).infer(
        "numbers", [put("x", values, "FP32", binary=True)], request_compression_algorithm=coding,
        response_compression_algorithm=coding,
    )  # fmt: skip

    assert np.array_equal(answer.as_numpy("y"), values)


def test_triton_s_client_reads_our_words_in_an_error(numbers, client):
    with pytest.raises(triton.InferenceServerException, match="the model takes FP32") as caught:
        client(numbers).infer("numbers", [put("x", np.ones((1, 3), np.int32), "INT32", binary=True)])

    assert caught.value.status() == "400"


def test_triton_s_client_infers_from_several_threads(scores, client):
    values = np.random.default_rng(5).normal(size=(1, 64)).astype(np.float32)
    triton_ = client(scores, concurrency=4)
    expected = triton_.infer("scores", [put("x", values, "FP32", binary=True)]).as_numpy("scores")

    asked = [triton_.async_infer("scores", [put("x", values, "FP32", binary=True)]) for _ in range(40)]

    assert all(np.array_equal(a.get_result().as_numpy("scores"), expected) for a in asked)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_triton_s_asyncio_clients_have_several_requests_under_way(serve, models, protocol):
    library = pytest.importorskip(f"tritonclient.{protocol}.aio", exc_type=ImportError)
    site = serve(onnxmodels.identity(models / "at_once.onnx"), grpc=("127.0.0.1", 0))
    port = site.address[1] if protocol == "http" else site.server.grpc_port

    def row(number):
        made = library.InferInput("x", [1, 3], "FP32")
        made.set_data_from_numpy(np.full((1, 3), number, np.float32))
        return made

    async def ask():
        async with library.InferenceServerClient(f"127.0.0.1:{port}") as asked:
            answers = await asyncio.gather(*[asked.infer(site.name, [row(number)]) for number in range(20)])
        return [answer.as_numpy("y").tolist() for answer in answers]

    assert asyncio.run(ask()) == [[[number] * 3] for number in range(20)]


# --- curl -----------------------------------------------------------------------------------------------


def curl(*args: str) -> bytes:
    return subprocess.run(["curl", "-sS", "--fail-with-body", *args], check=True, capture_output=True).stdout


@pytest.mark.usefixtures("curl_is_here")
def test_curl_sends_json_a_file_and_a_form(serve, models, tmp_path):
    site = serve(onnxmodels.identity(models / "curl.onnx"))
    np.save(tmp_path / "row.npy", np.array([1.0, 2.0, 3.0]))
    (tmp_path / "row.json").write_text("[1, 2, 3]")
    url = f"{site.server.url}/predict"

    answers = [
        curl("-d", "[1, 2, 3]", url),
        curl("--data-binary", f"@{tmp_path / 'row.json'}", "-H", "Content-Type: application/json", url),
        curl("--data-binary", f"@{tmp_path / 'row.npy'}", url),
        curl("-T", str(tmp_path / "row.npy"), "-X", "POST", url),
        curl("-F", f"file=@{tmp_path / 'row.npy'}", url),
        curl("-F", "row=[1, 2, 3]", url),
        curl("-H", "Transfer-Encoding: chunked", "-d", "[1, 2, 3]", url),
        curl("--http1.0", "-d", "[1, 2, 3]", url),
    ]

    assert [json.loads(a)["predictions"] for a in answers] == [json.loads(answers[0])["predictions"]] * 8
    assert json.loads(curl("--data-binary", f"@{tmp_path / 'row.json'}", f"{site.server.url}/invocations"))

"""Requests made by machines to break it: none gives a 5xx, none costs memory."""

from __future__ import annotations

import contextlib
import io
import json
import random
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator
from support import onnxmodels
from support.http import Site, resident, talk

ROUNDS = 1500


# --- the binary extension -------------------------------------------------------------------------------

SIZES = [0, 1, 3, 11, 12, 13, 24, -1, -12, 2**31, 2**32, 2**63, 2**64, 10**30, 1.5, "12", None, True, [12], {"a": 1}]
SHAPES = [
    [1, 3], [2, 3], [0, 3], [-1, 3], [3], [], [1, 3, 1], [2**31, 2**31], [2**62, 4], [2**64, 3], [1, -3], [1.0, 3],
    ["1", 3], None, [[1, 3]], [1] * 70, [True, 3], [10**30, 10**30],
]  # fmt: skip
DATATYPES = ["FP32", "FP16", "FP64", "BF16", "INT64", "UINT8", "BOOL", "BYTES", "fp32", "", None, 7]
LENGTHS = ["{}", "0", "-1", "1", "99999999999", "{}0", "+{}", " {}", "0x10", "1e3", "", "٣", "1_0", "{}, {}"]
BLOBS = [
    b"", b"\0", bytes(11), bytes(12), bytes(13), bytes(24), b"\xff" * 12, struct.pack("<I", 2**32 - 1) + bytes(8),
    struct.pack("<I", 4) + b"ab", b"\0" * 4096,
]  # fmt: skip


def hostile(rng: random.Random) -> tuple[bytes, dict[str, str]]:
    """A binary request with at least one lie, most often."""
    good = {"name": "x", "shape": [1, 3], "datatype": "FP32", "parameters": {"binary_data_size": 12}}
    tensor = dict(good)
    if rng.random() < 0.6:
        tensor["shape"] = rng.choice(SHAPES)
    if rng.random() < 0.4:
        tensor["datatype"] = rng.choice(DATATYPES)
    if rng.random() < 0.7:
        tensor["parameters"] = {"binary_data_size": rng.choice(SIZES)}
    if rng.random() < 0.1:
        tensor["data"] = rng.choice([[1, 2, 3], [], "x", None])
    if rng.random() < 0.1:
        del tensor[rng.choice(sorted(tensor))]
    inputs = [tensor] * rng.choice([1, 1, 1, 1, 0, 2])
    request = {"inputs": rng.choice([inputs, inputs, inputs, tensor, None, "x"])}
    if rng.random() < 0.3:
        request["outputs"] = rng.choice(
            [[{"name": "y", "parameters": {"binary_data": True}}], [{"name": "z"}], 3, [{}]]
        )
    if rng.random() < 0.2:
        request["parameters"] = rng.choice([{"binary_data_output": True}, [], "x", {"binary_data_output": "no"}])
    head = json.dumps(request).encode()
    if rng.random() < 0.15:
        head = head[: rng.randrange(len(head))]
    length = rng.choice(LENGTHS).replace("{}", str(len(head))) if rng.random() < 0.4 else str(len(head))
    return head + rng.choice(BLOBS), {"Inference-Header-Content-Length": length}


def truth(body: bytes, headers: dict[str, str]) -> bool:
    """True where the request happens to be a good one."""
    length = headers["Inference-Header-Content-Length"]
    if length == "0":
        return len(body) > 0 and len(body) % 12 == 0
    try:
        request = json.loads(body[: int(length)])
        (tensor,) = request["inputs"]
    except (ValueError, KeyError, TypeError, UnicodeDecodeError):
        return False
    rest = len(body) - int(length)
    return bool(tensor["shape"]) and rest == tensor["parameters"]["binary_data_size"] == 12 * int(tensor["shape"][0])


@pytest.mark.parametrize("seed", range(3))
def test_hostile_binary_requests_are_400_and_memory_stays_flat(numbers, seed):
    rng = random.Random(seed)
    connection = numbers.connect()
    statuses = {200: 0, 400: 0}

    def ask_one() -> None:
        body, headers = hostile(rng)
        connection.request("POST", "/v2/models/numbers/infer", body, {k: v.encode() for k, v in headers.items()})
        response = connection.getresponse()
        answer = response.read()
        assert response.status in statuses, (response.status, body, headers)
        statuses[response.status] += 1
        if response.status == 400:
            assert set(json.loads(answer)) == {"error"}
        else:
            assert truth(body, headers), (body, headers)

    for _ in range(300):
        ask_one()
    before = resident()
    for _ in range(ROUNDS):
        ask_one()
    connection.close()

    assert statuses[400] > ROUNDS / 2
    assert resident() - before < 16e6
    assert numbers.get("/v2/health/ready").status == 200


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"\x01",
        struct.pack("<I", 2**32 - 1),
        struct.pack("<I", 5) + b"four",
        struct.pack("<I", 1) + b"\xff" + struct.pack("<II", 0, 0),
        struct.pack("<III", 0, 0, 0) + b"more",
        struct.pack("<II", 0, 0),
    ],
)
def test_texts_whose_lengths_lie_are_400(serve, models, blob):
    site = serve(onnxmodels.identity(models / "lies.onnx", "string"))
    parameters = {"binary_data_size": len(blob)}
    request = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "BYTES", "parameters": parameters}]}
    head = json.dumps(request).encode()

    answer = site.infer(head + blob, Inference_Header_Content_Length=str(len(head)))

    assert answer.status == 400
    assert answer.error


def test_a_byte_changed_anywhere_gives_no_5xx(numbers):
    good = json.dumps({"id": "a", "inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]})
    rng = random.Random(11)
    connection = numbers.connect()
    for _ in range(1500):
        body = bytearray(good.encode())
        for _ in range(rng.randint(1, 3)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        path = rng.choice(["/v2/models/numbers/infer", "/predict", "/invocations", "/v1/models/numbers:predict"])
        assert talk(connection, "POST", path, bytes(body)).status in (200, 400)
    connection.close()


def test_arrays_of_npy_that_lie_give_no_5xx(numbers):
    rng = random.Random(13)
    good = npy_bytes(np.ones((2, 3)))
    connection = numbers.connect()
    for _ in range(600):
        body = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            body[rng.randrange(6, len(body))] = rng.randrange(256)
        assert talk(connection, "POST", "/predict", bytes(body[: rng.randint(6, len(body))])).status in (200, 400)
    connection.close()


WORDS = ["name", "data", "b64", "instances", "inputs", "x", "a", "shape", "dataframe_split", "columns", "id", ""]
ATOMS = [0, -1, 1.5, 2**31, 2**63, -(2**63), 2**64, 10**300, -0.0, 1e308, "", "a", "\0", "NaN", "é" * 50, None, True]


def anything(rng: random.Random, depth: int = 0) -> Any:
    """A JSON value of words that mean something here, nested as it comes."""
    kind = rng.random() if depth < 4 else 0
    if kind < 0.5:
        return rng.choice(ATOMS)
    values = [anything(rng, depth + 1) for _ in range(rng.randint(0, 5))]
    return values if kind < 0.75 else {rng.choice(WORDS): value for value in values}


@pytest.mark.parametrize("kind", ["numbers", "texts", "picture", "two inputs"])
def test_any_json_anywhere_gives_no_5xx(serve, models, kind):
    site = serve({
        "numbers": lambda: onnxmodels.identity(models / "any_numbers.onnx"),
        "texts": lambda: onnxmodels.identity(models / "any_texts.onnx", "string"),
        "picture": lambda: onnxmodels.one_box(models / "any_picture.onnx"),
        "two inputs": lambda: onnxmodels.two_and_two(models / "any_two.onnx"),
    }[kind]())  # fmt: skip
    rng = random.Random(17)
    paths = ["/predict", "/predict?annotate=1", "/invocations", f"/v1/models/{site.name}:predict",
             f"/v2/models/{site.name}/infer"]  # fmt: skip
    with contextlib.closing(site.connect()) as connection:
        for _ in range(500):
            path, value = rng.choice(paths), anything(rng)
            answer = talk(connection, "POST", path, json.dumps(value).encode())
            assert answer.status in (200, 400), (path, value, answer.body)
            assert answer.status == 200 or answer.error


def npy_bytes(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


# --- schemathesis ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def described(models):
    site = Site(onnxmodels.identity(models / "described.onnx")).start()
    yield site
    site.stop()


def ways(site: Site) -> list[Any]:
    """Every operation of the document but the stream, which never ends."""
    schema = schemathesis.openapi.from_url(f"{site.server.url}/openapi.json")
    return [found.ok() for found in schema.get_all_operations() if found.ok().path != "/events"]


def attack(way: Any, examples: int, check: Callable[[Any], None]) -> None:
    @settings(
        max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=way.as_strategy())
    def attacked(case: Any) -> None:
        check(case)

    attacked()


def test_an_empty_object_is_refused_only_where_the_document_says_that_it_is_no_body(described):
    document = described.get("/openapi.json").json
    for path, ways in document["paths"].items():
        kinds = ways.get("post", {}).get("requestBody", {}).get("content", {})
        if "application/json" in kinds and "unload" not in path:
            schema = {**kinds["application/json"]["schema"], "components": document["components"]}
            fits = Draft202012Validator(schema).is_valid({})
            asked = path.format(model="described", version="1", label="stable")
            assert (described.post(asked, {}).status == 200) is fits, path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("examples", [5, pytest.param(15, marks=pytest.mark.long)])
def test_no_request_that_the_document_allows_gives_a_5xx(described, examples):
    def check(case: Any) -> None:
        response = case.call(timeout=150)
        assert response.status_code < 500, (case.method, response.url, response.text)
        if response.status_code >= 400:
            assert response.json()["error"]

    found = ways(described)
    assert len(found) > 20
    for way in found:
        attack(way, examples, check)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("examples", [10, pytest.param(40, marks=pytest.mark.long)])
def test_no_inference_with_our_model_gives_a_5xx(described, examples):
    def check(case: Any) -> None:
        ours = {"model": "described", "version": "1", "label": "stable"}
        case.path_parameters = {k: ours[k] for k in case.path_parameters}
        assert case.call(timeout=150).status_code in (200, 400, 415)

    for way in ways(described):
        if way.method == "post" and "{model}" in way.path and "repository" not in way.path:
            attack(way, examples, check)

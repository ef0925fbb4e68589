"""Open Inference Protocol v2, as a client sees it."""

from __future__ import annotations

import gzip
import struct
import zlib

import msgspec
import numpy as np
import pytest
from support import onnxmodels
from support.http import tensor, with_binary

from edge.data.tensor import TensorSpec
from edge.http.openinference import tensors

VALUES = {
    "BOOL": ("bool", [True, False, True]),
    "UINT8": ("uint8", [0, 7, 255]),
    "UINT16": ("uint16", [0, 7, 65535]),
    "UINT32": ("uint32", [0, 7, 2**32 - 1]),
    "UINT64": ("uint64", [0, 7, 2**64 - 1]),
    "INT8": ("int8", [-128, 0, 127]),
    "INT16": ("int16", [-32768, 0, 32767]),
    "INT32": ("int32", [-(2**31), 0, 2**31 - 1]),
    "INT64": ("int64", [-(2**63), 0, 2**63 - 1]),
    "FP16": ("float16", [-1.5, 0.0, 65504.0]),
    "FP32": ("float32", [-1.5, 0.25, 3.4e38]),
    "FP64": ("float64", [-1.5, 0.1, 1.7e308]),
}
ROW = [[1.0, 2.0, 3.0]]


@pytest.fixture
def echo(serve, models):
    def start(dtype, shape=("n", 3)):
        return serve(onnxmodels.identity(models / f"echo_{dtype}_{len(shape)}.onnx", dtype, shape))

    return start


# --- what it says of itself -----------------------------------------------------------------------------


def test_the_server_lives_and_is_ready(numbers):
    assert numbers.get("/v2/health/live").json == {"live": True}
    assert numbers.get("/v2/health/ready").json == {"live": True, "ready": True}


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_the_server_names_itself_and_its_extensions(numbers, path):
    told = numbers.get(path).json

    assert told["name"] == "edge-run"
    assert "binary_tensor_data" in told["extensions"]
    assert told["version"]


@pytest.mark.parametrize("version", ["", "/versions/1"])
def test_the_model_tells_its_tensors_with_minus_one_for_what_is_free(numbers, version):
    told = numbers.get(f"/v2/models/numbers{version}").json

    assert told["platform"] == "onnx_onnxv1"
    assert told["versions"] == ["1"]
    assert told["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}]
    assert told["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}]


@pytest.mark.parametrize("version", ["", "/versions/1"])
def test_the_model_is_ready(numbers, version):
    assert numbers.get(f"/v2/models/numbers{version}/ready").json == {"name": "numbers", "ready": True}


@pytest.mark.parametrize(
    "path",
    [
        "/v2/models/other",
        "/v2/models/other/ready",
        "/v2/models/numbers/versions/2",
        "/v2/models/numbers/versions/2/ready",
        "/v2/models/other/stats",
    ],
)
def test_another_model_or_version_is_a_404_that_names_ours(numbers, path):
    answer = numbers.get(path)

    assert answer.status == 404
    assert "'numbers'" in answer.error


@pytest.mark.parametrize("path", ["/v2/models/other/infer", "/v2/models/numbers/versions/9/infer"])
def test_inference_with_another_model_is_a_404(numbers, path):
    assert numbers.post(path, {"inputs": [tensor("x", ROW, "FP32")]}).status == 404


def test_what_is_not_there_is_a_404_and_a_wrong_method_a_405(numbers):
    assert "/docs" in numbers.get("/nothing").error
    answer = numbers.get("/v2/models/numbers/infer")
    assert answer.status == 405
    assert answer.headers["allow"] == "POST"


def test_the_repository_lists_the_one_model_which_is_loaded_and_no_other(numbers):
    assert numbers.post("/v2/repository/index", {"ready": True}).json == [
        {"name": "numbers", "version": "1", "state": "READY", "reason": ""}
    ]
    assert numbers.post("/v2/repository/models/numbers/load").status == 200
    changed = numbers.post("/v2/repository/models/numbers/load", {"parameters": {"config": "{}"}})
    assert (changed.status, "--model" in changed.error) == (400, True)
    assert numbers.post("/v2/repository/models/numbers/unload").status == 400
    assert numbers.post("/v2/repository/models/other/load").status == 404
    assert "model_repository" not in numbers.get("/v2").json["extensions"]


def test_the_configuration_tells_dims_of_one_sample_where_rows_can_be_many(numbers, serve, models):
    free = numbers.get("/v2/models/numbers/config").json
    fixed = serve(onnxmodels.identity(models / "fixed.onnx", shape=(1, 3))).get("/v2/models/fixed/config").json

    assert (free["max_batch_size"] > 1, free["input"][0]["dims"], free["output"][0]["dims"]) == (True, [3], [3])
    assert (fixed["max_batch_size"], fixed["input"][0]["dims"]) == (0, [1, 3])
    assert free["input"][0]["format"] == "FORMAT_NONE"


def test_nulls_are_as_absent_as_mlserver_s_request_objects_have_them(numbers):
    request = {"id": None, "parameters": None, "outputs": None,
               "inputs": [tensor("x", ROW, "FP32", parameters=None)]}  # fmt: skip
    named = {**request, "outputs": [{"name": "y", "parameters": {"binary_data": None, "classification": None}}]}

    assert "id" not in numbers.infer(request).json
    assert numbers.infer(named).json["outputs"][0]["data"] == ROW[0]


@pytest.mark.parametrize(
    ("request_parameters", "output_parameters"),
    [
        ({"binary_data_output": "false"}, {}),
        ({"binary_data_output": 1}, {}),
        ({}, {"binary_data": "true"}),
        ({}, {"classification": "x"}),
        ({}, {"classification": True}),
        ({}, {"classification": -1}),
        ({}, {"classification": 1.5}),
        ({"sequence_id": {}}, {}),
        ({"sequence_id": 1.5}, {}),
        ({"sequence_start": "yes", "sequence_id": 1}, {}),
    ],
)
def test_parameters_of_a_wrong_type_are_refused_by_name(numbers, request_parameters, output_parameters):
    answer = numbers.infer({
        "inputs": [tensor("x", ROW, "FP32")], "parameters": request_parameters,
        "outputs": [{"name": "y", "parameters": output_parameters}],
    })  # fmt: skip

    assert answer.status == 400
    assert next(iter(request_parameters or output_parameters)) in answer.error


@pytest.mark.parametrize("place", ["inputs", "outputs"])
def test_a_tensor_in_shared_memory_is_refused(numbers, place):
    shared = {"shared_memory_region": "region", "shared_memory_byte_size": 12}
    request = {"inputs": [tensor("x", ROW, "FP32")], "outputs": [{"name": "y"}]}
    request[place][0]["parameters"] = shared

    answer = numbers.infer(request)
    assert answer.status == 400
    assert "no shared memory" in answer.error


@pytest.mark.parametrize("bad", [float("inf"), float("-inf")])
def test_infinity_is_refused_in_json_and_exact_in_binary(numbers, bad):
    values = np.array([[1, bad, np.nan]], np.float32)
    binary = {"name": "x", "shape": [1, 3], "datatype": "FP32", "parameters": {"binary_data_size": 12}}
    body, headers = with_binary({"inputs": [binary]}, values.tobytes())
    exact, more = with_binary({"inputs": [binary], "parameters": {"binary_data_output": True}}, values.tobytes())

    refused, answered = numbers.infer(body, **headers), numbers.infer(exact, **more)

    assert refused.status == 400
    assert "binary_data" in refused.error
    assert np.array_equal(np.frombuffer(answered.body[-12:], np.float32), values[0], equal_nan=True)


def test_statistics_count_requests_rows_and_failures(serve, models):
    site = serve(onnxmodels.identity(models / "counted.onnx"))
    site.infer({"inputs": [tensor("x", ROW * 4, "FP32")]})
    site.infer({"inputs": [tensor("x", ROW, "FP32")]})
    site.infer({"inputs": []})

    (stats,) = site.get("/v2/models/counted/stats").json["model_stats"]

    assert (stats["inference_count"], stats["execution_count"]) == (5, 2)
    assert stats["inference_stats"]["success"]["count"] == 2
    assert stats["inference_stats"]["fail"]["count"] == 1
    assert stats["inference_stats"]["compute_infer"]["ns"] > 0
    assert [b["batch_size"] for b in stats["batch_stats"]] == [1, 4]
    assert stats["last_inference"] > 1_600_000_000_000


def test_statistics_count_tensorflow_s_requests_and_leave_out_what_is_no_tensor(serve, models):
    site = serve(onnxmodels.identity(models / "counted.onnx"))
    site.post("/v1/models/counted:predict", {"instances": [[1, 2, 3], [4, 5, 6]]})
    site.post("/predict", [1, 2, 3])

    (found,) = site.get("/v2/models/counted/stats").json["model_stats"]

    assert found["inference_count"] == 2
    assert found["inference_stats"]["success"]["count"] == found["execution_count"] == 1
    assert site.metrics.snapshot()["http_inferences"] == 2


# --- inference with JSON --------------------------------------------------------------------------------


@pytest.mark.parametrize("datatype", VALUES)
def test_every_datatype_goes_through_json_unchanged(echo, datatype):
    dtype, values = VALUES[datatype]
    site = echo(dtype)

    (output,) = site.infer({"inputs": [tensor("x", np.array([values], dtype), datatype)]}).json["outputs"]

    assert (output["name"], output["datatype"], output["shape"]) == ("y", datatype, [1, 3])
    assert np.array_equal(np.array(output["data"], dtype), np.array(values, dtype))


def test_texts_go_through_json(echo):
    request = {"name": "x", "shape": [1, 3], "datatype": "BYTES", "data": ["ä", "", "日本"]}

    (output,) = echo("string").infer({"inputs": [request]}).json["outputs"]

    assert (output["datatype"], output["data"]) == ("BYTES", ["ä", "", "日本"])


def test_nested_and_flat_data_mean_the_same(numbers):
    nested = {"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [[1, 2, 3], [4, 5, 6]]}
    flat = {**nested, "data": [1, 2, 3, 4, 5, 6]}

    assert numbers.infer({"inputs": [nested]}).body == numbers.infer({"inputs": [flat]}).body


def test_a_null_is_a_nan_and_comes_back_as_null(numbers):
    request = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, None, 3]}

    assert numbers.infer({"inputs": [request]}).json["outputs"][0]["data"] == [1, None, 3]


def test_the_answer_names_model_version_and_the_request_s_id(numbers):
    answer = numbers.infer({"id": "q-17", "parameters": {"a": 1}, "inputs": [tensor("x", ROW, "FP32")]}).json

    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("numbers", "1", "q-17")
    assert "id" not in numbers.infer({"inputs": [tensor("x", ROW, "FP32")]}).json


def test_only_the_outputs_that_are_asked_for_come_in_the_order_asked(serve, models):
    site = serve(onnxmodels.two_and_two(models / "two.onnx"))
    inputs = [tensor("a", [[5, 7]], "FP32"), tensor("b", [[1, 2]], "FP32")]

    both = site.infer({"inputs": inputs, "outputs": [{"name": "difference"}, {"name": "sum"}]}).json["outputs"]
    one = site.infer({"inputs": inputs, "outputs": [{"name": "difference"}]}).json["outputs"]

    assert [(o["name"], o["data"]) for o in both] == [("difference", [4, 5]), ("sum", [6, 9])]
    assert [o["name"] for o in one] == ["difference"]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(("dtype", "datatype"), [("float32", "FP32"), ("uint8", "UINT8"), ("int64", "INT64")])
def test_an_image_sized_tensor_is_read_exactly(echo, dtype, datatype, nested):
    site = echo(dtype, (1, 40, 50, 3))
    values = np.random.default_rng(1).integers(0, 255, (1, 40, 50, 3)).astype(dtype)
    if dtype == "float32":
        values = values / np.float32(255)
    request = tensor("x", values, datatype)
    if nested:
        request["data"] = values.tolist()

    (output,) = site.infer({"inputs": [request]}).json["outputs"]

    assert np.array_equal(np.array(output["data"], dtype).reshape(values.shape), values)


def test_classes_come_as_texts_when_they_are_asked_for_as_such(scores):
    request = {"inputs": [tensor("x", np.ones((2, 64)), "FP32")]}
    values = np.array(scores.infer(request).json["outputs"][0]["data"]).reshape(2, 10)
    request["outputs"] = [{"name": "scores", "parameters": {"classification": 3}}]

    (output,) = scores.infer(request).json["outputs"]

    assert (output["datatype"], output["shape"]) == ("BYTES", [2, 3])
    assert output["data"][0].split(":")[1] == str(values[0].argmax())


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate"])
def test_a_compressed_request_is_understood(numbers, coding):
    plain = b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}'
    packed = zlib.compress(plain) if coding == "deflate" else gzip.compress(plain)

    assert numbers.infer(packed, Content_Encoding=coding).json["outputs"][0]["data"] == [1, 2, 3]


def test_the_mark_that_editors_put_before_utf_8_is_no_part_of_a_request(numbers):
    plain = b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}'

    for _ in range(2):
        assert numbers.infer(b"\xef\xbb\xbf" + plain).json["outputs"][0]["data"] == [1, 2, 3]


# --- inference with binary tensors ----------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 1])
def test_a_tensor_is_copied_only_where_it_lies_across_the_words_of_memory(at):
    data = memoryview(bytes(at) + np.float32([[1, 2, 3]]).tobytes())[at:]

    array = tensors.from_binary(data, TensorSpec("x", "float32", (1, 3)), [1, 3], 3)

    assert (array.tolist(), array.flags.aligned) == ([[1, 2, 3]], True)
    assert np.shares_memory(array, np.frombuffer(data, np.uint8)) == (at == 0)


@pytest.mark.parametrize("datatype", VALUES)
def test_every_datatype_goes_through_the_binary_extension_unchanged(echo, datatype):
    dtype, values = VALUES[datatype]
    blob = np.array([values], dtype).tobytes()
    request = {
        "inputs": [{"name": "x", "shape": [1, 3], "datatype": datatype, "parameters": {"binary_data_size": len(blob)}}],
        "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
    }
    body, headers = with_binary(request, blob)

    answer = echo(dtype).infer(body, **headers)

    length = int(answer.headers["inference-header-content-length"])
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.body[length:] == blob
    assert f'"binary_data_size":{len(blob)}' in answer.body[:length].decode()


def test_texts_go_through_the_binary_extension(echo):
    blob = b"".join(struct.pack("<I", len(t)) + t for t in (b"one", b"", "zwölf".encode()))
    parameters = {"binary_data_size": len(blob)}
    request = {
        "inputs": [{"name": "x", "shape": [1, 3], "datatype": "BYTES", "parameters": parameters}],
        "parameters": {"binary_data_output": True},
    }
    body, headers = with_binary(request, blob)

    answer = echo("string").infer(body, **headers)

    assert answer.body[int(answer.headers["inference-header-content-length"]) :] == blob


def test_an_output_s_own_word_overrides_the_request_s(serve, models):
    site = serve(onnxmodels.two_and_two(models / "mixed.onnx"))
    request = {
        "inputs": [tensor("a", [[5, 7]], "FP32"), tensor("b", [[1, 2]], "FP32")],
        "parameters": {"binary_data_output": True},
        "outputs": [{"name": "sum", "parameters": {"binary_data": False}}, {"name": "difference"}],
    }

    answer = site.infer(request)

    length = int(answer.headers["inference-header-content-length"])
    assert b'"data":[6.0,9.0]' in answer.body[:length]
    assert np.frombuffer(answer.body[length:], "<f4").tolist() == [4, 5]


def test_binary_and_json_inputs_mix_in_one_request(serve, models):
    site = serve(onnxmodels.two_and_two(models / "mixed_in.onnx"))
    blob = np.array([[1, 2]], "<f4").tobytes()
    binary = {"name": "b", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}
    body, headers = with_binary({"inputs": [tensor("a", [[5, 7]], "FP32"), binary]}, blob)

    outputs = site.infer(body, **headers).json["outputs"]

    assert [o["data"] for o in outputs] == [[6, 9], [4, 5]]


def test_a_raw_request_is_one_tensor_and_nothing_else(numbers):
    blob = np.arange(6, dtype="<f4").tobytes()

    answer = numbers.infer(blob, Inference_Header_Content_Length="0")

    length = int(answer.headers["inference-header-content-length"])
    assert b'"shape":[2,3]' in answer.body[:length]
    assert answer.body[length:] == blob


def test_a_raw_request_for_a_text_is_the_text_and_no_length_before_it(serve, models):
    site = serve(onnxmodels.identity(models / "raw_text.onnx", "string", ("n", 1)))

    answer = site.infer("zwölf".encode(), Inference_Header_Content_Length="0")

    assert answer.status == 200
    assert answer.body.endswith(b"\x06\0\0\0" + "zwölf".encode())
    assert site.infer(b"\xff", Inference_Header_Content_Length="0").status == 400
    three = serve(onnxmodels.identity(models / "raw_texts.onnx", "string"))
    assert "one text" in three.infer(b"abc", Inference_Header_Content_Length="0").error


def test_a_raw_request_that_is_no_multiple_of_a_row_is_refused(numbers):
    assert "multiples of 12" in numbers.infer(b"12345", Inference_Header_Content_Length="0").error


# --- what is wrong is said ------------------------------------------------------------------------------


def change(**fields):
    return {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3], **fields}]}


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (b"", "not an inference request"),
        (b"{", "not an inference request"),
        (b"[1]", "not an inference request"),
        (b"\xff\xfe", "not an inference request"),
        (b"[" * 100_000, "not an inference request"),
        ({}, "inputs"),
        ({"inputs": "x"}, "inputs"),
        ({"inputs": []}, "input 'x' is missing"),
        (change(name="z"), "unknown input 'z'; the model takes x"),
        ({"inputs": change()["inputs"] * 2}, "comes twice"),
        (msgspec.json.encode(change())[:-1] + b',"inputs":[]}', "'inputs' comes twice in an object"),
        ({**change(), "outputs": [{"name": "z"}]}, "unknown output 'z'; the model gives y"),
        (change(datatype="FP64"), "the model takes FP32"),
        (change(datatype="NOPE"), "the model takes FP32"),
        (change(shape=[3]), "the model takes [-1, 3]"),
        (change(shape=[1, 4]), "the model takes [-1, 3]"),
        (change(shape=[-1, 3]), "the model takes [-1, 3]"),
        (change(shape=[0, 3]), "the model takes [-1, 3]"),
        (change(shape=[2**62, 3]), "3 values"),
        (change(shape=[10**30, 3]), "shape"),
        (change(shape=[1] * 5000), "5000 dimensions"),
        (change(shape=[1.5, 3]), "shape"),
        (change(data=[1, 2]), "2 values; the shape [1, 3] holds 3"),
        (change(data=[[1, 2], [3]]), "not nested"),
        (change(data=[[[1, 2, 3]]]), "not nested"),
        (change(data=[1, "2", 3]), "'2' where a FP32 value belongs"),
        (change(data=[1, True, "x"]), "belongs"),
        (change(data=[1, 2, True]), "True where a FP32 value belongs"),
        (change(data=[1, {}, 3]), "{} where a FP32 value belongs"),
        (change(data=[1, 1e300, 3]), "FP32 cannot hold 1e+300"),
        (change(data="123"), "no array"),
        (change(data={"a": 1}), "no array"),
        ({"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32"}]}, "neither data nor"),
    ],
)  # fmt: skip
def test_a_bad_request_is_a_400_that_says_what_is_wrong(numbers, request_, says):
    answer = numbers.infer(request_)

    assert answer.status == 400
    assert says in answer.error


@pytest.mark.parametrize(
    ("dtype", "datatype", "value"),
    [
        ("uint8", "UINT8", 256),
        ("uint8", "UINT8", -1),
        ("uint8", "UINT8", 1.5),
        ("int64", "INT64", 2**63),
        ("uint64", "UINT64", 2**64),
        ("bool", "BOOL", 2),
        ("float16", "FP16", 70000),
        ("int32", "INT32", None),
        ("string", "BYTES", 3),
    ],
)
def test_a_value_that_the_type_cannot_hold_is_refused(echo, dtype, datatype, value):
    request = {"name": "x", "shape": [1, 1], "datatype": datatype, "data": [value]}

    assert echo(dtype, ("n", 1)).infer({"inputs": [request]}).status == 400


def test_a_large_tensor_with_rows_of_different_lengths_is_refused(echo):
    rows = [[0.5] * 3 for _ in range(4000)]
    rows[7], rows[9] = [0.5] * 2, [0.5] * 4
    request = {"name": "x", "shape": [4000, 3], "datatype": "FP32", "data": rows}

    assert "not nested" in echo("float32").infer({"inputs": [request]}).error


# --- large tensors, whose numbers are cut out before the rest is read -----------------------------------

NUMBERS = [i / 8 for i in range(6000)]
INPUT = '{"name":"x","shape":[2000,3],"datatype":"FP32","data":[NUMBERS]}'


def filled(text: str) -> bytes:
    return text.replace("INPUT", INPUT).replace("NUMBERS", ",".join(map(str, NUMBERS))).encode("latin-1")


@pytest.mark.parametrize(
    "text",
    [
        '{"inputs":[INPUT]}',
        '{ "inputs" : [ {"datatype":"FP32", "data" : \n [ NUMBERS ] , "name":"x","shape":[2000,3]} ], "id": "a" }',
        '{"id":"\\"data\\": [","parameters":{"data":[1]},"inputs":[INPUT]}',
        '{"parameters":{"data":[NUMBERS]},"inputs":[INPUT]}',
        '{"inputs":[INPUT],"outputs":[{"name":"y","parameters":{"data":[1]}}]}',
    ],
)
def test_a_large_tensor_is_read_wherever_its_data_stands(numbers, text):
    answer = numbers.infer(filled(text))

    assert answer.status == 200, answer.body[:200]
    assert answer.json["outputs"][0]["data"] == NUMBERS


@pytest.mark.parametrize("first", ["[NUMBERS]", "[[1,2,3]]"], ids=["both-large", "one-large"])
def test_a_large_tensor_whose_data_comes_twice_is_refused(numbers, first):
    text = f'{{"inputs":[{{"data":{first},"data":[NUMBERS],"name":"x","shape":[2000,3],"datatype":"FP32"}}]}}'
    answer = numbers.infer(filled(text))

    assert answer.status == 400
    assert b"'data' comes twice in an object, as [" in answer.body
    assert b" and [" in answer.body


def test_names_that_come_twice_are_refused_before_binary_tensors_too(numbers):
    tensor = '{"name":"x","shape":[2000,3],"datatype":"FP32","parameters":{"binary_data_size":24000}}'
    head = f'{{"inputs":[{tensor}],"inputs":[{tensor}]}}'.encode()
    answer = numbers.infer(head + bytes(24_000), **{"Inference-Header-Content-Length": str(len(head))})

    assert answer.status == 400
    assert b"'inputs' comes twice" in answer.body


@pytest.mark.parametrize(
    ("old", "new"),
    [
        *(
            ("5.0,", odd)
            for odd in ("5.0,,", "5.0 ", '"5.0",', "[5.0],", "5.0],[", "5.0]", "5.0x,", "{},", "\\", "\xff,")
        ),
        *(("5.0,", odd) for odd in ("1e300,", "")),
        *(("]}]}", odd) for odd in ("}]}", "", "]}]}]", "]]}]}")),
    ],
)
def test_a_large_tensor_with_something_odd_in_it_is_refused(numbers, old, new):
    answer = numbers.infer(filled('{"inputs":[INPUT]}').replace(old.encode(), new.encode("latin-1"), 1))

    assert answer.status == 400
    assert answer.error


def test_large_data_that_is_no_inputs_is_not_taken_for_one(numbers):
    text = '{"parameters":{"data":[NUMBERS]},"inputs":[{"name":"x","shape":[2000,3],"datatype":"FP32"}]}'

    assert "neither data nor" in numbers.infer(filled(text)).error


def test_brackets_in_many_texts_are_no_ends_of_arrays(echo):
    texts = ["a],", ":", "]}]}", "[", '"', "b"] * 1000
    request = {"name": "x", "shape": [2000, 3], "datatype": "BYTES", "data": texts}

    assert echo("string").infer({"inputs": [request]}).json["outputs"][0]["data"] == texts

"""Each protocol tells in a line what was wrong with a request, and the server goes on."""

from __future__ import annotations

import pytest
from support import onnxmodels
from support.http import tensor, with_binary

INFER, TF, MLFLOW = "/v2/models/numbers/infer", "/v1/models/numbers", "/invocations"
ROW = [1.0, 2.0, 3.0]


@pytest.fixture(scope="module")
def texts(models):
    """A server that answers what it is sent: texts."""
    from support.http import Site

    site = Site(onnxmodels.identity(models / "texts.onnx", "string", ("n",))).start()
    yield site
    site.stop()


def refused(site, path: str, body: object, says: str, status: int = 400, **headers: str) -> None:
    answer = site.post(path, body, **headers)
    assert answer.status == status
    assert says in answer.error


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"data": {"a": 1}}, "input 'x': data is no array: {'a': 1}"),
        ({"data": [[1, 2], [3]]}, "input 'x': data is not nested as the shape [1, 3] says"),
        ({"data": [1, 2]}, "input 'x': 2 values; the shape [1, 3] holds 3"),
        ({"data": [1, "a", 3]}, "input 'x': 'a' where a FP32 value belongs"),
        ({"data": [1, 1e300, 3]}, "input 'x': FP32 cannot hold 1e+300"),
        ({"datatype": "INT8"}, "input 'x': datatype 'INT8'; the model takes FP32"),
        ({"shape": [3]}, "input 'x': shape [3]; the model takes"),
        ({"name": "y"}, "unknown input 'y'; the model takes x"),
        ({"data": None}, "data is no array: None"),
        ({"parameters": {"binary_data_size": 12}}, "input 'x' has both data and binary_data_size"),
        ({"parameters": {"shared_memory_region": "r"}}, "there is no shared memory here"),
    ],
)
def test_a_tensor_that_is_none_of_the_model_s_is_told(numbers, changed, says):
    refused(numbers, INFER, {"inputs": [{**tensor("x", [ROW], "FP32"), **changed}]}, says)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"outputs": [{"name": "z"}]}, "unknown output 'z'; the model gives y"),
        ({"outputs": [{"name": "y", "parameters": {"binary_data": "yes"}}]}, "parameter binary_data is true or false"),
        ({"outputs": [{"name": "y", "parameters": {"classification": -1}}]}, "classification is a number of classes"),
        ({"parameters": {"binary_data_output": 7}}, "parameter binary_data_output is true or false, not '7'"),
        ({"parameters": {"sequence_start": True}}, "sequence_start and sequence_end belong to a sequence_id"),
        ({"parameters": {"sequence_id": 1, "sequence_end": "maybe"}}, "sequence_end is true or false, not 'maybe'"),
        ({"parameters": {"sequence_id": True}}, "sequence_id is a number or a text of at most"),
        ({"inputs": []}, "input 'x' is missing; the model takes x"),
        ({"inputs": [tensor("x", [ROW], "FP32")] * 2}, "input 'x' comes twice"),
    ],
)
def test_a_request_that_asks_for_what_there_is_not_is_told(numbers, changed, says):
    refused(numbers, INFER, {"inputs": [tensor("x", [ROW], "FP32")], **changed}, says)


@pytest.mark.parametrize(
    ("size", "blob", "says"),
    [
        (12, bytes(16), "4 bytes behind the last tensor; check binary_data_size"),
        (16, bytes(12), "input 'x': binary_data_size 16; 12 bytes are left"),
        (8, bytes(8), "input 'x': 8 bytes; the shape [1, 3] of FP32 has 12"),
        (True, bytes(12), "binary_data_size True; 12 bytes are left"),
    ],
)
def test_bytes_that_are_not_as_many_as_was_said_are_told(numbers, size, blob, says):
    asked = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "parameters": {"binary_data_size": size}}]}
    body, headers = with_binary(asked, blob)
    refused(numbers, INFER, body, says, **headers)


def test_a_number_where_a_text_belongs_is_told(texts):
    refused(texts, "/v2/models/texts/infer", {"inputs": [tensor("x", [1], "BYTES")]}, "1 where a text belongs (BYTES)")


@pytest.mark.parametrize(
    ("verb", "body", "says"),
    [
        ("predict", [], "a JSON object belongs there"),
        ("predict", {}, 'send {"instances": [...]} (rows) or {"inputs": ...} (columns)'),
        ("predict", {"instances": [ROW], "inputs": [ROW]}, 'send {"instances": [...]} (rows) or'),
        ("predict", {"instances": []}, "instances: an array of at least one sample belongs there"),
        ("predict", {"instances": [[1, 2], [3]]}, "input 'x': rows of different lengths"),
        ("predict", {"instances": [["a", 2, 3]]}, "input 'x': float32 values"),
        ("predict", {"instances": [[1, None, "a"]]}, "input 'x': float32 values, in rows of one length, belong there"),
        ("predict", {"instances": [[1, 2]]}, "input 'x': shape [1, 2]; the model takes"),
        ("predict", {"instances": [{"b64": "%"}]}, "b64 holds no base64 text"),
        ("classify", {"examples": []}, "examples: an array of objects"),
        ("classify", {"examples": [ROW]}, "examples: an array of objects"),
        ("classify", {"examples": [{"x": ROW}], "context": [1]}, "context: an object, feature name to value"),
        ("classify", {"examples": [{"x": ROW}]}, "the model's task is 'regress': ask it by :predict"),
        ("regress", {"examples": [{"x": [1, 2]}]}, "example 0: "),
    ],
)
def test_what_tensorflow_serving_would_refuse_is_told(numbers, verb, body, says):
    refused(numbers, f"{TF}:{verb}", body, says)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"params": 7, "inputs": [ROW]}, "params: an object belongs there"),
        ({"dataframe_split": {"columns": ["a", "b", "c"], "data": 7}}, "dataframe_split: data is an array of rows"),
        ({"dataframe_split": {"columns": ["a", "b"], "data": [ROW]}}, "every row has 2 values, as columns has"),
    ],
)
def test_what_mlflow_would_refuse_is_told(numbers, body, says):
    refused(numbers, MLFLOW, body, says)


@pytest.mark.parametrize(
    ("body", "headers", "status", "says"),
    [
        (b"", {"Content_Type": "text/csv"}, 400, "CSV without a row"),
        (b"\n", {"Content_Type": "application/jsonlines"}, 400, "JSON lines without a line"),
        (b"x", {"Content_Type": "text/html"}, 415, "Content-Type 'text/html'"),
        (b"[1, 2, 3]", {"Content_Encoding": "br"}, 415, "Content-Encoding 'br'; gzip, deflate and identity"),
    ],
)
def test_a_form_that_is_not_read_is_told_with_those_that_are(numbers, body, headers, status, says):
    refused(numbers, MLFLOW, body, says, status, **headers)


def test_a_coding_that_is_not_read_is_refused_with_those_that_are_in_a_header(numbers):
    answer = numbers.post("/predict", b"[1, 2, 3]", Content_Encoding="zstd")

    assert (answer.status, answer.headers["accept-encoding"]) == (415, "gzip, deflate")


def test_an_unknown_form_of_transfer_is_told_and_ends_the_connection(numbers):
    connection = numbers.connect()
    connection.putrequest("POST", "/predict")
    connection.putheader("Transfer-Encoding", "gzip, chunked")
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert (answer.status, b"chunked is understood" in body) == (501, True)


def test_before_the_first_sample_there_is_no_picture_of_it(serve, models):
    site = serve(onnxmodels.identity(models / "alone.onnx"))
    answer = site.get("/live/picture")
    assert (answer.status, "no sample came yet" in answer.error) == (404, True)

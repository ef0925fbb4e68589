"""What clients of TensorFlow Serving, KServe v1, MLflow and SageMaker send, and get."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from msgspec.structs import replace
from support import onnxmodels

from edge.app import assembly
from edge.model.manifest import Feature

ROW = [float(i % 17) for i in range(64)]


@pytest.fixture
def table(serve, models):
    """A table of three named numbers; `y` is the row again."""
    loaded = assembly.load_file(onnxmodels.identity(models / "table.onnx"))
    features = tuple(Feature(name=n, missing=True) for n in ("a", "b", "c"))
    inputs = (replace(loaded.manifest.inputs[0], kind="table", features=features),)
    return serve(replace(loaded, manifest=replace(loaded.manifest, inputs=inputs)))


# --- TensorFlow Serving, KServe v1 -----------------------------------------------------------------------


@pytest.mark.parametrize("place", ["", "/versions/1", "/versions/0", "/labels/stable"])
def test_tensorflow_s_paths_may_name_a_version_or_a_label_and_0_is_the_newest(numbers, place):
    answer = numbers.post(f"/v1/models/numbers{place}:predict", {"instances": [[1, 2, 3]]})

    assert answer.json == {"predictions": [[1, 2, 3]]}
    assert numbers.get(f"/v1/models/numbers{place}").json["ready"] is True


@pytest.mark.parametrize("place", ["/versions/2", "/labels/canary"])
def test_tensorflow_s_paths_with_another_version_or_label_are_a_404(numbers, place):
    assert numbers.post(f"/v1/models/numbers{place}:predict", {"instances": [[1, 2, 3]]}).status == 404


def test_tensorflow_s_metadata_tells_the_signature(numbers):
    told = numbers.get("/v1/models/numbers/metadata").json

    signature = told["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert told["model_spec"] == {"name": "numbers", "signature_name": "", "version": "1"}
    assert signature["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert [d["size"] for d in signature["inputs"]["x"]["tensor_shape"]["dim"]] == ["-1", "3"]


@pytest.mark.parametrize("row", [f"[1, {10**309}, 3]", f"[null, 1.5, -{10**309}]"])
def test_a_whole_number_that_no_float_holds_is_refused(numbers, row):
    answer = numbers.post("/v1/models/numbers:predict", b'{"inputs": [%s]}' % row.encode())

    assert (answer.status, "cannot hold" in answer.error) == (400, True)


@pytest.mark.parametrize("verb", ["predict", "classify", "regress"])
def test_another_signature_is_refused(numbers, verb):
    body = {"signature_name": "mine", "instances": [[1, 2, 3]], "examples": [{"x": 1}]}
    answer = numbers.post(f"/v1/models/numbers:{verb}", body)

    assert (answer.status, "serving_default" in answer.error) == (400, True)


def test_classify_gives_labels_with_their_scores_for_each_example(serve, models):
    loaded = assembly.load_file(onnxmodels.scores(models / "classes.onnx", classes=3, features=2))
    features = (Feature(name="a"), Feature(name="b"))
    inputs = (replace(loaded.manifest.inputs[0], kind="table", features=features),)
    site = serve(replace(loaded, manifest=replace(loaded.manifest, inputs=inputs)))
    plain = [site.post("/predict", {"a": 1, "b": b}).json["predictions"] for b in (2, 3)]

    answer = site.post("/v1/models/classes:classify", {"context": {"a": 1}, "examples": [{"b": 2}, {"b": 3}]})

    assert answer.json["result"] == [[[p["label"], p["score"]] for p in found] for found in plain]
    assert site.post("/v1/models/classes:regress", {"examples": [{"a": 1, "b": 2}]}).status == 400


def test_kserve_s_first_protocol_lists_the_model(numbers):
    assert numbers.get("/v1/models").json == {"models": ["numbers"]}


def test_infinity_is_refused_in_tensorflow_s_json_and_nan_is_null(numbers):
    assert numbers.post("/v1/models/numbers:predict", {"instances": [[1, None, 3]]}).json["predictions"] == [
        [1, None, 3]
    ]
    assert numbers.post("/v1/models/numbers:predict", {"instances": [[1, 1e300, 3]]}).status == 400


# --- MLflow ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["p", "q", "r"], "index": [0], "data": [[1, 2, 3]]}, "params": {}},
        {"dataframe_split": {"columns": [0, 1, 2], "data": [[1, 2, 3]]}, "params": None},
        {"dataframe_records": [{"p": 1, "q": 2, "r": 3}]},
        {"inputs": [[1, 2, 3]]},
        {"inputs": {"x": [[1, 2, 3]]}},
        {"instances": [[1, 2, 3]]},
    ],
)
def test_a_model_without_names_takes_mlflow_s_columns_by_position(numbers, body):
    answer = numbers.post("/invocations", body)

    assert answer.status == 200, answer.body
    assert np.ravel(np.array(answer.json["predictions"], dtype=object)).tolist()


def test_a_model_with_names_takes_columns_by_name_or_without_names_by_position(table):
    shuffled = {"columns": ["c", "a", "b"], "data": [[3, 1, 2], [6, 4, 5]]}
    numbered = {"columns": [0, 1, 2], "data": [[1, 2, 3], [4, 5, 6]]}

    assert (
        table.post("/invocations", {"dataframe_split": shuffled}).json
        == table.post("/invocations", {"dataframe_split": numbered}).json
    )
    assert (
        table.post("/invocations", {"dataframe_split": {"columns": ["a", "b", "z"], "data": [[1, 2, 3]]}}).status == 400
    )


def test_csv_with_a_header_goes_by_name_or_by_position_where_the_model_has_no_names(numbers, table):
    by_name = table.post("/invocations", b"c,a,b\n3,1,2\n", Content_Type="text/csv")
    by_position = numbers.post("/invocations", b"p,q,r\n1,2,3\n", Content_Type="text/csv")

    assert by_name.json == table.post("/invocations", b"1,2,3\n", Content_Type="text/csv").json
    assert by_position.json == numbers.post("/invocations", b"1,2,3\n", Content_Type="text/csv").json


def test_a_column_that_comes_twice_is_refused(table):
    csv = table.post("/invocations", b"a,b,a\n1,2,3\n", Content_Type="text/csv")
    split = table.post("/invocations", {"dataframe_split": {"columns": ["a", "b", "a"], "data": [[1, 2, 3]]}})

    assert [csv.status, split.status] == [400, 400]
    assert [csv.error, split.error] == ["the column 'a' comes twice"] * 2


def test_a_type_that_is_not_read_is_refused_by_name(numbers):
    answer = numbers.post("/invocations", b"1 1:2 2:3", Content_Type="text/libsvm")

    assert answer.status == 415
    assert "'text/libsvm': application/json, application/jsonlines, text/csv" in answer.error


def test_kserve_s_explain_is_not_there_and_says_so(numbers):
    answer = numbers.post(f"/v1/models/{numbers.name}:explain", {"instances": [[1, 2, 3]]})

    assert answer.status == 501
    assert ":predict" in answer.error


@pytest.mark.parametrize("missing", [b"null", b"NaN"])
def test_a_missing_value_is_null_or_python_s_nan_and_reaches_the_model(table, missing):
    body = b'{"dataframe_split": {"columns": ["a", "b", "c"], "data": [[1, %b, 3]]}}' % missing

    assert table.post("/invocations", body).error == "the model's output 'y' is not finite"


def test_params_that_are_no_object_and_infinity_are_refused(table):
    assert table.post("/invocations", {"inputs": [[1, 2, 3]], "params": 3}).status == 400
    assert table.post("/invocations", b'{"inputs": [[1, Infinity, NaN]]}').status == 400


def test_mlflow_s_version_is_ours(numbers):
    assert numbers.get("/version").body == b"1.2.3"


# --- SageMaker -------------------------------------------------------------------------------------------


def test_sagemaker_s_bodies_mean_the_same_in_every_form(scores):
    csv = ",".join(map(str, ROW)).encode()
    data = io.BytesIO()
    np.save(data, np.array([ROW, ROW]))

    plain = scores.post("/invocations", {"instances": [ROW, ROW]}).json["predictions"]
    found = [
        scores.post("/invocations", csv + b"\r\n" + csv, Content_Type="text/csv").json["predictions"],
        scores.post("/invocations", b"\xef\xbb\xbf" + csv + b"\n" + csv, Content_Type="text/csv").json["predictions"],
        scores.post(
            "/invocations", b"\n".join([json.dumps(ROW).encode()] * 2), Content_Type="application/jsonlines"
        ).json["predictions"],
        scores.post("/invocations", data.getvalue(), Content_Type="application/x-npy").json["predictions"],
    ]

    assert found == [plain] * 4


def test_a_byte_order_mark_is_no_part_of_the_first_name(table):
    answer = table.post("/invocations", b"\xef\xbb\xbfa,b,c\r\n1,2,3\r\n", Content_Type="text/csv; charset=utf-8")

    assert answer.status == 200


def test_sagemaker_gets_the_form_that_it_accepts(scores):
    def ask(accept):
        return scores.post("/invocations", {"instances": [ROW, ROW]}, Accept=accept)

    plain = ask("*/*").json["predictions"]
    assert ask("text/csv").body.decode().split() == [str(p) for p in plain]
    assert [json.loads(line) for line in ask("application/jsonlines").body.splitlines()] == plain
    assert np.load(io.BytesIO(ask("application/x-npy").body)).tolist() == plain
    assert ask("application/x-npy").headers["content-type"] == "application/x-npy"

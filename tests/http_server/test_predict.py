"""`/predict`, and the words of other servers."""

from __future__ import annotations

import io

import cv2
import msgspec
import numpy as np
import pytest
from support import onnxmodels
from support.http import tensor

from edge.app import assembly
from edge.errors import needs
from edge.model.manifest import Feature, Input
from edge.overlay import annotate

ROW = [float(i % 17) for i in range(64)]


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def png(colour=(10, 20, 30), size=(40, 30)):
    return cv2.imencode(".png", np.full((size[1], size[0], 3), colour[::-1], np.uint8))[1].tobytes()


def multipart(*parts):
    """Parts are (name, filename or None, bytes)."""
    lines = b""
    for name, filename, data in parts:
        file = f'; filename="{filename}"' if filename is not None else ""
        lines += f'--frontier\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + data + b"\r\n"
    return lines + b"--frontier--\r\n", "multipart/form-data; boundary=frontier"


@pytest.fixture(scope="module")
def named(models):
    """A table with two named features; `y` is the row again."""
    loaded = assembly.load_file(onnxmodels.identity(models / "named.onnx", "float32", ("n", 2)))
    features = (Feature(name="length"), Feature(name="width", unit="cm"))
    table = Input(name="x", kind="table", shape=(None, 2), features=features)
    manifest = msgspec.structs.replace(loaded.manifest, inputs=(table,), task="regress", decoder="")
    return assembly.Loaded(loaded.path, loaded.engine, manifest, loaded.sha256)


@pytest.fixture
def camera(serve, models):
    """A model of pictures that answers the mean of each channel."""
    return serve(onnxmodels.brightness(models / "brightness.onnx"))


def values(answer):
    return [p["value"] for p in answer.json["predictions"]]


# --- /predict -------------------------------------------------------------------------------------------


def test_a_row_gives_the_result_of_the_contract(scores):
    answer = scores.post("/predict", ROW)

    result = answer.json
    assert answer.status == 200
    assert (result["schema"], result["source"], result["device"]) == (1, "http", "device")
    assert result["id"] == f"device/scores/b00t/{result['seq']}"
    assert set(result["timing_ms"]) == {"preprocess", "infer", "postprocess"}


def test_every_result_has_a_number_of_its_own(scores):
    numbers = [r["seq"] for _ in range(3) for r in scores.post("/predict", [ROW, ROW]).json]

    assert len(set(numbers)) == 6


def test_an_object_goes_by_feature_name_and_its_id_comes_back(serve, named):
    result = serve(named).post("/predict", {"width": 2, "length": 1, "id": "box-7"})

    assert values(result) == [1, 2]
    assert result.json["input_id"] == "box-7"


def test_a_batch_gives_an_array_also_where_it_holds_one_row(serve, named):
    site = serve(named)

    assert [r["predictions"][0]["value"] for r in site.post("/predict", [[1, 2], [3, 4]]).json] == [1, 3]
    assert len(site.post("/predict", [[1, 2]]).json) == 1


def test_a_bad_row_of_a_batch_costs_the_others_nothing(serve, named):
    good, bad = serve(named).post("/predict", [[1, 2], [3, "x"]]).json

    assert good["predictions"]
    assert "'x'" in bad["reason"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "the input is empty"),
        (b"{", "not JSON"),
        ([1, 2, 3], "the model takes 2 features"),
        ({"length": 1, "hight": 2}, "unknown feature 'hight'"),
        ([[1], [2]], "row 0"),
        (b"\xff\xd8\xff\xe0 no picture", "a picture, but the model takes"),
        (b"\x93NUMPY\x01\x00 broken", ".npy bytes that cannot be read"),
    ],
)
def test_an_input_that_cannot_be_used_is_a_400_that_says_why(serve, named, body, says):
    answer = serve(named).post("/predict", body)

    assert answer.status == 400
    assert says in answer.error


def test_curl_s_own_content_type_does_not_make_json_a_form(serve, named):
    answer = serve(named).post("/predict", b"[1, 2]", Content_Type="application/x-www-form-urlencoded")

    assert values(answer) == [1, 2]


def test_npy_bytes_are_a_row_or_a_batch(serve, named):
    site = serve(named)

    assert values(site.post("/predict", npy(np.array([1.0, 2.0])))) == [1, 2]
    assert len(site.post("/predict", npy(np.ones((3, 2))), Content_Type="application/octet-stream").json) == 3


def test_a_pickle_in_npy_clothes_is_refused(serve, named):
    answer = serve(named).post("/predict", npy(np.array([{"a": 1}], dtype=object)))

    assert answer.status == 400


def test_a_picture_is_decoded_and_inferred(camera):
    answer = camera.post("/predict", png((10, 20, 30)), Content_Type="image/png")

    assert len(answer.json["predictions"]) == 3


def test_a_jpeg_with_a_damaged_scan_is_refused(camera):
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)
    data = cv2.imencode(".jpg", noise)[1].tobytes()
    answer = camera.post("/predict", data[: len(data) // 2] + b"\xff\xd9", Content_Type="image/jpeg")
    assert answer.status == 400
    assert "a damaged JPEG picture" in answer.error


@pytest.mark.parametrize("kind", ["jpg", "png"])
@pytest.mark.parametrize("content_type", ["image/jpeg", "application/octet-stream"])
def test_two_pictures_in_one_body_are_refused(camera, kind, content_type):
    data = cv2.imencode(f".{kind}", np.full((40, 40, 3), 90, np.uint8))[1].tobytes()
    answer = camera.post("/predict", data + data, Content_Type=content_type)
    assert answer.status == 400
    assert "several files in one input; send each alone" in answer.error


def test_two_arrays_in_one_body_are_refused(serve, named):
    answer = serve(named).post("/predict", npy(np.array([1.0, 2.0])) * 2)
    assert answer.status == 400
    assert "an array behind an array, at byte 144: several files" in answer.error


def test_a_form_with_a_file_gives_a_result_and_with_two_an_array(camera):
    one, kind = multipart(("image", "a.png", png()))
    two, _ = multipart(("image", "a.png", png()), ("image", "b.png", png()))

    assert camera.post("/predict", one, Content_Type=kind).json["schema"] == 1
    assert len(camera.post("/predict", two, Content_Type=kind).json) == 2


def test_the_fields_of_a_form_are_features(serve, named):
    site = serve(named)
    body, kind = multipart(("length", None, b"1.5"), ("width", None, b"2"))

    assert values(site.post("/predict", body, Content_Type=kind)) == [1.5, 2]
    encoded = site.post("/predict", b"length=1.5&width=2", Content_Type="application/x-www-form-urlencoded")
    assert values(encoded) == [1.5, 2]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "multipart/form-data; boundary=b"),
        (b"--b\r\nrubbish", "multipart/form-data; boundary=b"),
        (b"--b\r\n\r\nx", "multipart/form-data"),
        (b"--b--\r\n", "multipart/form-data; boundary=b"),
    ],
)
def test_a_form_that_is_none_is_a_400(scores, body, kind):
    answer = scores.post("/predict", body, Content_Type=kind)

    assert answer.status == 400
    assert answer.error


def test_annotate_answers_the_picture_with_its_boxes(serve, models):
    site = serve(onnxmodels.one_box(models / "one_box.onnx"))
    picture = png((200, 200, 200), (320, 240))

    result = site.post("/predict", picture).json
    answer = site.post("/predict?annotate=1", picture)

    assert result["predictions"][0]["box"] == [80, 60, 240, 180]
    assert answer.headers["content-type"] == "image/jpeg"
    drawn = cv2.imdecode(np.frombuffer(answer.body, np.uint8), cv2.IMREAD_COLOR)
    assert drawn.shape == (240, 320, 3)
    assert abs(int(drawn[120, 80].max()) - int(drawn[120, 80].min())) > 60  # the box's left edge has a colour
    assert np.ptp(drawn[120, 160]) < 20  # its middle has none


def test_a_library_that_is_not_installed_is_a_501_that_says_how_to_get_it(serve, models, monkeypatch):
    site = serve(onnxmodels.one_box(models / "no_opencv.onnx"))

    def absent():
        raise needs("?annotate=1", "OpenCV", "vision")

    monkeypatch.setattr(annotate, "opencv", absent)

    answer = site.post("/predict?annotate=1", png((200, 200, 200), (320, 240)))

    assert answer.status == 501
    assert "pip install 'edge-run[vision]'" in answer.error


def test_annotate_is_for_pictures_only(scores):
    assert "one picture" in scores.post("/predict?annotate=1", ROW).error


# --- TensorFlow Serving ---------------------------------------------------------------------------------


def test_tensorflow_serving_s_rows_are_tensors_as_they_are(numbers):
    answer = numbers.post("/v1/models/numbers:predict", {"instances": [[1, 2, 3], [4, 5, 6]]})

    assert answer.json == {"predictions": [[1, 2, 3], [4, 5, 6]]}


def test_tensorflow_serving_s_columns_answer_columns(serve, models):
    site = serve(onnxmodels.two_and_two(models / "columns.onnx"))
    by_row = site.post("/v1/models/columns:predict", {"instances": [{"a": [5, 7], "b": [1, 2]}]}).json
    by_column = site.post("/v1/models/columns:predict", {"inputs": {"a": [[5, 7]], "b": [[1, 2]]}}).json

    assert by_row == {"predictions": [{"sum": [6, 9], "difference": [4, 5]}]}
    assert by_column == {"outputs": {"sum": [[6, 9]], "difference": [[4, 5]]}}


def test_tensorflow_serving_tells_the_model_s_state(numbers):
    (state,) = numbers.get("/v1/models/numbers").json["model_version_status"]

    assert (state["version"], state["state"]) == ("1", "AVAILABLE")


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"instances": []},
        {"instances": [[1, 2]]},
        {"instances": [[1], [2, 3]]},
        {"instances": "x"},
        {"instances": [[1, 2, "x"]]},
        {"instances": [{"b64": "!"}]},
        {"inputs": {"z": [1]}},
        {"instances": [1], "inputs": [1]},
    ],
)
def test_tensorflow_serving_refuses_what_does_not_fit(numbers, body):
    answer = numbers.post("/v1/models/numbers:predict", body)

    assert answer.status == 400
    assert answer.error


# --- MLflow and SageMaker -------------------------------------------------------------------------------

FRAMES = {
    "split": {"dataframe_split": {"columns": ["width", "length"], "data": [[2, 1], [4, 3]]}},
    "records": {"dataframe_records": [{"length": 1, "width": 2}, {"length": 3, "width": 4}]},
    "instances": {"instances": [[1, 2], [3, 4]]},
    "inputs": {"inputs": {"length": [1, 3], "width": [2, 4]}},
}


@pytest.mark.parametrize("form", FRAMES)
def test_mlflow_s_forms_give_a_prediction_a_row(serve, named, form):
    assert serve(named).post("/invocations", FRAMES[form]).json == {"predictions": [[1, 2], [3, 4]]}


@pytest.mark.parametrize("csv", [b"length,width\n1,2\n3,4\n", b"1,2\n3,4\n"])
def test_csv_gives_a_prediction_a_row(serve, named, csv):
    assert serve(named).post("/invocations", csv, Content_Type="text/csv").json == {"predictions": [[1, 2], [3, 4]]}


def test_a_classifier_s_prediction_is_the_class(scores):
    (best,) = scores.post("/invocations", {"instances": [ROW]}).json["predictions"]

    assert best == scores.post("/predict", ROW).json["predictions"][0]["index"]


@pytest.mark.parametrize(
    "body", [{"dataframe_split": {"data": 3}}, {"dataframe_split": {"columns": ["a"], "data": [[]]}}]
)
def test_a_frame_that_is_none_is_a_400(serve, named, body):
    assert serve(named).post("/invocations", body).status == 400


def test_sagemaker_s_ping_is_answered(scores):
    assert scores.get("/ping").status == 200


# --- whole numbers beyond 2**53 -----------------------------------------------------------------------------

LARGE = [2**53 + 1, -(2**63), 2**63 - 1]
CSV = b"9007199254740993,-9223372036854775808,9223372036854775807"


@pytest.fixture
def whole(serve, models):
    return serve(onnxmodels.identity(models / "whole.onnx", "int64"))


@pytest.mark.parametrize(
    "ask",
    [
        lambda s: s.post("/predict", LARGE).json["predictions"][0]["data"],
        lambda s: s.post("/predict", npy(np.array(LARGE))).json["predictions"][0]["data"],
        lambda s: s.post("/predict", {"x": LARGE}).json["predictions"][0]["data"],
        lambda s: s.post("/invocations", {"inputs": [LARGE]}).json["predictions"][0][0]["data"],
        lambda s: s.post("/invocations", CSV, content_type="text/csv").json["predictions"][0][0]["data"],
        lambda s: s.post(f"/v1/models/{s.name}:predict", {"instances": [LARGE]}).json["predictions"][0],
        lambda s: s.infer({"inputs": [tensor("x", [LARGE], "INT64")]}).json["outputs"][0]["data"],
    ],
    ids=["predict", "npy", "named", "mlflow", "csv", "tfserving", "v2"],
)
def test_whole_numbers_come_back_as_they_were_sent(whole, ask):
    assert ask(whole) == LARGE


def test_whole_numbers_beside_one_with_a_point_stay_what_they_are(whole):
    asked = {"name": "x", "shape": [1, 3], "datatype": "INT64", "data": [2**53 + 1, -(2**63), 2.0]}
    assert whole.infer({"inputs": [asked]}).json["outputs"][0]["data"] == [2**53 + 1, -(2**63), 2]
    assert whole.post(f"/v1/models/{whole.name}:predict", {"inputs": [asked["data"]]}).json["outputs"] == [
        [2**53 + 1, -(2**63), 2]
    ]


def test_a_row_that_lacks_a_feature_is_refused_and_null_is_not(serve, named):
    (table,) = named.manifest.inputs
    features = tuple(msgspec.structs.replace(f, missing=True) for f in table.features)
    manifest = msgspec.structs.replace(
        named.manifest, task="raw", inputs=(msgspec.structs.replace(table, features=features),)
    )
    site = serve(msgspec.structs.replace(named, manifest=manifest))
    assert "missing feature 'width'; send null" in site.post("/predict", {"length": 1}).error
    assert "missing feature 'length', 'width'" in site.post("/predict", {}).error
    assert site.post("/predict", {"length": 1, "width": None}).json["predictions"][0]["data"] == [1, None]

"""`/invocations` and what stands beside it: MLflow's scoring server and SageMaker's containers."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any

import msgspec
import numpy as np
from starlette.requests import Request
from starlette.routing import BaseRoute

from edge.data import codec
from edge.data.numbers import read_number
from edge.data.result import Anomaly, Classification, Regression, Result, Skipped
from edge.data.sample import Payload
from edge.errors import SampleError
from edge.http import schemas
from edge.http.compat.tensors import tensor
from edge.http.http_types import Refusal, Response, as_json
from edge.http.openinference.protocol import Inference
from edge.http.options import Served
from edge.http.pipeline_pool import PipelinePool, plain
from edge.http.routes import body_of, describes, get, post, request_gone
from edge.http.scheduling import Admission

LINES = ("application/jsonlines", "application/x-jsonlines", "application/x-ndjson")
NPY = "application/x-npy"
CSV = "text/csv"
TAKEN = ("application/json", *LINES[:1], CSV, NPY, "pictures")
UNTOLD = ("", NPY, "application/octet-stream", "application/x-www-form-urlencoded", "text/plain")
"""Types that say little of a body, or that curl says where nothing was said: what is in it decides."""


class Invocations:
    """`/invocations`: MLflow's JSON forms, CSV, JSON lines, and every body that `/predict` takes.

    Answers `{"predictions": ...}`, or what `Accept` asks for: JSON lines, CSV or `.npy`.
    """

    def __init__(self, served: Served, inference: Inference, pool: PipelinePool, admission: Admission) -> None:
        self._version = served.version
        self._specs = {s.name: s for s in served.engine.inputs}
        self._named = any(f.name for f in served.manifest.features)
        self._inference = inference
        self._pool = pool
        self._admission = admission

    def routes(self) -> list[BaseRoute]:
        """All of them."""
        return [post("/invocations", self.invoke), get("/ping", self.ping), get("/version", self.version)]

    @describes(
        body=schemas.INVOCATIONS,
        answer=schemas.PREDICTIONS,
        query={"model": "which one, where the device serves several"},
    )
    async def invoke(self, request: Request) -> Response:
        """Predict, as MLflow and SageMaker do."""
        body, headers = await body_of(request)
        kind = _media_type(headers.get(b"content-type", b"").decode("latin-1"))
        accept = request.headers.get("accept", "")
        return await self._admission.run(lambda: self.answer(body, kind, accept), len(body), request_gone(request))

    async def ping(self, request: Request) -> Response:
        """Whether the server lives, as SageMaker and MLflow ask."""
        return as_json({})

    @describes(answer=schemas.METRICS)
    async def version(self, request: Request) -> Response:
        """The version of edge-run, as MLflow asks for its own."""
        return Response(self._version.encode(), kind=b"text/plain; charset=utf-8")

    def answer(self, body: bytes, kind: str, accept: str = "") -> Response:
        """Raises SampleError."""
        if kind == CSV:
            return _written(self._predictions(self._csv(body)), accept)
        if kind in LINES:
            return _written(self._predictions(_json_lines(body)), accept)
        try:
            value = _decoded(body)
        except SampleError as exc:
            if kind in UNTOLD or kind.startswith(("image/", "audio/")) or kind.endswith("json"):
                raise
            raise Refusal(415, f"Content-Type {kind[:60]!r}: {', '.join(TAKEN)} are understood") from exc
        if isinstance(value, dict):
            if not isinstance(value.get("params", {}), (dict, NoneType)):
                raise Refusal(400, "params: an object belongs there")
            inputs = value.get("inputs")
            if isinstance(inputs, dict) and self._specs and set(inputs) == set(self._specs) and not self._named:
                return _written(self._tensors(inputs), accept)
            value = self._rows(value)
        return _written(self._predictions(value), accept)

    def _predictions(self, payload: Payload) -> list[Any]:
        outcomes = self._pool.ask_decoded([payload])
        for at, outcome in enumerate(outcomes):
            if isinstance(outcome, Skipped):
                raise SampleError(f"row {at}: {outcome.reason}" if len(outcomes) > 1 else outcome.reason)
        return [_prediction(o) for o in outcomes if isinstance(o, Result)]

    def _tensors(self, inputs: Mapping[str, Any]) -> Any:
        """Tensors by name, as they are, and the model's outputs as they are."""
        outputs = self._inference.outputs({name: tensor(inputs[name], spec) for name, spec in self._specs.items()})
        values = {name: plain(value) for name, value in outputs.items()}
        return next(iter(values.values())) if len(values) == 1 else values

    def _rows(self, value: dict[str, Any]) -> Payload:
        split, records = value.get("dataframe_split"), value.get("dataframe_records")
        if isinstance(split, dict):
            return self._split(split.get("columns"), split.get("data"))
        if isinstance(records, list) and records and all(isinstance(r, dict) for r in records):
            columns = list(records[0])
            if any(set(r) != set(columns) for r in records):
                return records
            return self._split(columns, [[r[c] for c in columns] for r in records])
        for key in ("dataframe_records", "instances"):
            if key in value:
                return value[key]
        if "inputs" in value:
            inputs = value["inputs"]
            return _by_column(inputs) if isinstance(inputs, dict) else inputs
        return {key: part for key, part in value.items() if key != "params"}

    def _split(self, columns: Any, data: Any) -> Payload:
        """Rows by the names of their columns; by position where the model knows no names, or the columns have none."""
        if not isinstance(data, list) or not all(isinstance(row, list) for row in data):
            raise Refusal(400, "dataframe_split: data is an array of rows")
        if not isinstance(columns, list):
            return data
        if any(len(row) != len(columns) for row in data):
            raise Refusal(400, f"every row has {len(columns)} values, as columns has")
        if not self._named or columns == list(range(len(columns))):
            return data
        twice = next((c for i, c in enumerate(columns) if c in columns[:i]), None)
        if twice is not None:
            raise Refusal(400, f"the column {str(twice)[:60]!r} comes twice")
        return [dict(zip(map(str, columns), row, strict=True)) for row in data]

    def _csv(self, body: bytes) -> Payload:
        """Its rows; the first one is a header where it holds a text and is not alone."""
        try:
            rows = [row for row in csv.reader(io.StringIO(body.decode("utf-8-sig"))) if row]
        except (UnicodeDecodeError, csv.Error) as exc:
            raise Refusal(400, f"not CSV: {exc}") from exc
        if not rows:
            raise Refusal(400, "CSV without a row")
        headed = any(_cell(c) is c for c in rows[0]) and len(rows) > 1
        data = [[_cell(c) for c in row] for row in rows[headed:]]
        return self._split(rows[0], data) if headed else data


def _decoded(body: bytes) -> Payload:
    """An input of the contract; in JSON, NaN as Python writes it (and MLflow's client with it) is a missing value."""
    try:
        return codec.decode(body)
    except SampleError:
        if b"NaN" not in body or not body[:64].lstrip().startswith((b"{", b"[")):
            raise
    try:
        return json.loads(body, parse_constant=_constant, object_pairs_hook=codec.once)
    except (ValueError, RecursionError) as exc:
        raise Refusal(400, f"not JSON: {exc}") from exc


def _constant(name: str) -> None:
    if name != "NaN":
        raise ValueError(f"{name} is no number of JSON")


def _media_type(header: str) -> str:
    return header.partition(";")[0].strip().lower()


def _json_lines(body: bytes) -> Payload:
    rows = [codec.decode_json(line) for line in body.splitlines() if line.strip()]
    if not rows:
        raise Refusal(400, "JSON lines without a line")
    return rows


def _written(predictions: Any, accept: str) -> Response:
    """In the first of our forms that `Accept` names."""
    accepted = [_media_type(part) for part in accept.split(",")]
    form = next((kind for kind in accepted if kind in (CSV, NPY, *LINES, "application/json", "*/*")), "")
    if form in ("", "application/json", "*/*"):
        return as_json({"predictions": predictions})
    rows = predictions if isinstance(predictions, list) else [predictions]
    if form in LINES:
        return Response(b"".join([msgspec.json.encode(row) + b"\n" for row in rows]), kind=form.encode())
    if form == CSV:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([_cells(row) for row in rows])
        return Response(text.getvalue().encode(), kind=b"text/csv; charset=utf-8")
    array = np.array(rows)
    if array.dtype.kind not in "fiubU":
        raise Refusal(406, f"predictions of this model are no array: ask for JSON, not {NPY}")
    data = io.BytesIO()
    np.save(data, array, allow_pickle=False)
    return Response(data.getvalue(), kind=NPY.encode())


def _cells(row: Any) -> list[Any]:
    cells = row if isinstance(row, list) else [row]
    if any(not isinstance(v, (str, int, float, NoneType)) for v in cells):
        raise Refusal(406, "predictions of this model are no table: ask for JSON, not text/csv")
    return cells


def _by_column(columns: Mapping[str, Any]) -> Payload:
    """`{"a": [1, 2], "b": [3, 4]}` to rows, where all columns are lists of one length."""
    lists = [c for c in columns.values() if isinstance(c, list)]
    if lists and len(lists) == len(columns) and len({len(c) for c in lists}) == 1:
        if any(isinstance(v, list) for c in lists for v in c):
            return dict(columns)
        return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]
    return dict(columns)


def _cell(text: str) -> Any:
    """A number, None for an empty cell, or the very text."""
    if not text.strip():
        return None
    number = read_number(text)
    return text if number is None else number


def _prediction(result: Result) -> Any:
    """What a model of scikit-learn's kind answers: the class, or the number; else the predictions as they are."""
    predictions: Sequence[Any] = result.predictions
    if result.task == "classify":
        best = predictions[0] if predictions else None
        if not isinstance(best, Classification):
            return None
        return int(best.label) if best.label.lstrip("-").isdigit() else best.label
    if all(isinstance(p, Regression) for p in predictions):
        values = [p.value for p in predictions]
        if any(math.isinf(v) for v in values):
            raise SampleError("a prediction is infinity, which JSON cannot say: ask /v2 for binary_data")
        return values[0] if len(values) == 1 else values
    if len(predictions) == 1 and isinstance(predictions[0], Anomaly):
        return -1 if predictions[0].is_anomaly else 1
    return predictions

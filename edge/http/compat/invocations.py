"""`/invocations` and what stands beside it: MLflow's scoring server and SageMaker's containers."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.routing import BaseRoute

from edge.data import codec
from edge.data.numbers import read_number
from edge.data.result import Anomaly, Classification, Regression, Result, Skipped
from edge.data.sample import Payload
from edge.errors import SampleError
from edge.http import schemas
from edge.http.http_types import Refusal, Response, as_json
from edge.http.pipeline_pool import PipelinePool
from edge.http.routes import body_of, describes, get, post, request_gone
from edge.http.scheduling import Admission


class Invocations:
    """`/invocations`: MLflow's JSON forms, CSV, and every body that `/predict` takes; answers `{"predictions": []}`."""

    def __init__(self, pool: PipelinePool, admission: Admission) -> None:
        self._pool = pool
        self._admission = admission

    def routes(self) -> list[BaseRoute]:
        """All of them."""
        return [post("/invocations", self.invoke), get("/ping", self.ping)]

    @describes(body=schemas.INVOCATIONS)
    async def invoke(self, request: Request) -> Response:
        """Predict, as MLflow and SageMaker do."""
        body, headers = await body_of(request)
        kind = headers.get(b"content-type", b"").decode("latin-1")
        return await self._admission.run(lambda: self.answer(body, kind), len(body), request_gone(request))

    async def ping(self, request: Request) -> Response:
        """Whether the server lives, as SageMaker asks."""
        return as_json({})

    def answer(self, body: bytes, content_type: str) -> Response:
        """Raises SampleError."""
        payload = _csv(body) if content_type.partition(";")[0].strip().lower() == "text/csv" else _rows(body)
        outcomes = self._pool.ask_decoded(payload)
        for at, outcome in enumerate(outcomes):
            if isinstance(outcome, Skipped):
                raise SampleError(f"row {at}: {outcome.reason}" if len(outcomes) > 1 else outcome.reason)
        return as_json({"predictions": [_prediction(o) for o in outcomes if isinstance(o, Result)]})


def _rows(body: bytes) -> Payload:
    value = codec.decode(body)
    if not isinstance(value, dict):
        return value
    split = value.get("dataframe_split")
    if isinstance(split, dict):
        columns, data = split.get("columns"), split.get("data")
        if not isinstance(data, list) or not all(isinstance(row, list) for row in data):
            raise Refusal(400, "dataframe_split: data is an array of rows")
        if not isinstance(columns, list):
            return data
        if any(len(row) != len(columns) for row in data):
            raise Refusal(400, f"dataframe_split: every row has {len(columns)} values, as columns has")
        return [dict(zip(map(str, columns), row, strict=True)) for row in data]
    for key in ("dataframe_records", "instances"):
        if key in value:
            return value[key]
    if "inputs" in value:
        inputs = value["inputs"]
        return _by_column(inputs) if isinstance(inputs, dict) else inputs
    return value


def _by_column(columns: Mapping[str, Any]) -> Payload:
    """`{"a": [1, 2], "b": [3, 4]}` to rows, where all columns are lists of one length."""
    lists = [c for c in columns.values() if isinstance(c, list)]
    if lists and len(lists) == len(columns) and len({len(c) for c in lists}) == 1:
        if any(isinstance(v, list) for c in lists for v in c):
            return dict(columns)
        return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]
    return dict(columns)


def _csv(body: bytes) -> Payload:
    try:
        rows = [row for row in csv.reader(io.StringIO(body.decode("utf-8"))) if row]
    except (UnicodeDecodeError, csv.Error) as exc:
        raise Refusal(400, f"not CSV: {exc}") from exc
    if not rows:
        raise Refusal(400, "CSV without a row")
    if any(_cell(c) is c for c in rows[0]) and len(rows) > 1:
        names = rows[0]
        if any(len(row) != len(names) for row in rows):
            raise Refusal(400, f"CSV: every row has {len(names)} values, as the header has")
        return [dict(zip(names, map(_cell, row), strict=True)) for row in rows[1:]]
    return [[_cell(c) for c in row] for row in rows]


def _cell(text: str) -> Any:
    """A number, None for an empty cell, or the very text."""
    if not text.strip():
        return None
    number = read_number(text)
    return text if number is None else number


def _prediction(result: Result) -> Any:
    """What a model of scikit-learn's kind answers: the class, or the number; else the predictions as they are."""
    found: Sequence[Any] = result.predictions
    if result.task == "classify":
        best = found[0] if found else None
        if not isinstance(best, Classification):
            return None
        return int(best.label) if best.label.lstrip("-").isdigit() else best.label
    if all(isinstance(p, Regression) for p in found):
        values = [p.value for p in found]
        return values[0] if len(values) == 1 else values
    if len(found) == 1 and isinstance(found[0], Anomaly):
        return -1 if found[0].is_anomaly else 1
    return found

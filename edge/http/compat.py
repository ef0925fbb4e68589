"""What other servers speak: TensorFlow Serving's REST API, MLflow's and SageMaker's `/invocations`."""

from __future__ import annotations

import base64
import binascii
import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edge.data import codec
from edge.data.numbers import read_number
from edge.data.result import Anomaly, Classification, Regression, Result, Skipped
from edge.data.sample import Payload
from edge.data.tensor import STRING, Array, Tensors, TensorSpec, numpy_dtype, to_integers
from edge.errors import SampleError
from edge.http.http_types import Refusal, Response, as_json
from edge.http.openinference.protocol import Inference
from edge.http.options import Served
from edge.http.pipeline_pool import Asker, plain


def read_json(body: bytes) -> dict[str, Any]:
    """A JSON object. Raises Refusal."""
    value = codec.decode_json(body)
    if not isinstance(value, dict):
        raise Refusal(400, "a JSON object belongs there")
    return value


# --- TensorFlow Serving ---------------------------------------------------------------------------------


class TensorFlowServing:
    """`:predict` in its row form (`instances`) and its column form (`inputs`).

    Arrays are tensors, as they are; what is none of the model's tensors (a row by feature names, a picture as
    `{"b64": ...}`) is prepared as the contract's inputs are.
    """

    def __init__(self, served: Served, inference: Inference, asker: Asker) -> None:
        self._specs = {s.name: s for s in served.engine.inputs}
        self._outputs = [s.name for s in served.engine.outputs]
        self._inference = inference
        self._asker = asker

    def answer(self, body: bytes) -> Response:
        """Raises SampleError."""
        asked = read_json(body)
        if ("instances" in asked) == ("inputs" in asked):
            raise Refusal(400, 'send {"instances": [...]} (rows) or {"inputs": ...} (columns)')
        if "inputs" in asked:
            outputs = self._columns(asked["inputs"])
            values = {name: plain(value) for name, value in outputs.items()}
            return as_json({"outputs": values[self._outputs[0]] if len(values) == 1 else values})
        instances = asked["instances"]
        if not isinstance(instances, list) or not instances:
            raise Refusal(400, "instances: an array of at least one sample belongs there")
        return as_json({"predictions": self._rows(instances)})

    def _columns(self, inputs: Any) -> Tensors:
        named = inputs if isinstance(inputs, dict) and set(inputs) <= set(self._specs) else None
        if named is None and len(self._specs) == 1:
            named = {next(iter(self._specs)): inputs}
        if named is None or set(named) != set(self._specs):
            raise Refusal(400, f"inputs: the model takes {', '.join(self._specs)}")
        return self._run({name: tensor(value, self._specs[name]) for name, value in named.items()})

    def _rows(self, instances: list[Any]) -> list[Any]:
        if all(isinstance(i, dict) and set(i) == set(self._specs) for i in instances):
            columns = {n: tensor([i[n] for i in instances], s) for n, s in self._specs.items()}
        elif len(self._specs) == 1 and not any(isinstance(i, (dict, str)) for i in instances):
            columns = {n: tensor(instances, s) for n, s in self._specs.items()}
        else:
            return [self._row(outputs) for outputs in self._asker.raw([_payload(i) for i in instances])]
        return self._cut(self._run(columns), len(instances))

    def _run(self, columns: Tensors) -> Tensors:
        return self._inference.outputs(columns)

    def _cut(self, outputs: Tensors, count: int) -> list[Any]:
        values = {name: plain(value) for name, value in outputs.items()}
        if any(not isinstance(v, list) or len(v) != count for v in values.values()):
            raise Refusal(400, 'the outputs are not one a sample: ask with {"inputs": ...}')
        if len(values) == 1:
            return list(values[self._outputs[0]])
        return [{name: v[i] for name, v in values.items()} for i in range(count)]

    def _row(self, outputs: Tensors) -> Any:
        values = {name: plain(v) for name, v in outputs.items()}
        cut = {n: v[0] if isinstance(v, list) and len(v) == 1 else v for n, v in values.items()}
        return cut[self._outputs[0]] if len(cut) == 1 else cut


def _payload(instance: Any) -> Payload:
    """An instance as an input of the contract."""
    if isinstance(instance, dict) and set(instance) == {"b64"}:
        return codec.decode(_base64(instance["b64"]))
    if isinstance(instance, dict) and len(instance) == 1:
        inner = next(iter(instance.values()))
        if isinstance(inner, dict) and set(inner) == {"b64"}:
            return codec.decode(_base64(inner["b64"]))
    return instance


def _base64(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError) as exc:
        raise Refusal(400, f"b64 holds no base64 text: {exc}") from exc


def tensor(value: Any, spec: TensorSpec) -> Any:
    """Nested lists as one tensor of the model's type. Raises Refusal."""
    dtype = numpy_dtype(spec.dtype)
    found: Array | None
    try:
        found = np.array(value, dtype=object if spec.dtype == STRING else None)
    except (ValueError, OverflowError) as exc:
        raise Refusal(400, f"input {spec.name!r}: rows of different lengths") from exc
    if dtype.kind in "iu":
        found = to_integers(value, dtype)
        if found is None:
            raise Refusal(400, f"input {spec.name!r}: values that {spec.dtype} cannot hold")
    elif spec.dtype != STRING and found.dtype.kind not in "fiub":
        raise Refusal(400, f"input {spec.name!r}: {spec.dtype} values belong there")
    dims = spec.shape or ()
    if found.ndim == len(dims) - 1 and dims[:1] == (1,):
        found = found[None]
    if len(dims) != found.ndim or any(isinstance(d, int) and d != s for d, s in zip(dims, found.shape, strict=True)):
        raise Refusal(400, f"input {spec.name!r}: shape {list(found.shape)}; the model takes {list(dims)}")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = found.astype(dtype)
    if dtype.kind == "b" and not (cast == found).all():
        raise Refusal(400, f"input {spec.name!r}: values that {spec.dtype} cannot hold")
    return cast


# --- MLflow and SageMaker -------------------------------------------------------------------------------


class Invocations:
    """`/invocations`: MLflow's JSON forms, CSV, and every body that `/predict` takes; answers `{"predictions": []}`."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker

    def answer(self, body: bytes, content_type: str) -> Response:
        """Raises SampleError."""
        payload = _csv(body) if content_type.partition(";")[0].strip().lower() == "text/csv" else _rows(body)
        outcomes = self._asker.ask_decoded(payload)
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

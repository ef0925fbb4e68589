"""TensorFlow Serving's REST API, as far as one model needs it."""

from __future__ import annotations

import base64
import binascii
from functools import partial
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.routing import BaseRoute

from edge.data import codec
from edge.data.sample import Payload
from edge.data.tensor import STRING, Array, Tensors, TensorSpec, numpy_dtype, to_integers
from edge.http import schemas
from edge.http.http_types import Refusal, Response, as_json
from edge.http.openinference.metadata import Models
from edge.http.openinference.protocol import Inference
from edge.http.options import Served
from edge.http.pipeline_pool import PipelinePool, plain
from edge.http.routes import body_of, describes, get, post, request_gone
from edge.http.scheduling import Admission

MODEL = "/v1/models/{model}"


class TensorFlowServing:
    """`:predict` in its row form (`instances`) and its column form (`inputs`).

    Arrays are tensors, as they are; what is none of the model's tensors (a row by feature names, a picture as
    `{"b64": ...}`) is prepared as the contract's inputs are.
    """

    def __init__(
        self, served: Served, models: Models, inference: Inference, pool: PipelinePool, admission: Admission
    ) -> None:
        self._models = models
        self._admission = admission
        self._specs = {s.name: s for s in served.engine.inputs}
        self._outputs = [s.name for s in served.engine.outputs]
        self._inference = inference
        self._pool = pool

    def routes(self) -> list[BaseRoute]:
        """All of them."""
        return [get(MODEL, self.state), post(f"{MODEL}:predict", self.predict)]

    async def state(self, request: Request) -> Response:
        """The model's state, as TensorFlow Serving tells it."""
        self._models.check(request.path_params["model"])
        status = {"error_code": "OK", "error_message": ""}
        version = {"version": self._models.version, "state": "AVAILABLE", "status": status}
        return as_json({"model_version_status": [version]})

    @describes(body=schemas.SERVING)
    async def predict(self, request: Request) -> Response:
        """Predict, as TensorFlow Serving does."""
        self._models.check(request.path_params["model"])
        body, _ = await body_of(request)
        return await self._admission.run(partial(self.answer, body), len(body), request_gone(request))

    def answer(self, body: bytes) -> Response:
        """Raises SampleError."""
        asked = codec.decode_json(body)
        if not isinstance(asked, dict):
            raise Refusal(400, "a JSON object belongs there")
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
            return [self._row(outputs) for outputs in self._pool.raw([_payload(i) for i in instances])]
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

"""TensorFlow Serving's REST API, as far as one model needs it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from functools import partial
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import BaseRoute

from edge.data import codec
from edge.data.result import Classification, Regression, Result, Skipped
from edge.data.sample import Payload
from edge.data.tensor import Tensors, TensorSpec
from edge.errors import SampleError
from edge.http import schemas
from edge.http.compat.tensors import tensor
from edge.http.http_types import Refusal, Response, as_json
from edge.http.openinference.metadata import Models
from edge.http.openinference.protocol import Inference
from edge.http.options import Served
from edge.http.pipeline_pool import PipelinePool, plain
from edge.http.routes import body_of, describes, get, post, request_gone
from edge.http.scheduling import Admission

MODEL = "/v1/models/{model}"
VERBS = (":predict", ":classify", ":regress")
SIGNATURE = "serving_default"
LABEL = "stable"
NEWEST = "0"
"""The version that OpenVINO's client names where it is told none."""
DTYPES = {
    "float16": "DT_HALF", "float32": "DT_FLOAT", "float64": "DT_DOUBLE", "bool": "DT_BOOL", "int8": "DT_INT8",
    "int16": "DT_INT16", "int32": "DT_INT32", "int64": "DT_INT64", "uint8": "DT_UINT8", "uint16": "DT_UINT16",
    "uint32": "DT_UINT32", "uint64": "DT_UINT64",
}  # fmt: skip
"""TensorFlow's names; of all others, DT_STRING."""


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
        self._output_specs = served.engine.outputs
        self._outputs = [s.name for s in served.engine.outputs]
        self._inference = inference
        self._pool = pool

    def routes(self) -> list[BaseRoute]:
        """All of them; KServe's first protocol is a part of TensorFlow Serving's."""
        every = [MODEL, f"{MODEL}/versions/{{version}}", f"{MODEL}/labels/{{label}}"]
        return [
            get("/v1/models", self.names),
            *(post(f"{base}:{verb}", endpoint) for base in every for verb, endpoint in (
                ("predict", self.predict), ("classify", self.classify), ("regress", self.regress))),
            post(f"{MODEL}:{{verb}}", self.another, listed=False),
            *(get(f"{base}/metadata", self.metadata) for base in every),
            *(get(base, self.state) for base in every),
        ]  # fmt: skip

    def _check(self, request: Request) -> None:
        """Raises Refusal (404) for another model, version or label."""
        params = request.path_params
        version = params.get("version")
        self._models.check(params["model"], None if version == NEWEST else version)
        if params.get("label", LABEL) != LABEL:
            raise Refusal(404, f"no version is labelled {params['label'][:80]!r}; {LABEL!r} is the one there is")

    async def names(self, request: Request) -> Response:
        """The models, as KServe's first protocol lists them."""
        return as_json({"models": self._models.every})

    async def another(self, request: Request) -> Response:
        """Refused: KServe's `:explain`, and what is none of the verbs."""
        self._check(request)
        raise Refusal(
            501, f":{request.path_params['verb'][:40]} is not done here; :predict, :classify and :regress are"
        )

    async def state(self, request: Request) -> Response:
        """The model's state, as TensorFlow Serving and KServe's first protocol tell it."""
        if request.url.path.endswith(VERBS):
            raise HTTPException(405, headers={"Allow": "POST"})
        self._check(request)
        status = {"error_code": "OK", "error_message": ""}
        version = {"version": self._models.version, "state": "AVAILABLE", "status": status}
        return as_json({"name": self._models.name, "ready": True, "model_version_status": [version]})

    async def metadata(self, request: Request) -> Response:
        """The model's signature, as TensorFlow Serving tells it."""
        self._check(request)
        signature = {
            "inputs": {s.name: _tensor_info(s) for s in self._specs.values()},
            "outputs": {s.name: _tensor_info(s) for s in self._output_specs},
            "method_name": "tensorflow/serving/predict",
        }
        return as_json({
            "model_spec": {"name": self._models.name, "signature_name": "", "version": self._models.version},
            "metadata": {"signature_def": {"signature_def": {SIGNATURE: signature}}},
        })  # fmt: skip

    @describes(body=schemas.SERVING)
    async def predict(self, request: Request) -> Response:
        """Predict, as TensorFlow Serving does."""
        return await self._answered(request, self.answer)

    @describes(body=schemas.EXAMPLES)
    async def classify(self, request: Request) -> Response:
        """Classes with their scores, as TensorFlow Serving gives them."""
        return await self._answered(
            request,
            partial(
                self._examples,
                of=Classification,
                wanted=lambda r: [[p.label, p.score] for p in r.predictions if isinstance(p, Classification)],
            ),
        )

    @describes(body=schemas.EXAMPLES)
    async def regress(self, request: Request) -> Response:
        """One number for each example, as TensorFlow Serving gives it."""
        return await self._answered(request, partial(self._examples, of=Regression, wanted=_number))

    async def _answered(self, request: Request, answer: Callable[[dict[str, Any]], Response]) -> Response:
        self._check(request)
        body, _ = await body_of(request)
        return await self._admission.run(lambda: answer(_asked(body)), len(body), request_gone(request))

    def answer(self, request: dict[str, Any]) -> Response:
        """`:predict`. Raises SampleError."""
        if ("instances" in request) == ("inputs" in request):
            raise Refusal(400, 'send {"instances": [...]} (rows) or {"inputs": ...} (columns)')
        if "inputs" in request:
            outputs = self._columns(request["inputs"])
            values = {name: plain(value) for name, value in outputs.items()}
            return as_json({"outputs": values[self._outputs[0]] if len(values) == 1 else values})
        instances = request["instances"]
        if not isinstance(instances, list) or not instances:
            raise Refusal(400, "instances: an array of at least one sample belongs there")
        return as_json({"predictions": self._rows(instances)})

    def _examples(self, request: dict[str, Any], *, of: type, wanted: Callable[[Result], Any]) -> Response:
        """`:classify` and `:regress`: rows by feature names. Raises SampleError."""
        examples, context = request.get("examples"), request.get("context") or {}
        if not isinstance(examples, list) or not examples or not all(isinstance(e, dict) for e in examples):
            raise Refusal(400, "examples: an array of objects, feature name to value, belongs there")
        if not isinstance(context, dict):
            raise Refusal(400, "context: an object, feature name to value, belongs there")
        answers = []
        for at, example in enumerate(examples):
            for outcome in self._pool.ask_decoded([_payload({**context, **example})]):
                if isinstance(outcome, Skipped):
                    raise SampleError(f"example {at}: {outcome.reason}")
                if not outcome.predictions or not all(isinstance(p, of) for p in outcome.predictions):
                    raise Refusal(400, f"the model's task is {outcome.task!r}: ask it by :predict")
                answers.append(wanted(outcome))
        return as_json({"result": answers})

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


def _asked(body: bytes) -> dict[str, Any]:
    value = codec.decode_json(body)
    if not isinstance(value, dict):
        raise Refusal(400, "a JSON object belongs there")
    if value.get("signature_name") not in (None, "", SIGNATURE):
        name = str(value["signature_name"])[:60]
        raise Refusal(400, f"there is no signature {name!r}; the model has {SIGNATURE!r}")
    return value


def _number(result: Result) -> float:
    values = [p.value for p in result.predictions if isinstance(p, Regression)]
    if len(values) != 1:
        raise Refusal(400, f"the model gives {len(values)} numbers: ask it by :predict")
    return values[0]


def _tensor_info(spec: TensorSpec) -> dict[str, Any]:
    dims = [{"size": str(d if isinstance(d, int) else -1), "name": ""} for d in spec.shape or (-1,)]
    return {"dtype": DTYPES.get(spec.dtype, "DT_STRING"), "name": spec.name,
            "tensor_shape": {"dim": dims, "unknown_rank": False}}  # fmt: skip


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

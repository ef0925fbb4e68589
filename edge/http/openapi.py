"""The OpenAPI document, made from the routes themselves. Imported when somebody asks for it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.routing import BaseRoute
from starlette.schemas import BaseSchemaGenerator, EndpointInfo

from edge.data.result import Result
from edge.http.openinference.messages import InferRequest, InferResponse
from edge.http.routes import description
from edge.http.schemas import ANY, ERROR, JSON, ref

ABOUT = "One model on one device: Open Inference Protocol v2, plain predictions, metrics and a live page."
TAGS = (
    ("/predict", "Predictions"),
    ("/v2", "Open Inference Protocol"),
    ("/v1", "Other servers' words"),
    ("/invocations", "Other servers' words"),
    ("/ping", "Other servers' words"),
    ("/version", "Other servers' words"),
)
THE_PROCESS = "The process"


def document(routes: Sequence[BaseRoute], version: str) -> Mapping[str, Any]:
    """The whole document; `version` is that of edge-run."""
    paths: dict[str, dict[str, Any]] = {}
    endpoints = sorted(BaseSchemaGenerator().get_endpoints(list(routes)), key=_order)
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.http_method] = _operation(endpoint)
    _, schemas = msgspec.json.schema_components(
        (InferRequest, InferResponse, Result), ref_template="#/components/schemas/{name}"
    )
    schemas["InputTensor"]["properties"]["data"] = {"type": "array", "description": "row-major, flat or nested"}
    made = {
        "openapi": "3.1.0",
        "info": {"title": "edge-run", "version": version, "description": ABOUT},
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Error": ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }
    return dict(_with_items(made))


def _with_items(value: Any) -> Any:
    """Says of each array what it holds, be it anything: what makes clients from the document leaves out each operation
    with one of which it is not said."""
    if isinstance(value, list):
        return [_with_items(part) for part in value]
    if not isinstance(value, dict):
        return value
    whole = {name: _with_items(part) for name, part in value.items()}
    return {**whole, "items": whole.get("items", {})} if whole.get("type") == "array" else whole


def _tag(path: str) -> str:
    return next((tag for prefix, tag in TAGS if path.startswith(prefix)), THE_PROCESS)


def _order(endpoint: EndpointInfo) -> int:
    tags = list(dict.fromkeys(tag for _, tag in TAGS))
    return [*tags, THE_PROCESS].index(_tag(endpoint.path))


def _operation(endpoint: EndpointInfo) -> Mapping[str, Any]:
    path, method, function = endpoint
    summary, _, text = (inspect.getdoc(function) or "").partition("\n")
    described = description(function)
    error = {"description": "What is wrong, and the way out", "content": {JSON: {"schema": ref("Error")}}}
    parameters = [_parameter(name, "path", required=True) for name in re.findall(r"{([a-z_]+)}", path)]
    parameters += [_parameter(name, "query", text=text) for name, text in described.query.items()]
    operation: dict[str, Any] = {
        "tags": [_tag(path)],
        "summary": summary.rstrip("."),
        "operationId": re.sub(r"\W+", "_", f"{method}{path}").strip("_"),
        "parameters": parameters,
        "responses": {"200": {"description": "OK", "content": dict(described.answer)}, "4XX": error, "503": error},
    }
    if text.strip():
        operation["description"] = " ".join(text.split())
    if described.body:
        operation["requestBody"] = {"content": dict(described.body), "required": described.body is not ANY}
    return operation


def _parameter(name: str, place: str, *, required: bool = False, text: str = "") -> Mapping[str, Any]:
    parameter: dict[str, Any] = {"name": name, "in": place, "required": required, "schema": {"type": "string"}}
    return {**parameter, "description": text} if text else parameter

"""The OpenAPI document, made by FastAPI from the table of ways. Imported when somebody asks for it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from fastapi import FastAPI

from edge.data.result import Result
from edge.http.openinference.protocol import InferRequest, InferResponse
from edge.http.schemas import ERROR, JSON, ref

if TYPE_CHECKING:
    from edge.http.routes import Way

ABOUT = "One model on one device: Open Inference Protocol v2, plain predictions, metrics and a live page."
TAGS = (
    ("/v2", "Open Inference Protocol"),
    ("/predict", "Predictions"),
    ("/v1", "Other servers' words"),
    ("/invocations", "Other servers' words"),
    ("/ping", "Other servers' words"),
)


def document(ways: Sequence[Way], version: str) -> dict[str, Any]:
    """The whole document; `version` is that of edge-run."""
    app = FastAPI(title="edge-run", version=version, description=ABOUT)
    for way in ways:
        if not way.hidden:
            _add(app, way)
    found = app.openapi()
    _, schemas = msgspec.json.schema_components(
        (InferRequest, InferResponse, Result), ref_template="#/components/schemas/{name}"
    )
    schemas["InputTensor"]["properties"]["data"] = {"type": "array", "description": "row-major, flat or nested"}
    components = found.setdefault("components", {})
    components["schemas"] = {**schemas, "Error": ERROR}
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    found["security"] = [{}, {"token": []}]
    for path in found["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)  # FastAPI's own validation, which is not used
    return found


def _add(app: FastAPI, way: Way) -> None:
    error = {"description": "What is wrong, and the way out", "content": {JSON: {"schema": ref("Error")}}}
    app.add_api_route(
        way.path,
        _signature(way),
        methods=[way.method],
        summary=way.summary,
        tags=[next((tag for prefix, tag in TAGS if way.path.startswith(prefix)), "The process")],
        operation_id=re.sub(r"\W+", "_", f"{way.method.lower()}{way.path}").strip("_"),
        responses={200: {"description": "OK", "content": dict(way.answer)}, "4XX": error, 503: error},
        openapi_extra={"requestBody": {"content": dict(way.body), "required": True}} if way.body else None,
    )


def _signature(way: Way) -> Callable[..., Any]:
    """A function whose signature names the parameters: that is where FastAPI looks for them."""

    def described(**_: Any) -> None:
        """Never called."""

    described.__doc__ = ". ".join(f"{name}={text}" for name, text in way.query.items()) or None
    in_path = re.findall(r"{([a-z]+)}", way.path)
    described.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            *(inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, annotation=str) for n in in_path),
            *(inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, annotation=str, default="0") for n in way.query),
        ]
    )
    return described

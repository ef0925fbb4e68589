"""What bodies look like, for the OpenAPI document: `content` objects, by media type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

JSON = "application/json"
BYTES: Mapping[str, Any] = {"type": "string", "format": "binary"}
ROW: Mapping[str, Any] = {
    "description": "a row: feature name to value, or an array in the model's order; an array of rows is a batch",
    "anyOf": [{"type": "object", "minProperties": 1}, {"type": "array"}],
}


def ref(name: str) -> Mapping[str, str]:
    """A schema that stands in the document's components."""
    return {"$ref": f"#/components/schemas/{name}"}


def content(**kinds: Mapping[str, Any]) -> Mapping[str, Any]:
    """By media type, with _ for / and __ for -."""
    return {k.replace("__", "-").replace("_", "/"): {"schema": schema} for k, schema in kinds.items()}


ANY = content(application_json={"type": "object"})
OBJECT = content(application_json={"type": "object"})
ARRAY = content(application_json={"type": "array"})
METRICS = content(text_plain={"type": "string"})
EVENTS = content(text_event__stream={"type": "string"})
PICTURE = content(image_jpeg=BYTES)

INFER = content(application_json=ref("InferRequest"), application_octet__stream=BYTES)
INFERRED = content(application_json=ref("InferResponse"), application_octet__stream=BYTES)
PREDICT = content(
    application_json=ROW,
    image_jpeg=BYTES,
    image_png=BYTES,
    application_octet__stream=BYTES,
    multipart_form__data={"type": "object", "properties": {"file": BYTES}},
)
PREDICTED = content(
    application_json={"anyOf": [ref("Result"), {"type": "array", "items": {"type": "object"}}]}, image_jpeg=BYTES
)
SERVING = content(
    application_json={
        "type": "object",
        "minProperties": 1,
        "properties": {"instances": {"type": "array"}, "inputs": {}, "signature_name": {"type": "string"}},
    }
)
EXAMPLES = content(
    application_json={
        "type": "object",
        "required": ["examples"],
        "properties": {
            "examples": {"type": "array"},
            "context": {"type": "object"},
            "signature_name": {"type": "string"},
        },
    }
)
INVOCATIONS = content(
    application_json={
        "type": "object",
        "minProperties": 1,
        "properties": {
            "dataframe_split": {"type": "object"},
            "dataframe_records": {"type": "array"},
            "instances": {"type": "array"},
            "inputs": {},
            "params": {"type": "object"},
        },
    },
    application_jsonlines={"type": "string"},
    application_x__npy=BYTES,
    text_csv={"type": "string"},
)
PREDICTIONS = content(
    application_json={"type": "object", "properties": {"predictions": {}}},
    application_jsonlines={"type": "string"},
    application_x__npy=BYTES,
    text_csv={"type": "string"},
)
ERROR: Mapping[str, Any] = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}

"""The JSON Schema of a manifest, made of its structs and of what stands below their fields.

`python tests/support/manifest_schema.py` writes it to where it ships from.
"""

from __future__ import annotations

import ast
import inspect
import json
from pathlib import Path
from typing import Any

import msgspec

from edge.model import manifest

FILE = Path(manifest.__file__).parents[1] / "data" / "manifest.schema.json"


def made() -> dict[str, Any]:
    """The schema as it has to be."""
    schema = msgspec.json.schema(manifest.Manifest)
    for node in ast.parse(inspect.getsource(manifest)).body:
        if isinstance(node, ast.ClassDef) and node.name in schema["$defs"]:
            properties = schema["$defs"][node.name]["properties"]
            for field, text in zip(node.body, node.body[1:], strict=False):
                if (
                    isinstance(field, ast.AnnAssign)
                    and isinstance(text, ast.Expr)
                    and isinstance(field.target, ast.Name)
                ):
                    properties[field.target.id]["description"] = " ".join(ast.literal_eval(text.value).split())
    for definition in schema["$defs"].values():
        definition["description"] = " ".join(definition.get("description", "").split())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:edge-run:manifest:{manifest.SCHEMA}",
        "title": f"A manifest of edge-run, schema {manifest.SCHEMA}: in a model file, or beside it (model.onnx.json)",
        **schema,
    }


def text() -> str:
    """As it stands in the file."""
    return json.dumps(made(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")

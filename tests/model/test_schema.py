from __future__ import annotations

import json

import jsonschema
import pytest
from support import manifest_schema

from edge.model import manifest
from edge.model.manifest import Input, Manifest, Output


def test_the_schema_that_ships_is_that_of_the_manifest():
    assert manifest_schema.FILE.read_text(encoding="utf-8") == manifest_schema.text(), (
        "run PYTHONPATH=tests python tests/support/manifest_schema.py"
    )


def test_a_manifest_fits_its_schema_and_a_wrong_one_does_not():
    made = Manifest(
        name="m",
        task="detect",
        inputs=(Input(name="x", kind="image", shape=(1, 3, "h", None), size=(32, 32)),),
        outputs=(Output(name="y", role="rows"),),
    )
    schema = json.loads(manifest_schema.FILE.read_text(encoding="utf-8"))
    jsonschema.validate(json.loads(manifest.encode(made)), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "m", "inputs": [{"name": "x", "resize": "squeeze"}]}, schema)

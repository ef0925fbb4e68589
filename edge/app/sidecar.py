"""What is known of a model, as the sidecar (`model.onnx.json`) that would say the same: `edge-run --describe`."""

from __future__ import annotations

import json
import sys
from typing import Any

import msgspec

from edge.app import loading
from edge.app.loading import Loaded
from edge.model import manifest as manifests
from edge.settings.settings import Settings

_ALWAYS = ("layout", "color", "size", "resize", "mean", "std")
"""Of a picture, also where they are at their defaults: they are what a user may want to change."""


def show(settings: Settings) -> int:
    """Prints it and returns the exit code. Raises ModelError, ConfigError."""
    text = json.dumps(document(loading.open_model(settings)), indent=2, ensure_ascii=False)
    sys.stdout.write(text + "\n")
    return 0


def document(loaded: Loaded) -> dict[str, Any]:
    """The manifest, and under `described`, which a reader of manifests passes over, what each field is known by."""
    content: dict[str, Any] = json.loads(manifests.encode(loaded.manifest))
    for part, shown in zip(loaded.manifest.inputs, content.get("inputs", ()), strict=True):
        if part.kind == "image":
            shown |= {field: msgspec.to_builtins(getattr(part, field)) for field in _ALWAYS}
    return {
        **content,
        "described": {
            "known by": dict(loaded.reasons) or {"all": "the manifest of the file, or its sidecar"},
            "flags that say the same": " ".join(loaded.guesses),
            "warnings": list(loaded.warnings),
        },
    }

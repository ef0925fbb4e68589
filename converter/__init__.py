"""edge-convert: a trained model becomes one checked ONNX or TFLite file that describes itself.

`convert(model_or_path, target="onnx", sample=rows)` gives an `Artifact`; `write(artifact, path)` makes the file.
"""

from __future__ import annotations

import edge.engines  # noqa: F401 - first of all: ONNX Runtime reads at its import that it sends nothing home
from converter.artifact import Artifact, write
from converter.convert import convert
from converter.options import Options
from converter.rows.rows import Rows

__all__ = ["Artifact", "Options", "Rows", "convert", "write"]

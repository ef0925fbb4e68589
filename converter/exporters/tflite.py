"""TFLite as it is: a manifest is added."""

from __future__ import annotations

from converter.artifact import Artifact
from converter.errors import UnsupportedError
from converter.exporters import passthrough
from converter.options import Options
from converter.rows.rows import Rows
from converter.sources.recognise import Source


def export(source: Source, rows: Rows | None, options: Options) -> Artifact:
    """The artifact of a .tflite file. Raises UnsupportedError where ONNX is wanted."""
    if options.target != "tflite":
        raise UnsupportedError(
            f"{source.name}: TFLite does not become ONNX; write it as -o OUT.tflite, edge-run takes it the same way"
        )
    return passthrough.artifact(source, source.file, rows, options, "tflite")

"""TFLite as it is: a manifest is added."""

from __future__ import annotations

from converter.artifact import Artifact
from converter.errors import UnsupportedError
from converter.networks import passthrough
from converter.options import Options
from converter.plugins import ExporterInfo
from converter.rows.rows import Rows
from converter.source import Probe, Source
from edge.data import magic


def export(source: Source, rows: Rows | None, options: Options) -> Artifact:
    """The artifact of a .tflite file. Raises UnsupportedError where ONNX is wanted."""
    if options.target != "tflite":
        raise UnsupportedError(
            f"{source.name}: TFLite does not become ONNX; write it as -o OUT.tflite, edge-run takes it the same way"
        )
    return passthrough.artifact(source, source.file, rows, options, "tflite")


def form_of(probe: Probe) -> str:
    """The form of a TFLite file."""
    return "tflite" if magic.is_tflite(probe.head) else ""


EXPORTER = ExporterInfo(
    edge_api=1, export=export, recognise=form_of, suffixes=(".tflite",), distributions=("ai-edge-litert",)
)

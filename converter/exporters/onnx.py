"""ONNX as it is: weights in other files come in, ZipMap and weights listed as inputs go out, a manifest is added."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from converter.artifact import Artifact
from converter.errors import UnrecognisedError, UnsupportedError
from converter.graph import graph
from converter.graph.zipmap import without_zipmap
from converter.networks import passthrough
from converter.options import Options
from converter.plugins import ExporterInfo
from converter.rows.rows import Rows
from converter.source import Probe, Source
from edge.data import magic
from edge.errors import one_line


def export(source: Source, rows: Rows | None, options: Options) -> Artifact:
    """The artifact of an .onnx file (or a native ModelProto). Raises UnsupportedError where TFLite is wanted."""
    if options.target != "onnx":
        raise UnsupportedError(
            f"{source.name}: there is no honest way from ONNX to TFLite; convert what it was made from, or keep ONNX"
        )
    model = graph.without_listed_weights(without_zipmap(_read(source)))
    with TemporaryDirectory(prefix="edge-convert-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        if source.path is None:
            source = Source(source.framework, source.form, path, source.value)
        return passthrough.artifact(source, path, rows, options, "onnx")


def _read(source: Source) -> Any:
    onnx = graph.library()
    if source.form == "object":
        return source.value
    from google.protobuf.message import DecodeError

    try:
        return onnx.load(source.file)
    except DecodeError as exc:
        other = magic.other(source.file.read_bytes()[:64], source.file.suffix)
        seen = f"this is {other}" if other else "not a whole ONNX file (cut short or damaged); copy it again"
        raise UnrecognisedError(f"{source.name}: {seen}") from exc
    except (OSError, onnx.checker.ValidationError, ValueError) as exc:
        raise UnrecognisedError(
            f"{source.name}: weights in another file cannot be read: {one_line(exc)}; put them beside it"
        ) from exc


def form_of(probe: Probe) -> str:
    """The form of an ONNX file. ONNX Runtime's own is none that can be converted."""
    head = probe.head
    return "onnx" if magic.is_onnx(head) and head[4:8] != magic.ORT else ""


EXPORTER = ExporterInfo(
    edge_api=1, export=export, recognise=form_of, packages=("onnx",), suffixes=(".onnx",), distributions=("onnx",)
)

"""What our engines say of themselves. Imports none of their libraries, which is why it stands in a file of its own."""

from __future__ import annotations

from edge.data import magic
from edge.plugins.declarations import EngineInfo
from edge.plugins.protocols import EngineLibrary


def _onnxruntime() -> EngineLibrary:
    from edge.engines import onnxruntime

    return onnxruntime


def _litert() -> EngineLibrary:
    from edge.engines import litert

    return litert


ONNXRUNTIME = EngineInfo(
    edge_api=1, library=_onnxruntime, reads=magic.is_onnx, files="an .onnx file", packages=("onnxruntime",)
)
LITERT = EngineInfo(
    edge_api=1,
    library=_litert,
    reads=magic.is_tflite,
    files="a .tflite file",
    packages=("ai-edge-litert", "tflite-runtime"),
)

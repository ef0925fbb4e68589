"""Triton's Python backend with ONNX Runtime: PyTriton's bundle brings the C++ server and no backend for ONNX."""

from __future__ import annotations

import onnxruntime as ort
import triton_python_backend_utils as pb


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = f"{args['model_repository']}/model.onnx"
        self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def execute(self, requests: list[pb.InferenceRequest]) -> list[pb.InferenceResponse]:
        given = [pb.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        outputs = [self._session.run(None, {"x": x})[0] for x in given]
        return [pb.InferenceResponse([pb.Tensor("scores", scores)]) for scores in outputs]

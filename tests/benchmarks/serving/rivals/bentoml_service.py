"""BentoML, as its documentation shows a service: `MODEL=model.onnx bentoml serve bentoml_service:Onnx`."""

from __future__ import annotations

import os
from typing import Annotated

import bentoml
import numpy as np
import onnxruntime as ort
from bentoml.validators import DType


# Without a line in the log for each request, as the others.
@bentoml.service(logging={"access": {"enabled": False}})
class Onnx:
    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
        self._names = [o.name for o in self._session.get_outputs()]
        self._input = self._session.get_inputs()[0].name

    @bentoml.api
    def predict(self, x: Annotated[np.ndarray, DType("float32")]) -> np.ndarray:
        return self._session.run(self._names, {self._input: x})[0]

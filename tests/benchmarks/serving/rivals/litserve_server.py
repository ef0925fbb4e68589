"""LitServe, as its quick start shows it: `litserve_server.py MODEL PORT`."""

from __future__ import annotations

import sys

import litserve as ls
import numpy as np
import onnxruntime as ort


class Onnx(ls.LitAPI):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def setup(self, device: str) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(self._path, options, providers=["CPUExecutionProvider"])
        self._names = [o.name for o in self._session.get_outputs()]
        self._input = self._session.get_inputs()[0].name

    def decode_request(self, request):  # no types: LitServe would take them for the request's schema
        return np.array(request["input"], dtype=np.float32)

    def predict(self, x):
        return self._session.run(self._names, {self._input: x})[0]

    def encode_response(self, output):
        return {"output": output.tolist()}


if __name__ == "__main__":
    server = ls.LitServer(Onnx(sys.argv[1]), accelerator="cpu", fast_queue=True)
    # Without a line in the log for each request, as the others.
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="warning")

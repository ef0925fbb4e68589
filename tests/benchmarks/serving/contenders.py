"""The servers, each started as its own documentation says and asked in its own JSON.

All of them run the same ONNX file with one thread that does not spin, and write no line for a request.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from support import peers
from support.peers import ENGINE, RIVALS, Server
from support.processes import free_port

Start = Callable[[Path, Path, Path], contextlib.AbstractContextManager[Server]]
"""Of the environment's bin folder, the model and a folder to work in."""


@dataclass(frozen=True)
class Protocol:
    """How a server is asked: path of a model by name, body for an array with its content type and further header lines,
    and what its answer says of the model's first output."""

    path: Callable[[str], str]
    body: Callable[[Any], tuple[bytes, str, str]]
    numbers: Callable[[bytes], Any]

    def request(self, server: Server, model: str, array: Any) -> bytes:
        """The whole of it, as it goes over the socket."""
        body, kind, more = self.body(array)
        head = (
            f"POST {self.path(model)} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: {kind}\r\n{more}"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@dataclass(frozen=True)
class Rival:
    """Another project's server; `packages` are pinned, its own first."""

    name: str
    packages: tuple[str, ...]
    start: Start
    protocol: Protocol


def _json(value: Any) -> tuple[bytes, str, str]:
    return json.dumps(value).encode(), "application/json", ""


def _v2_json(array: Any) -> tuple[bytes, str, str]:
    tensor = {"name": "x", "shape": array.shape, "datatype": "FP32", "data": array.ravel().tolist()}
    return _json({"inputs": [tensor]})


def _v2_binary(array: Any, name: str = "x") -> tuple[bytes, str, str]:
    tensor = {"name": name, "shape": array.shape, "datatype": "FP32", "parameters": {"binary_data_size": array.nbytes}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return head + array.tobytes(), "application/octet-stream", f"Inference-Header-Content-Length: {len(head)}\r\n"


def _infer_path(model: str) -> str:
    return f"/v2/models/{model}/infer"


def _predict_path(model: str) -> str:
    return "/predict"


V2_JSON = Protocol(_infer_path, _v2_json, lambda said: json.loads(said)["outputs"][0]["data"])
V2_BINARY = Protocol(_infer_path, _v2_binary, lambda said: np.frombuffer(said[said.rindex(b"}") + 1 :], np.float32))
V2_PICTURE = replace(V2_BINARY, body=partial(_v2_binary, name="image"))
PREDICT = Protocol(_predict_path, lambda a: _json(a[0].tolist()), lambda said: json.loads(said)["predictions"])
"""edge-run's own: a row in, a result out, with what it makes of the model's scores."""


def _litserve(bins: Path, model: Path, folder: Path) -> contextlib.AbstractContextManager[Server]:
    port = free_port()
    command = [bins / "python", RIVALS / "litserve_server.py", model, str(port)]
    return peers.started("litserve", port, command, folder, health="/health")


def _bentoml(bins: Path, model: Path, folder: Path) -> contextlib.AbstractContextManager[Server]:
    port = free_port()
    command = [bins / "bentoml", "serve", "bentoml_service:Onnx", "--working-dir", RIVALS]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    home = str(folder / "bentoml")
    environ = {"MODEL": str(model), "BENTOML_HOME": home, "BENTOML_DO_NOT_TRACK": "True"}
    return peers.started("bentoml", port, command, folder, health="/readyz", **environ)


RIVALS_BY_NAME = {
    rival.name: rival
    for rival in (
        Rival("MLServer", peers.MLSERVER, peers.mlserver, V2_JSON),
        Rival(
            "LitServe",
            ("litserve==0.2.19", ENGINE),
            _litserve,
            Protocol(
                _predict_path, lambda a: _json({"input": a.tolist()}), lambda said: np.ravel(json.loads(said)["output"])
            ),
        ),
        Rival(
            "BentoML",
            ("bentoml==1.4.40", ENGINE),
            _bentoml,
            Protocol(_predict_path, lambda a: _json({"x": a.tolist()}), lambda said: np.ravel(json.loads(said))),
        ),
    )
}

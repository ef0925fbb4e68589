"""MLServer's tensors and KServe's own client: each from PyPI, in an environment of its own."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys

import numpy as np
import pytest
from support import onnxmodels, peers
from support.http import tensor

pytestmark = [
    pytest.mark.peers,
    pytest.mark.timeout(900),  # the first run installs some hundred megabytes
    pytest.mark.skipif(sys.version_info >= (3, 13), reason="one Python is enough for other people's packages"),
]

KSERVE = """
import asyncio, json, sys
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

async def main(base):
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    said = [await client.is_server_ready(base), await client.is_server_live(base)]
    said.append(await client.is_model_ready(base, "numbers"))
    for binary in (False, True):
        x = InferInput(name="x", shape=[2, 3], datatype="FP32")
        x.set_data_from_numpy(np.arange(6, dtype=np.float32).reshape(2, 3), binary_data=binary)
        wanted = [RequestedOutput("y", parameters={"binary_data": binary})]
        request = InferRequest(model_name="numbers", infer_inputs=[x], request_outputs=wanted)
        answer = await client.infer(base, request, model_name="numbers")
        said.append(answer.outputs[0].as_numpy().tolist())
    print(json.dumps(said))

asyncio.run(main(sys.argv[1]))
"""


def test_kserve_s_client_finds_the_model_and_infers_with_json_and_binary_tensors(numbers):
    bins = peers.environment(peers.CACHE, "kserve", "kserve")
    command = [bins / "python", "-c", KSERVE, numbers.server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)

    echo = [[0, 1, 2], [3, 4, 5]]
    assert json.loads(done.stdout.splitlines()[-1]) == [True, True, True, echo, echo]


@pytest.mark.parametrize("rows", [1, 5])
def test_mlserver_gives_the_same_tensors(scores, tmp_path, rows):
    bins = peers.pinned(peers.CACHE, *peers.MLSERVER)
    request = {"inputs": [tensor("x", np.random.default_rng(4).normal(size=(rows, 64)), "FP32")]}
    model = onnxmodels.scores(tmp_path / "scores.onnx")
    with peers.mlserver(bins, model, tmp_path) as other:
        connection = http.client.HTTPConnection("127.0.0.1", other.port, timeout=60)
        connection.request("POST", "/v2/models/scores/infer", json.dumps(request), {"Content-Type": "application/json"})
        (theirs,) = json.loads(connection.getresponse().read())["outputs"]
        connection.close()

    (ours,) = scores.infer(request).json["outputs"]

    assert (ours["name"], ours["datatype"], ours["shape"]) == (theirs["name"], theirs["datatype"], theirs["shape"])
    assert np.array_equal(np.float32(ours["data"]), np.float32(theirs["data"]))

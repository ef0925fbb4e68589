"""MLServer's tensors and objects, KServe's and MLflow's own clients: from PyPI, each in an environment of its own."""

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


KSERVE_GRPC = """
import asyncio, json, sys
import numpy as np
from kserve import InferInput, InferRequest
from kserve.inference_client import InferenceGRPCClient

async def main(address):
    async with InferenceGRPCClient(address) as client:
        said = [await client.is_server_ready(), await client.is_server_live(), await client.is_model_ready("rows")]
        for raw in (True, False):
            x = InferInput(name="x", shape=[2, 3], datatype="FP32")
            x.set_data_from_numpy(np.arange(6, dtype=np.float32).reshape(2, 3), binary_data=raw)
            answer = await client.infer(InferRequest(model_name="rows", infer_inputs=[x]))
            said.append(answer.outputs[0].as_numpy().tolist())
    print(json.dumps(said))

asyncio.run(main(sys.argv[1]))
"""


def test_kserve_s_grpc_client_infers_with_raw_and_typed_contents(serve, models):
    pytest.importorskip("grpc", reason="needs the extra [grpc]")
    site = serve(onnxmodels.identity(models / "rows.onnx"), grpc=("127.0.0.1", 0))
    bins = peers.environment(peers.CACHE, "kserve", "kserve")
    command = [bins / "python", "-c", KSERVE_GRPC, f"127.0.0.1:{site.server.grpc_port}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    echo = [[0, 1, 2], [3, 4, 5]]
    assert json.loads(done.stdout.splitlines()[-1]) == [True, True, True, echo, echo]


MLFLOW = """
import json, sys
import numpy as np, pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

client = ScoringServerClient("127.0.0.1", int(sys.argv[1]))
client.wait_server_ready(timeout=150)
named = pd.DataFrame([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], columns=["p", "q", "r"])
said = [client.get_version()]
array = named.to_numpy()
for data, params in ((named, {}), (pd.DataFrame(array), None), (array, None), (array.tolist(), None)):
    answer = client.invoke(data, params=params)
    said.append(np.ravel(answer.get_predictions(predictions_format="ndarray")).tolist())
print(json.dumps(said))
"""


def test_mlflow_s_client_finds_the_server_and_predicts_from_frames_arrays_and_lists(numbers):
    bins = peers.environment(peers.CACHE, "mlflow-client", "mlflow-skinny==3.17.2", "pandas", "requests", "scipy")
    command = [bins / "python", "-c", MLFLOW, str(numbers.address[1])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    version, *found = json.loads(done.stdout.splitlines()[-1])
    assert version == "1.2.3"
    assert found == [[1, 2, 3, 4, 5, 6]] * 4


MLSERVER_INFER = b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[%d,2,3]}]}\n'


def test_mlserver_s_own_command_infers_for_a_file_of_requests(numbers, tmp_path):
    bins = peers.pinned(peers.CACHE, *peers.MLSERVER)
    (tmp_path / "in").write_bytes(b"".join(MLSERVER_INFER % i for i in range(5)))
    host, port = numbers.address
    command = [bins / "mlserver", "infer", "-u", f"{host}:{port}", "-m", "numbers", "-b", "-i", "in", "-o", "out"]
    subprocess.run(command, capture_output=True, timeout=120, check=True, cwd=tmp_path)

    said = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert sorted(one["outputs"][0]["data"] for one in said) == [[i, 2, 3] for i in range(5)]


OPENVINO = """
import json, sys
import numpy as np
from ovmsclient import make_http_client

client = make_http_client(sys.argv[1])
rows = np.arange(6, dtype=np.float32).reshape(2, 3)
said = [client.predict({"x": rows}, "numbers", *version).tolist() for version in ((), (1,))]
said.append([one["state"] for one in client.get_model_status("numbers").values()])
said.append(client.get_model_metadata("numbers")["model_spec"]["name"])
print(json.dumps(said))
"""


def test_openvino_s_client_finds_the_newest_version_and_predicts(numbers):
    bins = peers.environment(peers.CACHE, "ovmsclient", "ovmsclient")
    host, port = numbers.address
    done = subprocess.run(
        [bins / "python", "-c", OPENVINO, f"{host}:{port}"], capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 0, done.stderr
    echo = [[0, 1, 2], [3, 4, 5]]
    assert json.loads(done.stdout) == [echo, echo, ["AVAILABLE"], "numbers"]


PYTRITON = """
import asyncio, json, sys
import numpy as np
from pytriton.client import AsyncioModelClient, ModelClient

rows, said = np.arange(6, dtype=np.float32).reshape(2, 3), []
for url in sys.argv[1:]:
    with ModelClient(url, "rows") as client:
        said += [client.infer_batch(rows)["y"].tolist(), client.infer_batch(x=rows)["y"].tolist()]
        said.append(client.infer_sample(rows[0])["y"].tolist())

async def ask():
    async with AsyncioModelClient(sys.argv[1], "rows") as client:
        return (await client.infer_batch(rows))["y"].tolist()

print(json.dumps([*said, asyncio.run(ask())]))
"""


def test_pytriton_s_client_infers_by_http_and_grpc(serve, models):
    pytest.importorskip("grpc", reason="needs the extra [grpc]")
    site = serve(onnxmodels.identity(models / "rows.onnx"), grpc=("127.0.0.1", 0))
    bins = peers.pinned(peers.CACHE, *peers.PYTRITON)
    urls = (site.server.url, f"grpc://127.0.0.1:{site.server.grpc_port}")
    done = subprocess.run(
        [bins / "python", "-c", PYTRITON, *urls], capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == 0, done.stderr
    echo = [[0, 1, 2], [3, 4, 5]]
    assert json.loads(done.stdout.splitlines()[-1]) == [*[echo, echo, echo[0]] * 2, echo]


MLSERVER_CODEC = """
import json, sys, urllib.request
import numpy as np
from mlserver.codecs import NumpyRequestCodec
from mlserver.types import InferenceRequest, InferenceResponse, RequestInput
from pydantic import BaseModel

made = RequestInput(name="x", shape=[1, 3], datatype="FP32", data=[1.0, 2.0, 3.0])
body = BaseModel.model_dump_json(InferenceRequest(inputs=[made])).encode()  # with what is unset, as older releases
assert b'"id":null' in body, body
answer = urllib.request.urlopen(urllib.request.Request(sys.argv[1], body, {"Content-Type": "application/json"})).read()
print(json.dumps(NumpyRequestCodec.decode_response(InferenceResponse.model_validate_json(answer)).tolist()))
"""


def test_mlserver_s_request_objects_are_understood_with_all_their_nulls(numbers):
    bins = peers.pinned(peers.CACHE, *peers.MLSERVER)
    command = [bins / "python", "-c", MLSERVER_CODEC, f"{numbers.server.url}/v2/models/numbers/infer"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [[1, 2, 3]]


@pytest.mark.parametrize("rows", [1, 5])
def test_mlserver_gives_the_same_tensors(scores, tmp_path, rows):
    bins = peers.pinned(peers.CACHE, *peers.MLSERVER)
    request = {"inputs": [tensor("x", np.random.default_rng(4).normal(size=(rows, 64)), "FP32")]}
    model = onnxmodels.scores(tmp_path / "scores.onnx")
    with peers.mlserver(bins, model, tmp_path) as other:
        connection = http.client.HTTPConnection("127.0.0.1", other.port, timeout=150)
        connection.request("POST", "/v2/models/scores/infer", json.dumps(request), {"Content-Type": "application/json"})
        (theirs,) = json.loads(connection.getresponse().read())["outputs"]
        connection.close()

    (ours,) = scores.infer(request).json["outputs"]

    assert (ours["name"], ours["datatype"], ours["shape"]) == (theirs["name"], theirs["datatype"], theirs["shape"])
    assert np.array_equal(np.float32(ours["data"]), np.float32(theirs["data"]))

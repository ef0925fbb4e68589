"""The HTTP libraries that people have anyway, and gRPC from Node: each in an environment of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import onnxmodels, peers
from support.http import Site

pytestmark = [
    pytest.mark.peers,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.version_info >= (3, 13), reason="one Python is enough for other people's packages"),
]

PYTHON = """
import asyncio, io, json, sys
import aiohttp, httpx, numpy as np, requests, urllib3

URL = sys.argv[1]
INFER, PREDICT = URL + "/v2/models/numbers/infer", URL + "/predict"
BODY = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]}
NPY = io.BytesIO()
np.save(NPY, np.ones((1, 3), np.float32))

def data(answer):
    return answer["outputs"][0]["data"]

def pieces():
    text = json.dumps(BODY).encode()
    yield text[:20]
    yield text[20:]

said = []
for session, pieced in ((requests.Session(), "data"), (httpx.Client(), "content")):
    said += [data(session.post(INFER, json=BODY).json()) for _ in range(3)]
    said.append(data(session.post(INFER, **{pieced: pieces()}).json()))
    said.append(session.post(PREDICT, files={"file": ("a.npy", NPY.getvalue())}).status_code)
    said.append(session.head(URL + "/health").status_code)
said.append(data(json.loads(urllib3.PoolManager().request("POST", INFER, json=BODY).data)))

async def at_once():
    async with aiohttp.ClientSession() as session:
        async def ask(**more):
            async with session.post(INFER, json=BODY, **more) as answer:
                return data(await answer.json())
        return [*await asyncio.gather(*[ask() for _ in range(50)]), await ask(compress="gzip")]

said += asyncio.run(at_once())
print(json.dumps(said))
"""


def test_requests_httpx_urllib3_and_aiohttp_get_what_they_ask_for(numbers):
    bins = peers.environment(peers.CACHE, "everyday", "requests", "httpx", "urllib3", "aiohttp", "numpy")
    command = [bins / "python", "-c", PYTHON, numbers.server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)

    echo = [1, 2, 3]
    of_each = [echo, echo, echo, echo, 200, 200]
    assert json.loads(done.stdout) == [*of_each, *of_each, *[echo] * 52]


NODE = """
const { createRequire } = require('module');
const of = (folder, name) => createRequire(folder + '/')(name);
const [axiosAt, undiciAt, grpcAt, loaderAt, url, address, proto] = process.argv.slice(2);
const axios = of(axiosAt, 'axios'), { Agent, request } = of(undiciAt, 'undici');
const grpc = of(grpcAt, '@grpc/grpc-js'), loader = of(loaderAt, '@grpc/proto-loader');
const infer = url + '/v2/models/rows/infer';
const body = { inputs: [{ name: 'x', shape: [1, 3], datatype: 'FP32', data: [1, 2, 3] }] };
const headers = { 'content-type': 'application/json' };
(async () => {
  const said = [];
  said.push((await axios.post(infer, body)).data.outputs[0].data);
  said.push(await axios.post(infer, { inputs: [] }).catch((error) => error.response.status));
  const dispatcher = new Agent({ connections: 1, pipelining: 10 });
  const ask = async () => {
    const answer = await request(infer, { method: 'POST', body: JSON.stringify(body), headers, dispatcher });
    return (await answer.body.json()).outputs[0].data;
  };
  said.push(...await Promise.all([ask(), ask(), ask(), ask()]));
  const streamed = new Blob([JSON.stringify(body)]).stream();
  said.push((await (await fetch(infer, { method: 'POST', body: streamed, duplex: 'half' })).json()).outputs[0].data);
  const { inference } = grpc.loadPackageDefinition(loader.loadSync(proto, { keepCase: true }));
  const client = new inference.GRPCInferenceService(address, grpc.credentials.createInsecure());
  const call = (name, given) => new Promise((done, failed) => {
    client[name](given, (error, answer) => error ? failed(error) : done(answer));
  });
  said.push((await call('ServerLive', {})).live);
  const raw = Buffer.from(new Float32Array([1, 2, 3]).buffer);
  const inputs = [{ name: 'x', datatype: 'FP32', shape: [1, 3] }];
  for (const id of ['a', 'a', 'b']) {
    const answer = await call('ModelInfer', { model_name: 'rows', id, inputs, raw_input_contents: [raw] });
    said.push(answer.id + answer.raw_output_contents[0].readFloatLE(8));
  }
  const typed = [{ ...inputs[0], contents: { fp32_contents: [1, 2, 3] } }];
  said.push((await call('ModelInfer', { model_name: 'rows', inputs: typed })).raw_output_contents[0].readFloatLE(8));
  said.push(await call('ModelInfer', { model_name: 'other' }).catch((error) => error.code));
  console.log(JSON.stringify(said));
  process.exit(0);
})();
"""


def test_axios_undici_fetch_and_grpc_from_node_get_what_they_ask_for(models, tmp_path):
    server = pytest.importorskip("edge.http.grpc.server", reason="needs the extra [grpc]")
    node = shutil.which("node")
    assert node is not None, "node is not installed: apt-get install nodejs npm"
    packages = {"axios": "1", "undici": "7", "@grpc/grpc-js": "1", "@grpc/proto-loader": "0"}
    folders = [peers.npm(name, version) for name, version in packages.items()]
    script = tmp_path / "ask.js"
    script.write_text(NODE)
    site = Site(onnxmodels.identity(models / "rows.onnx"), grpc=("127.0.0.1", 0)).start()
    try:
        address = f"127.0.0.1:{site.server.grpc_port}"
        proto = Path(server.__file__).with_name("inference.proto")
        command = [node, script, *folders, site.server.url, address, proto]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    finally:
        site.stop()

    echo = [1, 2, 3]
    wanted = [echo, 400, *[echo] * 4, echo, True, "a3", "a3", "b3", 3, 5]
    assert json.loads(done.stdout or "null") == wanted, done.stderr

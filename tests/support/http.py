"""A server of one's own on a free port of loopback, and a client that speaks plain HTTP to it."""

from __future__ import annotations

import http.client
import itertools
import json
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from dataclasses import replace as with_fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from msgspec.structs import replace

from edge.app import assembly
from edge.http.app import HttpServer
from edge.http.options import Served, ServerOptions
from edge.telemetry.clock import SystemClock
from edge.telemetry.metrics import Metrics

CLIENT_WAIT_S = 150


@dataclass(frozen=True)
class Answer:
    """A response, whole."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The text of `{"error": ...}`, which is all that stands there."""
        (text,) = self.json.values()
        assert list(self.json) == ["error"]
        return str(text)


class Site:
    """A running server with one model."""

    def __init__(self, model: Path | assembly.Loaded, *, engine: Any = None, **options: Any) -> None:
        loaded = assembly.load_file(model) if isinstance(model, Path) else model
        if engine is not None:
            loaded = replace(loaded, engine=engine)
        self.loaded = loaded
        self.metrics = Metrics()
        self.failures: list[BaseException] = []
        self.seq = itertools.count(1)
        self.clock = SystemClock()
        stats = options.pop("stats", lambda: {"results": 0, "skipped": 0, "dropped": {}, "lanes": {}})
        source = options.pop("source", "")
        said = options.pop("info", {})
        served = Served(
            manifest=loaded.manifest,
            engine=loaded.engine,
            sha256=loaded.sha256,
            version="1.2.3",
            make_pipeline=self.pipeline,
            metrics=self.metrics,
            clock=self.clock,
            info=lambda: {**INFO, "model": {**INFO["model"], "name": self.name, "task": loaded.manifest.task}, **said},  # type: ignore[dict-item]
            stats=stats,
            source=source,
            **{k: options.pop(k) for k in ("temperature", "throttled", "drift") if k in options},
        )
        self.server = HttpServer(ServerOptions(**options), self.failures.append, self.clock, self.metrics)
        self.observe = self.server.serve(served)
        self.served = served
        self.name = loaded.manifest.name

    def pipeline(self) -> Any:
        return assembly.make_pipeline(self.loaded, "device", assembly.PipelineOptions(boot="b00t", seq=self.seq))

    def use(self, loaded: assembly.Loaded, let_go: Callable[[], None]) -> threading.Event:
        """As `HttpServer.use`."""
        self.loaded = loaded
        more = {"manifest": loaded.manifest, "engine": loaded.engine, "sha256": loaded.sha256}
        return self.server.use(with_fields(self.served, **more), let_go)

    def start(self) -> Site:
        self.server.start()
        return self

    def stop(self) -> None:
        self.server.stop()
        assert not self.failures

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.server.url)
        return str(parts.hostname), int(parts.port or 0)

    def connect(self, context: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
        host, port = self.address
        if context is not None:
            return http.client.HTTPSConnection(host, port, timeout=CLIENT_WAIT_S, context=context)
        return http.client.HTTPConnection(host, port, timeout=CLIENT_WAIT_S)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """`headers` with _ for -; a body that is no bytes goes as JSON."""
        connection = self.connect()
        try:
            return talk(connection, method, path, body, **headers)
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: Any = b"", **headers: str) -> Answer:
        return self.ask("POST", path, body, **headers)

    def infer(self, body: Any, **headers: str) -> Answer:
        return self.post(f"/v2/models/{self.name}/infer", body, **headers)


INFO = {
    "device": "device",
    "boot": "b00t",
    "model": {"name": "m", "version": "1", "sha256": "0" * 64, "file": "m.onnx", "task": "raw", "labels": 0,
              "inputs": [], "outputs": [], "golden_samples": 0, "guessed": []},
    "engine": {"name": "onnxruntime", "version": "1", "threads": 1},
    "versions": {"edge-run": "0"},
}  # fmt: skip


def talk(connection: http.client.HTTPConnection, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    """One request on a connection that may be kept."""
    sent = {k.replace("_", "-"): v for k, v in headers.items()}
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        sent.setdefault("Content-Type", "application/json")
    connection.request(method, path, body, sent)
    response = connection.getresponse()
    return Answer(response.status, response.read(), {k.lower(): v for k, v in response.getheaders()})


def tensor(name: str, array: Any, datatype: str, **more: Any) -> dict[str, Any]:
    """An input of a v2 request, with flat data."""
    array = np.asarray(array)
    return {"name": name, "shape": list(array.shape), "datatype": datatype, "data": array.ravel().tolist(), **more}


def with_binary(request: dict[str, Any], *blobs: bytes) -> tuple[bytes, dict[str, str]]:
    """The body and the header of a request with binary tensors."""
    head = json.dumps(request).encode()
    return head + b"".join(blobs), {"Inference_Header_Content_Length": str(len(head))}


class Forwarding:
    """An engine in front of another: what a test changes is in its subclasses."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.name, self.version, self.metadata = engine.name, engine.version, engine.metadata
        self.inputs, self.outputs = engine.inputs, engine.outputs

    def infer(self, tensors: Any) -> dict[str, Any]:
        return dict(self._engine.infer(tensors))

    def close(self) -> None:
        self._engine.close()


class SlowEngine(Forwarding):
    """The engine of a loaded model that runs only when it is let, and counts the calls inside."""

    def __init__(self, engine: Any) -> None:
        super().__init__(engine)
        self.gate = threading.Event()
        self.entered = threading.Semaphore(0)
        self.runs = 0
        self.rows: list[int] = []

    def infer(self, tensors: Any) -> dict[str, Any]:
        self.entered.release()
        assert self.gate.wait(CLIENT_WAIT_S)
        self.runs += 1
        self.rows.append(len(next(iter(tensors.values()))))
        return super().infer(tensors)


def in_threads(count: int, work: Callable[[int], Any]) -> list[threading.Thread]:
    """Starts `work(0)` to `work(count - 1)`, each in a thread."""
    threads = [threading.Thread(target=work, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    return threads


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096

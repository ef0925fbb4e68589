"""Models of several versions, and a repository of them made with `edge-fleet`'s own parts."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from support.tls import Papers
from tuf.api.metadata import Metadata

from edge.drift import reference
from edge.drift.reference import Reference
from edge.model import golden
from edge.model.manifest import ONNX_KEY, Feature, Input, Manifest, Output
from edge.tools.fleet.accept import examined
from edge.tools.fleet.keys import Keys
from edge.tools.fleet.repository import Repository, rollout
from edge.updates.order import Order
from edge.updates.release import WHOLE, Release

PASSPHRASE = b"a passphrase for tests"


def write_model(path: Path, version: str = "1", *, factor: float = 2.0, lies: float = 0.0, **more: Any) -> Path:
    """The sum of a row of `a` and `factor * b`. Its golden sample says `lies` too much."""
    feature_names, names = more.pop("features", ("a", "b")), more.pop("names", ("sum",))
    column = np.array([[1.0], *[[factor]] * (len(feature_names) - 1)], dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["row", "weights"], ["value"])],
        "sum",
        [helper.make_tensor_value_info("row", TensorProto.FLOAT, ["n", len(feature_names)])],
        [helper.make_tensor_value_info("value", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(column, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    row = np.ones((1, len(feature_names)), dtype=np.float32)
    features = tuple(Feature(name=name) for name in feature_names)
    manifest = Manifest(
        name="m",
        version=version,
        inputs=(Input(name="row", kind="table", shape=("n", len(feature_names)), features=features),),
        outputs=(Output(name="value", names=names),),
        **{"task": "regress", "golden": (golden.make({"row": row}, {"value": row @ column + lies}),), **more},
    )
    helper.set_model_props(model, {ONNX_KEY: msgspec.json.encode(manifest).decode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def seen(features: Sequence[str] = ("a", "b"), **predictions: np.ndarray) -> dict[str, Any]:
    """Of a manifest: what its sample looked like, inputs as they come, and what the model made of them."""
    numbers = np.arange(1000.0)
    found = Reference(
        rows=1000, order="time",
        features=tuple(reference.of_numbers(n, numbers, ordered=True) for n in features),
        predictions=tuple(reference.of_numbers(n, v) for n, v in predictions.items()),
    )  # fmt: skip
    return {"reference": msgspec.to_builtins(found)}


class Fleet:
    """A repository below `folder`, an empty one where there is none. Its keys are unlocked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = Keys(folder / "keys", lambda: PASSPHRASE)
        self.repository = Repository(folder, self.keys)
        if not self.root.exists():
            self.repository.init()

    @property
    def root(self) -> Path:
        return self.folder / "root.json"

    @property
    def public(self) -> Path:
        return self.folder / "public"

    @property
    def uri(self) -> str:
        return f"file:{self.public}"

    def add(self, file: Path, version: str, *, share: int = WHOLE, channel: str = "stable") -> Release:
        """As `edge-fleet add --share`."""
        examined(file, force=True)
        return self.repository.add(file, "m", version, channel, share=share)

    def roll(self, version: str | None, share: int) -> Release:
        return self.repository.change("m", "stable", version, rollout(share))

    def target(self, release: Release) -> Path:
        """The file that is served for a release."""
        return self.public / "targets" / "m" / f"{release.sha256}.{release.file.partition('/')[2]}"

    def newest(self, role: str) -> Path:
        """The file of a role's newest metadata."""
        if role == "timestamp":
            return self.repository.metadata / "timestamp.json"
        return max(self.repository.metadata.glob(f"*.{role}.json"), key=lambda p: int(p.name.partition(".")[0]))

    def resign(self, role: str, change: Callable[[Any], None], *, key: str = "", to: str = "") -> None:
        """Metadata changed and signed again with the right key, or another one: what a thief of that key could do."""
        path = self.newest(role)
        metadata: Metadata[Any] = Metadata.from_file(str(path))
        change(metadata.signed)
        metadata.signatures.clear()
        metadata.sign(self.keys.signer(key or role))
        (path.with_name(to) if to else path).write_bytes(metadata.to_bytes())

    def order(self, folder: Path, **more: Any) -> Order:
        """What a device that has never asked asks."""
        fields = {"uri": self.uri, "folder": folder, "model": "m", "channel": "stable", "device": "d"}
        return Order(**{**fields, "root": self.root, **more})


class RangeServer:
    """Serves a folder over HTTP on loopback, ranges too. `breaks_after` so many bytes of a target, once; `asked` says
    what came: path, the range that was asked for, bytes of the body. What asks for a path with `holds` in it gets no
    answer; `held` is set when one does. `status`: what all are answered with, without a file."""

    def __init__(
        self, folder: Path, *, ranges: bool = True, papers: Papers | None = None, client: bool = False
    ) -> None:
        """`papers`: over TLS, with their server's certificate; `client`: who asks has to show one of theirs."""
        self.folder = folder
        self.ranges = ranges
        self.papers = papers
        self.breaks_after: int | None = None
        self.holds: str | None = None
        self.status: int | None = None
        self.held = threading.Event()
        self._ends = threading.Event()
        self.asked: list[tuple[str, str, int]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if papers is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*papers.pair("broker"))
            if client:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(papers.ca)
            # Each handshake in the thread of its connection: one that is refused ends no other.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
            self._server.handle_error = lambda *_: None
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def uri(self) -> str:
        return f"{'http' if self.papers is None else 'https'}://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> RangeServer:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """May be called twice."""
        if self._ends.is_set():
            return
        self._ends.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        if self.holds is not None and self.holds in request.path:
            self.held.set()
            self._ends.wait()
            request.close_connection = True
            return
        path = self.folder / request.path.lstrip("/")
        wanted = request.headers.get("Range") or ""
        if self.status is not None or not path.is_file():
            self.asked.append((request.path, wanted, 0))
            request.send_error(self.status or 404)
            return
        data = path.read_bytes()
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
        body = data[start:]
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(body)))
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        request.end_headers()
        if self.breaks_after is not None and "/targets/" in request.path:
            body, self.breaks_after = body[: self.breaks_after], None
            request.close_connection = True
        self.asked.append((request.path, wanted, len(body)))
        request.wfile.write(body)


def bytes_of(folder: Path) -> dict[str, tuple[int, int]]:
    """Each file below a folder, its size and when it was last written."""
    return {
        str(p.relative_to(folder)): (p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()
    }


def edited(path: Path, change: Callable[[bytes], bytes]) -> None:
    """A file that somebody changed on the way."""
    path.write_bytes(change(path.read_bytes()))

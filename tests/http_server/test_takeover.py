"""Another model answers the next requests; those under way, and streams, go on."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from support.http import Site, SlowEngine, in_threads, talk
from support.updating import write_model

from edge.app import assembly
from edge.http.scheduling import QUICK_BYTES

ROW = {"a": 1, "b": 1}


@pytest.fixture
def files(tmp_path) -> tuple[Path, Path]:
    more = {"features": ("a", "b", "c"), "golden": ()}
    return write_model(tmp_path / "1.onnx", "1"), write_model(tmp_path / "2.onnx", "2", **more)


def asked(site: Site) -> str:
    """The version that answers a request which is too large to run in the event loop, however quick the model is."""
    body = json.dumps(ROW).encode().ljust(QUICK_BYTES + 1)
    return site.post("/predict", body, Content_Type="application/json").json["model"]["version"]


def test_requests_under_way_and_streams_go_on_and_the_next_ones_are_the_new_model_s(files):
    first, second = (assembly.load_file(file) for file in files)
    slow = SlowEngine(first.engine)
    site = Site(first, engine=slow).start()
    old: list[str] = []
    let_go = threading.Event()
    try:
        stream = site.connect()
        stream.request("GET", "/events")
        reader = stream.getresponse()
        kept = site.connect()
        slow.gate.set()
        for _ in range(20):  # its head is known by then, and the model for a quick one
            before = talk(kept, "POST", "/predict", ROW)
            assert slow.entered.acquire(timeout=150)
        slow.gate.clear()
        asks = in_threads(1, lambda _: old.append(asked(site)))
        assert slow.entered.acquire(timeout=150)
        taken = site.use(second, let_go.set)
        assert taken.wait(150)
        new = [talk(kept, "POST", "/predict", {**ROW, "c": 1}) for _ in range(3)]
        tensors = site.get("/v2/models/m").json["inputs"][0]["shape"]
        gone = site.get("/v2/models/m/versions/1")
        held = not let_go.is_set()
        slow.gate.set()
        for thread in asks:
            thread.join()
        assert let_go.wait(150)
        streamed = reader.fp.readline()
    finally:
        slow.gate.set()
        stream.close()
        kept.close()
        site.stop()

    assert before.json["model"]["version"] == "1"
    assert [answer.json["model"]["version"] for answer in new] == ["2", "2", "2"]
    assert (old, held) == (["1"], True)
    assert tensors == [-1, 3]
    assert gone.status == 404
    assert streamed

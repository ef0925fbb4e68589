"""Bytes of ours read by pysparkplug, and its bytes read by us. It has a protobuf of its own: another environment."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support import peers

from edge.mqtt.sparkplug.metrics import ResultMetrics
from edge.mqtt.sparkplug.payload import BOOLEAN, STRING, UINT64, Metric, Payload, decode, encode

pytestmark = [
    pytest.mark.peers,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.version_info >= (3, 13), reason="one Python is enough for other people's packages"),
]

READ = """
import sys, pysparkplug as sp
kind, data = getattr(sp, sys.argv[1]), bytes.fromhex(sys.argv[2])
read = kind.decode(data)
metrics = read.metrics if hasattr(read, "metrics") else [read.bd_seq_metric]
for m in metrics:
    print(m.name, m.datatype.name, m.value, m.is_null, m.is_historical)
print(getattr(read, "seq", None))
"""
WRITE = """
import pysparkplug as sp
t, i, u, d, s, b = (sp.DataType[n] for n in ("BOOLEAN", "INT16", "UINT64", "DOUBLE", "STRING", "INT64"))
values = [("t", t, True), ("i", i, -5), ("u", u, 2**63), ("d", d, 1.5), ("s", s, "x"), ("b", b, -(2**40))]
values.append(("n", d, None))
metrics = tuple(
    sp.Metric(timestamp=1, name=n, datatype=k, value=v, is_null=v is None) for n, k, v in values
)
print(sp.DBirth(timestamp=2, seq=255, metrics=metrics).encode().hex())
"""


def run(program: str, *arguments: str) -> list[str]:
    bins = peers.environment(peers.CACHE, "sparkplug", "pysparkplug==0.6.1")
    done = subprocess.run([bins / "python", "-c", program, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_pysparkplug_reads_births_data_and_deaths():
    result = {
        "id": "a/b/c/1", "seq": 1, "source": "camera:0", "time": "1970-01-01T00:00:01Z",
        "replayed": True, "task": "detect",
        "predictions": [{"label": "cat", "score": 0.5}],
    }  # fmt: skip
    metrics = ResultMetrics("detect")
    data = encode(Payload(2, metrics.of(result, b"{}"), 7))
    assert run(READ, "DData", data.hex()) == [
        "id STRING a/b/c/1 False True",
        "seq INT64 1 False True",
        "source STRING camera:0 False True",
        "count INT64 1 False True",
        "result STRING {} False True",
        "top/label STRING cat False True",
        "top/score DOUBLE 0.5 False True",
        "7",
    ]
    births = encode(Payload(2, metrics.announced(1), 1))
    assert run(READ, "DBirth", births.hex())[0] == "id STRING None True False"
    number = Metric("bdSeq", 3, UINT64, timestamp=1)
    node = [number, Metric("Node Control/Rebirth", False, BOOLEAN, timestamp=1), Metric("v", "1", STRING, timestamp=1)]
    assert run(READ, "NBirth", encode(Payload(2, node, 0)).hex())[0] == "bdSeq UINT64 3 False False"
    assert run(READ, "NDeath", encode(Payload(2, [number])).hex())[0] == "bdSeq UINT64 3 False False"


def test_what_pysparkplug_writes_is_read_here():
    (said,) = run(WRITE)
    read = decode(bytes.fromhex(said))
    assert (read.timestamp, read.seq) == (2, 255)
    assert [(m.name, m.value) for m in read.metrics] == [
        ("t", True), ("i", -5), ("u", 2**63), ("d", 1.5), ("s", "x"), ("b", -(2**40)), ("n", None),
    ]  # fmt: skip

"""Load: queues that are full, bodies that are too large, clients that are slow, gone, or too many."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import json
import os
import select
import socket
import ssl
import threading
import weakref

import numpy as np
import pytest
from msgspec.structs import replace
from support import onnxmodels
from support.http import CLIENT_WAIT_S, Site, SlowEngine, in_threads, resident, tensor
from support.processes import PATIENCE_S, until
from support.tls import make_certificate

from edge.app import assembly
from edge.errors import SampleError
from edge.http.options import Limits
from edge.http.reader import LARGE, READ_TOGETHER
from edge.http.scheduling import NICE, Admission, AdmissionOptions, CpuBudget, lower_priority
from edge.telemetry import memory
from edge.telemetry.metrics import Metrics
from edge.testing.fakes import FakeClock

ROW = {"inputs": [tensor("x", [[1, 2, 3]], "FP32")]}
WAITS_LONG_MS = 60_000.0
"""A batch goes when it is full, on a slow machine too."""


@pytest.fixture
def slow(serve, models):
    """A server whose engine waits to be let."""

    def start(**options):
        loaded = assembly.load_file(onnxmodels.identity(models / "slow.onnx"))
        engine = SlowEngine(loaded.engine)
        site = serve(replace(loaded, engine=engine), **options)
        return site, engine

    return start


def raw(site: Site, data: bytes, source: str = "127.0.0.1") -> socket.socket:
    made = socket.create_connection(site.address, 150, (source, 0))
    made.sendall(data)
    return made


def head(length: int, path: str = "/predict") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n".encode()


# --- the queue ------------------------------------------------------------------------------------------


def test_more_than_the_queue_holds_are_told_to_come_again(slow):
    site, engine = slow(queue=2, workers=1)
    answers = []
    threads = in_threads(3, lambda _: answers.append(site.infer(ROW)))
    assert engine.entered.acquire(timeout=150)
    until(lambda: site.metrics.snapshot()["http_waiting"] == 2, "two requests wait")

    refused = site.infer(ROW)
    engine.gate.set()
    for thread in threads:
        thread.join()

    assert refused.status == 503
    assert refused.headers["retry-after"] == "1"
    assert "--http-queue" in refused.error
    assert [a.status for a in answers] == [200, 200, 200]


def test_what_needs_no_inference_is_answered_while_the_queue_is_full(slow):
    site, engine = slow(queue=1, workers=1)
    threads = in_threads(2, lambda _: site.infer(ROW))
    until(lambda: site.metrics.snapshot()["http_waiting"] == 1, "one request waits")

    assert site.get("/v2/health/ready").status == 200
    assert site.get("/metrics").status == 200
    assert b"edge_run_http_waiting_requests 1.0" in site.get("/metrics").body
    engine.gate.set()
    for thread in threads:
        thread.join()


def test_nothing_is_inferred_for_a_client_that_left_the_queue(slow):
    site, engine = slow(queue=4, workers=1)
    threads = in_threads(1, lambda _: site.infer(ROW))
    assert engine.entered.acquire(timeout=150)
    body = json.dumps(ROW).encode()
    leaver = raw(site, head(len(body), "/v2/models/slow/infer") + body)
    until(lambda: site.metrics.snapshot()["http_waiting"] == 1, "the second request waits")

    leaver.close()
    until(lambda: site.metrics.snapshot()["http_waiting"] == 0, "it left")
    engine.gate.set()
    threads[0].join()

    assert site.infer(ROW).status == 200
    assert engine.runs == 2


def test_the_server_stops_while_requests_wait(models):
    loaded = assembly.load_file(onnxmodels.identity(models / "stopping.onnx"))
    engine = SlowEngine(loaded.engine)
    site = Site(replace(loaded, engine=engine), workers=1).start()
    answers = []
    threads = in_threads(2, lambda _: answers.append(site.infer(ROW).status))
    assert engine.entered.acquire(timeout=150)
    until(lambda: site.metrics.snapshot()["http_waiting"] == 1, "the other waits")

    stopper = threading.Thread(target=site.stop)
    stopper.start()
    engine.gate.set()
    stopper.join()
    for thread in threads:
        thread.join()

    assert answers == [200, 200]


def test_the_server_stops_at_once_while_clients_are_in_the_middle_of_a_request(models, caplog):
    site = Site(onnxmodels.identity(models / "halves.onnx"), max_body=1000).start()
    halves = [
        raw(site, data)
        for data in (b"", b"GET /v2 HT", head(99) + b"[1", head(9_999_999) + b"x", head(99, "/nothing") + b"x",
                     b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03garbage")
    ]  # fmt: skip
    until(lambda: site.metrics.snapshot()["http_connections"] == len(halves), "all are there")

    site.stop()

    assert not caplog.records
    for half in halves:
        half.close()


def test_a_request_that_outlasts_the_patience_of_the_stop_is_told_so(models, caplog):
    loaded = assembly.load_file(onnxmodels.identity(models / "outlasts.onnx"))
    engine = SlowEngine(loaded.engine)
    site = Site(replace(loaded, engine=engine), workers=1, grace_s=1).start()
    answers = []
    threads = in_threads(1, lambda _: answers.append(site.infer(ROW)))
    assert engine.entered.acquire(timeout=150)

    stopper = threading.Thread(target=site.stop)
    stopper.start()
    for thread in threads:
        thread.join()
    engine.gate.set()
    stopper.join()

    assert answers[0].status == 503
    assert "stops" in answers[0].error
    assert "Traceback" not in caplog.text


def test_a_bug_in_a_batch_is_answered_to_each_of_it(slow, caplog):
    site, engine = slow(max_batch=8, max_wait_ms=300.0, workers=4)
    engine.infer = lambda tensors: 1 / 0
    statuses = []
    for thread in in_threads(3, lambda _: statuses.append(site.infer(ROW).status)):
        thread.join()

    assert statuses == [500, 500, 500]


# --- bodies ---------------------------------------------------------------------------------------------


def test_a_body_past_the_limit_is_a_413_before_it_is_read(serve, models):
    site = serve(onnxmodels.identity(models / "small.onnx"), max_body=1000)

    with raw(site, head(10_000_000)) as client:
        answer = b"".join(iter(lambda: client.recv(4096), b""))

    assert answer.startswith(b"HTTP/1.1 413")
    assert b"--http-max-body" in answer


def test_a_body_that_does_not_say_its_length_is_cut_off_at_the_limit(serve, models):
    site = serve(onnxmodels.identity(models / "chunked.onnx"), max_body=1000)
    chunk = b"400\r\n" + b"x" * 0x400 + b"\r\n"

    with raw(
        site, b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk
    ) as client:
        assert client.recv(4096).startswith(b"HTTP/1.1 413")


def test_a_small_body_that_unpacks_to_a_large_one_is_a_413(serve, models):
    site = serve(onnxmodels.identity(models / "bomb.onnx"), max_body=100_000)
    bomb = gzip.compress(b"0" * 50_000_000)

    assert site.post("/predict", bomb, Content_Encoding="gzip").status == 413
    assert site.post("/predict", gzip.compress(b"[1,2,3]")[:-9], Content_Encoding="gzip").status == 400
    assert site.post("/predict", b"[1,2,3]", Content_Encoding="gzip").status == 400
    assert site.post("/predict", b"[1,2,3]", Content_Encoding="br").status == 415


def test_large_bodies_of_one_address_are_bounded_together_and_leave_room_for_one_of_another(serve, models):
    patient = Limits(chunk_s=1000.0)  # no answer of this test comes from time
    site = serve(onnxmodels.identity(models / "together.onnx"), max_body=1_000_000, limits=patient)
    whole = b" " * 900_000 + b"[1,2,3]"

    with contextlib.ExitStack() as stack:
        holders = [stack.enter_context(raw(site, head(950_000) + whole, "127.0.0.2")) for _ in range(READ_TOGETHER)]
        refused, _, _ = select.select(holders, [], [], PATIENCE_S)
        answers = [holder.recv(65_536) for holder in refused]
        while_held = site.post("/predict", whole)

    # Three of them fit together. Which one is the fourth is up to the order in which they are read.
    assert [b"too many large bodies at once from your address" in answer for answer in answers] == [True]
    assert while_held.status == 200


def test_what_large_bodies_took_goes_back_to_the_system_when_no_more_come(serve, models, monkeypatch):
    gone = threading.Event()
    monkeypatch.setattr(memory, "give_back", gone.set)
    site = serve(onnxmodels.identity(models / "gives_back.onnx"), limits=Limits(give_back_s=0.0))
    site.post("/predict", b" " * (LARGE // 2) + b"[1,2,3]")
    assert site.get("/health").status == 200
    assert not gone.is_set()

    answer = site.post("/predict", b" " * LARGE + b"[1,2,3]")

    assert answer.status == 200
    assert gone.wait(CLIENT_WAIT_S)


def test_a_client_that_goes_in_the_middle_of_its_body_holds_nothing_any_more(serve, models):
    site = serve(onnxmodels.identity(models / "gone.onnx"), max_body=1_000_000, limits=Limits(chunk_s=1000.0))

    for _ in range(5):  # together more than the server holds at once
        with raw(site, head(950_000) + b" " * 900_000) as client:
            client.shutdown(socket.SHUT_WR)
            assert client.recv(10) == b""

    assert site.post("/predict", b"[1,2,3]").status == 200


@pytest.mark.parametrize("path", ["/metrics", "/v2", "/docs", "/openapi.json", "/health"])
def test_a_client_that_says_no_more_still_gets_its_answer(numbers, path):
    with raw(numbers, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()) as client:
        client.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: client.recv(65_536), b""))

    said, _, body = answer.partition(b"\r\n\r\n")
    length = next(line for line in said.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    assert (said[:12], len(body)) == (b"HTTP/1.1 200", int(length.split(b":")[1]))


def test_a_client_that_goes_while_its_request_is_answered_leaves_nothing_of_the_next_behind(slow):
    site, engine = slow(max_body=1_000_000, limits=Limits(chunk_s=1000.0))
    body = json.dumps(ROW).encode()
    with raw(site, head(len(body), "/v2/models/slow/infer") + body + head(950_000) + b" " * 100_000) as client:
        assert engine.entered.acquire(timeout=150)
        client.shutdown(socket.SHUT_WR)
        engine.gate.set()
        answer = b"".join(iter(lambda: client.recv(65_536), b""))

    assert answer.startswith(b"HTTP/1.1 ")
    until(lambda: not site.metrics.snapshot()["http_connections"], "the connection is closed")


def test_a_client_of_tls_that_goes_while_its_request_is_answered_is_no_line_in_the_log(slow, tmp_path, caplog):
    cert, key = make_certificate(tmp_path)
    site, engine = slow(cert=cert, key=key)
    body = json.dumps(ROW).encode()
    context = ssl.create_default_context(cafile=cert)
    with context.wrap_socket(raw(site, b""), server_hostname="localhost") as client:
        client.sendall(head(len(body), "/v2/models/slow/infer") + body)
        assert engine.entered.acquire(timeout=150)
        with contextlib.suppress(OSError):
            client.unwrap()
    engine.gate.set()
    until(lambda: not site.metrics.snapshot()["http_connections"], "the connection is closed")

    assert [r.getMessage() for r in caplog.records if r.name == "asyncio"] == []


# --- clients --------------------------------------------------------------------------------------------


IMPATIENT = Limits(head_s=0.2, sweep_s=0.05)


@pytest.mark.parametrize("said", [b"", b"GET /v2 HT", b"GET /v2 HTTP/1.1\r\nHost: local"])
def test_a_client_that_does_not_finish_its_head_is_cut_off(serve, models, said):
    site = serve(onnxmodels.identity(models / "head.onnx"), limits=IMPATIENT)

    with raw(site, said) as client, contextlib.suppress(ConnectionResetError):  # cut off, in so many words
        assert client.recv(10) == b""


def test_a_client_that_sends_nothing_in_the_middle_of_its_body_is_told_so(serve, models):
    site = serve(onnxmodels.identity(models / "body.onnx"), limits=Limits(chunk_s=0.2, sweep_s=0.05))

    with raw(site, head(100) + b"[1") as client:
        answer = client.recv(4096)

    assert answer.startswith(b"HTTP/1.1 408")
    assert b"nothing came for 0.2 s" in answer


def test_a_client_that_sends_its_body_too_slowly_is_told_so_in_other_words(serve, models):
    site = serve(onnxmodels.identity(models / "body.onnx"), limits=Limits(body_s=0.2, sweep_s=0.05))

    with raw(site, head(10_000) + b"[1") as client:
        client.settimeout(0.02)
        answer = b""
        for _ in range(1000):
            client.sendall(b" ")
            with contextlib.suppress(TimeoutError):
                answer = client.recv(4096)
                break

    assert answer.startswith(b"HTTP/1.1 408")
    assert b"did not come whole within 0.2 s" in answer


ASK = b"GET /v2 HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEALTH = ASK.replace(b"/v2", b"/health")


def answered(site: Site, address: str = "127.0.0.1") -> socket.socket:
    """A client at `address` that was answered, and keeps its connection."""
    client = socket.create_connection(site.address, timeout=150, source_address=(address, 0))
    client.sendall(ASK)
    assert client.recv(15) == b"HTTP/1.1 200 OK"
    return client


def is_open(client: socket.socket) -> bool:
    with contextlib.suppress(OSError):
        client.sendall(HEALTH)
        while data := client.recv(4096):
            if b'{"status":"ok"}' in data:
                return True
    return False


def test_connections_that_idle_make_room_the_longest_idle_one_first(serve, models):
    site = serve(onnxmodels.identity(models / "many.onnx"), connections=256, limits=Limits(evict_after_s=0))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(answered(site)) for _ in range(200)]

        assert not any(map(is_open, clients[:8]))
        assert all(map(is_open, clients[8:]))


def test_one_address_has_at_most_its_share_of_the_connections(serve, models):
    site = serve(onnxmodels.identity(models / "share.onnx"), connections=8, limits=Limits(evict_after_s=0))
    with contextlib.ExitStack() as stack:
        others = [stack.enter_context(answered(site, "127.0.0.2")) for _ in range(2)]
        for _ in range(20):
            stack.enter_context(answered(site))

        assert all(map(is_open, others))


def test_connections_that_work_are_not_cut_off_for_others_which_are_told_so(serve, models):
    site = serve(onnxmodels.identity(models / "busy.onnx"), connections=4, limits=Limits(evict_after_s=1000))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(answered(site)) for _ in range(3)]

        with raw(site, ASK) as late:
            answer = b"".join(iter(lambda: late.recv(4096), b""))
        health = site.get("/health")

        assert answer.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 1" in answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
        assert (health.status, health.headers["connection"]) == (200, "close")
        assert all(map(is_open, clients))


def test_health_is_answered_while_others_hold_every_place_with_half_a_head(serve, models):
    site = serve(onnxmodels.identity(models / "halves.onnx"), connections=4)
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(raw(site, b"GET /v2 HT"))

        assert site.get("/health").json == {"status": "ok"}


def test_a_client_that_reads_no_events_keeps_nobody_waiting(serve, models):
    site = serve(onnxmodels.identity(models / "deaf.onnx"))
    deaf = raw(site, b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert deaf.recv(15) == b"HTTP/1.1 200 OK"

    connection_ = site.connect()
    for _ in range(1000):
        connection_.request("POST", "/predict", b"[1,2,3]")
        assert connection_.getresponse().read()
    connection_.close()

    assert site.get("/health").status == 200
    deaf.close()


# --- micro-batching -------------------------------------------------------------------------------------


def test_requests_that_come_together_run_together_and_each_gets_its_own_rows(slow):
    site, engine = slow(max_batch=8, max_wait_ms=WAITS_LONG_MS, queue=16, workers=4)
    engine.gate.set()
    answers = {}

    def ask(number):
        request = {"id": str(number), "inputs": [tensor("x", [[number, 0, 0], [number, 1, 0]], "FP32")]}
        answers[number] = site.infer(request).json

    for thread in in_threads(4, ask):
        thread.join()

    assert engine.rows == [1, 3, 8]  # whether rows leave one another alone is tried first
    for number, answer in answers.items():
        assert answer["id"] == str(number)
        assert answer["outputs"][0]["data"] == [number, 0, 0, number, 1, 0]


def test_a_request_alone_waits_no_longer_than_it_is_told(slow):
    site, engine = slow(max_batch=8, max_wait_ms=1.0)
    engine.gate.set()

    assert site.infer(ROW).status == 200
    assert engine.rows == [1]


def test_the_queue_bounds_batches_too_and_nobody_is_sent_away_with_the_work_done(slow):
    site, engine = slow(max_batch=2, max_wait_ms=1.0, queue=1, workers=1)
    answers = []
    threads = in_threads(1, lambda _: answers.append(site.infer(ROW)))
    assert engine.entered.acquire(timeout=150)
    threads += in_threads(2, lambda _: answers.append(site.infer(ROW)))
    until(lambda: site.metrics.snapshot()["http_waiting"] == 2, "a batch runs and two requests wait")

    refused = site.infer(ROW)
    engine.gate.set()
    for thread in threads:
        thread.join()

    assert refused.status == 503
    assert refused.headers["retry-after"] == "1"
    assert [a.status for a in answers] == [200, 200, 200]


def test_a_bad_request_costs_its_batch_nothing(slow):
    site, engine = slow(max_batch=2, max_wait_ms=WAITS_LONG_MS, workers=4)
    engine.gate.set()
    statuses = []
    bad = {"inputs": [tensor("x", [[1, 2]], "FP32")]}

    for thread in in_threads(3, lambda i: statuses.append(site.infer(bad if i == 0 else ROW).status)):
        thread.join()

    assert sorted(statuses) == [200, 200, 400]
    assert engine.rows == [1, 3, 2]  # whether rows leave one another alone is tried first


# --- the flow's precedence ------------------------------------------------------------------------------


def test_requests_wait_only_while_the_flow_has_samples():
    clock = FakeClock()
    share = CpuBudget(0.25, clock, Metrics())
    share.wait_s()
    share.worked(1.0)
    asleep = share.wait_s()
    share.flow_works()
    waking = share.wait_s()
    share.worked(1.0)
    awake = share.wait_s()
    clock.advance(1.5)

    assert asleep == waking == 0
    assert awake == pytest.approx(3.9, abs=0.3)  # a second of work at a quarter of a core, less what is given at once
    assert share.wait_s() == 0


def test_a_share_is_paid_back_as_time_goes_by():
    clock = FakeClock()
    share = CpuBudget(0.5, clock, Metrics())
    share.flow_works()
    share.wait_s()
    share.worked(0.2)
    first = share.wait_s()
    clock.advance(0.2)

    assert share.wait_s() == pytest.approx(first - 0.2, abs=0.02)


def test_memory_stays_flat_while_requests_are_refused(slow):
    site, engine = slow(queue=0, workers=1)
    thread = in_threads(1, lambda _: site.infer(ROW))[0]
    assert engine.entered.acquire(timeout=150)
    body = np.zeros(1_000_000, np.uint8).tobytes()

    before = resident()
    for _ in range(30):
        assert site.infer(body).status == 503
    grown = resident() - before
    engine.gate.set()
    thread.join()

    assert grown < 20e6


@pytest.mark.parametrize("make", [onnxmodels.dynamic, onnxmodels.less_the_mean])
def test_requests_never_change_one_another(serve, models, make):
    site = serve(make(models / f"{make.__name__}.onnx"), max_batch=8, max_wait_ms=20)

    def ask(row):
        request = {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": row}]}
        return site.infer(request).json["outputs"][0]["data"]

    rows = [[0.5 * 10**n, 0.25, -(3.0**n)] for n in range(6)]
    alone = [ask(row) for row in rows]
    found = {}
    for _ in range(5):
        for thread in in_threads(len(rows), lambda i: found.update({i: ask(rows[i])})):
            thread.join()
        assert [found[i] for i in range(len(rows))] == alone


@pytest.mark.parametrize(("before", "after"), [(0, NICE), (NICE + 5, NICE + 5)])
def test_a_thread_for_requests_never_stands_before_where_the_user_has_put_the_process(before, after):
    found = []

    def thread():
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), before)
        lower_priority()
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    worker = threading.Thread(target=thread)
    worker.start()
    worker.join()

    assert found == [after]


def test_what_was_unpacked_counts_as_what_came_while_it_waits(slow):
    site, engine = slow(max_body=100_000, workers=1)
    packed, found = gzip.compress(b"[1,2,3" + b" " * 90_000 + b"]"), []
    threads = in_threads(6, lambda _: found.append(site.post("/predict", packed, Content_Encoding="gzip").status))
    until(lambda: found.count(503) == 3, "more than an address's three of the largest size are refused")
    engine.gate.set()
    for thread in threads:
        thread.join(PATIENCE_S)

    assert sorted(found) == [200] * 3 + [503] * 3


def test_what_a_worker_held_is_let_go_with_its_error():
    class Held:
        """Megabytes, say."""

    held = []

    def work():
        mine = Held()
        held.append(weakref.ref(mine))
        raise SampleError("no")

    async def run():
        budget = CpuBudget(1.0, FakeClock(), Metrics())
        admission = Admission(AdmissionOptions(1, 1, inline=False, lowers_priority=False), budget, Metrics())
        with contextlib.suppress(SampleError):
            await admission.run(work, 0)
        admission.close()
        return held[0]()

    gc.disable()
    try:
        assert asyncio.run(run()) is None
    finally:
        gc.enable()

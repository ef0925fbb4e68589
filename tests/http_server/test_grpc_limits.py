"""gRPC: calls that never send, connections that do nothing, and messages that are large together."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support import onnxmodels
from support.http import CLIENT_WAIT_S, SlowEngine, in_threads
from support.processes import until

from edge.app import assembly
from edge.http.http_types import Refusal
from edge.http.options import Limits
from edge.http.reader import READ_TOGETHER, BodyBudget

grpc = pytest.importorskip("grpc", reason="needs the extra [grpc]")

from edge.http.grpc.messages import SERVICE, Messages  # noqa: E402
from edge.http.grpc.reading import SMALL, TOGETHER, Reading  # noqa: E402

TOKEN = "correct-horse-battery-staple"
MOST = 8
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, END_HEADERS = 1, 4


def frame(kind, flags, stream, body=b""):
    return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body


def call(method, **more):
    """The headers of a call, each as a literal that is not indexed (RFC 7541, 6.2.2)."""
    pseudo = {":method": "POST", ":scheme": "http", ":path": f"/{SERVICE}/{method}", ":authority": "localhost"}
    fields = {**pseudo, "te": "trailers", "content-type": "application/grpc", **more}
    return b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )


@contextlib.contextmanager
def calls_without_a_message(site, method, count=MOST, source="127.0.0.1", **more):
    """On one connection."""
    with socket.create_connection(("127.0.0.1", site.server.grpc_port), CLIENT_WAIT_S, (source, 0)) as client:
        client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0))
        for number in range(count):
            client.sendall(frame(HEADERS, END_HEADERS, 2 * number + 1, call(method, **more)))
        yield client


def heard(client, text):
    """Reads until it came; the end of the connection is a failure."""
    got = b""
    while text not in got:
        more = client.recv(65536)
        assert more, got
        got += more


def has_ended(client):
    client.setblocking(False)
    try:
        while client.recv(65536):
            pass
    except BlockingIOError:
        return False
    return True


def a_row(site):
    request = Messages()["ModelInferRequest"](model_name=site.name)
    request.inputs.add(name="x", datatype="FP32", shape=[1, 3])
    request.raw_input_contents.append(np.ones((1, 3), np.float32).tobytes())
    return request.SerializeToString()


def infer(site, **more):
    # One of gRPC's connections is shared by channels with the same options.
    with grpc.insecure_channel(
        f"127.0.0.1:{site.server.grpc_port}", options=[("grpc.use_local_subchannel_pool", 1)]
    ) as channel:
        answer = channel.unary_unary(f"/{SERVICE}/ModelInfer")(
            a_row(site), timeout=CLIENT_WAIT_S, wait_for_ready=True, **more
        )
    return Messages()["ModelInferResponse"].FromString(answer).model_name


def test_calls_without_the_token_that_never_send_take_nobody_s_place(serve, models):
    model = onnxmodels.identity(models / "grpc_half.onnx")
    site = serve(model, grpc=("127.0.0.1", 0), connections=MOST, token=TOKEN)
    with calls_without_a_message(site, "ModelInfer"), calls_without_a_message(site, "ModelStreamInfer"):
        assert infer(site, metadata=[("authorization", f"Bearer {TOKEN}")]) == site.name


def test_streams_that_never_send_make_room(serve, models):
    model = onnxmodels.identity(models / "grpc_idle.onnx")
    site = serve(model, grpc=("127.0.0.1", 0), connections=MOST, limits=Limits(evict_after_s=0.0))
    with calls_without_a_message(site, "ModelStreamInfer"), calls_without_a_message(site, "ModelStreamInfer"):
        assert infer(site) == site.name


def test_one_address_has_its_share_of_the_calls_and_reads_what_to_do_past_it(serve, models):
    limits = Limits(evict_after_s=1000.0)
    site = serve(
        onnxmodels.identity(models / "grpc_share.onnx"), grpc=("127.0.0.1", 0), connections=MOST, limits=limits
    )
    with calls_without_a_message(site, "ModelStreamInfer", source="127.0.0.2") as client:
        heard(client, b"6 calls of your address wait for their messages, which is its share; end some")
        assert infer(site) == site.name


@pytest.mark.parametrize("method", ["ServerLive", "ServerReady"])
def test_whether_it_lives_and_is_ready_is_said_where_no_call_has_a_place(serve, models, method):
    limits = Limits(evict_after_s=1000.0)
    site = serve(onnxmodels.identity(models / "grpc_full.onnx"), grpc=("127.0.0.1", 0), connections=MOST, limits=limits)
    with calls_without_a_message(site, "ModelStreamInfer") as client:
        heard(client, b"which is its share")
        with grpc.insecure_channel(f"127.0.0.1:{site.server.grpc_port}") as channel:
            assert channel.unary_unary(f"/{SERVICE}/{method}")(b"", timeout=CLIENT_WAIT_S) == b"\x08\x01"


def test_another_address_has_a_place_where_one_has_filled_the_queue(serve, models):
    loaded = assembly.load_file(onnxmodels.identity(models / "grpc_queue.onnx"))
    slow = SlowEngine(loaded.engine)
    site = serve(loaded, engine=slow, grpc=("127.0.0.1", 0), workers=1, queue=1)
    row = a_row(site)
    message = struct.pack(">?I", False, len(row)) + row
    try:
        with calls_without_a_message(site, "ModelInfer", 3, source="127.0.0.2") as client:
            client.sendall(b"".join(frame(DATA, END_STREAM, stream, message) for stream in (1, 3, 5)))
            heard(client, b"busy: 1 requests wait already")
            assert slow.entered.acquire(timeout=CLIENT_WAIT_S)
            answers = []
            (asking,) = in_threads(1, lambda _: answers.append(infer(site)))
            until(lambda: site.metrics.snapshot()["http_waiting"] == 2, "it waits beside the one that filled the queue")
            slow.gate.set()
            asking.join(CLIENT_WAIT_S)
    finally:
        slow.gate.set()

    assert answers == [site.name]


def test_connections_with_an_idle_stream_each_lock_nobody_out(serve, models):
    limits = Limits(evict_after_s=0.0, sweep_s=0.05, call_idle_s=0.1)
    site = serve(onnxmodels.identity(models / "grpc_kept.onnx"), grpc=("127.0.0.1", 0), connections=MOST, limits=limits)
    with contextlib.ExitStack() as stack:
        for _ in range(MOST):
            stack.enter_context(calls_without_a_message(site, "ModelStreamInfer", 1))
        assert infer(site) == site.name


def test_one_address_has_its_share_of_the_connections_whatever_it_does_with_them(serve, models):
    limits = Limits(evict_after_s=1000.0, sweep_s=0.05, call_begin_s=1000.0, call_idle_s=1000.0)
    site = serve(onnxmodels.identity(models / "grpc_many.onnx"), grpc=("127.0.0.1", 0), connections=MOST, limits=limits)
    with contextlib.ExitStack() as stack:
        many = [
            stack.enter_context(calls_without_a_message(site, "ModelStreamInfer", 1, source="127.0.0.2"))
            for _ in range(MOST + MOST // 2)
        ]
        until(lambda: sum(map(has_ended, many)) == MOST - MOST // 4, "those past its share are ended")
        assert infer(site) == site.name


@pytest.mark.parametrize("said", [b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0)])
def test_connections_without_calls_lock_nobody_out_for_long(serve, models, said):
    limits = Limits(call_begin_s=0.2, call_idle_s=0.2)
    site = serve(onnxmodels.identity(models / "grpc_mute.onnx"), grpc=("127.0.0.1", 0), connections=MOST, limits=limits)
    with contextlib.ExitStack() as stack:
        for _ in range(MOST):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", site.server.grpc_port), CLIENT_WAIT_S))
            client.sendall(said)
        assert infer(site) == site.name


def test_connections_that_do_nothing_are_bounded(serve, models):
    site = serve(onnxmodels.identity(models / "grpc_raw.onnx"), grpc=("127.0.0.1", 0), connections=MOST)
    with contextlib.ExitStack() as stack:
        address = ("127.0.0.1", site.server.grpc_port)
        idle = [stack.enter_context(socket.create_connection(address, CLIENT_WAIT_S)) for _ in range(3 * MOST)]

        def ended():
            readable, _, _ = select.select(idle, [], [], 0)
            return len(readable)  # by a byte or an end: nobody has said anything

        until(lambda: ended() >= 2 * MOST, "those past the limit are ended")
        assert site.get("/health").status == 200


# --- calls that wait for a message ------------------------------------------------------------------------


SERVES = """
import sys
from pathlib import Path
from support.http import Site

site = Site(Path(sys.argv[1]), grpc=("127.0.0.1", 0)).start()
print(site.server.grpc_port, flush=True)
sys.stdin.read()
site.stop()
"""


def test_what_a_stranger_sends_is_not_written_into_the_log_as_it_came(models):
    command = [sys.executable, "-c", SERVES, onnxmodels.identity(models / "quiet.onnx")]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    environ.pop("GRPC_VERBOSITY", None)
    lie = struct.pack(">II", 0, 7) + b"\n12:00:00 error   a lie\x1b[2J\n"
    with subprocess.Popen(
        command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        port = int(process.stdout.readline())
        with socket.create_connection(("127.0.0.1", port), CLIENT_WAIT_S) as client:
            client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0) + frame(GOAWAY, 0, 0, lie))
            client.sendall(frame(PING, 0, 0, bytes(8)))
            while bytes([PING, 1]) not in client.recv(65536):  # its answer: what was sent before is read
                pass
        _, told = process.communicate(b"", timeout=CLIENT_WAIT_S)

    assert (process.returncode, told) == (0, b"")


class Call:
    """One whose message comes when it is let."""

    def __init__(self, address="192.0.2.1"):
        self.came = asyncio.Event()
        self._address = address

    def peer(self):
        return f"ipv4:{self._address}:{id(self) % 65536}"

    async def read(self):
        await self.came.wait()
        return b"message"


def reading(most=2, **limits):
    return Reading(most, Limits(**{"evict_after_s": 0.0, "sweep_s": 0.001, **limits}), BodyBudget(2 * SMALL))


async def begun(some, *, stream, address="192.0.2.1"):
    task = asyncio.ensure_future(some.next(Call(address), stream=stream))
    await asyncio.sleep(0)
    return task


def test_one_whose_message_is_due_makes_room_before_a_stream_that_is_idle():
    async def run():
        some, third = reading(), Call()
        idle, due = await begun(some, stream=True), await begun(some, stream=False)
        third.came.set()
        assert await some.next(third, stream=False) == b"message"
        with pytest.raises(Refusal, match="other calls needed the place"):
            await due
        assert not idle.done()
        idle.cancel()

    asyncio.run(run())


def test_where_all_have_come_just_now_the_next_is_refused():
    async def run():
        some = reading(evict_after_s=1000.0)
        tasks = [await begun(some, stream=True, address=f"192.0.2.{n}") for n in range(2)]
        with pytest.raises(Refusal, match="2 calls wait for their messages already"):
            await some.next(Call(), stream=False)
        for task in tasks:
            task.cancel()

    asyncio.run(run())


def test_an_address_that_has_its_share_makes_room_of_its_own():
    async def run():
        some, new = reading(most=4), Call()
        strange = await begun(some, stream=True, address="192.0.2.9")
        own = [await begun(some, stream=True) for _ in range(3)]
        new.came.set()
        assert await some.next(new, stream=True) == b"message"
        with pytest.raises(Refusal, match="other calls needed the place"):
            await own[0]
        for task in (strange, *own[1:]):
            assert not task.done()
            task.cancel()

    asyncio.run(run())


def test_where_all_places_are_taken_the_address_that_has_most_of_them_makes_room():
    async def run():
        some, new = reading(most=4), Call("192.0.2.7")
        first = await begun(some, stream=True, address="192.0.2.9")
        many = [await begun(some, stream=True) for _ in range(3)]
        new.came.set()
        assert await some.next(new, stream=True) == b"message"
        with pytest.raises(Refusal, match="other calls needed the place"):
            await many[0]
        for task in (first, *many[1:]):
            assert not task.done()
            task.cancel()

    asyncio.run(run())


def test_a_message_that_does_not_come_whole_ends_its_call_and_a_stream_may_wait():
    async def run():
        some = reading(body_s=0.0)
        idle, due = await begun(some, stream=True), await begun(some, stream=False)
        with pytest.raises(Refusal, match="did not come whole within 0 s"):
            await due
        assert not idle.done()
        idle.cancel()

    asyncio.run(run())


def test_few_are_received_at_once_and_the_next_when_one_has_come():
    async def run():
        some, calls = reading(most=100), [Call() for _ in range(TOGETHER + 1)]
        tasks = [asyncio.ensure_future(some.next(one, stream=False)) for one in calls]
        calls[-1].came.set()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not any(task.done() for task in tasks)
        calls[0].came.set()
        assert await tasks[0] == await tasks[-1] == b"message"
        for task in tasks:
            task.cancel()

    asyncio.run(run())


def test_the_next_place_is_for_the_address_that_receives_least():
    async def run():
        some, crowd = reading(most=100), [Call() for _ in range(TOGETHER)]
        strange = Call("192.0.2.9")
        tasks = [asyncio.ensure_future(some.next(one, stream=False)) for one in crowd]
        other = asyncio.ensure_future(some.next(strange, stream=False))
        late = await begun(some, stream=False)
        strange.came.set()
        crowd[0].came.set()
        assert await other == b"message"
        for task in (*tasks[1:], late):
            assert not task.done()
            task.cancel()

    asyncio.run(run())


def test_the_newest_has_the_next_place_and_one_that_left_has_none():
    async def run():
        some, calls = reading(most=100), [Call() for _ in range(TOGETHER + 3)]
        tasks = [asyncio.ensure_future(some.next(one, stream=False)) for one in calls]
        for one in calls[TOGETHER:]:
            one.came.set()
        await asyncio.sleep(0)
        ended = []
        for task in tasks[TOGETHER:]:
            task.add_done_callback(ended.append)
        tasks[-1].cancel()
        calls[0].came.set()
        await asyncio.wait(tasks[TOGETHER:])
        assert ended == [tasks[-1], tasks[-2], tasks[-3]]
        for task in tasks:
            task.cancel()

    asyncio.run(run())


def test_the_end_of_the_server_ends_all_that_wait_and_lets_none_begin():
    async def run():
        some = reading()
        waiting = await begun(some, stream=True)
        some.stop()
        with pytest.raises(Refusal, match="the server stops"):
            await waiting
        with pytest.raises(Refusal, match="the server stops"):
            await some.next(Call(), stream=False)

    asyncio.run(run())


def test_large_messages_that_are_held_count_together_and_small_ones_do_not():
    async def run():
        some = reading()
        with contextlib.ExitStack() as stack:
            for _ in range(READ_TOGETHER - 1):
                stack.enter_context(some.held(2 * SMALL, Call()))
            with pytest.raises(Refusal, match="bodies at once from your address"), some.held(2 * SMALL, Call()):
                pass
            stack.enter_context(some.held(2 * SMALL, Call("192.0.2.9")))
            with pytest.raises(Refusal, match="bodies at once;"), some.held(2 * SMALL, Call("192.0.2.7")):
                pass
            with some.held(SMALL, Call()):
                pass
        with some.held((READ_TOGETHER - 1) * 2 * SMALL, Call()):
            pass

    asyncio.run(run())

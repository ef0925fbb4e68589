from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from support.netcam import Netcam, asks_for_login, digest_is_right, ok
from support.tls import make_certificate

from edge.errors import ConfigError, UnavailableError
from edge.plugins.contexts import SourceContext
from edge.preprocess.image.decode import decode
from edge.remote.address import parse
from edge.remote.get import Getter
from edge.remote.login import Login
from edge.sources.video import http
from edge.sources.video.multipart import Parts
from edge.telemetry.clock import SystemClock


def jpeg(value: int) -> bytes:
    return cv2.imencode(".jpg", np.full((8, 8, 3), value, np.uint8))[1].tobytes()


def grey(sample) -> int:
    return int(decode(sample.payload.data).mean())


def camera(rest: str, scheme: str = "http", **context):
    return http.create(scheme, rest, SourceContext(clock=SystemClock(), **context))


def first(source):
    source.open()
    try:
        while True:
            sample = source.read(1)
            if sample is not None:
                return sample
    finally:
        source.close()


def test_a_snapshot_is_asked_for_again_and_again_over_one_connection():
    values = iter(range(0, 250, 10))
    with Netcam(lambda _: [ok(jpeg(next(values)))]) as cam:
        made = camera(f"//127.0.0.1:{cam.port}/shot.jpg?size=s&pwd=hush#interval=0.001")
        made.open()
        seen = []
        while len(seen) < 3:
            sample = made.read(1)
            if sample is not None:
                seen.append(grey(sample))
        made.close()
        assert made.live
        assert seen == sorted(set(seen))
        assert sample.source == f"http://127.0.0.1:{cam.port}/shot.jpg"
        assert cam.connections == 1
        assert cam.requests[0].startswith("GET /shot.jpg?size=s&pwd=hush HTTP/1.1\n")


def test_a_stop_does_not_wait_for_the_next_snapshot():
    with Netcam(lambda _: [ok(jpeg(1))]) as cam:
        made = camera(f"//127.0.0.1:{cam.port}/#interval=3600")
        first(made)
        assert not [t for t in threading.enumerate() if t.name.startswith("reader-http")]


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_a_digest_login_is_answered_and_its_password_stays_here(algorithm, tmp_path):
    (tmp_path / "password").write_text("gehe:im\n")
    challenge = f'Digest realm="cam, 1", qop="auth-int, auth", nonce="abc", opaque="x", algorithm={algorithm}'
    name = algorithm.lower().replace("-", "")

    def answer(request: str) -> list[bytes]:
        right = digest_is_right(request, "gehe:im", name)
        return [ok(jpeg(9))] if right else [asks_for_login('Basic realm="cam"', challenge)]

    with Netcam(answer) as cam:
        sample = first(camera(f"//J%C3%B6rg@127.0.0.1:{cam.port}/a?b=c#password_file={tmp_path / 'password'}"))
        assert grey(sample) == 9
        assert "Authorization" not in cam.requests[0]
        assert "Basic" not in "".join(cam.requests)


def test_a_basic_login_is_answered_where_there_is_no_better_one():
    def answer(request: str) -> list[bytes]:
        right = "Authorization: Basic bWU6czNjcmV0" in request
        return [ok(jpeg(9))] if right else [asks_for_login('Basic realm="cam"')]

    with Netcam(answer) as cam:
        assert grey(first(camera(f"//me:s3cret@127.0.0.1:{cam.port}/"))) == 9


@pytest.mark.parametrize(
    ("challenge", "said"),
    [
        ('Basic realm="cam"', "refuses the user 'me' or the password"),
        ('Digest realm="cam", nonce="n", qop="auth"', "refuses the user 'me' or the password"),
        ('Digest realm="cam", nonce="n", stale=true', "calls each login too old"),
        ('Digest realm="cam", nonce="n", algorithm=MD5-sess', "digest by algorithm=MD5-sess; what there is is MD5"),
        ('Digest realm="cam", nonce="n", qop="auth-int"', "digest by qop=auth-int; what there is is MD5"),
        ("Negotiate", "another kind than basic or digest"),
        ("Digest nonsense", "another kind than basic or digest"),
    ],
)
def test_a_login_that_does_not_work_is_told_without_the_password(challenge, said):
    with Netcam(lambda _: [asks_for_login(challenge)]) as cam:
        with pytest.raises(UnavailableError, match=said) as caught:
            first(camera(f"//me:s3cret@127.0.0.1:{cam.port}/"))
        assert "s3cret" not in str(caught.value)
        assert len(cam.requests) <= 3


def test_a_digest_is_renewed_each_time_its_nonce_is_used_up():
    nonces = iter(range(99))
    asked = [next(nonces)]

    def answer(request: str) -> list[bytes]:
        if digest_is_right(request, "s3cret") and f'nonce="{asked[0]}"' in request:
            asked[0] = next(nonces)
            return [ok(jpeg(9))]
        return [asks_for_login(f'Digest realm="cam", nonce="{asked[0]}", qop="auth"')]

    with Netcam(answer) as cam:
        address, _ = parse("http", f"//127.0.0.1:{cam.port}/a", http.HttpOptions, "", "--source")
        getter = Getter(address, Login(str(address), "me", "s3cret"))
        assert [getter.get().body(9999) for _ in range(4)] == [jpeg(9)] * 4
        getter.close()
        assert len(cam.requests) == 8


@pytest.mark.parametrize("kind", ["application/octet-stream", "image/jpeg", ""])
@pytest.mark.parametrize(
    "between", [b"", b"\r\n", b"--ffmpeg\r\nContent-type: image/jpeg\r\n\r\n"], ids=["nothing", "line", "parts"]
)
def test_a_stream_that_does_not_say_so_is_read_as_one(kind, between):
    def endless(_: str) -> Iterator[bytes]:
        yield f"HTTP/1.0 200 OK\r\nContent-Type: {kind}\r\n\r\n".encode()
        for value in range(0, 250, 50):
            yield between.lstrip() + jpeg(value)[:100]
            yield jpeg(value)[100:] + b"\r\n" * bool(between)
        threading.Event().wait(0.01)

    with Netcam(endless) as cam:
        device = http.HttpCamera(*parse("http", f"//127.0.0.1:{cam.port}/", http.HttpOptions, "", "--source"), 99_999)()
        found = [decode(device.read().data).mean() for _ in range(4)]
        device.close()
    assert found == pytest.approx([0, 50, 100, 150], abs=2)
    assert cam.connections == 1


def test_a_snapshot_whose_end_is_that_of_the_connection_is_one():
    def closes(_: str) -> Iterator[bytes]:
        yield b"HTTP/1.0 200 OK\r\n\r\n" + jpeg(9) + b"\0\0"

    with Netcam(closes) as cam:
        made = camera(f"//127.0.0.1:{cam.port}/#interval=0.001")
        made.open()
        seen = [s for _ in range(50) if (s := made.read(0.1)) is not None][:3]
        made.close()
        assert [grey(s) for s in seen] == [9, 9, 9]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ok(b""), "the answer is empty"),
        (ok(b"\x1f\x8b" + bytes(99), "image/jpeg", "200 OK", "Content-Encoding: gzip"), "compressed by 'gzip'"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n\r\n" + bytes(999), "video/mp4 and no picture"),
        (ok(b"<html>login</html>", "text/html"), "text/html and no picture"),
        (ok(b"", "image/jpeg", "404 Not Found"), "HTTP 404 Not Found"),
        (
            ok(b"", "text/html", "302 Found", "Location: https://me:hush@other/x?token=hush"),
            "it is at https://other/x; name that address",
        ),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 99\r\n\r\nshort", "breaks off after 5 of 99 bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n", "1000.0 MB or more; at most 0.02 MB"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n\xff\xd8\xff" + bytes(30_000),
            "at most 0.02 MB",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "IncompleteRead|invalid literal"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH-2.0"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200, "more than 100 headers"),
    ],
)
def test_an_answer_that_is_no_picture_is_told(answer, said):
    def once(_: str) -> Iterator[bytes]:
        yield answer

    with Netcam(once) as cam:
        with pytest.raises(UnavailableError, match=said) as caught:
            first(camera(f"//127.0.0.1:{cam.port}/", max_input=20_000))
        assert "hush" not in str(caught.value)


def test_a_server_that_sends_a_byte_now_and_then_holds_no_thread():
    def drip(_: str) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n"
        while True:
            yield b"X"
            threading.Event().wait(0.01)

    with Netcam(drip) as cam:
        address = parse("http", f"//127.0.0.1:{cam.port}/", http.HttpOptions, "", "--source")[0]
        getter = Getter(address, Login(str(address), "", ""), timeout_s=0.1)
        with pytest.raises(UnavailableError, match="takes too long"):
            getter.get()


def test_a_certificate_is_verified(tmp_path):
    cert, key = make_certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(cert, key)
    with Netcam(lambda _: [ok(jpeg(9))], tls) as cam:
        with pytest.raises(UnavailableError, match="is not trusted: self-signed certificate; #ca=FILE"):
            first(camera(f"//127.0.0.1:{cam.port}/", "https"))
        assert grey(first(camera(f"//127.0.0.1:{cam.port}/#ca={cert}", "https"))) == 9


def stream(parts: list[bytes], boundary: str = "frame") -> Iterator[bytes]:
    yield f"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary={boundary}\r\n\r\n".encode()
    yield from parts


def test_the_newest_picture_of_a_stream_is_given_and_its_end_is_told():
    go = threading.Event()

    def answer(_: str) -> Iterator[bytes]:
        yield from stream([part(jpeg(40))])
        go.wait()
        yield part(jpeg(80)) + b"--frame--\r\n"

    with Netcam(answer) as cam:
        made = camera(f"//127.0.0.1:{cam.port}/stream.mjpg")
        made.open()
        seen = []
        while len(seen) < 2:
            if (sample := made.read(1)) is not None:
                seen.append(grey(sample))
                go.set()
        assert seen == [40, 80]
        with pytest.raises(UnavailableError, match="no more pictures"):
            made.read(150)
        made.close()


def part(body: bytes, *head: str, boundary: str = "--frame", length: int | None = None) -> bytes:
    lines = [boundary, "Content-Type: image/jpeg", *head]
    if length != 0:
        lines.append(f"Content-length:{len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode() + body + b"\r\n"


ONE, TWO, THREE = jpeg(10), jpeg(20), jpeg(30)


@pytest.mark.parametrize(
    ("data", "boundary", "bodies"),
    [
        (part(ONE) + part(TWO), "frame", [ONE, TWO]),
        (part(ONE, length=0) + part(TWO, length=0) + b"--frame--", "frame", [ONE, TWO]),
        (part(ONE) + part(TWO), "--frame", [ONE, TWO]),
        (part(ONE, boundary="----frame") + part(TWO, boundary="----frame"), "--frame", [ONE, TWO]),
        (part(ONE) + part(TWO), "", [ONE, TWO]),
        (b"preamble\r\n" + part(ONE) + b"\r\n\r\n" + part(TWO), "frame", [ONE, TWO]),
        (part(ONE, length=20) + part(TWO), "frame", [ONE, TWO]),
        (part(b"no JPEG", length=2) + part(TWO), "frame", [b"no", TWO]),
        (part(ONE) + part(TWO), "another", [ONE, TWO]),
        (ONE[9:] + b"\r\n" + part(TWO), "frame", [TWO]),
        (part(ONE, length=len(ONE) + 40) + part(TWO) + part(THREE), "frame", [ONE, TWO, THREE]),
        (b"--frame\n\n" + ONE + b"\n--frame\n\n" + TWO + b"\n--frame--", "frame", [ONE, TWO]),
        (b"--frame--\r\n", "frame", []),
        (b"", "frame", []),
        (part(ONE)[:-40], "frame", []),
    ],
)
@pytest.mark.parametrize("piece", [1, 7, 100_000])
def test_parts_are_found_in_what_cameras_send(data, boundary, bodies, piece):
    pieces = iter([data[at : at + piece] for at in range(0, len(data), piece)])
    parts = Parts(lambda: next(pieces, b""), boundary, 100_000)
    found = list(iter(parts.next, None))
    assert len(found) == len(bodies)
    assert all(b is None or f == b for f, b in zip(found, bodies, strict=True))


@pytest.mark.parametrize(
    ("endless", "begin", "boundary"),
    [
        (b"x" * 999, b"x", "frame"),
        (b"x" * 999, b"x", ""),
        (b"X: y\r\n", b"--frame\r\n", "frame"),
        (b"x" * 999, b"--frame\r\n\r\n", "frame"),
        (b"", b"--frame\r\nContent-Length: 999999\r\n\r\n", "frame"),
    ],
)
def test_a_stream_without_an_end_is_bounded(endless, begin, boundary):
    said = iter([begin])
    parts = Parts(lambda: next(said, endless), boundary, 50_000)
    with pytest.raises(UnavailableError, match=r"boundary|head does not end|\d MB or more"):
        parts.next()


@pytest.mark.parametrize(
    "rest",
    ["", "//", "//host:port/", "//me:s3/cret@host/", "//me:s3#cret@host/", "//me:12#s3cret@host/",
     "//host/#intervall=1", "//host/#interval=0", "//host/#interval=nan", "//host/#interval=x",
     "//host/#password_file=/no/such/s3", "//host/#ca=/no/such", "//a%22b@host/"],
)  # fmt: skip
def test_an_address_that_cannot_be_used_is_refused(rest):
    with pytest.raises(ConfigError, match="--source") as caught:
        camera(rest, "https")
    assert "cret" not in str(caught.value)

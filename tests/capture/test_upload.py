"""`--capture-to`: what is kept is put on a server, whole, in order, and again where a link broke."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.processes import until
from support.tls import make_certificate

from edge.capture import upload
from edge.capture.store import SENT, Store
from edge.capture.upload import Uploader
from edge.errors import ConfigError, SampleError, UnavailableError
from edge.telemetry.clock import SystemClock
from edge.telemetry.metrics import Metrics

NAME = "random-20261129T121314-5f0c9a1e-{:06}"


class Place:
    """A server that takes what it is told to take."""

    place = "here"

    def __init__(self) -> None:
        self.files: list[str] = []
        self.takes: Callable[[str], None] = lambda name: None

    def connect(self) -> None: ...

    def put(self, name: str, data: bytes) -> None:
        self.takes(name)
        self.files.append(name)

    def close(self) -> None: ...


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
def start(tmp_path: Path, place: Place) -> Iterator[Callable[[], Uploader]]:
    started: list[Uploader] = []

    def begin() -> Uploader:
        started.append(Uploader(tmp_path, place, Metrics(), wait_s=0.01))
        started[-1].start()
        return started[-1]

    yield begin
    for one in started:
        one.close()


def segment(folder: Path, number: int, pictures: int = 1) -> list[str]:
    """Its files, in the order in which they are to be sent."""
    name = NAME.format(number)
    files = [*(f"{name}-{i:04}.jpg" for i in range(pictures)), f"{name}.jsonl"]
    for file in files:
        (folder / file).write_bytes(b"x")
    return files


def test_files_are_sent_the_oldest_first_and_the_lines_behind_what_they_name(tmp_path, place, start) -> None:
    wanted = [file for number in (1, 2, 10) for file in segment(tmp_path, number, 2)]
    (tmp_path / "notes.txt").write_text("somebody's")
    (tmp_path / f".{NAME.format(3)}.jsonl.1.partial").write_bytes(b"half")
    segment(tmp_path, 4)[-1:]
    (tmp_path / f"{NAME.format(4)}.jsonl").unlink()  # its lines are not there yet

    uploader = start()

    until(lambda: len(place.files) == len(wanted), "all is sent")
    assert place.files == wanted
    assert uploader.counts() == {"sent": len(wanted), "refused": 0}


def test_what_was_sent_is_not_sent_again_after_a_start_and_what_is_new_is(tmp_path, place, start) -> None:
    segment(tmp_path, 1)
    first = start()
    until(lambda: (tmp_path / SENT).exists(), "it is noted")
    first.close()
    place.files.clear()

    wanted = segment(tmp_path, 2)
    start()

    until(lambda: len(place.files) == 2, "the new one is sent")
    assert place.files == wanted


def test_a_server_that_is_away_is_asked_again_and_nothing_is_lost(tmp_path, place, start) -> None:
    wanted = segment(tmp_path, 1)

    def away(name: str) -> None:
        raise UnavailableError("away")

    place.takes = away
    uploader = start()
    until(lambda: uploader.counts().get("not_sent_reason") == "away", "it is told")

    place.takes = lambda name: None
    until(lambda: place.files == wanted, "it is sent")
    until(lambda: "not_sent_reason" not in uploader.counts(), "it is over")


def test_a_file_that_is_refused_holds_up_no_other(tmp_path, place, start) -> None:
    picture, lines = segment(tmp_path, 1)

    def refuse(name: str) -> None:
        if name == picture:
            raise SampleError("too large")

    place.takes = refuse
    uploader = start()

    until(lambda: place.files == [lines], "the others are sent")
    assert uploader.counts() == {"sent": 1, "refused": 1}


def test_another_place_is_sent_all_that_is_kept(tmp_path, place, start) -> None:
    wanted = segment(tmp_path, 1)
    first = start()
    until(lambda: (tmp_path / SENT).exists(), "it is noted")
    first.close()
    place.files.clear()

    place.place = "there"
    start()

    until(lambda: place.files == wanted, "all is sent")


def test_no_number_comes_twice_where_what_was_sent_is_gone(tmp_path) -> None:
    (tmp_path / SENT).write_text('{"number":41,"place":"here"}')
    store = Store(tmp_path, 10**6, SystemClock(), "0123abcd", b"{}")
    assert store.open() is None
    store.close()

    from support.capturing import row

    assert store.open() is None
    store.write([row(1)], 1)
    store.close()

    assert [path.name[-12:-6] for path in tmp_path.glob("*.jsonl")] == ["000042"]


# --- the address ------------------------------------------------------------------------------------------------


class Bucket(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Putting)
        self.asked: list[tuple[str, str | None, bytes]] = []
        self.status = 200


class Putting(BaseHTTPRequestHandler):
    server: Bucket

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, self.headers["Authorization"], body))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(b"<Signature>s3cret</Signature>")

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with Bucket() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_name_a_device_and_a_signed_query_that_is_renewed_stand_in_the_request(tmp_path, bucket) -> None:
    query, token = tmp_path / "query", tmp_path / "token"
    query.write_text("?sv=1&sig=a%2Fb\n")
    token.write_text("t0ken\n")
    base = f"http://127.0.0.1:{bucket.server_address[1]}/kept/{{device}}/{{name}}"
    remote = upload.remote(f"{base}#query_file={query}&token_file={token}", "line 3", "m")

    remote.connect()
    remote.put("a.jsonl", b"{}")
    query.write_text("sig=new")
    remote.connect()
    remote.put("b.jpg", b"x")
    remote.close()

    assert bucket.asked == [
        ("/kept/line%203/a.jsonl?sv=1&sig=a%2Fb", "Bearer t0ken", b"{}"),
        ("/kept/line%203/b.jpg?sig=new", "Bearer t0ken", b"x"),
    ]


@pytest.mark.parametrize(("status", "kind"), [(403, UnavailableError), (500, UnavailableError), (413, SampleError)])
def test_a_refusal_names_the_server_and_no_secret(bucket, status, kind) -> None:
    bucket.status = status
    remote = upload.remote(f"http://127.0.0.1:{bucket.server_address[1]}/k/?sig=s3cret", "d", "m")

    remote.connect()
    with pytest.raises(kind, match=f"HTTP {status}") as told:
        remote.put("a.jsonl", b"{}")
    remote.close()

    assert "s3cret" not in str(told.value)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("https://host/one.jpg?X-Amz-Signature=s3cret", "say where its name goes"),
        ("http://host/{name}?sig=s3cret", "encrypted only"),
        ("ftp://host/{name}", "an https:// address"),
        ("https://host/{name}#tokenfile=x", "token_file"),
        ("https://host/{name}#query_file=/no/such", "/no/such"),
        ("https://host/{name}#ca=/no/such", "/no/such"),
        ("https://user:s3cret@host/{name}", "a user and a password in it are not sent"),
        ("https://host/{name}?sig=s3cret x", "not ASCII"),
        ("https://host/{name}?sig=s3cret\u00e9", "not ASCII"),
    ],
)
def test_an_address_that_would_lose_or_tell_something_is_refused(said: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text) as told:
        upload.remote(said, "d", "m")

    assert "s3cret" not in str(told.value)


@pytest.mark.parametrize("said", ["s3cret x", "s3cret\ny", "s3cret\u00e9", "s3cret\u20ac"])
@pytest.mark.parametrize("option", ["token_file", "query_file"])
def test_a_secret_that_no_request_can_carry_is_refused_at_the_start_and_waits_later(tmp_path, option, said) -> None:
    file = tmp_path / "secret"
    file.write_text("good")
    address = f"http://127.0.0.1:1/k/#{option}={file}"
    remote = upload.remote(address, "d", "m")
    file.write_text(said)

    with pytest.raises(UnavailableError, match=option) as later:
        remote.connect()
    with pytest.raises(ConfigError, match=option) as now:
        upload.remote(address, "d", "m")
    assert "s3cret" not in f"{later.value}{now.value}"


def test_a_certificate_that_goes_away_while_the_service_runs_ends_nothing(tmp_path) -> None:
    ca, _ = make_certificate(tmp_path)
    remote = upload.remote(f"https://127.0.0.1:1/k/#ca={ca}", "d", "m")
    ca.unlink()

    with pytest.raises(UnavailableError, match="check the path of #ca"):
        remote.connect()


def test_a_name_that_is_none_of_a_host_is_a_server_that_is_away() -> None:
    remote = upload.remote(f"https://{'a' * 70}.example/k/", "d", "m")

    with pytest.raises(UnavailableError, match="idna"):
        remote.connect()

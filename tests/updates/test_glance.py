"""A check that finds nothing new: a look at two files, by a process that imports next to nothing."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from types import SimpleNamespace

import pytest
from msgspec.structs import replace
from support.updating import Fleet, RangeServer, bytes_of, edited, write_model

from edge.app import update_children
from edge.app.update_children import BARE, UpdateChildren
from edge.settings import layers
from edge.updates import glance, seen
from edge.updates.order import Answer
from edge.updates.store import UpdateStore


def asks(fleet: Fleet, device, uri: str, running: str = "", *, root=None) -> Answer:
    """As the service does."""
    words = ["--model", "m.onnx", "--device", "d", "--updates", uri, "--updates-root", str(root or fleet.root)]
    store = UpdateStore(device, lambda _: "")
    children = UpdateChildren(layers.read(words, {}, "0"), store, [], threading.Event())
    return children.ask("m", running)


@pytest.fixture(autouse=True)
def synced(request, monkeypatch):
    """Whether the clock is to be trusted: so it is where a test does not say otherwise."""
    trusted = getattr(request, "param", True)
    monkeypatch.setattr(update_children, "clock_synced", lambda: trusted)
    return trusted


both_clocks = pytest.mark.parametrize("synced", [True, False], ids=["synchronised", "no clock"], indirect=True)


@pytest.fixture
def verified(monkeypatch):
    """How often it was looked at with all signatures."""
    count, run = [], update_children.run

    def counted(command, *more, **named):
        if "edge.updates" in command:
            count.append(command)
        return run(command, *more, **named)

    monkeypatch.setattr(update_children, "run", counted)
    return count


@both_clocks
@pytest.mark.parametrize("kind", ["file", "http"])
def test_what_has_not_changed_is_answered_as_before_without_the_library(fleet, server, device, verified, synced, kind):
    uri = fleet.uri if kind == "file" else server.uri
    first = asks(fleet, device, uri)
    before = bytes_of(device)
    server.asked.clear()
    second = asks(fleet, device, uri)

    assert (len(verified), first.release.version, second) == (1, "1", first)
    assert first.freshness == ("known" if synced else "unknown")
    assert bytes_of(device) == before
    assert [path for path, *_ in server.asked] == (
        ["/metadata/timestamp.json", "/metadata/2.root.json"] if kind == "http" else []
    )


def test_a_new_version_a_new_root_and_a_share_that_grows_are_seen_at_the_next_check(fleet, device, tmp_path, verified):
    asks(fleet, device, fleet.uri)
    fleet.add(write_model(tmp_path / "m2.onnx", "2"), "2")
    second = asks(fleet, device, fleet.uri)
    fleet.repository.rotate([], lost=False)
    asks(fleet, device, fleet.uri)

    assert second.release.version == "2"
    assert len(verified) == 3
    assert (device / "metadata" / "root_history" / "2.root.json").exists()


def test_what_this_device_has_refused_meanwhile_is_not_offered_again(fleet, device, tmp_path):
    release = fleet.add(write_model(tmp_path / "m2.onnx", "2"), "2")
    asks(fleet, device, fleet.uri)
    store = UpdateStore(device, lambda _: "")
    store.state = replace(store.state, refused=(release.sha256,))
    words = ["--model", "m.onnx", "--device", "d", "--updates", fleet.uri, "--updates-root", str(fleet.root)]
    children = UpdateChildren(layers.read(words, {}, "0"), store, [], threading.Event())

    assert children.ask("m", "").release.version == "1"


def at(monkeypatch, days: float) -> None:
    """The clock, as the service sees it."""
    now = time.time() + days * 86_400
    monkeypatch.setattr(seen, "time", SimpleNamespace(time=lambda: now))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda f, d, m: edited(f.newest("timestamp"), lambda b: b + b" "), id="a space more"),
        pytest.param(lambda f, d, m: edited(seen.timestamp_of(d), lambda b: b[:-1]), id="its own is damaged"),
        pytest.param(lambda f, d, m: at(m, 15), id="run out"),
        pytest.param(lambda f, d, m: m.setenv("https_proxy", "http://127.0.0.1:1"), id="a proxy"),
        pytest.param(lambda f, d, m: (d / "seen.json").write_text("{"), id="what was seen is damaged"),
        pytest.param(lambda f, d, m: (d / "seen.json").unlink(), id="what was seen is gone"),
    ],
)  # fmt: skip
def test_where_anything_is_otherwise_all_signatures_are_looked_at(fleet, device, verified, monkeypatch, change):
    asks(fleet, device, fleet.uri)
    change(fleet, device, monkeypatch)
    answer = asks(fleet, device, fleet.uri)

    assert len(verified) == 2
    assert (answer.fault, answer.release.version) == (None, "1")


@both_clocks
def test_once_a_day_and_where_the_clock_goes_back_a_good_clock_looks_at_all_signatures(
    fleet, device, verified, monkeypatch, synced
):
    asks(fleet, device, fleet.uri)
    at(monkeypatch, 1.01)
    asks(fleet, device, fleet.uri)
    at(monkeypatch, -1)
    asks(fleet, device, fleet.uri)

    assert len(verified) == (3 if synced else 1)


def test_another_root_of_trust_is_not_gone_by_what_the_old_one_vouched_for(fleet, device, tmp_path, verified):
    asks(fleet, device, fleet.uri)
    other = Fleet(tmp_path / "other")
    answer = asks(fleet, device, fleet.uri, root=other.root)

    assert len(verified) == 2
    assert answer.fault == "refused"


def test_a_time_stamp_that_was_taken_below_a_set_that_was_refused_is_no_answer(fleet, device, tmp_path, verified):
    """The time stamp is kept then, as the floor under a roll-back: the next check must not take it for the last one."""
    asks(fleet, device, fleet.uri)
    fleet.add(write_model(tmp_path / "m2.onnx", "2"), "2")
    edited(fleet.newest("snapshot"), lambda data: data.replace(b"targets.json", b"targetz.json"))
    first, second = asks(fleet, device, fleet.uri), asks(fleet, device, fleet.uri)

    assert (first.fault, second.fault, len(verified)) == ("refused", "refused", 3)


def test_over_tls_too_and_another_ca_is_told_by_the_check_with_all_signatures(fleet, device, tls_server, verified):
    words = ["--model", "m.onnx", "--device", "d", "--updates", tls_server.uri, "--updates-root", str(fleet.root)]

    def ask(ca) -> Answer:
        settings = layers.read([*words, "--updates-ca", str(ca)], {}, "0")
        children = UpdateChildren(settings, UpdateStore(device, lambda _: ""), [], threading.Event())
        return children.ask("m", "")

    first, second = ask(tls_server.papers.ca), ask(tls_server.papers.ca)
    other = ask(tls_server.papers.other)

    assert (first.release.version, second, len(verified)) == ("1", first, 2)
    assert (other.fault, "certificate verify failed" in other.reason) == ("away", True)


def test_a_server_that_is_away_is_told_as_ever(fleet, server, device):
    asks(fleet, device, server.uri)
    server.close()

    assert asks(fleet, device, server.uri).fault == "away"


def test_it_imports_nothing_that_is_installed_and_no_library_of_signatures(fleet, device):
    asks(fleet, device, fleet.uri)
    words = [fleet.uri + "/", "2", str(device / "metadata" / "timestamp.json"), "", "", ""]
    code = f"import runpy, sys; sys.argv[1:] = {words!r}; runpy.run_path({glance.__file__!r}, run_name='__main__')"
    said = "; print(); print(*sorted(m.partition('.')[0] for m in sys.modules))"
    out = subprocess.run([*BARE, "-c", code + said], capture_output=True, text=True, check=True).stdout
    answer, modules = out.split("\n", 1)

    assert answer == "same"
    assert not {"tuf", "urllib3", "msgspec", "edge", "pathlib", "hashlib", "http", "email"} & set(modules.split())


def test_the_folder_that_it_is_run_in_is_not_imported_from(fleet, device, tmp_path):
    asks(fleet, device, fleet.uri)
    (tmp_path / "http").mkdir()
    (tmp_path / "http" / "__init__.py").write_text("raise SystemExit(3)")
    words = [*BARE, glance.__file__, "http://127.0.0.1:1/", "2", str(device / "metadata" / "timestamp.json")]

    assert subprocess.run(words, cwd=tmp_path, capture_output=True).stdout == b"other"


@pytest.fixture
def look(fleet, tmp_path):
    """A look in this process, for a device that has verified what the repository says now."""
    kept = tmp_path / "kept.json"
    kept.write_bytes(fleet.newest("timestamp").read_bytes())
    return lambda base, *more: glance.same(f"{base}/", "2", str(kept), *map(str, more))


def test_over_http_a_word_more_and_a_newer_root_are_something_else(fleet, server, look):
    before = look(server.uri)
    stamp = fleet.newest("timestamp")
    edited(stamp, lambda data: data + b" " * 100_000)
    longer = look(server.uri)
    edited(stamp, bytes.strip)
    (stamp.parent / "2.root.json").write_bytes(b"{}")
    rotated = look(server.uri)

    assert (before, longer, rotated) == (True, False, False)


@pytest.mark.parametrize("status", [401, 503])
def test_a_server_that_answers_with_something_else_than_a_file_has_said_nothing(server, look, status):
    server.status = status
    with pytest.raises(ValueError, match=str(status)):
        look(server.uri)


@pytest.mark.parametrize("base", ["http://me:secret@127.0.0.1:1", "http:"])
def test_an_address_that_needs_more_than_a_look_is_for_the_library(look, base):
    with pytest.raises(ValueError, match=base):
        look(base)


def test_a_server_that_wants_a_certificate_gets_it(fleet, look, papers):
    with RangeServer(fleet.public, papers=papers, client=True) as server:
        assert look(server.uri, papers.ca, *papers.pair("client"))


RAW = {
    "no length": b"HTTP/1.1 200 OK\r\n\r\n%b",
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n%b",
    "less than it says": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n%b",
    "no HTTP": b"220 mail.example ESMTP\r\n\r\n",
    "nothing": b"",
    "a head without end": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000,
    "a line without end": b"HTTP/1.1 200 OK\r\na: " + b"b" * 100_000,
    "a length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n%b",
}


@pytest.mark.parametrize("answer", RAW.values(), ids=RAW)
def test_an_answer_that_is_no_plain_file_is_for_the_library(fleet, tmp_path, answer):
    kept = tmp_path / "kept.json"
    kept.write_bytes(fleet.newest("timestamp").read_bytes())
    body = kept.read_bytes()
    raw = answer.replace(b"%d", b"%d" % len(body)).replace(b"%b", body)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(raw)

        thread = threading.Thread(target=serve)
        thread.start()
        words = [*BARE, glance.__file__, f"http://127.0.0.1:{server.getsockname()[1]}/", "2", str(kept)]
        said = subprocess.run(words, capture_output=True)
        thread.join()

    assert (said.stdout, said.stderr) == (b"other", b"")


@pytest.mark.parametrize("refusal", ["403 Forbidden", "404 Not Found"])
def test_a_bucket_that_answers_in_chunks_that_there_is_no_newer_root_says_the_same(fleet, tmp_path, refusal):
    kept = tmp_path / "kept.json"
    kept.write_bytes(fleet.newest("timestamp").read_bytes())
    body, asked = kept.read_bytes(), []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, connection.makefile("rb") as lines:
                for _ in range(2):
                    asked.append(next(lines).split()[1])
                    while lines.readline().strip():
                        pass
                    found = b"timestamp" in asked[-1]
                    head = b"200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
                    none = refusal.encode() + b"\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
                    connection.sendall(b"HTTP/1.1 " + (head if found else none))

        thread = threading.Thread(target=serve)
        thread.start()
        words = [*BARE, glance.__file__, f"http://127.0.0.1:{server.getsockname()[1]}/", "2", str(kept)]
        said = subprocess.run(words, capture_output=True).stdout
        thread.join()

    assert (said, asked) == (b"same", [b"/metadata/timestamp.json", b"/metadata/2.root.json"])

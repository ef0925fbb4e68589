"""Over HTTP: a link that breaks, a server that knows no ranges, and what a check costs."""

from __future__ import annotations

import pytest
from support.processes import free_port
from support.updating import Fleet, RangeServer, bytes_of, edited, write_model

from edge.updates import fetch, trust
from edge.updates.order import Answer
from edge.updates.release import Release


@pytest.fixture
def large(fleet, tmp_path) -> Release:
    """A model of half a megabyte."""
    write_model(tmp_path / "large.onnx", "2", description="x" * 500_000)
    return fleet.add(tmp_path / "large.onnx", "2")


def ask(fleet: Fleet, server: RangeServer, device, **more) -> Answer:
    return trust.ask(fleet.order(device, uri=server.uri, **more))


def targets_asked(server: RangeServer) -> list[tuple[str, int]]:
    return [(wanted, size) for path, wanted, size in server.asked if "/targets/" in path]


def test_after_a_broken_link_only_the_rest_is_asked_for(fleet, server, device, large):
    server.breaks_after = 300_000
    broken = ask(fleet, server, device, fetch=large)
    answer = ask(fleet, server, device, fetch=large)

    assert broken.fault == "away"
    assert answer.staged.read_bytes() == fleet.target(large).read_bytes()
    assert targets_asked(server) == [("", 300_000), ("bytes=300000-", large.length - 300_000)]


def test_a_server_that_knows_no_ranges_sends_all_again(fleet, server, device, large):
    server.ranges = False
    server.breaks_after = 300_000
    ask(fleet, server, device, fetch=large)

    assert ask(fleet, server, device, fetch=large).staged.read_bytes() == fleet.target(large).read_bytes()


def test_a_beginning_that_is_not_what_was_signed_is_thrown_away(fleet, server, device, large):
    server.breaks_after = 300_000
    ask(fleet, server, device, fetch=large)
    (part,) = (device / "staging").iterdir()
    edited(part, lambda data: b"?" + data[1:])

    assert ask(fleet, server, device, fetch=large).fault == "refused"
    assert ask(fleet, server, device, fetch=large).staged.read_bytes() == fleet.target(large).read_bytes()


def test_a_file_that_was_fetched_whole_is_not_asked_for_again(fleet, server, device, large):
    ask(fleet, server, device, fetch=large)
    asked = len(targets_asked(server))

    assert ask(fleet, server, device, fetch=large).staged is not None
    assert len(targets_asked(server)) == asked


def test_a_check_with_nothing_new_costs_two_requests_and_writes_nothing(fleet, server, device):
    running = ask(fleet, server, device).release.sha256
    ask(fleet, server, device, running=running)
    server.asked.clear()
    before = bytes_of(device)
    ask(fleet, server, device, running=running)

    assert [path for path, _, _ in server.asked] == ["/metadata/2.root.json", "/metadata/timestamp.json"]
    assert sum(size for _, _, size in server.asked) <= 500
    assert bytes_of(device) == before


def test_a_server_that_is_away_is_named(fleet, device):
    answer = trust.ask(fleet.order(device, uri=f"http://127.0.0.1:{free_port()}"))

    assert answer.fault == "away"
    assert "refused" in answer.reason
    assert "127.0.0.1" in answer.reason


@pytest.mark.parametrize("uri", ["ftp://host/x", "digits", "gopher://x/y"])
def test_an_address_of_another_kind_is_a_mistake_of_setup(fleet, device, uri):
    answer = trust.ask(fleet.order(device, uri=uri))

    assert (answer.fault, "file:/FOLDER" in answer.reason) == ("setup", True)


@pytest.mark.parametrize("uri", ["mqtt://broker", "mqtts://broker:8883"])
def test_the_address_of_a_broker_is_said_elsewhere(fleet, device, uri):
    answer = trust.ask(fleet.order(device, uri=uri))

    assert (answer.fault, "say --updates mqtt:" in answer.reason) == ("setup", True)


def test_a_server_that_trickles_is_given_up(fleet, server, device, large, monkeypatch):
    """As if each piece came a minute behind the other."""
    monkeypatch.setattr(fetch, "SLOW_S", 0.0)
    monkeypatch.setattr(fetch, "SLOW_BYTES", 10_000_000)
    monkeypatch.setattr(fetch, "PIECE", 1000)
    answer = ask(fleet, server, device, fetch=large)

    assert (answer.fault, "too slow" in answer.reason) == ("away", True)

from __future__ import annotations

import json

import pytest
from support.delivering import result

from edge.app import assembly
from edge.errors import ConfigError, UnavailableError
from edge.plugins.contexts import SinkContext
from edge.plugins.protocols import Entry


@pytest.fixture
def nats(store_server):
    return store_server("nats")


def opened(uri):
    sink = assembly.make_sink(uri, SinkContext())
    sink.open(None)
    return sink


def reached(uri):
    return assembly.make_sink(uri, SinkContext()).reach()


def add_stream(nats, **config):
    nats.ask(lambda stream: stream.add_stream(name="HOUSE", subjects=["edge.>"], **config))


def test_the_message_id_is_the_results_and_the_payload_the_result(nats, deliver):
    delivery = deliver(nats.uri)
    delivery.put(result(7))
    delivery.finish()

    async def first(stream):
        return await stream.get_msg("EDGE", 1)

    message = nats.ask(first)
    assert message.headers["Nats-Msg-Id"] == "line3/digits/5f0c9a1e/7"
    assert message.data == result(7).payload


def test_a_subject_that_no_stream_takes_is_away_and_not_a_loss(nats, deliver):
    uri = nats.uri.removesuffix("#create")
    sink = opened(uri)
    with pytest.raises(UnavailableError, match=r"no stream takes the subject edge\.results; add create"):
        sink.send(Entry(1, result(1)))
    sink.close()
    assert "no stream takes" in reached(uri).doubt
    delivery = deliver(uri)
    delivery.put(result(1))
    add_stream(nats)
    delivery.finish()
    assert len(nats.received()) == 1


def test_a_result_that_is_larger_than_the_stream_takes_is_refused_alone(nats, deliver):
    add_stream(nats, max_msg_size=2000)
    delivery = deliver(nats.uri)
    delivery.put(*[result(n, source="x" * 3000 if n == 30 else "") for n in range(1, 61)])
    delivery.finish()
    assert [seq for seq, _ in delivery.refused] == [30]
    assert [json.loads(p)["seq"] for p in nats.received()] == [n for n in range(1, 61) if n != 30]


def test_a_result_that_is_larger_than_the_server_takes_is_refused_alone(nats, deliver):
    delivery = deliver(nats.uri)
    delivery.put(result(1), result(2, source="x" * 1_100_000), result(3))
    delivery.finish()
    assert [seq for seq, _ in delivery.refused] == [2]
    assert sorted(json.loads(p)["seq"] for p in nats.received()) == [1, 3]


def test_what_would_lose_or_double_results_is_warned_of(nats):
    add_stream(nats, storage="memory", duplicate_window=120)
    assert "in memory" in reached(nats.uri).doubt
    nats.ask(lambda stream: stream.delete_stream("HOUSE"))
    add_stream(nats, duplicate_window=120)
    found = reached(nats.uri)
    assert "120 s only" in found.doubt
    assert found.fix == "nats stream edit HOUSE --dupe-window 24h"


def test_the_password_comes_from_a_file_and_a_token_too(nats, deliver, tmp_path):
    (tmp_path / "secret").write_text("s3cret\n")
    for login, more, option in (
        ("edge@", ("--user", "edge", "--pass", "s3cret"), "password_file"),
        ("", ("--auth", "s3cret"), "token_file"),
    ):
        nats.kill()
        nats.more = more
        nats.start()
        uri = nats.uri.replace("//", f"//{login}")
        with pytest.raises(UnavailableError, match=r"[Aa]uthorization"):
            opened(uri)
        opened(f"{uri}&{option}={tmp_path / 'secret'}").close()


def test_of_several_hosts_one_that_answers_is_taken(nats):
    opened(nats.uri.replace("//", "//127.0.0.1:1,")).close()


@pytest.mark.parametrize("subject", ["", "/", "/edge.*", "/edge.>"])
def test_a_subject_to_publish_on_is_needed(subject):
    with pytest.raises(ConfigError, match="no subject to publish on"):
        assembly.make_sink(f"nats://host:4222{subject}", SinkContext())

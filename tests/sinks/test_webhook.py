from __future__ import annotations

import base64
import hashlib
import hmac
import json

import msgspec
import pytest
from support.delivering import result
from support.processes import until

from edge.app import assembly
from edge.errors import ConfigError, UnavailableError
from edge.plugins.contexts import SinkContext
from edge.plugins.protocols import Entry
from edge.testing.fakes import FakeClock


class Lane:
    """Hears what a sink tells."""

    def __init__(self):
        self.keys = []

    def confirmed(self, keys):
        self.keys += keys


@pytest.fixture
def receiver(store_server):
    return store_server("webhook")


def opened(uri, lane, **context):
    sink = assembly.make_sink(uri, SinkContext(**context))
    sink.open(lane)
    return sink


def entries(*messages):
    return [Entry(100 + n, message) for n, message in enumerate(messages)]


def headers_of(receiver):
    return [json.loads(row[3]) for row in receiver.rows()]


def test_a_result_goes_alone_with_its_id_as_idempotency_key(receiver):
    lane = Lane()
    sink = opened(receiver.uri, lane)
    assert sink.send_all(entries(result(1), result(2))) == []
    sink.close()
    assert lane.keys == [100, 101]
    assert [row[1] for row in receiver.rows()] == [result(1).payload, result(2).payload]
    assert [h["Idempotency-Key"] for h in headers_of(receiver)] == [f"line3/digits/5f0c9a1e/{n}" for n in (1, 2)]
    assert {h["Content-Type"] for h in headers_of(receiver)} == {"application/json"}


def test_a_batch_is_an_array_whose_key_names_just_these_results(receiver):
    sink = opened(f"{receiver.uri}#batch=3", Lane())
    sink.send_all(entries(*[result(n) for n in range(1, 6)]))
    sink.send_all(entries(*[result(n) for n in range(1, 3)]))  # the same first result, another array
    sink.close()
    bodies = [json.loads(h["body"]) for h in headers_of(receiver)]
    assert [[r["seq"] for r in body] for body in bodies] == [[1, 2, 3]] * 3 + [[4, 5]] * 2
    assert len({h["Idempotency-Key"] for h in headers_of(receiver)}) == 2


def test_a_row_that_is_refused_is_told_apart_from_those_beside_it(receiver):
    lane = Lane()
    sink = opened(f"{receiver.uri}#batch=8", lane)
    refused = sink.send_all(entries(*[result(n, source="poison" if n == 5 else "") for n in range(1, 9)]))
    sink.close()
    assert [key for key, _ in refused] == [104]
    assert "422" in refused[0][1]
    assert sorted(lane.keys) == [100, 101, 102, 103, 105, 106, 107]
    assert sorted(json.loads(row[1])["seq"] for row in receiver.rows()) == [1, 2, 3, 4, 6, 7, 8]


def test_the_signature_is_the_one_of_standard_webhooks(receiver, tmp_path):
    (tmp_path / "secret").write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    sink = opened(f"{receiver.uri}#secret_file={tmp_path / 'secret'}", Lane())
    sink.send_all(entries(result(1)))
    sink.close()
    (said,) = headers_of(receiver)
    signed = f"{said['webhook-id']}.{said['webhook-timestamp']}.{said['body']}".encode()
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert said["webhook-signature"] == f"v1,{expected}"
    assert said["webhook-id"] == said["Idempotency-Key"]


def test_a_token_is_read_again_for_each_connection(receiver, tmp_path):
    token = tmp_path / "token"
    token.write_text("old")
    sink = opened(f"{receiver.uri}#token_file={token}", Lane())
    sink.send_all(entries(result(1)))
    token.write_text("new\n")
    sink.close()
    sink.open(Lane())
    sink.send_all(entries(result(2)))
    sink.close()
    assert [h["Authorization"] for h in headers_of(receiver)] == ["Bearer old", "Bearer new"]


def test_what_every_result_would_be_told_means_away(receiver):
    sink = opened(receiver.uri, Lane())
    for status in (401, 403, 404, 408, 425, 429, 500, 503):
        receiver.answer(status)
        with pytest.raises(UnavailableError, match=str(status)):
            sink.send_all(entries(result(1)))
    sink.close()


def test_what_is_said_of_one_result_refuses_it_alone(receiver):
    lane = Lane()
    sink = opened(receiver.uri, lane)
    for status in (400, 409, 413, 422):
        receiver.answer(status)
        assert [key for key, _ in sink.send_all(entries(result(1)))] == [100]
    sink.close()
    assert lane.keys == []


def test_a_redirect_is_not_followed_and_its_target_is_named(receiver):
    receiver.answer(308, Location="https://elsewhere.example/hook")
    sink = opened(receiver.uri, Lane())
    with pytest.raises(UnavailableError, match=r"say webhook:https://elsewhere\.example/hook"):
        sink.send_all(entries(result(1)))
    sink.close()


def test_retry_after_is_honoured(receiver):
    receiver.answer(503, **{"Retry-After": "20"})
    clock = FakeClock()
    sink = opened(receiver.uri, Lane(), clock=clock)
    with pytest.raises(UnavailableError):
        sink.send_all(entries(result(1)))
    receiver.answer(None)
    sink.close()
    clock.advance(19)
    with pytest.raises(UnavailableError, match="left alone"):
        sink.open(Lane())
    clock.advance(2)
    sink.open(Lane())
    assert sink.send_all(entries(result(1))) == []
    sink.close()


def test_a_connection_that_the_server_has_closed_meanwhile_is_no_outage(receiver):
    sink = opened(receiver.uri, Lane())
    sink.send_all(entries(result(1)))
    receiver.kill()
    receiver.start()
    assert sink.send_all(entries(result(2))) == []
    sink.close()
    assert len(receiver.rows()) == 2


def test_errors_are_not_sent_and_hold_up_nothing(receiver):
    lane = Lane()
    sink = opened(receiver.uri, lane)
    sink.send_all(entries(msgspec.structs.replace(result(1), kind="error"), result(2)))
    sink.close()
    assert sorted(lane.keys) == [100, 101]
    assert len(receiver.rows()) == 1


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("", "has no host; say webhook:https://host/path"),
        ("ftp://host/x", "http:// or https://"),
        ("http://host/x#bach=3", "did you mean batch"),
        ("http://host/x#batch=many", "batch"),
        ("http://host/x#batch=0", "at least 1"),
        ("http://host:port/x", "port"),
        ("http://host/x#token_file=/nowhere/token", "/nowhere/token"),
    ],
)
def test_what_cannot_be_meant_is_named(rest, message):
    with pytest.raises(ConfigError, match=message):
        assembly.make_sink(f"webhook:{rest}", SinkContext())


def test_no_message_shows_a_password_or_a_path_that_may_be_one():
    sink = assembly.make_sink("webhook:http://user:pa55@127.0.0.1:1/T0K3N?key=T0K3N", SinkContext())
    with pytest.raises(UnavailableError) as raised:
        sink.reach()
    assert "pa55" not in str(raised.value)
    assert "T0K3N" not in str(raised.value)


def test_refused_rows_hold_up_nothing_and_each_sample_is_safe(receiver, deliver):
    delivery = deliver(receiver.uri)
    delivery.put(*[result(n, source="poison" if n % 10 == 0 else "") for n in range(1, 101)])
    delivery.finish()
    assert [seq for seq, _ in delivery.refused] == list(range(10, 101, 10))
    assert [json.loads(row[1])["seq"] for row in receiver.rows()] == [n for n in range(1, 101) if n % 10]
    until(lambda: len(delivery.safe) == 100, "every sample is safe")

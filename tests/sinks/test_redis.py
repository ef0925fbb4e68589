from __future__ import annotations

import json

import pytest
from support.delivering import result

from edge.app import assembly
from edge.errors import ConfigError, UnavailableError
from edge.plugins.contexts import SinkContext
from edge.plugins.protocols import Entry


@pytest.fixture
def redis(store_server):
    return store_server("redis")


def reached(uri):
    return assembly.make_sink(uri, SinkContext()).reach()


def test_an_entry_has_the_id_and_the_result_as_it_is(redis, deliver):
    delivery = deliver(redis.uri)
    delivery.put(result(1), result(2))
    delivery.finish()
    with redis.client() as client:
        entries = [fields for _, fields in client.xrange("results")]
    assert entries == [{b"id": f"line3/digits/5f0c9a1e/{n}".encode(), b"result": result(n).payload} for n in (1, 2)]


def test_an_older_result_that_comes_late_is_added_and_only_once(redis, deliver):
    for numbers in ((5, 6, 7), (1, 6, 70_000), (1, 70_000)):
        delivery = deliver(redis.uri)
        delivery.put(*[result(n) for n in numbers])
        delivery.finish()
    assert [json.loads(p)["seq"] for p in redis.received()] == [5, 6, 7, 1, 70_000]


def test_two_devices_and_two_boots_with_the_same_numbers_stay_apart(redis, deliver):
    delivery = deliver(redis.uri)
    delivery.put(*[result(1, id=f"{who}/1") for who in ("line3/digits/aa", "line4/digits/aa", "line3/digits/bb")])
    delivery.finish()
    assert len(redis.received()) == 3


def test_the_stream_is_kept_short_and_marks_expire(redis, deliver):
    delivery = deliver(f"{redis.uri}#maxlen=100")
    delivery.put(*[result(n) for n in range(1, 1001)])
    delivery.finish()
    with redis.client() as client:
        assert 100 <= client.xlen("results") < 400  # whole nodes of the stream are cut off
        (marks,) = client.keys("*:seen:*")
        assert 0 < client.ttl(marks) <= 30 * 24 * 3600
        assert client.strlen(marks) <= 8192


def test_a_key_of_another_type_is_away_and_marks_nothing(redis, deliver):
    with redis.client() as client:
        client.set("results", "a string")
    sink = assembly.make_sink(redis.uri, SinkContext())
    sink.open(None)
    with pytest.raises(UnavailableError, match="WRONGTYPE"):
        sink.send(Entry(1, result(1)))
    sink.close()
    with redis.client() as client:
        client.delete("results")
    delivery = deliver(redis.uri)
    delivery.put(result(1))
    delivery.finish()
    assert len(redis.received()) == 1


def test_the_password_comes_from_a_file(redis, deliver, tmp_path):
    (tmp_path / "password").write_text("s3cret\n")
    with redis.client() as client:
        client.config_set("requirepass", "s3cret")
    with pytest.raises(UnavailableError, match="check #password_file"):
        reached(redis.uri)
    delivery = deliver(f"{redis.uri}#password_file={tmp_path / 'password'}")
    delivery.put(result(1))
    delivery.finish()
    assert delivery.refused == []


def test_a_server_that_keeps_nothing_over_a_kill_is_warned_of(redis):
    assert "append-only file synced everysec" in reached(redis.uri).text
    with redis.client() as client:
        client.config_set("appendonly", "no")
    found = reached(redis.uri)
    assert "keeps nothing over a kill" in found.doubt
    assert "appendonly yes" in found.fix


def test_a_server_that_throws_keys_away_is_warned_of(redis):
    with redis.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    assert "throws keys away" in reached(redis.uri).doubt


@pytest.mark.parametrize(
    ("rest", "message"),
    [("//host", "no stream"), ("//host/s#maxlen=-1", "at least 0"), ("//host/s#max_len=1", "did you mean maxlen")],
)
def test_what_cannot_be_meant_is_named(rest, message):
    with pytest.raises(ConfigError, match=message):
        assembly.make_sink(f"redis:{rest}", SinkContext())

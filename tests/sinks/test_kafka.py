from __future__ import annotations

import json

import pytest
from support.delivering import result

from edge.app import assembly
from edge.errors import ConfigError, UnavailableError
from edge.plugins.contexts import SinkContext


@pytest.fixture
def kafka(store_server):
    return store_server("kafka")


def test_the_key_is_device_and_model_and_a_header_has_the_id(kafka, deliver):
    delivery = deliver(kafka.uri)
    delivery.put(result(1), result(2), result(1, id="line4/digits/aa/1"))
    delivery.finish()
    messages = {m.headers()[0][1].decode(): m for m in kafka.messages()}
    assert set(messages) == {"line3/digits/5f0c9a1e/1", "line3/digits/5f0c9a1e/2", "line4/digits/aa/1"}
    assert messages["line3/digits/5f0c9a1e/1"].key() == b"line3/digits"
    assert messages["line3/digits/5f0c9a1e/1"].value() == result(1).payload
    assert messages["line4/digits/aa/1"].key() == b"line4/digits"


def test_results_of_one_device_stay_in_order_and_nothing_is_sent_twice(kafka, deliver):
    delivery = deliver(kafka.uri)
    delivery.put(*[result(n) for n in range(1, 2001)])
    delivery.finish()
    assert [json.loads(p)["seq"] for p in kafka.received()] == list(range(1, 2001))


def test_a_user_without_a_mechanism_is_named():
    with pytest.raises(ConfigError, match="sasl=SCRAM-SHA-512"):
        assembly.make_sink("kafka://edge@host/topic", SinkContext())


def test_a_mechanism_that_there_is_not_is_told(tmp_path):
    sink = assembly.make_sink("kafka://edge@127.0.0.1:1/topic#sasl=NONSENSE", SinkContext())
    with pytest.raises((UnavailableError, ConfigError), match=r"sasl|SASL"):
        sink.reach()


@pytest.mark.parametrize("topic", ["", "/", "/a/b"])
def test_a_topic_is_needed(topic):
    with pytest.raises(ConfigError, match="no topic"):
        assembly.make_sink(f"kafka://host{topic}", SinkContext())

"""Topics joined into rows: by the newest value of each, its age, and the device that a + stands for."""

from __future__ import annotations

import pytest
from mqtt.test_source import Session

from edge.data.join import JoinRules
from edge.errors import ConfigError, SampleError
from edge.mqtt import join
from edge.plugins.contexts import SourceContext
from edge.settings import parsers
from edge.testing.fakes import FakeClock

TEMPERATURE, HUMIDITY = "t=plant/line3/t", "h=plant/line3/env $.data.humidity"
FLEET = ("t=plant/+/t", "h=plant/+/h")


class Joined:
    def __init__(self, *said: str, features=("t", "h"), kinds=(), **rules):
        self.session, self.clock, self.counted = Session(), FakeClock(), []
        context = SourceContext(
            self.clock, features=features, feature_kinds=kinds, transport=self.session, topic="edge/pi/m/input",
            count=self.counted.append,
        )  # fmt: skip
        self.source = join.create(JoinRules(tuple(map(parsers.joined, said)), **rules), context)
        self.source.open()

    def come(self, topic: str, payload: bytes, mid: int = 0, **more):
        self.session.give(payload, mid, topic=topic, **more)
        return self.read()

    def read(self) -> list[object]:
        """Rows, and what was told."""
        found: list[object] = []
        while True:
            try:
                sample = self.source.read(0)
            except SampleError as exc:
                found.append(str(exc))
                continue
            if sample is None:
                return found
            found.append(sample)

    def rows(self, topic: str, payload: bytes) -> list[object]:
        return [(sample.payload, sample.source) for sample in self.come(topic, payload)]


def test_each_value_makes_a_row_of_the_newest_of_all():
    joined = Joined(TEMPERATURE, HUMIDITY)
    joined.come("plant/line3/t", b"21.5")
    assert joined.rows("plant/line3/env", b'{"data": {"humidity": 40}}') == [
        ({"t": 21.5, "h": 40}, "mqtt:plant/line3/t")
    ]
    assert joined.rows("plant/line3/t", b"22") == [({"t": 22, "h": 40}, "mqtt:plant/line3/t")]


def test_values_of_one_device_belong_together():
    joined = Joined(*FLEET)
    joined.come("plant/pump3/t", b"1")
    joined.come("plant/pump4/t", b"2")
    assert joined.rows("plant/pump4/h", b"20") == [({"t": 2, "h": 20}, "mqtt:plant/pump4/t")]
    assert joined.rows("plant/pump3/h", b"10") == [({"t": 1, "h": 10}, "mqtt:plant/pump3/t")]


def test_a_topic_without_a_wildcard_belongs_to_all_devices_and_makes_no_row():
    joined = Joined("t=plant/+/t", "h=weather/h")
    joined.come("plant/pump3/t", b"1")
    assert joined.come("weather/h", b"80") == []
    assert joined.rows("plant/pump4/t", b"2") == [({"t": 2, "h": 80}, "mqtt:plant/pump4/t")]


def test_with_a_trigger_its_values_alone_make_rows():
    joined = Joined(TEMPERATURE, "h=plant/line3/h", trigger="h")
    joined.come("plant/line3/t", b"1")
    joined.come("plant/line3/t", b"2")
    assert joined.rows("plant/line3/h", b"40") == [({"t": 2, "h": 40}, "mqtt:plant/line3/h")]


def test_a_message_that_lacks_one_of_two_values_gives_the_other_and_the_topic_is_named():
    joined = Joined("t=plant/+/all $.t", "h=plant/+/all $.h")
    joined.come("plant/pump3/all", b'{"t": 1, "h": 2}')
    row, told = joined.come("plant/pump3/all", b'{"h": 5}')
    assert row.payload == {"t": 1, "h": 5}
    assert told.startswith("join: 't' of plant/pump3/all: ")
    row, told = joined.come("plant/pump3/all", b'{"t": 7}')
    assert (row.payload, "'h' of plant/pump3/all" in told) == ({"t": 7, "h": 5}, True)
    (told,) = joined.come("plant/pump3/all", b"{")
    assert told.startswith("join: 't', 'h' of plant/pump3/all: "), "one reason is said once, of many features, too"


def test_with_an_interval_the_clock_does():
    joined = Joined(*FLEET, interval_s=5.0)
    for topic, value in (("plant/a/t", b"1"), ("plant/a/h", b"2"), ("plant/a/t", b"3")):
        assert joined.come(topic, value) == []
    joined.clock.advance(5.0)
    (sample,) = joined.read()
    assert (sample.payload, sample.source) == ({"t": 3, "h": 2}, "mqtt:plant/a/t")
    assert joined.read() == []


def test_what_is_too_old_is_told_once_until_it_comes_again():
    joined = Joined("t=t", "h=h", max_age_s=30.0)
    joined.come("h", b"1")
    joined.come("t", b"1")
    joined.clock.advance(29.0)
    assert len(joined.come("t", b"1")) == 1
    joined.clock.advance(29.0)
    told = joined.come("t", b"1")
    assert told == ["join: no row for t as 'h' is older than 30 s, the maximum age (h); does something publish there?"]
    joined.counted.clear()
    assert joined.come("t", b"1") == []
    assert joined.counted == ["dropped:join"]
    joined.come("h", b"1")
    joined.clock.advance(31.0)
    assert [str(one) for one in joined.come("t", b"1") if "'h' is older" in str(one)] != []


def test_a_topic_that_never_comes_is_told_without_any_row_asking_for_it():
    joined = Joined(TEMPERATURE, "h=plant/line3/h", trigger="h", max_age_s=0.0)
    joined.come("plant/line3/t", b"1")
    joined.clock.advance(61.0)
    (told,) = joined.read()
    assert "'h' never came (plant/line3/h)" in told
    joined.clock.advance(61.0)
    assert joined.read() == []


def test_where_no_device_came_at_all_that_is_told():
    joined = Joined(*FLEET)
    joined.clock.advance(61.0)
    assert joined.read() == ["join: nothing came on plant/+/t, plant/+/h; does something publish there?"]
    joined.clock.advance(61.0)
    assert joined.read() == []


def test_of_a_device_whose_value_never_comes_the_others_know_nothing():
    joined = Joined(*FLEET)
    assert joined.come("plant/pump3/t", b"1") == []
    joined.clock.advance(61.0)
    assert ["pump3" in str(one) for one in joined.come("plant/pump4/t", b"2")] == [True]
    assert joined.rows("plant/pump4/h", b"20") == [({"t": 2, "h": 20}, "mqtt:plant/pump4/t")]


def test_rows_that_may_lack_a_feature_go_on_and_it_is_told_all_the_same():
    joined = Joined("t=t", "h=h", partial=True)
    joined.clock.advance(60.0)
    told, sample = sorted(joined.come("t", b"1"), key=lambda one: not isinstance(one, str))
    assert "'h' never came" in told
    assert sample.payload == {"t": 1}


def test_a_message_that_makes_a_row_is_acknowledged_with_its_result_any_other_at_once():
    joined = Joined("t=t", "h=h")
    joined.come("t", b"1", mid=1)
    assert joined.session.acked == [1]
    (sample,) = joined.come("h", b"2", mid=2)
    assert joined.session.acked == [1]
    joined.source.ack(sample)
    assert joined.session.acked == [1, 2]


def test_a_value_that_is_none_is_told_and_the_one_before_stays():
    joined = Joined("t=t $.v", "h=h")
    joined.come("t", b'{"v": 1}', mid=1)
    assert joined.come("t", b'{"w": 1}', mid=2)[0].startswith("join: 't' of t: join of t: $.v: no 'v'")
    assert "join: 't' of t: not JSON" in joined.come("t", b"text", mid=3)[0]
    assert "no text" in joined.come("h", b"\xff", mid=4)[0]
    assert joined.session.acked == [1, 2, 3, 4]
    assert joined.rows("h", b"2") == [({"t": 1, "h": 2}, "mqtt:t")]


@pytest.mark.parametrize(("payload", "kind"), [(b'{"v": 1}', "an object"), (b"[1]", "a list")])
def test_an_object_or_a_list_is_no_value_and_the_one_before_stays(payload, kind):
    joined = Joined("t=t", "h=h")
    joined.come("t", b"1")
    assert f"{kind} where one value belongs" in joined.come("t", payload)[0]
    assert joined.rows("h", b"2") == [({"t": 1, "h": 2}, "mqtt:t")]


def test_rows_of_the_clock_that_are_taken_too_slowly_do_not_pile_up():
    joined = Joined(*FLEET, interval_s=1.0)
    for device in ("a", "b"):
        joined.come(f"plant/{device}/t", b"1")
        joined.come(f"plant/{device}/h", b"1")
    taken = 0
    for _ in range(20):
        joined.clock.advance(1.0)
        taken += joined.source.read(0) is not None
    assert taken == 20
    assert len(joined.read()) <= 4


def test_more_devices_than_are_remembered_are_told_once(caplog):
    joined = Joined(*FLEET)
    for number in range(join.DEVICES_MOST + 3):
        joined.come(f"plant/{number}/t", b"1")
    assert [record.message for record in caplog.records] == ["join: more devices than are remembered"]


def test_states_of_home_assistant_are_numbers_or_text():
    joined = Joined(
        "t=homeassistant/statestream/sensor/attic/state", "h=homeassistant/statestream/sensor/fan/state",
        kinds=("number", "text"),
    )  # fmt: skip
    joined.come("homeassistant/statestream/sensor/attic/state", b"21.50", retain=True)
    (sample,) = joined.come("homeassistant/statestream/sensor/fan/state", b"1")
    assert (sample.payload, sample.retained) == ({"t": 21.5, "h": "1"}, True)
    (sample,) = joined.come("homeassistant/statestream/sensor/attic/state", b"unavailable")
    assert sample.payload == {"t": "unavailable", "h": "1"}


def test_a_model_whose_features_have_no_names_gets_them_in_their_order():
    joined = Joined("h=h", "t=t", features=())
    joined.come("t", b"1")
    assert joined.rows("h", b"2") == [([2, 1], "mqtt:h")]


def test_one_message_may_hold_several_features():
    joined = Joined("t=x $.t", "h=x $.h")
    assert joined.rows("x", b'{"t": 1, "h": 2}') == [({"t": 1, "h": 2}, "mqtt:x")]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (("t=t", "hum=h"), "no such feature; did you mean h"),
        (("t=t",), "--join h=... is not said; name each of"),
        (("t=t", "hh=h"), "did you mean"),
    ],
)
def test_features_that_are_not_the_models_are_refused(said, reason):
    with pytest.raises(ConfigError, match=reason):
        Joined(*said)


def test_a_message_that_comes_again_and_makes_no_row_any_more_is_told_at_once():
    joined = Joined(TEMPERATURE, HUMIDITY)
    assert joined.come("plant/line3/t", b"21.5", 1) == []
    again = Joined(TEMPERATURE, HUMIDITY)
    (told,) = again.come("plant/line3/t", b"21.5", 1, dup=True)
    assert "'h' never came (plant/line3/env)" in told
    assert again.counted == ["dropped:join"]
    assert again.session.acked == [1]


def test_a_message_that_was_too_large_to_be_kept_is_no_value_and_is_refused_for_its_size():
    joined = Joined(TEMPERATURE, "h=plant/line3/h")
    joined.come("plant/line3/t", b"1")
    joined.come("plant/line3/h", b"2")
    (sample,) = joined.come("plant/line3/t", b"", 7, unkept=60_000_000)
    assert (sample.payload, sample.unkept) == (b"", 60_000_000)
    assert joined.rows("plant/line3/h", b"3") == [({"t": 1, "h": 3}, "mqtt:plant/line3/t")]

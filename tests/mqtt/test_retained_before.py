"""Retained inputs over MQTT 3.1.1, from one life of the process to the next."""

from __future__ import annotations

import pytest
from support.fed import TOPIC, Session, read

from edge.mqtt import retained_before
from edge.mqtt.retained_before import RetainedBefore
from edge.mqtt.source import create
from edge.plugins.contexts import SourceContext
from edge.testing.fakes import FakeClock


class Life(Session):
    """One life of a process whose broker had kept its session, or not."""

    def __init__(self, folder, *, resumed=True, five=False, topic=TOPIC):
        super().__init__()
        self.counted = []
        self.subscriptions.retained_before = self.before = RetainedBefore(folder, "mqtt://broker", "device")
        context = SourceContext(FakeClock(), transport=self, topic=topic, count=self.counted.append)
        self.source = create("a/+", context)
        self.source.open()
        self.subscriptions.missing(resumed=resumed, five=five)

    def inferred(self, *inputs, safe=True):
        """What is inferred of these: a letter each, with its quality of service where it is 0, small where it is
        retained."""
        for number, said in enumerate(inputs, 1):
            mid = 0 if said.endswith("0") else number
            self.give(said[0].upper().encode(), mid, topic="a/b", retain=said[0].islower())
        samples = read(self.source)
        for sample in samples if safe else ():
            self.source.ack(sample)
        return "".join(s.payload.decode() for s in samples)

    def end(self):
        self.before.end()


@pytest.fixture
def life(tmp_path):
    def lived(*inputs, safe=True, **more):
        made = Life(tmp_path, **more)
        found = made.inferred(*inputs, safe=safe)
        made.end()
        return found

    return lived


def test_a_retained_input_is_inferred_once_over_all_starts(life, tmp_path):
    assert [life("a", resumed=False), life("a"), life("a")] == ["A", "", ""]
    again = Life(tmp_path)
    assert again.inferred("a") == ""
    assert (again.acked, again.counted) == ([1], ["dropped:input-retained"])


@pytest.mark.parametrize(
    ("then", "more"),
    [
        ("b", {}),
        ("a0", {}),
        ("A", {}),
        ("a", {"resumed": False}),
        ("a", {"five": True}),
        ("a", {"topic": "edge/pi/other"}),
    ],
    ids=["another payload", "QoS 0", "not retained", "a new session", "MQTT 5", "another run"],
)
def test_anything_else_is_inferred(life, then, more):
    life("a", resumed=False)
    assert life(then, **more) == then[0].upper()


def test_one_that_was_not_safe_is_inferred_again(life):
    life("a", resumed=False, safe=False)
    assert life("a") == "A"


@pytest.mark.parametrize("other", ["B", "B0", "b", "b0"])
@pytest.mark.parametrize("at_once", [True, False])
def test_one_that_another_input_has_overtaken_is_inferred_again(life, other, at_once):
    for inputs in [("a", other)] if at_once else [("a",), (other,)]:
        life(*inputs, resumed=False)
    assert life("a") == "A"


def test_an_equal_one_behind_it_does_not_overtake(life):
    life("a", "A", resumed=False)
    assert life("a") == ""


def test_over_mqtt_5_nothing_is_written(life, tmp_path):
    life("a", "B", resumed=False, five=True)
    assert list(tmp_path.iterdir()) == []


def test_nor_for_ordinary_inputs(life, tmp_path):
    life("A", "B", resumed=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"a":1}', b"\xff"])
def test_a_file_that_cannot_be_read_is_as_none(life, tmp_path, content):
    life("a", resumed=False)
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    assert [life("a"), life("a")] == ["A", ""]


def test_a_folder_that_cannot_be_written_costs_nothing_but_a_repeat(life, tmp_path, caplog):
    (tmp_path / "gone").write_text("a file where the folder belongs")
    one = Life(tmp_path / "gone")
    assert one.inferred("a") == "A"
    one.end()
    assert "retained inputs are not remembered" in caplog.text


def test_of_many_topics_the_newest_are_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr(retained_before, "MOST", 2)

    def start():
        made = Life(tmp_path)
        for mid, topic in enumerate(("a/1", "a/2", "a/3"), 1):
            made.give(topic.encode(), mid, topic=topic, retain=True)
        found = read(made.source)
        for sample in found:
            made.source.ack(sample)
        made.end()
        return [s.payload for s in found]

    assert start() == [b"a/1", b"a/2", b"a/3"]
    assert start() == [b"a/1"]


def test_two_that_are_too_large_are_not_taken_for_each_other(tmp_path):
    for _ in range(2):
        made = Life(tmp_path)
        made.give(b"", 1, topic="a/b", retain=True, unkept=99)
        (sample,) = read(made.source)
        made.source.ack(sample)
        made.end()


def test_many_are_written_together(tmp_path):
    made = Life(tmp_path)
    assert made.before.turn() == retained_before.IDLE_S
    made.inferred("a")
    assert 0 < made.before.turn() <= retained_before.WRITE_S
    assert list(tmp_path.iterdir()) == []

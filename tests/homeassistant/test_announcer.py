"""When Home Assistant is told what, at a broker that is a list."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from support.homes import made, result

from edge.data.message import Message
from edge.data.result import Detection, ModelRef, Result, Timing
from edge.data.sample import EncodedImage, Image, Sample
from edge.homeassistant.announcer import Announcer, jitter_ns
from edge.homeassistant.pictures import Pictures
from edge.homeassistant.record import Record
from edge.mqtt.messages import Incoming, Outgoing
from edge.testing.fakes import FakeClock

TOPIC = "homeassistant/device/edge-run_line3_m/config"
STATS = Outgoing("edge/line3/m/stats", b"{}")


class Broker:
    """Remembers what is published; confirms at once, or when told to."""

    def __init__(self):
        self.published, self.waiting = [], []
        self.confirms, self.away = True, False
        self.acked = []

    def post(self, message, on_delivery=None):
        if self.away:
            return
        self.published.append(message)
        if on_delivery is not None:
            self.waiting.append(on_delivery.confirmed)
        if self.confirms:
            self.confirm()

    def confirm(self):
        waiting, self.waiting = self.waiting, []
        for confirmed in waiting:
            confirmed([0])

    def call_soon(self, call):
        self.before_call()
        call()

    def before_call(self):
        """What happens in the session's thread until then."""

    def ack(self, incoming):
        self.acked.append(incoming)

    def taken(self):
        """What was published since it was asked last."""
        found, self.published = self.published, []
        return found


class Home:
    """One life of a device."""

    def __init__(self, folder, document=None, picture_every_s=None):
        self.clock, self.broker = FakeClock(), Broker()
        self.document = document or made("classify")
        object_id = self.document.topic.split("/")[-2]
        self.record = Record(folder, object_id)
        pictures = Pictures(self.broker, self.clock, picture_every_s) if picture_every_s is not None else None
        self.announcer = Announcer(
            self.document, self.broker, self.record, clock=self.clock, states=lambda: [STATS], pictures=pictures
        )
        self.announcer.open()

    def born(self):
        self.announcer.born()
        self.announcer.tick()
        self.announcer.tick()
        return self.broker.taken()

    def greet(self, payload=b"online"):
        self.announcer.heard(Incoming("homeassistant/status", payload, 1, False, False, 7, 1))

    def after(self, seconds):
        self.clock.advance(seconds)
        self.announcer.tick()
        return self.broker.taken()


def topics(messages):
    return [m.topic for m in messages]


def test_at_birth_the_document_comes_retained_and_what_it_can_know_at_once(tmp_path):
    found = Home(tmp_path).born()
    assert topics(found) == [TOPIC, STATS.topic]
    assert found[0].retain
    assert "label" in json.loads(found[0].payload)["components"]


def test_nothing_is_said_before_birth_and_nothing_twice(tmp_path):
    home = Home(tmp_path)
    home.announcer.tick()
    assert home.broker.taken() == []
    home.born()
    assert home.after(60) == []


def test_home_assistant_s_birth_is_answered_after_a_little_while(tmp_path):
    home = Home(tmp_path)
    home.born()
    home.greet()
    wait_s = jitter_ns(home.document.topic) / 1e9
    assert home.after(wait_s - 0.01) == []
    assert topics(home.after(0.02)) == [TOPIC, STATS.topic]
    assert len(home.broker.acked) == 1


def test_a_hundred_devices_do_not_answer_at_once():
    waits = {jitter_ns(f"homeassistant/device/edge_line{n}_m/config") // 100_000_000 for n in range(100)}
    assert len(waits) > 15
    assert max(waits) < 20


def test_its_death_is_not(tmp_path):
    home = Home(tmp_path)
    home.born()
    home.greet(b"offline")
    assert home.after(10) == []


def test_home_assistant_s_birth_brings_the_last_result_again_marked_as_replayed(tmp_path):
    home = Home(tmp_path)
    home.born()
    home.announcer.sending(Message("result", result("classify"), 1))
    home.announcer.sending(Message("error", b'{"reason":"no"}', 2))
    home.greet()
    last = home.after(2)[-1]
    assert last.topic == "edge/line3/m/result"
    assert json.loads(last.payload) == {**json.loads(result("classify")), "replayed": True}


def test_our_own_birth_does_not(tmp_path):
    home = Home(tmp_path)
    home.announcer.sending(Message("result", result("classify"), 1))
    assert topics(home.born()) == [TOPIC, STATS.topic]


def test_a_result_that_is_sent_at_the_same_moment_is_the_last_that_is_heard(tmp_path):
    home = Home(tmp_path)
    home.born()
    home.announcer.sending(Message("result", b'{"n":1}', 1))
    home.greet()
    home.broker.before_call = lambda: home.announcer.sending(Message("result", b'{"n":2}', 2))
    assert home.after(2)[-1].payload == b'{"n":2,"replayed":true}'


def test_a_broker_that_goes_in_the_middle_gets_all_at_the_next_birth(tmp_path):
    home = Home(tmp_path)
    home.broker.away = True
    home.born()
    home.broker.away = False
    assert topics(home.born()) == [TOPIC, STATS.topic]


# --- what is gone -----------------------------------------------------------------------------------------


def test_components_of_an_earlier_model_are_taken_away_once(tmp_path):
    first = Home(tmp_path, made("detect", labels=("cat", "dog")))
    first.born()
    first.announcer.close()
    second = Home(tmp_path, made("detect", labels=("dog",)))
    stubs, whole, _ = second.born()
    assert json.loads(stubs.payload)["components"]["count_cat"] == {"platform": "sensor"}
    assert "count_cat" not in json.loads(whole.payload)["components"]
    second.announcer.close()
    assert topics(Home(tmp_path, made("detect", labels=("dog",))).born()) == [TOPIC, STATS.topic]


def test_a_life_that_ends_before_the_broker_confirmed_forgets_nothing(tmp_path):
    first = Home(tmp_path, made("detect", labels=("cat",)))
    first.born()
    first.announcer.close()
    killed = Home(tmp_path, made("detect", labels=("dog",)))
    killed.broker.confirms = False
    killed.born()
    killed.announcer.close()
    stubs = Home(tmp_path, made("detect", labels=("dog",))).born()[0]
    assert json.loads(stubs.payload)["components"]["count_cat"] == {"platform": "sensor"}


def test_a_device_whose_model_got_another_name_is_taken_away_whole(tmp_path):
    first = Home(tmp_path, made("classify", model="old"))
    first.born()
    first.announcer.close()
    found = Home(tmp_path).born()
    assert (found[0].topic, found[0].payload, found[0].retain) == (
        "homeassistant/device/edge-run_line3_old/config", b"", True
    )  # fmt: skip
    assert topics(found[1:]) == [TOPIC, STATS.topic]
    assert not list(tmp_path.glob("*old*"))


def test_a_device_that_runs_beside_it_stays(tmp_path):
    beside = Home(tmp_path, made("classify", model="other"))
    beside.born()
    assert topics(Home(tmp_path).born()) == [TOPIC, STATS.topic]


def test_without_a_folder_it_announces_all_the_same(tmp_path, caplog):
    (tmp_path / "file").touch()
    assert topics(Home(tmp_path / "file").born()) == [TOPIC, STATS.topic]
    assert "what is announced is not remembered" in caplog.text


def test_a_damaged_record_is_as_none(tmp_path):
    (tmp_path / "home-assistant.edge-run_line3_m.json").write_text("{")
    assert topics(Home(tmp_path).born()) == [TOPIC, STATS.topic]


# --- pictures ---------------------------------------------------------------------------------------------


def shown(home, payload):
    box = Detection(0, "cat", 0.9, (10.0, 20.0, 50.0, 40.0))
    seen = Result(1, "d/m/b/1", "t", True, "d", ModelRef("m", "1", ""), "s", 1, "detect", [box], Timing(0, 0, 0))
    home.announcer.pictures.newest.observe(Sample(payload, "s", 0, 0), [seen])


@pytest.fixture
def gallery(tmp_path):
    home = Home(tmp_path, picture_every_s=10)
    home.born()
    return home


BLACK = np.zeros((1200, 1600, 3), np.uint8)


def test_a_picture_comes_as_a_small_jpeg_with_what_was_found(gallery):
    shown(gallery, Image(BLACK))
    (found,) = gallery.after(0)
    assert (found.topic, found.content_type, found.retain) == ("edge/line3/m/image", "image/jpeg", False)
    pixels = cv2.imdecode(np.frombuffer(found.payload, np.uint8), cv2.IMREAD_COLOR)
    assert pixels.shape == (600, 800, 3)
    assert pixels.max() > 100
    assert BLACK.max() == 0


def test_encoded_pictures_are_shown_too(gallery):
    png = cv2.imencode(".png", BLACK[:90, :90])[1].tobytes()
    for payload in (png, EncodedImage(png)):
        shown(gallery, payload)
        (found,) = gallery.after(10)
        assert found.payload.startswith(b"\xff\xd8")


def test_pictures_come_as_often_as_was_asked_the_newest_each_time(gallery):
    came = []
    for _ in range(30 * 25):
        shown(gallery, Image(BLACK[:40, :40]))
        came += gallery.after(1 / 30)
    assert len(came) == 3


def test_the_next_picture_waits_for_a_broker_that_is_slow_and_not_for_one_that_went(gallery):
    gallery.broker.confirms = False
    shown(gallery, Image(BLACK))
    assert len(gallery.after(10)) == 1
    shown(gallery, Image(BLACK))
    assert gallery.after(100) == []
    gallery.broker.confirm()
    assert len(gallery.after(0)) == 1
    shown(gallery, Image(BLACK))
    gallery.born()
    shown(gallery, Image(BLACK))
    assert len(gallery.after(10)) == 1


@pytest.mark.parametrize("payload", [{"a": 1}, b"\xff\xd8\xff broken", None, np.zeros((3, 3))])
def test_what_is_no_picture_is_passed_over(gallery, payload):
    shown(gallery, payload)
    assert gallery.after(10) == []


def test_another_model_s_entities_take_the_place_of_those_that_it_has_no_more(tmp_path):
    home = Home(tmp_path)
    home.born()
    before, newer = home.document.platforms, made("regress")
    home.announcer.follow(newer)
    home.announcer.tick()
    posted = [json.loads(m.payload) for m in home.broker.taken() if m.topic == newer.topic]

    assert set(posted[0]["components"]) == set(before) | set(newer.platforms)
    assert set(posted[-1]["components"]) == set(newer.platforms)

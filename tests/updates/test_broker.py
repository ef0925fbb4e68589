"""A repository in retained messages of a real broker: published, followed, and what a hostile one may do."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.processes import Client, Mosquitto
from support.updating import Fleet, write_model

from edge.errors import ConfigError
from edge.settings.settings import MqttSettings
from edge.tools.fleet.publish import Published, Publisher
from edge.updates import order, trust
from edge.updates.broker import PIECE, Connection
from edge.updates.order import Answer, Order

pytestmark = pytest.mark.skipif(shutil.which("mosquitto") is None, reason="needs mosquitto (apt-get install mosquitto)")


@pytest.fixture(scope="module")
def broker(tmp_path_factory) -> Iterator[Mosquitto]:
    """Of all tests here: each has a prefix of its own."""
    broker = Mosquitto(tmp_path_factory.mktemp("broker"), "message_size_limit 50000000").start()
    yield broker
    broker.end()


class Site:
    """A publisher with a fleet below a prefix of its own, and a device."""

    def __init__(self, fleet: Fleet, broker: Mosquitto, device: Path, prefix: str) -> None:
        self.fleet, self.device, self.prefix = fleet, device, prefix
        self.settings = MqttSettings(url=broker.url)
        self.base = f"{prefix}/_updates"
        self.hand = Client(broker.port)

    def publish(self, folder: Path | None = None, *, replace: bool = False) -> Published:
        connection = Connection(self.settings, self.prefix)
        try:
            return Publisher(folder or self.fleet.folder, connection, self.prefix).publish(replace=replace)
        finally:
            connection.close()

    def order(self, **more) -> Order:
        return self.fleet.order(self.device, uri="mqtt:", broker=self.settings, prefix=self.prefix, **more)

    def fetch(self) -> Answer:
        return trust.ask(self.order(fetch=trust.ask(self.order()).release))

    def offer(self, version: str, size: int = 300_000) -> str:
        """The topic of a new version's pieces."""
        file = write_model(self.fleet.folder / f"m{version}.onnx", version, labels=("n" * size,))
        release = self.fleet.add(file, version)
        return f"{self.base}/targets/m/{self.fleet.target(release).name}"

    def retain(self, topic: str, payload: bytes) -> None:
        self.hand.publish(topic, payload, retain=True)


@pytest.fixture
def site(fleet, broker, device, request) -> Iterator[Site]:
    site = Site(fleet, broker, device, f"p{abs(hash(request.node.name))}")
    yield site
    site.hand.close()


def test_a_model_of_many_pieces_comes_whole_and_a_second_go_sends_nothing(site):
    site.offer("2+b", 2 * PIECE * 8)
    first = site.publish()
    answer = site.fetch()
    again = site.publish()

    assert answer.release.version == "2+b"
    assert answer.staged.read_bytes() == site.fleet.target(answer.release).read_bytes()
    assert first.messages == first.new > 16
    assert (again.new, again.gone) == (0, 0)


def test_what_is_no_longer_offered_goes_and_what_an_index_names_elsewhere_stays(site):
    site.publish()
    site.retain(f"{site.prefix}/line3/m/status", b"online")
    site.retain(
        f"{site.base}/index",
        b'["%b/line3/m/status", "%b/metadata/9.m.json"]' % (site.prefix.encode(), site.base.encode()),
    )
    site.retain(f"{site.base}/metadata/9.m.json", b"old")
    site.offer("2")
    site.fleet.repository.withdraw("m", "stable", "1")
    gone = site.publish().gone
    connection = Connection(site.settings, site.prefix)
    held = connection.retained([f"{site.prefix}/line3/m/status", f"{site.base}/metadata/9.m.json"])
    connection.close()

    assert (gone, list(held)) == (1, [f"{site.prefix}/line3/m/status"])


def test_what_a_broker_lost_is_put_there_again_and_the_device_goes_on_where_it_was(site):
    topic = site.offer("2")
    site.publish()
    site.retain(f"{topic}/2", b"")
    broken = site.fetch()
    part = next((site.device / "staging").iterdir()).stat().st_size
    mended = site.publish().new

    assert (broken.fault, "a piece is missing" in broken.reason) == ("away", True)
    assert (part, mended) == (2 * PIECE, 1)
    assert site.fetch().staged is not None


@pytest.mark.parametrize(
    ("number", "payload", "said"),
    [
        (1, b"x" * (PIECE + 1), "a piece has 100000 at most"),
        (1, b"x" * PIECE, "does not match"),
        (3, b"x" * PIECE, "more bytes than are signed for"),
    ],
    ids=["a piece too long", "a piece of another file", "a file too long"],
)
def test_what_a_hostile_broker_puts_in_place_of_a_piece_is_refused_and_leaves_nothing_behind(
    site, number, payload, said
):
    topic = site.offer("2")
    site.publish()
    for one in range(number, number + 1 if number < 3 else 40):
        site.retain(f"{topic}/{one}", payload)
    answer = site.fetch()

    assert (answer.fault, said in answer.reason) == ("refused", True), answer.reason
    assert list((site.device / "staging").iterdir()) == []


def test_metadata_of_another_fleet_are_refused(site, tmp_path):
    site.publish()
    other = Fleet(tmp_path / "other")
    site.retain(f"{site.base}/metadata/timestamp.json", other.newest("timestamp").read_bytes())

    assert "signed" in trust.ask(site.order()).reason


@pytest.mark.long
def test_a_message_that_fills_the_memory_ends_the_check_and_not_the_device(site):
    site.publish()
    site.retain(f"{site.base}/metadata/timestamp.json", b"x" * 45_000_000)
    process = subprocess.run(
        [sys.executable, "-m", "edge.updates"], input=order.encode(site.order()), capture_output=True, check=True
    )
    answer = order.decode_answer(process.stdout)

    assert (answer.fault, "larger than any file" in answer.reason) == ("refused", True), answer.reason


def test_another_repository_in_its_place_is_refused_for_its_devices_would_refuse_it(site, tmp_path):
    site.publish()
    other = Fleet(tmp_path / "other")
    other.add(write_model(tmp_path / "other.onnx", "7"), "7")

    with pytest.raises(ConfigError, match=r"holds another repository there.*another --prefix, or say --replace"):
        site.publish(other.folder)
    assert trust.ask(site.order()).release.version == "1"
    assert site.publish(other.folder, replace=True).gone > 0


def test_an_older_copy_of_the_repository_is_refused_and_names_both_time_stamps(site, tmp_path):
    shutil.copytree(site.fleet.folder, tmp_path / "copy")
    site.offer("2")
    site.publish()

    with pytest.raises(ConfigError, match=r"holds time stamp \d+, this folder \d+: devices go by the newer one"):
        site.publish(tmp_path / "copy")
    assert trust.ask(site.order()).release.version == "2"


@pytest.mark.parametrize("stamp", [b"", b"{}", b"nonsense", b'{"signed": 1}'])
def test_what_a_broker_holds_in_place_of_a_time_stamp_keeps_no_publisher_away(site, stamp):
    site.publish()
    site.retain(f"{site.base}/metadata/timestamp.json", stamp)

    site.publish()
    assert trust.ask(site.order()).release.version == "1"


def test_a_broker_without_a_repository_is_named_with_the_way_out(site, monkeypatch):
    monkeypatch.setattr("edge.updates.broker.ANSWER_S", 0.1)
    answer = trust.ask(site.order())

    assert (answer.fault, "edge-fleet publish puts one there" in answer.reason) == ("away", True)

"""Attacks with valid tooling, wherever the repository lies: each is refused with its reason, what a device runs stays,
and once the attack is over the next check goes on."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.processes import Mosquitto
from support.updating import Fleet, RangeServer, edited, write_model
from tuf.api.metadata import MetaFile

from edge.settings.settings import MqttSettings
from edge.updates import seen, trust
from edge.updates.broker import PIECE, Connection, topic_of
from edge.updates.order import Answer, Order


@pytest.fixture(scope="module")
def broker(tmp_path_factory) -> Iterator[Mosquitto]:
    if shutil.which("mosquitto") is None:
        pytest.skip("needs mosquitto (apt-get install mosquitto)")
    broker = Mosquitto(tmp_path_factory.mktemp("broker")).start()
    yield broker
    broker.end()


class Place:
    """Where the repository lies, and a device that asks there; `show` puts there what is in the folder now."""

    def __init__(self, fleet: Fleet, device: Path, show: Callable[[], None], **asked) -> None:
        self.fleet, self.device, self.show = fleet, device, show
        self._asked = {"root": None, **asked}

    def order(self, **more) -> Order:
        return self.fleet.order(self.device, **{**self._asked, **more})

    def check(self, **more) -> Answer:
        self.show()
        return trust.ask(self.order(**more))


@pytest.fixture(params=["folder", "https", "mqtt"])
def place(request, fleet, device, papers, tmp_path) -> Iterator[Place]:
    """A device that has seen version 2."""
    (device / "root.json").write_bytes(fleet.root.read_bytes())
    fleet.add(write_model(tmp_path / "m2.onnx", "2"), "2")
    if request.param == "folder":
        yield seen_by(Place(fleet, device, lambda: None))
    elif request.param == "https":
        with RangeServer(fleet.public, papers=papers, client=True) as server:
            cert, key = papers.pair("client")
            yield seen_by(Place(fleet, device, lambda: None, uri=server.uri, ca=papers.ca, cert=cert, key=key))
    else:
        settings, prefix = MqttSettings(url=request.getfixturevalue("broker").url), f"p{abs(hash(request.node.name))}"
        connection = Connection(settings, prefix)
        yield seen_by(
            Place(fleet, device, lambda: retain(fleet, connection, prefix), uri="mqtt:", broker=settings, prefix=prefix)
        )
        connection.close()


def seen_by(place: Place) -> Place:
    assert place.check().release.version == "2"
    return place


def retain(fleet: Fleet, connection: Connection, prefix: str) -> None:
    """Whatever lies in the folder, as it is: this publisher looks at nothing."""
    messages = [(topic_of(prefix, "end"), b".")]
    for file in fleet.public.rglob("*.*"):
        path, data = file.relative_to(fleet.public).as_posix(), file.read_bytes()
        if path.startswith("metadata/"):
            messages.append((topic_of(prefix, path), data))
        elif file.is_file():
            pieces = range(0, len(data), PIECE)
            messages += [(f"{topic_of(prefix, path)}/{n}", data[at : at + PIECE]) for n, at in enumerate(pieces)]
    for at in range(0, len(messages), 8):
        connection.keep(messages[at : at + 8])


# --- the attacks: each changes the folder --------------------------------------------------------------


def older(fleet: Fleet) -> None:
    """The time stamp before the newest, as it was signed then."""
    fleet.resign("timestamp", lambda t: setattr(t, "version", t.version - 1))


def frozen(fleet: Fleet) -> None:
    """Nothing newer than what has run out."""

    def run_out(timestamp) -> None:
        timestamp.version += 1
        timestamp.expires = datetime(2026, 1, 1, tzinfo=UTC)

    fleet.resign("timestamp", run_out)


def mixed(fleet: Fleet) -> None:
    fleet.add(write_model(fleet.folder / "m3.onnx", "3"), "3")
    fleet.resign("snapshot", lambda snapshot: snapshot.meta.pop("m.json"))


def threshold(fleet: Fleet) -> None:
    def two_of_two(root) -> None:
        root.version = 2
        root.add_key(fleet.keys.make("second")[0].public_key, "root")
        root.roles["root"].threshold = 2

    fleet.resign("root", two_of_two, to="2.root.json")


def another_name(fleet: Fleet) -> None:
    """The file of a role in the place of another's, below metadata that name it."""
    fleet.repository.add(write_model(fleet.folder / "o.onnx", "1", factor=9.0), "other", "1", "stable", share=10_000)
    other = fleet.newest("other").read_bytes()
    fleet.newest("m").write_bytes(other)

    def named(snapshot) -> None:
        snapshot.meta["m.json"] = MetaFile.from_data(snapshot.meta["m.json"].version, other, ["sha256"])

    fleet.resign("snapshot", named)
    fleet.repository.renew()
    fleet.newest("m").write_bytes(other)


def portal(fleet: Fleet) -> None:
    """What a hotel answers to everything, with 200."""
    fleet.newest("timestamp").write_text("<html>Please log in</html>")


@pytest.mark.parametrize(
    ("attack", "why"),
    [
        (older, "must be >="),
        (frozen, "timestamp.json is expired"),
        (mixed, "length"),
        (threshold, "1/2"),
        (another_name, ""),
        (portal, "eserialize"),
    ],
    ids=lambda p: getattr(p, "__name__", ""),
)
def test_it_is_refused_with_its_reason_and_the_next_check_after_it_goes_on(place, tmp_path, attack, why):
    sound = shutil.copytree(place.fleet.public, tmp_path / "sound")
    before = seen.read(place.order())
    attack(place.fleet)
    answer = place.check()
    shutil.rmtree(place.fleet.public)
    shutil.copytree(sound, place.fleet.public)
    after = seen.read(place.order())

    assert (answer.fault, answer.release, answer.staged) == ("refused", None, None)
    assert why in answer.reason
    assert after == before
    if attack in (
        older,
        frozen,
        portal,
    ):  # of the others newer, rightly signed parts were seen: only forward from there
        place.fleet.add(write_model(tmp_path / "m4.onnx", "4"), "4")
        assert place.check().release.version == "4"


def test_a_longer_file_than_signed_leaves_nothing_behind(place):
    wanted = place.check().release
    edited(place.fleet.target(wanted), lambda data: data + b"!")
    answer = place.check(fetch=wanted)

    assert answer.fault == "refused"
    assert ("more bytes than are signed for" in answer.reason) or ("does not match" in answer.reason)
    assert list((place.device / "staging").iterdir()) == []


def test_by_a_clock_that_is_not_trusted_nothing_forged_passes_and_what_ran_out_is_no_verdict(place):
    answer = place.check(synced=False)
    frozen(place.fleet)
    later = place.check(synced=False)

    assert (answer.fault, answer.freshness) == (None, "unknown")
    assert (later.fault, later.freshness) == ("clock", "unknown")

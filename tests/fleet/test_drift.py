"""`edge-fleet drift`: what devices tell of drift, added up; which differ, and when it is an alarm."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest

from edge.cli import fleet
from edge.drift.report import Counts, FeatureCounts, Finding
from edge.tools.fleet import drift
from edge.tools.fleet.drift import Fleet, Heard, Limits, Said

NOW_S = 1_790_000_000.0
LIMITS = Limits(share=500, number=3, max_age_s=86_400)


def feature(values: np.ndarray, name: str = "temperature") -> FeatureCounts:
    """In places of half a unit, from below -2 to above 2."""
    counts = np.bincount(np.clip(np.floor(values * 2) + 5, 0, 9).astype(int), minlength=10)
    return FeatureCounts(name, "input", "number", [*counts.tolist(), 0])


def device(number: int, *, shift: float = 0.0, state: str = "ok", age_s: float = 0.0, scale: str = "a") -> Heard:
    values = np.random.default_rng(number).normal(shift, 1, 720)
    door = FeatureCounts("door", "input", "text", [700, 20, 0, 0])
    told = (Finding(name="temperature", of="input", kind="place", direction="up", distance=9.0),)
    said = Said(
        time=datetime.fromtimestamp(NOW_S - age_s, UTC).isoformat(), state=state,
        features=told if state == "drifted" else (), counts=Counts(scale, 720, (feature(values), door)),
    )  # fmt: skip
    return Heard(f"pi{number}", "plant", said)


def added(devices: list[Heard]) -> Fleet:
    (found,) = drift.added_up(devices, LIMITS, NOW_S)
    return found


def test_counts_of_all_devices_are_added_up() -> None:
    (scale,) = added([device(n) for n in range(40)]).scales

    assert (scale.devices, scale.rows) == (40, 40 * 720)
    assert [(f.name, sum(f.counts)) for f in scale.features] == [("temperature", 28_800), ("door", 28_800)]
    assert scale.features[1].counts == [28_000, 800, 0, 0]


def test_the_device_that_differs_from_the_others_is_named_though_it_says_that_all_is_well() -> None:
    (scale,) = added([*(device(n) for n in range(40)), device(99, shift=1.5)]).scales

    assert {d.device for d in scale.differs} == {"pi99"}
    assert (scale.differs[0].name, scale.differs[0].what) == ("temperature", "place")
    assert scale.differs[0].by > 0.2


def test_devices_that_lie_apart_all_are_no_news() -> None:
    (scale,) = added([device(n, shift=float(np.random.default_rng(n).normal())) for n in range(60)]).scales

    assert scale.differs == []


def test_of_few_devices_none_differs_from_the_others() -> None:
    (scale,) = added([device(1), device(2), device(3), device(4, shift=2.0)]).scales

    assert scale.differs == []


def test_one_device_in_a_hundred_is_no_alarm_and_one_in_ten_is() -> None:
    usual = [device(n) for n in range(100)]

    one = added([*usual, device(100, state="drifted")])
    many = added([*usual, *(device(100 + n, state="drifted") for n in range(11))])

    assert (one.alarm, one.kinds) == (False, {"temperature place up": 1})
    assert (many.alarm, many.states["drifted"]) == (True, 11)


def test_two_of_three_devices_are_too_few_for_an_alarm() -> None:
    assert not added([device(1), device(2, state="drifted"), device(3, state="drifted")]).alarm


def test_what_was_said_long_ago_and_what_cannot_be_read_counts_no_more() -> None:
    old = device(1, state="drifted", age_s=200_000)
    (broken,) = drift.heard({("pi2", "plant"): b'{"state": 5}'})

    found = added([old, broken, device(3)])

    assert (found.devices, found.silent, found.unreadable) == (1, 1, 1)
    assert found.states == {"ok": 1}


def test_counts_of_other_places_are_not_added_to_these() -> None:
    found = added([device(1), device(2, scale="b")])

    assert [(s.scale, s.devices) for s in found.scales] == [("a", 1), ("b", 1)]


def test_what_a_device_has_taken_back_is_none() -> None:
    assert drift.heard({("pi1", "plant"): b""}) == []


# --- at a broker ------------------------------------------------------------------------------------------------


@pytest.fixture
def told(broker, client):
    """Retains what devices say."""

    def tell(devices: list[Heard]) -> None:
        sender = client(broker.port, "edge/#")
        for one in devices:
            sender.client.publish(f"edge/{one.device}/plant/drift", msgspec.json.encode(one.said), qos=1, retain=True)
        sender.wait_for("drift", len(devices))

    return tell


def now(devices: list[Heard]) -> list[Heard]:
    time = datetime.now(UTC).isoformat()
    return [Heard(d.device, d.model, msgspec.structs.replace(d.said, time=time)) for d in devices if d.said]


def test_the_command_adds_up_and_its_exit_code_tells_the_alarm(broker, told, asked_once, capsys) -> None:
    told(now([*(device(n) for n in range(9)), device(9, shift=2.0)]))
    assert fleet.run(["drift", "--mqtt", broker.url]) == 0
    assert "plant: 10 devices, 10 ok (100.0%)" in capsys.readouterr().out

    told(now([device(n, state="drifted") for n in range(4)]))
    asked_once()
    assert fleet.run(["drift", "--mqtt", broker.url, "--json"]) == 5
    out, err = capsys.readouterr()
    (found,) = json.loads(out)
    assert (found["alarm"], found["states"]["drifted"], found["scales"][0]["devices"]) == (True, 4, 10)
    assert "plant: 4 of 10 devices drift" in err
    assert fleet.run(["drift", "--mqtt", broker.url, "--alarm-share", "50%"]) == 0
    assert fleet.run(["drift", "--mqtt", broker.url, "--alarm-share", "50%", "--devices", "11"]) == 5
    assert fleet.run(["drift", "--mqtt", broker.url, "--name", "other"]) == 5

"""Which release a device takes, from what is signed for its channel."""

from __future__ import annotations

import pytest

from edge.updates import release
from edge.updates.release import WHOLE, Channel, Release


def one(number: int, share: int = WHOLE, **more) -> Release:
    names = {"version": str(number), "file": f"m/{number}.onnx", "sha256": f"{number:064x}"}
    return Release(number=number, length=1, share=share, **names, **more)


def test_the_newest_that_is_for_this_device_is_taken():
    assert release.choose([one(1), one(3, 0), one(2)], "d", "", ()) == one(2)


def test_a_version_that_was_refused_is_passed_over():
    assert release.choose([one(1), one(2)], "d", "", {one(2).sha256}) == one(1)


@pytest.mark.parametrize("changed", [one(2, 0), one(2, paused=True)], ids=["share lowered", "paused"])
def test_what_a_device_runs_is_taken_away_by_a_withdrawal_alone(changed):
    assert release.choose([one(1), changed], "d", one(2).sha256, ()) == changed
    assert release.choose([one(1)], "d", one(2).sha256, ()) == one(1)


def test_a_paused_version_is_begun_by_no_device():
    assert release.choose([one(2, paused=True)], "d", "", ()) is None


def test_a_share_is_kept_to_and_grows_by_adding_devices():
    devices = [f"device-{n}" for n in range(2000)]
    few = {d for d in devices if release.choose([one(1, 500)], d, "", ())}
    many = {d for d in devices if release.choose([one(1, 2500)], d, "", ())}

    assert 60 <= len(few) <= 140  # 5 % are 100; four standard deviations
    assert few < many


def test_each_version_begins_with_other_devices():
    devices = [f"device-{n}" for n in range(2000)]
    first, second = ({d for d in devices if release.choose([one(n, 500)], d, "", ())} for n in (1, 2))

    assert len(first & second) < len(first) / 2


@pytest.mark.parametrize(
    "custom",
    [
        {"releases": [{"number": 1}]},
        {"releases": [{"number": 1, "version": "1", "file": "f", "sha256": "x", "length": 1}]},
        {"releases": [{"number": 1, "version": "1", "file": "f", "sha256": "0" * 64, "length": 1, "share": 0.05}]},
        [],
    ],
)
def test_what_is_signed_but_not_understood_is_an_error(custom):
    with pytest.raises(ValueError, match=r"\w"):
        release.decode(custom)


def test_a_channel_without_custom_data_holds_nothing():
    assert release.decode({}) == Channel()

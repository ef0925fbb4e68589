"""What a device believes of a repository: every attack with valid tooling, and each ordinary trouble."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.updating import Fleet, bytes_of, edited, write_model
from tuf.api.metadata import Metadata, MetaFile

from edge.updates import order, trust
from edge.updates.order import Answer
from edge.updates.release import WHOLE

DAY_S = 86_400


def ask(fleet: Fleet, device: Path, **more) -> Answer:
    return trust.ask(fleet.order(device, **more))


def fetch(fleet: Fleet, device: Path, **more) -> Answer:
    wanted = ask(fleet, device, **more).release
    assert wanted is not None
    return ask(fleet, device, fetch=wanted, **more)


@pytest.fixture
def old(fleet, tmp_path) -> Path:
    """The repository as it was when version 1 was all."""
    return shutil.copytree(fleet.public, tmp_path / "old")


@pytest.fixture
def ahead(fleet, device, old, tmp_path) -> Path:
    """A device that has seen version 2; `old` is before that."""
    fleet.add(write_model(tmp_path / "m2.onnx", "2"), "2")
    assert ask(fleet, device).release.version == "2"
    return device


# --- what it is for ------------------------------------------------------------------------------------


def test_a_release_is_found_and_its_file_fetched_whole(fleet, device, tmp_path):
    answer = fetch(fleet, device)

    assert answer.fault is None
    assert answer.staged.read_bytes() == (tmp_path / "m1.onnx").read_bytes()


def test_the_root_is_named_once(fleet, device):
    assert "--updates-root FILE" in ask(fleet, device, root=None).reason
    ask(fleet, device)

    assert ask(fleet, device, root=None).release.version == "1"


def test_a_check_that_finds_nothing_new_writes_nothing(fleet, device):
    ask(fleet, device)
    before = bytes_of(device)
    again = ask(fleet, device, running=ask(fleet, device).release.sha256)

    assert again.fault is None
    assert bytes_of(device) == before


def test_a_channel_that_is_not_there_names_the_way_out(fleet, device):
    answer = ask(fleet, device, channel="beta")

    assert (answer.fault, "edge-fleet add puts one there" in answer.reason) == ("setup", True)


def test_a_device_that_was_away_for_many_changes_catches_up(fleet, device):
    ask(fleet, device)
    for share in range(10):
        fleet.roll("1", WHOLE - share)

    assert ask(fleet, device).release.share == WHOLE - 9


# --- attacks -------------------------------------------------------------------------------------------


def test_the_whole_repository_as_it_was_is_refused(fleet, ahead, old):
    answer = ask(fleet, ahead, uri=f"file:{old}")

    assert answer.fault == "refused"
    assert "must be >=" in answer.reason


def test_an_older_snapshot_below_a_newer_time_stamp_is_refused(fleet, ahead, old):
    """The key of the time stamp is in the wrong hands."""
    before = Metadata.from_file(str(old / "metadata" / "timestamp.json")).signed.snapshot_meta

    def back(timestamp) -> None:
        timestamp.version += 1
        timestamp.snapshot_meta = before

    fleet.resign("timestamp", back)

    assert ask(fleet, ahead).fault == "refused"


def test_a_mixed_set_is_refused(fleet, device):
    """A snapshot of the right version, rightly signed, that the time stamp does not mean."""
    fleet.resign("snapshot", lambda snapshot: snapshot.meta.pop("m.json"))

    answer = ask(fleet, device)

    assert answer.fault == "refused"
    assert "length" in answer.reason.lower() or "hash" in answer.reason.lower()


def test_a_frozen_time_stamp_is_refused_when_it_has_run_out(fleet, device):
    fleet.resign("timestamp", lambda t: setattr(t, "expires", datetime(2026, 1, 1, tzinfo=UTC)))

    answer = ask(fleet, device)

    assert (answer.fault, "expired" in answer.reason) == ("refused", True)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "m"])
def test_metadata_that_are_signed_by_another_key_are_refused(fleet, device, role):
    fleet.resign(role, lambda _: None, key="targets")

    assert ask(fleet, device).fault == "refused"


def test_a_new_root_that_the_old_one_has_not_signed_is_refused(fleet, device):
    fleet.resign("root", lambda root: setattr(root, "version", 2), key="timestamp", to="2.root.json")

    assert ask(fleet, device).fault == "refused"


def test_a_root_with_fewer_signatures_than_its_threshold_is_refused(fleet, device):
    def two_of_two(root) -> None:
        root.version = 2
        root.add_key(fleet.keys.make("second")[0].public_key, "root")
        root.roles["root"].threshold = 2

    fleet.resign("root", two_of_two, to="2.root.json")
    answer = ask(fleet, device)

    assert (answer.fault, "1/2" in answer.reason) == ("refused", True)


def test_a_new_root_that_the_old_one_has_signed_is_followed_and_kept(fleet, device):
    fleet.resign("root", lambda root: setattr(root, "version", 2), to="2.root.json")

    assert ask(fleet, device).fault is None
    assert (device / "metadata" / "root_history" / "2.root.json").exists()


def test_a_channel_that_names_a_file_of_another_model_is_refused(fleet, device, tmp_path):
    """The key of the model `other` is in the wrong hands: it signs nothing of `m`."""
    write_model(tmp_path / "o.onnx", "1", factor=9.0)
    fleet.repository.add(tmp_path / "o.onnx", "other", "1", "stable", share=WHOLE)

    def steal(targets) -> None:
        custom = targets.targets["other/stable.channel"].unrecognized_fields["custom"]
        custom["releases"][0]["file"] = "m/1.onnx"

    fleet.resign("other", steal)
    snapshot_of(fleet, "other")
    answer = ask(fleet, device, model="other")

    assert (answer.fault, answer.reason) == ("refused", "m/1.onnx is not signed as the channel says")


def snapshot_of(fleet: Fleet, role: str) -> None:
    """Snapshot and time stamp name what is there of a role now."""

    def named(snapshot) -> None:
        data = fleet.newest(role).read_bytes()
        snapshot.meta[f"{role}.json"] = MetaFile.from_data(snapshot.meta[f"{role}.json"].version, data, ["sha256"])

    fleet.resign("snapshot", named)
    fleet.repository.renew()


@pytest.mark.parametrize(
    "change", [lambda data: data + b"!", lambda data: bytes([data[0] ^ 1]) + data[1:]], ids=["longer", "one bit"]
)
def test_a_file_that_is_not_the_one_that_was_signed_leaves_nothing_behind(fleet, device, change):
    wanted = ask(fleet, device).release
    edited(fleet.target(wanted), change)

    assert fetch(fleet, device).fault == "refused"
    assert list((device / "staging").iterdir()) == []


def test_a_shorter_file_is_a_broken_link_whose_beginning_is_kept(fleet, device):
    whole = fleet.target(ask(fleet, device).release).read_bytes()
    edited(fleet.target(ask(fleet, device).release), lambda data: data[:100])
    broken = fetch(fleet, device)
    edited(fleet.target(ask(fleet, device).release), lambda _: whole)

    assert (broken.fault, "the link broke" in broken.reason) == ("away", True)
    assert fetch(fleet, device).staged.read_bytes() == whole


@pytest.mark.parametrize("content", [b"", b"{}", b"<html>Welcome to the hotel</html>"], ids=["empty", "{}", "portal"])
def test_what_is_no_metadata_is_refused(fleet, device, content):
    edited(fleet.newest("timestamp"), lambda _: content)

    assert ask(fleet, device).fault == "refused"


# --- clocks, disks, links ------------------------------------------------------------------------------


def test_by_a_clock_that_is_not_synchronised_what_has_run_out_is_no_verdict(fleet, device):
    """A year ahead, as the floor of the latest known time says here."""
    ask(fleet, device)
    (device / "time.json").write_text(str(int(time.time()) + 400 * DAY_S))
    answer = ask(fleet, device, synced=False)

    assert (answer.fault, answer.freshness) == ("clock", "unknown")


def test_a_clock_that_stands_still_says_so_and_goes_by_the_latest_known_time(fleet, device):
    fleet.resign("timestamp", lambda t: setattr(t, "expires", datetime(2026, 1, 1, tzinfo=UTC)))

    assert ask(fleet, device, synced=False).fault == "clock"


def test_without_a_synchronised_clock_signatures_hold_and_updates_go_on(fleet, device):
    answer = ask(fleet, device, synced=False)

    assert (answer.release.version, answer.freshness) == ("1", "unknown")


def test_metadata_that_a_power_cut_damaged_are_fetched_again(fleet, device):
    ask(fleet, device)
    for name in ("timestamp", "snapshot", "targets", "m"):
        (device / "metadata" / f"{name}.json").write_bytes(b"")

    assert ask(fleet, device).release.version == "1"


def test_a_stick_that_is_not_plugged_in_is_missing(fleet, device, tmp_path):
    answer = ask(fleet, device, uri=f"file:{tmp_path}/media/usb")

    assert (answer.fault, "is the stick plugged in" in answer.reason) == ("missing", True)


def test_a_disk_that_takes_no_more_says_so_and_keeps_what_it_has(fleet, device, tmp_path):
    write_model(tmp_path / "large.onnx", "2", description="x" * 200_000)
    fleet.add(tmp_path / "large.onnx", "2")
    wanted = ask(fleet, device).release
    before = bytes_of(device)

    done = subprocess.run(
        [sys.executable, "-m", "edge.updates"],
        input=order.encode(fleet.order(device, fetch=wanted)),
        stdout=subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        check=True,
    )
    answer = order.decode_answer(done.stdout)

    assert (answer.fault, "make room" in answer.reason) == ("disk", True)
    assert bytes_of(device) == before  # what came of it, too, gives its room back: results are kept there


def test_a_model_that_would_leave_no_room_for_results_is_not_fetched(fleet, device, tmp_path, monkeypatch):
    fleet.add(write_model(tmp_path / "m2.onnx", "2"), "2")
    wanted = ask(fleet, device).release
    part = device / "staging" / f"{wanted.sha256}.part"
    part.parent.mkdir()
    part.write_bytes(b"the beginning, from a day with more room")
    monkeypatch.setattr(trust, "ROOM", 10**18)
    answer = trust.ask(fleet.order(device, fetch=wanted))

    assert answer.fault == "disk"
    assert "to fetch the model; make room" in answer.reason
    assert not part.exists()


def test_the_device_needs_no_compiled_cryptography(fleet, device):
    """As `pip install edge-run[updates]` leaves it: signatures are verified in pure Python."""
    code = "import sys; sys.modules['cryptography'] = None; from edge.updates.__main__ import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], input=order.encode(fleet.order(device)), stdout=subprocess.PIPE, check=True
    )

    assert order.decode_answer(done.stdout).release.version == "1"

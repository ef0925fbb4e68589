"""`edge-fleet keys`: devices follow through new keys, whatever was stolen, lost or killed on the way."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.updating import PASSPHRASE, Fleet, write_model
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root
from tuf.ngclient import Updater

from edge.cli import fleet as command
from edge.tools.fleet.keys import Keys
from edge.tools.fleet.repository import Repository
from edge.updates import trust
from edge.updates.fetch import Folder
from edge.updates.fetch import Metadata as Reader

TOP = ("root", "targets", "snapshot", "timestamp")


class KilledError(BaseException):
    """In the place of a signal that ends the process."""


class _Renames:
    """Ends what is done at the n-th file that would take its name."""

    def __init__(self) -> None:
        self.left: int | None = None

    def heard(self, event: str, _args: object) -> None:
        if event == "os.rename" and self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise KilledError


RENAMES = _Renames()
sys.addaudithook(RENAMES.heard)


@contextmanager
def killed_after(renames: int) -> Iterator[None]:
    RENAMES.left = renames
    try:
        yield
    finally:
        RENAMES.left = None


@pytest.fixture
def fleet(tmp_path) -> Fleet:
    fleet = Fleet(tmp_path / "fleet")
    fleet.add(write_model(tmp_path / "m1.onnx", "1"), "1")
    return fleet


def reads(fleet: Fleet, folder: Path, root: bytes | None = None) -> Updater:
    """The library's own client, which keeps what it believes in `folder`. Raises RepositoryError."""
    folder.mkdir(exist_ok=True)
    given = root or (folder / "root.json").read_bytes()
    updater = Updater(str(folder), f"{fleet.uri}/metadata/", fetcher=Reader(Folder()), bootstrap=given)
    updater.refresh()
    assert updater.get_targetinfo("m/stable.channel") is not None
    return updater


def asks(fleet: Fleet, folder: Path, **more) -> trust.Answer:
    """As a device of ours does."""
    folder.mkdir(exist_ok=True)
    return trust.ask(fleet.order(folder, **more))


def root_of(fleet: Fleet) -> Root:
    signed = Metadata.from_file(str(fleet.newest("root"))).signed
    assert isinstance(signed, Root)
    return signed


def ids(fleet: Fleet) -> dict[str, list[str]]:
    """Which keys count for what, the model's too."""
    delegations = Metadata.from_file(str(fleet.newest("targets"))).signed.delegations
    return {role: root_of(fleet).roles[role].keyids for role in TOP} | {"m": delegations.roles["m"].keyids}


@pytest.mark.parametrize(
    "roles", [(), ("root",), ("targets",), ("timestamp",), ("m",)], ids=lambda r: r[0] if r else "all"
)
def test_a_device_follows_to_new_keys_and_the_old_ones_count_no_more(fleet, tmp_path, roles):
    first, before = fleet.root.read_bytes(), ids(fleet)
    reads(fleet, tmp_path / "device", first)
    fleet.repository.rotate(roles, lost=False)
    fleet.add(write_model(tmp_path / "m2.onnx", "2"), "2")
    after = ids(fleet)

    changed = {role for role in before if before[role] != after[role]}
    assert changed == set(roles or (*TOP, "m"))
    assert not any(set(before[role]) & set(after[role]) for role in changed)
    for device, given in (("device", None), ("away", first), ("new", fleet.root.read_bytes())):
        reads(fleet, tmp_path / device, given)
    assert asks(fleet, tmp_path / "real").release.version == "2"


def test_a_new_root_is_signed_by_the_old_key_and_by_the_new_one(fleet):
    old = Metadata.from_file(str(fleet.newest("root")))
    fleet.repository.rotate(["root"], lost=False)
    new = Metadata.from_file(str(fleet.newest("root")))

    assert new.signed.version == 2
    old.verify_delegate("root", new)
    new.verify_delegate("root", new)


def test_a_device_that_was_away_for_several_rotations_catches_up(fleet, tmp_path):
    first = fleet.root.read_bytes()
    reads(fleet, tmp_path / "device", first)
    for roles in ((), ("root", "timestamp"), ("m",), ("root",), ()):
        fleet.repository.rotate(roles, lost=False)
    reads(fleet, tmp_path / "device")

    assert root_of(fleet).version == 5
    (tmp_path / "first.json").write_bytes(first)
    assert asks(fleet, tmp_path / "real", root=tmp_path / "first.json").release.version == "1"
    assert asks(fleet, tmp_path / "real", root=None).release.version == "1"


@pytest.mark.parametrize(
    ("lost", "step"),
    [
        pytest.param((), 5, id="a few files"),
        pytest.param((), 1, id="any file", marks=pytest.mark.long),
        pytest.param(("timestamp", "targets", "m"), 1, id="some keys are lost", marks=pytest.mark.long),
    ],
)
def test_a_rotation_that_is_killed_at_any_file_leaves_a_repository_that_devices_trust(fleet, tmp_path, lost, step):
    first, before = fleet.root.read_bytes(), ids(fleet)
    reads(fleet, tmp_path / "device", first)
    for role in lost:
        (fleet.folder / "keys" / f"{role}.pem").unlink()
    for number in range(2, 100, step):
        copy = Fleet(shutil.copytree(fleet.folder, tmp_path / f"killed-{number}"))
        shutil.copytree(tmp_path / "device", copy.folder / "device")
        try:
            with killed_after(number):
                copy.repository.rotate((), lost=bool(lost))
        except KilledError:
            reads(copy, copy.folder / "device")
            reads(copy, copy.folder / "new", first)
            if not lost:
                Fleet(copy.folder).roll("1", 100)  # it can still be worked with, by a process that knows nothing of it
            Fleet(copy.folder).repository.rotate((), lost=bool(lost))
            reads(copy, copy.folder / "device")
            assert not any(set(before[role]) & set(ids(copy)[role]) for role in before)
            shutil.rmtree(copy.folder)
        else:
            break

    assert number > 12


def test_a_thief_of_the_online_keys_who_ran_ahead_is_left_behind(fleet, tmp_path):
    """Versions as high as they go, signed by the right keys: the device keeps them, until the keys are others."""
    reads(fleet, tmp_path / "device", fleet.root.read_bytes())
    mirror = shutil.copytree(fleet.public, tmp_path / "mirror")
    fleet.resign("timestamp", lambda signed: setattr(signed, "version", 2**31))
    ahead = fleet.newest("timestamp").read_bytes()
    reads(fleet, tmp_path / "device")
    shutil.rmtree(fleet.public)
    shutil.copytree(mirror, fleet.public)
    with pytest.raises(RepositoryError):
        reads(fleet, tmp_path / "device")
    fleet.repository.rotate(["timestamp", "snapshot"], lost=False)
    reads(fleet, tmp_path / "device")
    (fleet.public / "metadata" / "timestamp.json").write_bytes(ahead)

    with pytest.raises(RepositoryError):
        reads(fleet, tmp_path / "device")


def test_an_old_key_from_a_copy_signs_nothing_any_more(fleet, tmp_path):
    kept = shutil.copytree(fleet.folder / "keys", tmp_path / "kept")
    fleet.repository.rotate(["timestamp"], lost=False)
    shutil.copy(kept / "timestamp.pem", fleet.folder / "keys")
    before = fleet.newest("timestamp").read_bytes()

    with pytest.raises(Exception, match="not the key that the repository trusts for timestamp"):
        fleet.repository.renew()
    assert fleet.newest("timestamp").read_bytes() == before


def test_two_commands_at_once_change_the_repository_one_after_the_other(fleet, tmp_path):
    threads = [
        threading.Thread(
            target=Fleet(fleet.folder).repository.add, args=(tmp_path / "m1.onnx", "m", str(number), "stable")
        )
        for number in range(2, 6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(r.version for r in fleet.repository.held("m", "stable").releases) == ["1", "2", "3", "4", "5"]
    reads(fleet, tmp_path / "device", fleet.root.read_bytes())


def test_models_whose_names_end_alike_are_told_apart(fleet, tmp_path):
    for share in range(3):
        fleet.repository.add(tmp_path / "m1.onnx", "a.m", "1", "stable", share=share)
    fleet.repository.rotate((), lost=False)

    reads(fleet, tmp_path / "device", fleet.root.read_bytes())


# --- the command ---------------------------------------------------------------------------------------


@pytest.fixture
def run(fleet, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("FLEET_PASSPHRASE", PASSPHRASE.decode())
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        code = command.run(words)
        return code, *capsys.readouterr()

    return run


def test_the_command_says_which_keys_count_and_keeps_the_old_ones_apart(run, fleet):
    old = ids(fleet)
    code, said, _ = run("keys", "rotate", "fleet", "root", "timestamp")
    _, table, _ = run("keys", "list", "fleet")
    _, rows, _ = run("keys", "list", "fleet", "--json")
    new = ids(fleet)

    assert code == 0
    assert f"root: key {new['root'][0][:12]} signs, {old['root'][0][:12]} is trusted no more" in said
    assert "publish fleet/public" in said
    assert {k.name for k in (fleet.folder / "keys" / "retired").iterdir()} == {
        f"{role}-{old[role][0][:12]}.pem" for role in ("root", "timestamp")
    }
    assert [row["role"] for row in json.loads(rows)] == [*TOP, "m"]
    assert new["root"][0][:12] in table


@pytest.mark.parametrize(
    ("gone", "words", "says"),
    [
        ("", ("timestmap",), "there is no such key; did you mean timestamp?"),
        ("timestamp", ("timestamp",), "the key of timestamp is not here; put it there from your copy, or say --lost"),
        ("root", ("root", "--lost"), "Without it no device can be told of other keys"),
        ("root", ("timestamp",), "the key of root is not here"),
        ("snapshot", ("timestamp", "--lost"), "the key of snapshot is not here, and is needed for this"),
    ],
)
def test_what_cannot_be_rotated_is_said_and_nothing_is_written(run, fleet, gone, words, says):
    if gone:
        (fleet.folder / "keys" / f"{gone}.pem").unlink()
    before = {p: p.stat().st_mtime_ns for p in fleet.folder.rglob("*")}
    code, _, said = run("keys", "rotate", "fleet", *words)

    assert (code, says in said, said.count("\n")) == (2, True, 1), said
    assert {p: p.stat().st_mtime_ns for p in fleet.folder.rglob("*")} == before


def test_a_model_key_needs_the_root_key_for_nothing(run, fleet, tmp_path):
    (fleet.folder / "keys" / "root.pem").rename(tmp_path / "root.pem")

    assert run("keys", "rotate", "fleet", "m")[0] == 0
    assert "not here" in run("keys", "list", "fleet")[1]


# --- a root of several keys -----------------------------------------------------------------------------

ROOT_KEYS = ("root", "root/2", "root/3")


@pytest.fixture
def shared(tmp_path) -> Fleet:
    """Whose root has three keys, of which two have to sign."""
    folder = tmp_path / "shared"
    Repository(folder, Keys(folder / "keys", lambda: PASSPHRASE)).init(3, 2)
    fleet = Fleet(folder)
    fleet.add(write_model(tmp_path / "m1.onnx", "1"), "1")
    return fleet


def put_away(fleet: Fleet, *names: str) -> None:
    for name in names:
        (fleet.folder / "keys" / f"{name}.pem").unlink()


@pytest.mark.parametrize("away", ROOT_KEYS)
@pytest.mark.parametrize("roles", [(), ("timestamp",)], ids=["all", "timestamp"])
def test_any_two_of_three_root_keys_sign_for_new_ones_and_devices_follow(shared, tmp_path, away, roles):
    first = Metadata.from_file(str(shared.newest("root")))
    reads(shared, tmp_path / "device", shared.root.read_bytes())
    before = ids(shared)
    put_away(shared, away)
    Fleet(shared.folder).repository.rotate(roles, lost=False)
    new, after = Metadata.from_file(str(shared.newest("root"))), ids(shared)

    assert (new.signed.roles["root"].threshold, len(after["root"])) == (2, 3)
    assert {role for role in before if before[role] != after[role]} == set(roles or (*TOP, "m"))
    first.verify_delegate("root", new)
    new.verify_delegate("root", new)
    reads(shared, tmp_path / "device")
    reads(shared, tmp_path / "new", shared.root.read_bytes())


def test_one_root_key_of_three_changes_nothing_and_it_is_said_what_is_missing(shared, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("FLEET_PASSPHRASE", PASSPHRASE.decode())
    put_away(shared, "root", "root/3")
    before = {p: p.read_bytes() for p in shared.folder.rglob("*") if p.is_file()}
    code = command.run(["keys", "rotate", str(shared.folder)])

    assert code == 2
    assert "2 of the 3 keys of root have to sign, and 1 of them is here: put 1 more there" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in shared.folder.rglob("*") if p.is_file()} == before


def test_versions_go_out_while_all_root_keys_are_away(shared, tmp_path):
    put_away(shared, *ROOT_KEYS)
    Fleet(shared.folder).add(write_model(tmp_path / "m2.onnx", "2"), "2")
    Fleet(shared.folder).repository.renew()

    assert asks(shared, tmp_path / "device").release.version == "2"


def test_a_rotation_of_several_root_keys_that_is_killed_at_any_file_goes_on(shared, tmp_path):
    first = shared.root.read_bytes()
    reads(shared, tmp_path / "device", first)
    for number in range(2, 100, 3):
        copy = Fleet(shutil.copytree(shared.folder, tmp_path / f"killed-{number}"))
        shutil.copytree(tmp_path / "device", copy.folder / "device")
        try:
            with killed_after(number):
                copy.repository.rotate(["root"], lost=False)
        except KilledError:
            reads(copy, copy.folder / "device")
            reads(copy, copy.folder / "new", first)
            Fleet(copy.folder).repository.rotate(["root"], lost=False)
            reads(copy, copy.folder / "device")
        else:
            break

    assert number > 6


def test_init_says_how_many_root_keys_there_are_and_list_how_many_sign(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FLEET_PASSPHRASE", PASSPHRASE.decode())
    folder = str(tmp_path / "fleet")
    assert command.run(["init", folder, "--root-keys", "2", "--root-threshold", "3"]) == 2
    assert "--root-threshold 3: root has 2 keys" in capsys.readouterr().err
    assert command.run(["init", folder, "--root-keys", "3", "--root-threshold", "2"]) == 0
    assert command.run(["keys", "list", folder]) == 0
    said = capsys.readouterr().out

    assert "2 of " in said
    assert "keys/root.pem, keys/root/2.pem, keys/root/3.pem" in said

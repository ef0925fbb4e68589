"""`--check` beside `--updates`: the repository is asked, and what is wrong with it is a row, with the way out."""

from __future__ import annotations

import socket

import pytest
from support.updating import Fleet, RangeServer, bytes_of, write_model

from edge.tools import doctor
from edge.updates.trust import ask


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A repository with one version of `m`."""
    folder = tmp_path_factory.mktemp("published")
    fleet = Fleet(folder / "fleet")
    fleet.add(write_model(folder / "m.onnx", "1"), "1")
    return fleet


@pytest.fixture
def updates(pi, made):
    """The row of `--updates`, with the repository's own root where no other flags are given."""
    pi.model = made.folder.parent / "m.onnx"
    pi.wheels["tuf"] = "7.0.1"

    def look(uri=made.uri, root=made.root, *more):
        rows = list(doctor.look(pi.settings("--updates", uri, "--updates-root", root, *more), pi.host))
        (row,) = (r for r in rows if r.part == "updates")
        assert row.fix or row.verdict == "ok"
        return row

    return look


def unused_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_a_repository_that_is_there_and_signed_is_in_order_and_nothing_of_it_is_kept(updates, pi):
    row = updates()
    assert (row.verdict, row.code) == ("ok", 0)
    assert "version 1 is for this device, and runs" in row.text
    assert not list(pi.state.glob("*.updates"))


def test_a_folder_that_is_not_there(updates, tmp_path):
    row = updates(f"file:{tmp_path}/nowhere")
    assert (row.verdict, row.code) == ("fail", 2)
    assert "is the stick plugged in" in row.text
    assert "public" in row.fix


def test_the_folder_above_the_published_one(updates, made):
    row = updates(f"file:{made.folder}")
    assert (row.verdict, row.code) == ("fail", 2)
    assert "name its folder `public`" in row.fix


def test_a_server_without_a_repository(updates, tmp_path):
    with RangeServer(tmp_path) as server:
        row = updates(server.uri)
    assert (row.verdict, row.code) == ("fail", 2)
    assert "the server answers 404" in row.text


def test_a_server_that_is_away_may_come_back(updates):
    row = updates(f"http://127.0.0.1:{unused_port()}")
    assert (row.verdict, row.code) == ("warn", 0)
    assert "Connection refused" in row.text
    assert "within" not in row.text  # nobody waited


def test_the_root_of_another_repository(updates, tmp_path):
    row = updates(root=Fleet(tmp_path / "other").root)
    assert (row.verdict, row.code) == ("fail", 2)
    assert "signed by 0/1 keys" in row.text
    assert "--updates-root" in row.fix


def test_a_file_that_is_no_root_is_named_and_not_kept(updates, made, tmp_path):
    row = updates(root=made.newest("timestamp"))
    assert (row.verdict, row.code) == ("fail", 2)
    assert "timestamp.json: it is no root of trust (timestamp)" in row.text
    order = made.order(tmp_path / "device", root=made.folder.parent / "m.onnx")
    order.folder.mkdir()
    assert ask(order).fault == "setup"
    assert not (order.folder / "root.json").exists()


def test_a_channel_without_the_model(updates, made):
    row = updates(made.uri, made.root, "--updates-channel", "beta")
    assert (row.verdict, row.code) == ("fail", 2)
    assert "no model 'm' in a channel 'beta'" in row.text


def test_what_keeps_the_service_from_starting_is_told_by_the_check_too(updates, made):
    row = updates("mqtt:")
    assert (row.verdict, row.code) == ("fail", 2)
    assert "name a broker" in row.fix


def test_an_older_repository_than_this_device_has_seen_is_refused_and_the_floor_stays(updates, pi, tmp_path):
    fleet = Fleet(tmp_path / "fleet")
    fleet.add(write_model(tmp_path / "m.onnx", "1"), "1")
    old = {file: file.read_bytes() for file in fleet.repository.metadata.iterdir()}
    fleet.roll("1", 5000)
    device = pi.settings().topics.device
    seen = pi.state / f"{device}.m.updates"
    seen.mkdir(parents=True)
    assert ask(fleet.order(seen)).fault is None
    for file, data in old.items():
        file.write_bytes(data)
    before = bytes_of(seen)
    row = updates(fleet.uri, fleet.root)
    assert (row.verdict, row.code) == ("fail", 2)
    assert "must be >= " in row.text
    assert bytes_of(seen) == before


def test_a_model_that_is_still_to_come_is_no_fault_of_the_model(pi, made):
    pi.model, pi.wheels["tuf"] = "m@stable", "7.0.1"
    flags = ("--updates", made.uri, "--updates-root", made.root)
    rows = {r.part: r for r in doctor.look(pi.settings(*flags), pi.host)}
    assert rows["model"].verdict == "skip"
    assert "the first start fetches it" in rows["model"].text
    assert "version 1 is for this device" in rows["updates"].text

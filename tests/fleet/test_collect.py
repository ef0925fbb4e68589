"""`edge-fleet collect`: kept samples come from devices that permit it, whole, bounded, and on from where it was."""

from __future__ import annotations

import json

import pytest
from support.processes import Client, EdgeRun
from support.updating import write_model

from edge.capture import transfer
from edge.capture.transfer import Asked
from edge.cli import fleet as command

SEGMENT = "random-20261129T120000-5f0c9a1e-000001"
PICTURE = bytes(range(256)) * 700


def fill(folder) -> None:
    """What a service has kept: a picture, the line that names it, and what is none of it."""
    folder.mkdir(parents=True)
    (folder / f"{SEGMENT}-0000.jpg").write_bytes(PICTURE)
    line = {"id": "pi/m/1/1", "reasons": ["random"], "file": f"{SEGMENT}-0000.jpg", "result": {"predictions": []}}
    (folder / f"{SEGMENT}.jsonl").write_text(json.dumps(line) + "\n")
    (folder / "about.json").write_text("{}")
    (folder / "secret.txt").write_text("none of anybody's business")


def content(folder) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix != ".lock"}


@pytest.mark.usefixtures("asked_once")
def test_samples_come_from_a_device_that_permits_it_in_pieces_and_on_from_where_it_was(mosquitto, tmp_path, capsys):
    broker = mosquitto()
    kept, out = tmp_path / "kept", tmp_path / "out"
    fill(kept)
    write_model(tmp_path / "m.onnx")
    client = Client(broker.port, "edge/pi/m/info")
    client.publish("edge/other/m/info", {"model": {}}, retain=True)
    flags = ["--model", "m.onnx", "--device", "pi", "--capture", "random:0.001", "--capture-dir", "kept"]
    flags += ["--capture-collect"]
    service = EdgeRun(tmp_path, *flags, "--mqtt", broker.url)

    def collect(*words: str) -> tuple[int, str]:
        code = command.run(("collect", str(out), "--mqtt", broker.url, "--rate", "100MB", *words))
        return code, "".join(capsys.readouterr())

    try:
        client.wait_for("info")
        unknown = collect("--device", "other")
        bounded = collect("--most", "100KB")
        begun = [p.stat().st_size for p in (out / "pi.m.capture").glob(".*.part")]
        rest = collect()
        again = collect("--device", "pi")
        there = content(kept)
    finally:
        service.stop()
        client.close()

    assert (unknown[0], "those that do: pi" in unknown[1]) == (2, True), unknown
    assert (bounded[0], "--most allows no more" in bounded[1]) == (5, True), bounded
    assert 2 * transfer.PIECE <= begun[0] < 2 * transfer.PIECE + 100
    left = len(PICTURE) - 2 * transfer.PIECE + len(there["about.json"]) + len(there[f"{SEGMENT}.jsonl"])
    assert (rest[0], f"{left:,} bytes" in rest[1]) == (0, True), rest
    assert (again[0], "0 new files" in again[1]) == (0, True), again  # about.json may change, and is fetched each time
    assert content(out / "pi.m.capture") == {name: there[name] for name in there if transfer.is_name(name)}


def test_a_broker_on_which_no_device_permits_it_says_how_one_does(mosquitto, tmp_path, capsys):
    broker = mosquitto()
    client = Client(broker.port)
    client.publish("edge/pi/m/info", {"collect": "yes"}, retain=True)
    client.close()
    code = command.run(("collect", str(tmp_path / "out"), "--mqtt", broker.url))

    assert (code, "--capture-collect does" in capsys.readouterr().err) == (5, True)


NINTH = "random-20261129T120000-5f0c9a1e-000009.jsonl"


@pytest.mark.parametrize(
    "name",
    [
        "secret.txt",
        "../secret.txt",
        f"x/../{SEGMENT}.jsonl",
        ".edge-capture.lock",
        f".{SEGMENT}.jsonl.7.partial",
        "",
        NINTH,
    ],
)
def test_nothing_is_given_but_what_was_kept(tmp_path, name):
    fill(tmp_path / "kept")
    (tmp_path / "kept" / NINTH).symlink_to(tmp_path / "kept" / "secret.txt")
    told, data = transfer.decode(transfer.answer(tmp_path / "kept", Asked("1", name)))

    assert data == b""
    assert told.reason or [file for file, _ in told.files] == ["about.json", f"{SEGMENT}-0000.jpg", f"{SEGMENT}.jsonl"]


LONG_ID = b'{"id":"' + b"x" * 99 + b'"}'


@pytest.mark.parametrize("payload", [b"", b"{}", b'{"id": 1}', b'{"id": "1", "rm": 1}', b"[" * 5000, LONG_ID])
def test_what_is_not_understood_is_refused(payload):
    with pytest.raises(transfer.RefusedError):
        transfer.parse(payload)


def test_a_list_goes_on_behind_the_last_name(tmp_path, monkeypatch):
    fill(tmp_path / "kept")
    monkeypatch.setattr(transfer, "LISTED", 1)
    names, after, more = [], "", True
    while more:
        told, _ = transfer.decode(transfer.answer(tmp_path / "kept", Asked("1", after=after)))
        names += [name for name, _ in told.files]
        after, more = names[-1], told.more

    assert names == ["about.json", f"{SEGMENT}-0000.jpg", f"{SEGMENT}.jsonl"]

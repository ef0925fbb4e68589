"""`edge-fleet collect` is broken off on either side, by a kill or a power cut: it goes on, and what it has is right."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from pathlib import Path

import pytest
from support.powercut import PowerCut, build_shim, read_log
from support.processes import BINARIES, Client, EdgeRun, Mosquitto, until
from support.updating import write_model

from edge.capture import transfer
from edge.cli import fleet as command
from edge.tools.fleet.collect import Part

SEGMENT = "random-20261129T120000-5f0c9a1e-00000{}"
RANDOM = random.Random(1)


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    """What a device has kept: two segments of a picture each, whose lines name them."""
    folder = tmp_path_factory.mktemp("kept")
    for number in (1, 2):
        segment = SEGMENT.format(number)
        (folder / f"{segment}-0000.jpg").write_bytes(RANDOM.randbytes(int(2.5 * transfer.PIECE)))
        line = {"id": f"pi/m/1/{number}", "reasons": ["random"], "file": f"{segment}-0000.jpg", "result": {}}
        (folder / f"{segment}.jsonl").write_text(json.dumps(line) + "\n")
    (folder / "about.json").write_text("{}")
    return folder


class Device:
    """A service that gives out what it has kept, and its broker."""

    def __init__(self, folder: Path, kept: Path) -> None:
        self._folder, self._kept = folder, kept
        self.broker = Mosquitto(folder / "broker").start()
        write_model(folder / "m.onnx")
        self.client = Client(self.broker.port, "edge/pi/m/info", "edge/pi/m/collect")
        self.service = self.start()

    def start(self) -> EdgeRun:
        before = len(self.client.of("info"))
        flags = ("--model", "m.onnx", "--device", "pi", "--capture", "random:0.001", "--capture-dir", str(self._kept))
        self.service = EdgeRun(self._folder, *flags, "--capture-collect", "--mqtt", self.broker.url)
        self.client.wait_for("info", before + 1)
        return self.service

    def command(self, out: Path, *words: str) -> list[str]:
        return ["collect", str(out), "--mqtt", self.broker.url, "--rate", "100MB", *words]

    def asked(self) -> list[tuple[str, int]]:
        """The pieces that were asked for."""
        return [(a["file"], a.get("offset", 0)) for a in self.client.of("collect") if a.get("file")]

    def end(self) -> None:
        self.service.stop(signal.SIGKILL)
        self.client.close()
        self.broker.end()


@pytest.fixture(scope="module")
def device(mosquitto_is_here, tmp_path_factory, kept):
    device = Device(tmp_path_factory.mktemp("device"), kept)
    yield device
    device.end()


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.startswith(".")}


@pytest.mark.parametrize(("every", "times"), [(4, 1), pytest.param(1, 3, marks=pytest.mark.long)])
@pytest.mark.usefixtures("asked_once")
def test_after_a_power_cut_at_any_write_it_goes_on_and_no_half_file_is_taken_for_whole(
    device, kept, tmp_path, every, times
):
    root = tmp_path / "disk"
    root.mkdir()
    env = {
        **os.environ,
        "LD_PRELOAD": str(build_shim(tmp_path)),
        "DISKSHIM_ROOT": str(root),
        "DISKSHIM_LOG": str(tmp_path / "log"),
        "DISKSHIM_FAIL": str(tmp_path / "fail"),
    }
    subprocess.run([BINARIES / "edge-fleet", *device.command(root)], env=env, check=True, capture_output=True)
    log, there = read_log(tmp_path / "log"), content(kept)
    whole = content(root / "pi.m.capture")
    left, rng, resumed = tmp_path / "left", random.Random(2), 0
    cut = PowerCut(log, root)
    for at in [number for number in range(0, len(log) + 1, every) for _ in range(times)]:
        cut.leave(at, left, rng)
        folder = left / "pi.m.capture"
        found = content(folder) if folder.is_dir() else {}
        assert all(found[name] == there[name] for name in found), f"half a file after {at} of {len(log)} changes"
        if any(part.stat().st_size for part in folder.glob(".*.part")):
            resumed += 1
            assert command.run(device.command(left)) == 0
            assert content(folder) == there, f"after {at} of {len(log)} changes"
            assert not list(folder.glob(".*.part"))
    assert whole == there
    assert resumed


@pytest.mark.long  # some twenty starts
@pytest.mark.usefixtures("asked_once")
def test_a_kill_on_either_side_costs_at_most_the_piece_under_way(device, kept, tmp_path):
    out = tmp_path / "out"
    folder, before = out / "pi.m.capture", len(device.asked())

    def collecting(*words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([BINARIES / "edge-fleet", *device.command(out, "--rate", "60KB", *words)])

    def begun(segment: int) -> bool:
        part = folder / f".{SEGMENT.format(segment)}-0000.jpg.part"
        return part.exists() and part.stat().st_size > transfer.PIECE

    process = collecting()
    until(lambda: begun(1), "the first picture is begun")
    process.kill()
    process.wait()
    process = collecting("--timeout", "1")
    until(lambda: begun(2), "the second picture is begun")
    device.service.stop(signal.SIGKILL)
    broken = process.wait()
    named = {json.loads(line)["file"] for file in folder.glob("*.jsonl") for line in file.read_text().splitlines()}
    missing = named - set(content(folder))
    device.start()
    again = command.run(device.command(out))

    assert (broken, missing, again) == (5, set(), 0)
    assert content(folder) == content(kept)
    pieces = [piece for piece in device.asked()[before:] if piece[0].endswith(".jpg")]
    assert set(pieces) == {
        (f"{SEGMENT.format(number)}-0000.jpg", at * transfer.PIECE) for number in (1, 2) for at in range(3)
    }
    assert len(pieces) - len(set(pieces)) <= 1 + 3  # one at the kill, three questions to a device that is not there


@pytest.mark.parametrize(
    "left",
    [b"", b"\0" * 300, b"x" * 300, b"\x05\0\0\0\0\0\0\0hello"],
    ids=["nothing", "zeros", "before", "no checksum"],
)
def test_what_bears_no_checksum_is_fetched_again(tmp_path, left):
    """`before`: as an earlier version left it."""
    (tmp_path / ".a.jpg.part").write_bytes(left)
    part = Part(tmp_path / "a.jpg")
    begun = part.begun()
    part.add(b"one")
    part.add(b"two")
    with (tmp_path / ".a.jpg.part").open("ab") as file:
        file.write(left)
    again = part.begun()
    part.finish()

    assert (begun, again) == (0, 6)
    assert (tmp_path / "a.jpg").read_bytes() == b"onetwo"
    assert not list(tmp_path.glob(".*"))

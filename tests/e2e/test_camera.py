"""`camera:` through the process, with a stand-in for the device."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import onnxmodels
from support.camera import Camera
from support.processes import EdgeRun, until


@pytest.fixture
def camera(tmp_path) -> Camera:
    return Camera(tmp_path)


@pytest.fixture
def service(edge_run, camera, tmp_path):
    """Starts the service on the camera; what it says can be asked."""
    model = onnxmodels.mean(tmp_path / "colour.onnx", size=16)
    (tmp_path / "labels.txt").write_text("red\ngreen\nblue\n")
    found = tmp_path / "results.jsonl"

    def start() -> tuple[EdgeRun, Path]:
        flags = ("--model", model, "--source", f"camera:{camera.path}", "--mqtt", "none", "--sink", f"file:{found}")
        return edge_run(*flags, environ=camera.environ), found

    return start


def best(found: Path) -> list[str]:
    lines = found.read_text().splitlines() if found.exists() else []
    return [json.loads(line)["predictions"][0]["label"] for line in lines if line.endswith("}")]


def test_a_camera_that_is_unplugged_comes_back_with_another_geometry(service, camera):
    camera.show(255, 0, 0)
    process, found = service()
    until(lambda: "red" in best(found), "a red picture")
    camera.unplug()
    process.wait_until_said("source unavailable")
    camera.show(0, 0, 255, width=20, height=50)
    until(lambda: "blue" in best(found), "a blue picture")
    assert process.stop() == 0


def test_a_camera_that_is_not_there_at_first_is_waited_for(service, camera):
    process, found = service()
    process.wait_until_said("plug the camera in")
    camera.show(0, 255, 0)
    until(lambda: "green" in best(found), "a green picture")
    assert process.stop() == 0


def test_a_driver_that_hangs_does_not_keep_the_process(service, camera):
    camera.show(255, 0, 0)
    process, found = service()
    until(lambda: "red" in best(found), "a red picture")
    camera.hang()
    assert process.stop() == 0

"""What a camera is called, and which there are."""

from __future__ import annotations

import pytest

from edge.errors import ConfigError, UnavailableError
from edge.plugins.contexts import SourceContext
from edge.sources import uri
from edge.sources.video import camera
from edge.telemetry.clock import SystemClock


@pytest.fixture
def kernel(tmp_path):
    """Two cameras, one of them with a node for metadata."""
    for name, index, told in (("video0", "0", "HD Webcam"), ("video1", "1", "HD Webcam"), ("video10", "0", "codec")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index").write_text(f"{index}\n")
        (tmp_path / name / "name").write_text(f"{told}\n")
    return tmp_path


def test_nodes_that_are_no_camera_are_left_out(kernel):
    assert camera.cameras(kernel) == ["camera:0 (HD Webcam)", "camera:10 (codec)"]


@pytest.mark.parametrize("said", ["camera:0", "usb:0", "/dev/video0"])
def test_a_camera_may_be_called_as_others_call_it(said):
    source = uri.parse(said)
    assert source.declared is camera.SOURCE
    made = source.declared.create(source.rest, SourceContext(clock=SystemClock()))
    assert made.live


def test_a_camera_that_is_absent_says_which_there_are(kernel, monkeypatch):
    monkeypatch.setattr(camera, "KERNEL", kernel)
    with pytest.raises(UnavailableError, match=r"no /dev/video77; .*there are: camera:0 \(HD Webcam\), camera:10"):
        camera.Camera("77", {})()


def test_where_there_is_none_at_all_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(camera, "KERNEL", tmp_path)
    with pytest.raises(ConfigError, match=r"say camera:0; there is no camera"):
        camera.create("front", SourceContext(clock=SystemClock()))

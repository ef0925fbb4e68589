"""Files that are written whole."""

from __future__ import annotations

import socket
import stat

import pytest

from edge.storage import atomic


def test_what_is_no_file_is_left_where_it_is(tmp_path):
    place = tmp_path / "place"
    with socket.socket(socket.AF_UNIX) as device:
        device.bind(str(place))
        link = tmp_path / "link"
        link.symlink_to(place)

        for path in (place, link):
            with pytest.raises(OSError, match="no file that could be replaced"):
                atomic.write(path, b"new")

    assert stat.S_ISSOCK(place.stat().st_mode)
    assert link.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "place"]

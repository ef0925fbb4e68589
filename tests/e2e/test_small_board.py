"""A board with 512 MB: no picture, however many pixels a small file holds, ends the process."""

from __future__ import annotations

import contextlib
import http.client
import io
import resource
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support import onnxmodels
from support.processes import free_port

Pillow = pytest.importorskip("PIL.Image", reason="needs Pillow")
pytest.importorskip("cv2", reason="needs [vision]")

BOARD = 512 * 2**20
GROUPS = Path("/sys/fs/cgroup")


@contextlib.contextmanager
def board(pid: int) -> Iterator[None]:
    """The process has the memory of the board from here on: by a control group, or where none can be made by its own
    limit."""
    pages = [int(n) * resource.getpagesize() for n in Path(f"/proc/{pid}/statm").read_text().split()]
    mount, limit = GROUPS / "memory", "memory.limit_in_bytes"
    if not mount.is_dir():
        mount, limit = GROUPS, "memory.max"
    group = mount / f"edge-run-test-{uuid.uuid4().hex}"
    with contextlib.ExitStack() as stack:
        try:
            group.mkdir()
            stack.callback(group.rmdir)
            (group / limit).write_text(str(BOARD - pages[1]))  # what it has taken stays in its group of before
            (group / "cgroup.procs").write_text(str(pid))
        except OSError:
            stack.close()
            most = pages[0] + BOARD - pages[1]
            resource.prlimit(pid, resource.RLIMIT_AS, (most, most))
            yield
            return
        stack.callback((mount / "cgroup.procs").write_text, str(pid))
        yield


def picture(mode: str, width: int, height: int) -> bytes:
    file = io.BytesIO()
    Pillow.new(mode, (width, height)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def service(edge_run, tmp_path):
    """The port of one that takes pictures, on the board."""
    model, port = onnxmodels.brightness(tmp_path / "brightness.onnx"), free_port()
    one = edge_run("--model", model, "--mqtt", "none", "--http", port)
    one.wait_until_said("listening")
    assert ask(port, picture("RGB", 32, 32))[0] == 200  # what the first picture needs is there
    with board(one.process.pid):
        yield port
        assert one.process.poll() is None


def ask(port: int, body: bytes) -> tuple[int, str]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=150)) as connection:
        connection.request("POST", "/predict", body, {"Content-Type": "image/png"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


@pytest.mark.parametrize(("mode", "side"), [("RGB", 7000), ("RGBA", 7000), ("RGBA", 4000), ("L", 7000)])
def test_pictures_of_few_bytes_and_many_pixels_do_not_end_the_process(service, mode, side):
    bomb = picture(mode, side, side)
    assert len(bomb) < 400_000

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: ask(service, bomb), range(12)))

    assert {status for status, _ in answers} <= {200, 400}
    assert all("too large for the memory there is" in said for status, said in answers if status == 400)
    assert ask(service, picture("RGB", 32, 32))[0] == 200

from __future__ import annotations

import os
import pty
import termios
from collections.abc import Iterator

import pytest

from edge.errors import ConfigError, SampleError, UnavailableError
from edge.plugins.contexts import SourceContext
from edge.sources import serial
from edge.telemetry.clock import SystemClock


class Line:
    """A serial line whose other end the test holds."""

    def __init__(self) -> None:
        self._end, self._device = pty.openpty()
        self.path = os.ttyname(self._device)

    def send(self, data: bytes) -> None:
        os.write(self._end, data)

    @property
    def speed(self) -> int:
        return termios.tcgetattr(self._device)[4]

    def unplug(self) -> None:
        for fd in (self._device, self._end):
            if fd >= 0:
                os.close(fd)
        self._device = self._end = -1


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.unplug()


def source(rest: str, **context) -> serial.SerialSource:
    return serial.create(rest, SourceContext(clock=SystemClock(), **context))


def payloads(made: serial.SerialSource, count: int) -> list[bytes]:
    found = [made.read(150) for _ in range(count)]
    assert None not in found, f"{found}: less than {count} lines came"
    return [sample.payload for sample in found]


def told(made: serial.SerialSource) -> str:
    while True:
        try:
            made.read(150)
        except SampleError as exc:
            return str(exc)


def test_each_line_is_an_input_and_the_rest_of_one_before_it_is_left_out(line):
    made = source(f"{line.path}?baud=115200")
    made.open()
    line.send(b'3.5,1\r\n1,2,3\r\n\r\n{"a": 1}\n4,')
    assert payloads(made, 2) == [b"1,2,3", b'{"a": 1}']
    assert made.read(0) is None
    line.send(b"5\n")
    assert payloads(made, 1) == [b"4,5"]
    assert (line.speed, made.live) == (termios.B115200, False)
    made.close()
    made.close()


@pytest.mark.parametrize("ends", [b"\r", b"\n", b"\r\n", b"\n\r"])
def test_a_line_ends_as_its_device_ends_it(line, ends):
    made = source(line.path)
    made.open()
    line.send(b"half" + ends + b"1,2" + ends + b"3,4" + ends)
    assert payloads(made, 2) == [b"1,2", b"3,4"]
    made.close()


def test_bytes_arrive_as_they_were_sent(line):
    made = source(line.path)
    made.open()
    line.send(b"\n\x03\x11\x13\x04\xff1\n")
    assert payloads(made, 1) == [b"\x03\x11\x13\x04\xff1"]
    made.close()


def test_a_line_that_does_not_end_is_told_once_and_those_behind_it_are_whole(line):
    made = source(line.path, max_input=1000)
    made.open()
    line.send(b"\n" + b"9" * 1800)
    assert told(made) == "a line of more than 0.001 MB (--max-input)"
    line.send(b"8\n7\n")
    assert payloads(made, 1) == [b"7"]
    made.close()


def test_a_line_that_is_unplugged_is_unavailable(line):
    made = source(line.path)
    made.open()
    line.unplug()
    with pytest.raises(UnavailableError, match=r"serial:/dev/pts/\d+: "):
        made.read(150)
    made.close()
    with pytest.raises(UnavailableError, match="there is no"):
        made.open()


def test_what_is_no_serial_line_is_told(tmp_path):
    (tmp_path / "file").write_text("1,2\n")
    with pytest.raises(UnavailableError, match="is no serial line"):
        source(str(tmp_path / "file")).open()


@pytest.mark.parametrize("rest", ["", "ttyUSB0", "/dev/ttyUSB0?baud=9601", "/dev/ttyUSB0?baud=", "/dev/x?bauds=9600"])
def test_what_cannot_be_opened_is_refused(rest):
    with pytest.raises(ConfigError, match="--source serial:"):
        source(rest)

"""`serial:/dev/ttyUSB0?baud=9600`: each line that comes over a serial line is an input, as on standard input.

8 bits, no parity, by the system's own terminal interface. What came before the first line's end after opening is left
out: it may be the rest of a line, and half a number is another number.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import select
import termios
import tty
from urllib.parse import parse_qsl

from edge.data.sample import Sample
from edge.errors import ConfigError, SampleError, UnavailableError
from edge.plugins.contexts import SourceContext
from edge.plugins.declarations import SourceInfo

BAUD = 9600
LINE_END = re.compile(rb"[\r\n]")
"""Scales and meters end their lines with either, or with both."""
CHUNK = 4096
SPEEDS = {int(n[1:]): getattr(termios, n) for n in dir(termios) if n[0] == "B" and n[1:].isdigit() and n != "B0"}


class SerialSource:
    """Belongs to one thread."""

    live = False

    def __init__(self, path: str, baud: int, context: SourceContext) -> None:
        self._path, self._baud, self._context = path, baud, context
        self._fd: int | None = None
        self._data = bytearray()
        self._begun = False
        """A line has ended since it was opened: the next one is whole."""

    def open(self) -> None:
        self.close()
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
            fcntl.ioctl(self._fd, termios.TIOCEXCL)  # two readers would each have half of the lines
            tty.setraw(self._fd, termios.TCSANOW)
            settings = termios.tcgetattr(self._fd)
            settings[2] |= termios.CREAD | termios.CLOCAL
            settings[2] &= ~(termios.CSTOPB | termios.PARENB)
            settings[4] = settings[5] = SPEEDS[self._baud]
            termios.tcsetattr(self._fd, termios.TCSANOW, settings)
            termios.tcflush(self._fd, termios.TCIFLUSH)
        except (OSError, termios.error) as exc:
            self.close()
            raise UnavailableError(_said(self._path, exc)) from exc

    def read(self, timeout_s: float) -> Sample | None:
        if self._fd is None:
            raise UnavailableError(f"serial:{self._path} is not open")
        line = self._line()
        if line is None and self._came(self._fd, timeout_s):
            line = self._line()
        if line is None:
            return None
        clock = self._context.clock
        return Sample(line, f"serial:{self._path}", clock.monotonic_ns(), clock.time_ns())

    def close(self) -> None:
        fd, self._fd = self._fd, None
        self._data.clear()
        self._begun = False
        if fd is not None:
            os.close(fd)

    def _came(self, fd: int, timeout_s: float) -> bool:
        try:
            if not select.select([fd], [], [], timeout_s)[0]:
                return False
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return False
        except OSError as exc:
            raise UnavailableError(_said(self._path, exc)) from exc
        if not data:
            raise UnavailableError(f"serial:{self._path}: it was unplugged")
        self._data += data
        return True

    def _line(self) -> bytes | None:
        """The next one that is whole and not empty. Raises SampleError for one that is too long; its rest is left
        out."""
        while (ends := LINE_END.search(self._data)) is not None:
            line = bytes(self._data[: ends.start()]).strip()
            del self._data[: ends.end()]
            begun, self._begun = self._begun, True
            if line and begun:
                return line
        if len(self._data) > self._context.max_input:
            self._data.clear()
            begun, self._begun = self._begun, False
            if begun:
                raise SampleError(f"a line of more than {self._context.max_input / 1e6:g} MB (--max-input)")
        return None


def _said(path: str, exc: Exception) -> str:
    number = exc.args[0] if exc.args else 0
    if number == errno.EACCES:
        return f"no right to read {path}: add the user to the group 'dialout'"
    if number == errno.ENOENT:
        return f"there is no {path}; plug it in, ls /dev/serial/by-id shows what there is"
    if number == errno.ENOTTY:
        return f"{path} is no serial line"
    if number == errno.EBUSY:
        return f"{path} is held by another program; fuser {path} shows it"
    return f"serial:{path}: {os.strerror(number) if isinstance(number, int) else exc}"


def create(rest: str, context: SourceContext) -> SerialSource:
    """`rest` is the device and its options. Raises ConfigError."""
    path, _, query = rest.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = [name for name in options if name != "baud"]
    if unknown:
        raise ConfigError(f"--source serial:{rest}: unknown option {unknown[0]!r}; known: baud")
    if not path.startswith("/"):
        raise ConfigError(f"--source serial:{rest}: {path!r} is no device; say serial:/dev/ttyUSB0?baud=9600")
    baud = options.get("baud", str(BAUD))
    if not baud.isascii() or not baud.isdigit() or int(baud) not in SPEEDS:
        usual = ", ".join(str(speed) for speed in sorted(SPEEDS) if 1200 <= speed <= 921_600)
        raise ConfigError(f"--source serial:{rest}: baud={baud}; known: {usual}")
    return SerialSource(path, int(baud), context)


SOURCE = SourceInfo(
    edge_api=1,
    create=create,
    usage="serial:/dev/ttyUSB0?baud=9600",
    devices=("char-ttyUSB", "char-ttyACM", "char-ttyAMA", "char-ttyS"),
    groups=("dialout",),
    fix="does it send lines, and at this baud? stty -F DEVICE; sudo usermod -aG dialout $USER",
)

"""Whether each run of a service makes progress: asked by `edge-run --healthy`, told over a socket in the state folder.

Each run listens on a socket of its own, `<device>.<model>.<process>.health`, and its main thread answers there
between two looks at the flow. So every way to fail shows:

- The process has died: the kernel closed the socket, and a connection to the file that is left is refused.
- The main thread hangs, or something holds the interpreter for ever: no answer comes.
- Another thread hangs (a camera's driver, a disk): the answer names it.

A broker or a camera that is away is no illness: the service waits for it, as it should. Nothing is written after
the start, which spares the SD card, and no port is taken. A clean end takes the file away; what a killed process
leaves there, the next start clears.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edge.data.units import SECOND_NS
from edge.storage.lock import make_folder

if TYPE_CHECKING:
    from edge.plugins.protocols import Clock  # which brings numpy: asking is to cost little

log = logging.getLogger("edge.app.health")

SUFFIX = ".health"
HANGS_AFTER_S = 60.0
"""A thread without progress for so long hangs: the slowest thing that is waited for, a camera, takes half of it."""
ANSWER_WITHIN_S = 5.0
RETRY_S = 30.0
WAITING_MOST = 8
NAME_MOST = 64


class _Answer(msgspec.Struct, frozen=True):
    """What a run says of itself; `hangs` names the threads without progress, `ended` why it runs no more: one of
    several, whose process goes on."""

    uptime_s: float
    hangs: Sequence[str]
    ended: str = ""


class HealthSocket:
    """The service's end. Of the main thread alone; `late` names the threads without progress for so many seconds,
    `ended` why the run does not run, "" while it does or where it has ended in order."""

    def __init__(
        self,
        folder: Path,
        name: str,
        late: Callable[[float], Sequence[str]],
        clock: Clock,
        ended: Callable[[], str] = lambda: "",
    ) -> None:
        self._folder = folder
        self._file = f"{_shortened(name)}.{os.getpid()}{SUFFIX}"
        self._late = late
        self._ended = ended
        self._clock = clock
        self._started_ns = clock.monotonic_ns()
        self._socket: socket.socket | None = None
        self._next_ns: int | None = None

    def open(self) -> None:
        """Listens. Where the folder cannot be written, says so once; `tick` tries again."""
        if self._socket is not None:
            return
        try:
            self._socket = self._listen()
        except OSError as exc:
            if self._next_ns is None:
                extra = {"path": str(self._folder), "reason": exc.strerror or str(exc)}
                log.warning("edge-run --healthy will not find this process", extra=extra)
            self._next_ns = self._clock.monotonic_ns() + int(RETRY_S * SECOND_NS)

    def _listen(self) -> socket.socket:
        make_folder(self._folder)
        for file in _sockets(self._folder):
            if not _listens(self._folder, file):
                (self._folder / file).unlink(missing_ok=True)
        partial = self._folder / f"{self._file}.tmp"
        partial.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            with _short(self._folder) as folder:
                sock.bind(f"{folder}/{partial.name}")
            sock.listen(WAITING_MOST)
            # Renamed when it listens: nobody finds a socket that refuses though its process lives.
            partial.rename(self._folder / self._file)
        except OSError:
            sock.close()
            raise
        return sock

    def tick(self) -> None:
        """Answers those who wait for it, without waiting for anybody."""
        if self._socket is None:
            if self._next_ns is not None and self._clock.monotonic_ns() >= self._next_ns:
                self.open()
            return
        for _ in range(WAITING_MOST):
            try:
                asker, _address = self._socket.accept()
            except OSError:  # nobody waits
                return
            with asker, suppress(OSError):  # it went away
                asker.setblocking(False)  # the answer fits into the socket's buffer
                asker.send(self._answer())

    def _answer(self) -> bytes:
        uptime_s = (self._clock.monotonic_ns() - self._started_ns) / SECOND_NS
        return msgspec.json.encode(_Answer(uptime_s, self._late(HANGS_AFTER_S), self._ended()))

    def close(self) -> None:
        """Ends it and takes the file away."""
        sock, self._socket = self._socket, None
        if sock is not None:
            sock.close()
            with suppress(OSError):
                (self._folder / self._file).unlink(missing_ok=True)


def examine(folder: Path, *, answer_within_s: float = ANSWER_WITHIN_S) -> int:
    """Asks every service with this state folder, prints a line for each; 0 where all are well, else 1."""
    try:
        files = _sockets(folder)
    except OSError as exc:
        reason = "no edge-run has it for its --state-dir" if isinstance(exc, FileNotFoundError) else exc.strerror
        return _say(f"unhealthy: {folder}: {reason}")
    if not files:
        return _say(f"unhealthy: no edge-run runs with --state-dir {folder}, or it still loads its model")
    return max(_ask(folder, file, answer_within_s) for file in files)


def _ask(folder: Path, file: str, within_s: float) -> int:
    name = file.removesuffix(SUFFIX)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock, _short(folder) as short:
            sock.settimeout(within_s)
            sock.connect(f"{short}/{file}")
            answer = msgspec.json.decode(_whole(sock), type=_Answer)
    except (TimeoutError, BlockingIOError):  # the latter: too many wait there already
        return _say(f"unhealthy: {name}: no answer within {within_s:g} s, it hangs")
    except (ConnectionError, FileNotFoundError):
        return _say(f"unhealthy: {name}: the process has died")
    except (OSError, msgspec.MsgspecError) as exc:
        return _say(f"unhealthy: {name}: {exc}")
    if answer.ended:
        return _say(f"unhealthy: {name}: it has ended: {answer.ended}")
    if answer.hangs:
        return _say(f"unhealthy: {name}: no progress for {HANGS_AFTER_S:g} s in {', '.join(answer.hangs)}")
    return _say(f"healthy: {name}, up {answer.uptime_s:.0f} s", 0)


def _shortened(name: str) -> str:
    """A long name's beginning and its sum: two runs of a process may begin alike."""
    return name if len(name) <= NAME_MOST else f"{name[: NAME_MOST - 9]}.{zlib.crc32(name.encode()):08x}"


def _whole(sock: socket.socket) -> bytes:
    parts = []
    while part := sock.recv(4096):
        parts.append(part)
    return b"".join(parts)


def _say(text: str, code: int = 1) -> int:
    sys.stdout.write(text + "\n")
    return code


def _sockets(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name.endswith(SUFFIX))


def _listens(folder: Path, file: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock, _short(folder) as short:
        sock.setblocking(False)
        try:
            sock.connect(f"{short}/{file}")
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # too many wait there: it lives
            return True
    return True


@contextmanager
def _short(folder: Path) -> Iterator[str]:
    """Another path of the folder: a socket's takes 107 bytes at most, a folder's may take more."""
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)

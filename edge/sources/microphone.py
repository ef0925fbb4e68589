"""`microphone:DEVICE`: sound from a microphone, by `arecord` of alsa-utils, which Raspberry Pi OS brings.

`microphone:` is the default device, `microphone:plughw:1,0` another (`arecord -L` lists them). `arecord` is a
process of its own: a driver that hangs is ended with it. Sound is not like pictures: a gap would break the
windows of the model, so nothing is left out here; what waits is bounded by the pipe, and `arecord` says so when it
had to drop some.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import time

import numpy as np

from edge.data.sample import Sample, Sound
from edge.errors import ConfigError, UnavailableError
from edge.plugins.contexts import SourceContext
from edge.plugins.declarations import SourceInfo

RATE = 16_000
STRETCH_BYTES = 2 * RATE // 10
STALL_S = 5.0


class Microphone:
    """16 kHz, one channel, 16 bits, in stretches of a tenth of a second."""

    live = False  # every stretch counts; a slow model is told by arecord's overruns, not by holes of ours

    def __init__(self, device: str, context: SourceContext) -> None:
        self._device, self._context = device, context
        self._name = f"microphone:{device}"
        self._process: subprocess.Popen[bytes] | None = None
        self._held = b""
        self._last_s = 0.0

    def open(self) -> None:
        self.close()
        command = ["arecord", "-q", "-t", "raw", "-f", "S16_LE", "-c", "1", "-r", str(RATE)]
        if self._device:
            command += ["-D", self._device]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except FileNotFoundError:
            raise ConfigError("the microphone source needs arecord: sudo apt install alsa-utils") from None
        self._held, self._last_s = b"", time.monotonic()

    def read(self, timeout_s: float) -> Sample | None:
        process = self._process
        if process is None or process.stdout is None:
            raise UnavailableError(f"{self._name} is not open")
        until = time.monotonic() + timeout_s
        while len(self._held) < STRETCH_BYTES:
            left = until - time.monotonic()
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                if time.monotonic() - self._last_s > STALL_S:
                    raise UnavailableError(f"{self._name}: no sound for {STALL_S:g} s")
                return None
            data = os.read(process.stdout.fileno(), STRETCH_BYTES - len(self._held))
            if not data:
                raise UnavailableError(f"{self._name}: {self._reason(process)}")
            self._held += data
            self._last_s = time.monotonic()
        samples, self._held = np.frombuffer(self._held, "<i2").astype(np.int16, copy=False), b""
        clock = self._context.clock
        return Sample(Sound(samples, RATE), self._name, clock.monotonic_ns(), clock.time_ns())

    @staticmethod
    def _reason(process: subprocess.Popen[bytes]) -> str:
        output = process.stderr.read() if process.stderr is not None else b""
        return output.decode("utf-8", "replace").strip().replace("\n", "; ")[:200] or "arecord has ended"

    def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        process.wait(5)


def create(rest: str, context: SourceContext) -> Microphone:
    """`rest` is a device of ALSA, or empty. Raises ConfigError where arecord is not installed."""
    if shutil.which("arecord") is None:
        raise ConfigError("the microphone source needs arecord: sudo apt install alsa-utils")
    if rest.startswith("-"):
        raise ConfigError(f"--source microphone:{rest}: not a device; arecord -L lists them")
    return Microphone(rest, context)


SOURCE = SourceInfo(
    edge_api=1,
    create=create,
    usage="microphone:",
    gives="sound",
    devices=("char-alsa",),
    groups=("audio",),
    fix="arecord -l lists what there is; sudo usermod -aG audio $USER",
)

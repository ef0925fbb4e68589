"""`.wav` files: sound in stretches of a tenth of a second, as fast as it is taken."""

from __future__ import annotations

import wave
from pathlib import Path

from edge.data.sample import Sample, Sound
from edge.data.sound import decode_pcm
from edge.errors import ConfigError, EndOfStream, SourceError
from edge.plugins.declarations import SourceInfo
from edge.plugins.protocols import SourceContext


class WavSource:
    """PCM of 8, 16, 24 or 32 bits, any rate, any number of channels."""

    live = False

    def __init__(self, path: Path, context: SourceContext) -> None:
        self._path = path
        self._context = context
        self._file: wave.Wave_read | None = None
        self._left = 0

    def open(self) -> None:
        try:
            self._file = wave.open(str(self._path), "rb")  # noqa: SIM115 - closed in `close`
        except (wave.Error, EOFError, OSError) as exc:
            raise ConfigError(
                f"--source {self._path}: not a PCM .wav file that can be read: {exc or 'it ends in its header'}; "
                "convert it with ffmpeg -i IN -c:a pcm_s16le OUT.wav"
            ) from exc
        self._left = self._file.getnframes()

    def read(self, timeout_s: float) -> Sample | None:
        file = self._file
        if file is None or self._left <= 0:
            raise EndOfStream(str(self._path))
        wanted = min(self._left, max(1, file.getframerate() // 10))
        data = file.readframes(wanted)
        width = file.getsampwidth() * file.getnchannels()
        if len(data) < wanted * width:
            raise SourceError(
                f"{self._path}: the sound ends in the middle, {self._left} samples are missing (truncated)"
            )
        self._left -= wanted
        samples = decode_pcm(data, file.getsampwidth()).reshape(-1, file.getnchannels())
        clock = self._context.clock
        sound = Sound(samples, file.getframerate(), last=self._left <= 0)
        return Sample(sound, str(self._path), clock.monotonic_ns(), clock.time_ns())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def create(rest: str, context: SourceContext) -> WavSource:
    """`rest` is the path."""
    return WavSource(Path(rest), context)


SOURCE = SourceInfo(edge_api=1, create=create, usage="sound.wav", gives="sound", reads_path=True)

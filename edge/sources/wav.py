"""`.wav` files: sound in stretches of a tenth of a second, as fast as it is taken."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from edge.data.sample import Sample, Sound
from edge.data.sound import WavFormat, decode_frames, read_wav_header
from edge.errors import ConfigError, EndOfStream, SourceError
from edge.plugins.contexts import SourceContext
from edge.plugins.declarations import SourceInfo
from edge.storage.places import Places


class WavSource:
    """PCM of 8, 16, 24 or 32 bits, or floats of 32 or 64; any rate, any number of channels."""

    live = False
    repeats = True

    def __init__(self, path: Path, context: SourceContext) -> None:
        self._path = path
        self._context = context
        self._file: BinaryIO | None = None
        self._form = WavFormat(0, 1, 1, real=False, left=0)
        self._left: int | None = 0
        self._next = b""
        self._broken: SourceError | None = None
        self._places = Places(path)
        self._given = 0

    def open(self) -> None:
        try:
            self._file = self._path.open("rb")
            self._form = read_wav_header(self._file)
        except (ValueError, OSError) as exc:
            self.close()
            raise ConfigError(
                f"--source {self._path}: not a PCM .wav file that can be read: {exc}; "
                "convert it with ffmpeg -i IN -c:a pcm_s16le OUT.wav"
            ) from exc
        self._left, self._broken = self._form.left, None
        self._places.open()
        self._given = 0
        self._advance()

    def _advance(self) -> None:
        """Reads one stretch ahead: the last one has to be known as such."""
        try:
            self._next = self._stretch()
        except SourceError as exc:
            self._next, self._broken = b"", exc

    def _stretch(self) -> bytes:
        """The next tenth of a second, in whole frames; empty at the end. Raises SourceError."""
        form, file = self._form, self._file
        wanted = max(1, form.rate // 10) * form.frame
        if self._left is not None:
            wanted = min(wanted, self._left)
        try:
            data = file.read(wanted) if file is not None and wanted else b""
        except OSError as exc:
            raise SourceError(f"--source {self._path}: {exc}") from exc
        if self._left is not None:
            if len(data) < wanted:
                missing = (self._left - len(data)) // form.frame
                raise SourceError(
                    f"{self._path}: the sound ends in the middle, {missing} samples are missing (truncated)"
                )
            self._left -= len(data)
        return data[: len(data) // form.frame * form.frame]

    def read(self, timeout_s: float) -> Sample | None:
        """Raises SourceError where less is there than the header promised."""
        data = self._next
        if self._broken is not None:
            raise self._broken
        if self._file is None or not data:
            raise EndOfStream(str(self._path))
        self._advance()
        clock = self._context.clock
        sound = Sound(decode_frames(data, self._form), self._form.rate, last=not self._next and self._broken is None)
        self._given += 1
        digest = self._places.digest(self._given)
        return Sample(sound, str(self._path), clock.monotonic_ns(), clock.time_ns(), digest=digest)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def create(rest: str, context: SourceContext) -> WavSource:
    """`rest` is the path."""
    return WavSource(Path(rest), context)


SOURCE = SourceInfo(edge_api=1, create=create, usage="sound.wav", gives="sound", reads_path=True)

"""`--source FILE.tsv` and `--source tab-rows:FILE`: rows of numbers with tabs between."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from edge.data.sample import Sample
from edge.errors import ConfigError, EndOfStream, SampleError
from edge.plugins.contexts import SourceContext
from edge.plugins.declarations import SourceInfo


class TsvSource:
    live = False  # every row counts; a camera says True, and only the newest is wanted

    def __init__(self, path: Path, context: SourceContext) -> None:
        self._path = path
        self._clock = context.clock
        self._file: TextIO | None = None

    def open(self) -> None:
        self.close()
        try:
            self._file = self._path.open(encoding="utf-8")
        except OSError as exc:
            raise ConfigError(f"--source {self._path}: {exc.strerror}; check the path") from exc

    def read(self, timeout_s: float) -> Sample | None:
        line = self._file.readline() if self._file is not None else ""
        if not line:
            raise EndOfStream(str(self._path))
        try:
            row = [float(cell) for cell in line.split("\t")]
        except ValueError as exc:
            raise SampleError(f"{self._path.name}: {exc}") from exc
        return Sample(row, str(self._path), self._clock.monotonic_ns(), self._clock.time_ns())

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def create(rest: str, context: SourceContext) -> TsvSource:
    return TsvSource(Path(rest), context)


SOURCE = SourceInfo(edge_api=1, create=create, usage="rows.tsv", gives="rows", reads_path=True)

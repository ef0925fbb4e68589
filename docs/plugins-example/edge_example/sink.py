"""`--sink tsv:FILE`: a line of tab-separated values for each result."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import msgspec

from edge.errors import ConfigError, UnavailableError
from edge.plugins.contexts import SinkContext
from edge.plugins.declarations import SinkInfo
from edge.plugins.protocols import Entry, SinkEvents


class TsvSink:
    window = 64
    durable = True  # a result that is lost matters: what is not confirmed is kept on disk

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None
        self._events: SinkEvents | None = None

    def open(self, events: SinkEvents) -> None:
        self.close()
        self._events = events
        try:
            self._file = self._path.open("a", encoding="utf-8")
        except OSError as exc:
            raise UnavailableError(f"--sink tsv:{self._path}: {exc.strerror}") from exc

    def send(self, entry: Entry) -> None:
        if self._file is None or self._events is None:
            raise UnavailableError(f"--sink tsv:{self._path}: not open")
        if entry.message.kind == "result":
            result = msgspec.json.decode(entry.message.payload)
            cells = (str(result.get("seq", "")), msgspec.json.encode(result.get("predictions", [])).decode())
            try:
                self._file.write("\t".join(cells) + "\n")
                self._file.flush()
            except OSError as exc:
                raise UnavailableError(f"--sink tsv:{self._path}: {exc.strerror}") from exc
        self._events.confirmed([entry.key])

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def create(rest: str, context: SinkContext) -> TsvSink:
    if not rest:
        raise ConfigError("--sink tsv: has no path; say tsv:results.tsv")
    return TsvSink(Path(rest))


SINK = SinkInfo(edge_api=1, create=create, usage="tsv:results.tsv", writes_path=True)

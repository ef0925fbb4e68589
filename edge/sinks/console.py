"""Results on standard output: JSON, a line each, when piped; a readable line on a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from edge.errors import ConfigError, UnavailableError
from edge.plugins.contexts import SinkContext
from edge.plugins.declarations import SinkInfo
from edge.plugins.protocols import Entry, SinkEvents

MOST_SHOWN = 3


class ConsoleSink:
    """What is written counts as confirmed. Skipped samples are in the log and not repeated here."""

    window = 64
    durable = False

    def __init__(self, *, readable: bool | None = None, on_closed: Callable[[], None] | None = None) -> None:
        """`readable` None: where standard output is a terminal. `on_closed` is told when the reader has gone."""
        self._on_closed = on_closed
        self._closed = False
        self._readable = readable
        self._events: SinkEvents | None = None

    def open(self, events: SinkEvents) -> None:
        self._events = events
        if self._readable is None:
            self._readable = sys.stdout.isatty()

    def send(self, entry: Entry) -> None:
        if entry.message.kind == "result":
            payload = entry.message.payload
            line = describe(msgspec.json.decode(payload)) if self._readable else payload.decode()
            self._print(line)
        if self._events is not None:
            self._events.confirmed([entry.key])

    def _print(self, line: str) -> None:
        if self._closed:
            return
        try:
            print(line, flush=True)
        except BrokenPipeError:
            # `edge-run ... | head`: nobody reads any more, now and for good.
            self._closed = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if self._on_closed is not None:
                self._on_closed()
        except OSError as exc:
            raise UnavailableError(f"standard output: {exc.strerror}") from exc

    def close(self) -> None:
        """Standard output stays open: it is not ours."""


def describe(result: dict[str, Any]) -> str:
    """A result in one line for a person."""
    shown = [_prediction(p) for p in result["predictions"][:MOST_SHOWN]]
    more = len(result["predictions"]) - MOST_SHOWN
    text = ", ".join(shown) + (f" and {more} more" if more > 0 else "")
    clock = result["time"][11:23]
    return f"{clock}  #{result['seq']}  {text or 'nothing found'}  ({result['timing_ms']['infer']:.1f} ms)"


def _prediction(p: dict[str, Any]) -> str:
    if "box" in p:
        x0, y0, x1, y1 = p["box"]
        track = f" #{p['track_id']}" if "track_id" in p else ""
        then = ", ".join(_prediction(inner) for inner in p["then"]["predictions"][:1]) if "then" in p else ""
        where = f"{x0:.0f},{y0:.0f}-{x1:.0f},{y1:.0f}"
        return f"{p['label']}{track} {p['score']:.0%} at {where}{f' ({then})' if then else ''}"
    if "label" in p:
        return f"{p['label']} {p['score']:.0%}"
    if "text" in p:
        return f"{p['text']} {p['score']:.0%}"
    if "is_anomaly" in p:
        return f"{'ANOMALY' if p['is_anomaly'] else 'normal'} {p['score']:.4g}"
    if "areas" in p:
        return ", ".join(f"{label} {area:.0%}" for label, area in zip(p["labels"], p["areas"], strict=False))
    if "value" in p:
        return f"{p['name']} = {p['value']:.6g}{' ' + p['unit'] if p.get('unit') else ''}"
    return f"{p['name']} {p['dtype']}{p['shape']}"


def create(rest: str, context: SinkContext) -> ConsoleSink:
    """`rest` is empty. Raises ConfigError."""
    if rest:
        raise ConfigError(f"--sink console:{rest}: it takes nothing behind the colon; say console")
    return ConsoleSink(on_closed=context.closed)


SINK = SinkInfo(edge_api=1, create=create, usage="console")

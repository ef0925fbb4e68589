"""What the live page shows beside the results: the process, its model and its counters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge.http import events
from edge.http.options import Served
from edge.model import golden
from edge.telemetry import board

ROW_MOST = 4096


class State:
    """Reads everything at the moment it is asked; from any thread."""

    def __init__(self, served: Served, live: events.Live, share: float, *, takes_pictures: bool) -> None:
        self._served = served
        self._live = live
        self._share = share
        self._takes_pictures = takes_pictures

    def told(self) -> Mapping[str, Any]:
        """Everything but the results."""
        served = self._served
        manifest = served.manifest
        newest = self._live.newest()
        bits = served.throttled()
        counted = served.metrics.snapshot()
        return {
            "info": served.info(),
            "stats": served.stats(),
            "manifest": {
                "description": manifest.description,
                "license": manifest.license,
                "labels": manifest.labels[:20],
                "inputs": [_input(i) for i in manifest.inputs if i.kind != "constant"],
                "provenance": manifest.provenance,
                "parity": manifest.parity,
            },
            "http": {
                "inferences": int(counted.get("http_inferences", 0)),
                "failed": int(counted.get("http_failed", 0)),
                "rejected": int(counted.get("http_rejected", 0)),
                "waiting": int(counted.get("http_waiting", 0)),
                "cpu_s": round(counted.get("http_cpu_s", 0), 3),
                "share": self._share,
            },
            "board": {
                "temperature_c": served.temperature(),
                "problems": board.problems(bits) if bits else [],
            },
            "source": served.source,
            "source_up": bool(counted.get("source_up", 0)),
            "newest": events.describe(newest[0]) if newest else None,
            "example": self._example(),
        }

    def _example(self) -> Any:
        """A row to try, from the model's golden samples; None where a picture belongs or nothing is known."""
        manifest = self._served.manifest
        if self._takes_pictures or not manifest.golden:
            return None
        try:
            found = [_shortest(golden.unpack(t)) for t in manifest.golden[0].inputs.values()]
        except ValueError:
            return None
        row: list[Any] = found[0] if len(found) == 1 else [v[0] for v in found]
        names = [f.name for f in manifest.features]
        if all(names) and names and len(names) == len(row):
            return dict(zip(names, row, strict=True))
        return row if len(row) <= ROW_MOST else None


def _shortest(values: Any) -> list[Any]:
    """As a person would write them: 5.1, not 5.099999904632568, which is the same in float32."""
    flat = values.ravel()
    return [float(str(v)) for v in flat] if flat.dtype.kind == "f" else list(flat.tolist())


def _input(part: Any) -> Mapping[str, Any]:
    said = {"name": part.name, "kind": part.kind, "dtype": part.dtype, "shape": part.shape}
    if part.size:
        said["size"] = part.size
    if part.features:
        said["features"] = [f.name for f in part.features if f.name][:200]
    return said

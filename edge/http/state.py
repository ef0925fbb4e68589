"""What the live page shows beside the results: the process, its model and its counters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge.http import events
from edge.http.catalog import Catalog
from edge.http.options import Served
from edge.model import example
from edge.telemetry import board


class State:
    """Reads everything at the moment it is asked; from any thread."""

    def __init__(self, served: Served, catalog: Catalog, key: str, share: float, *, takes_pictures: bool) -> None:
        """`key`: of the run among those of the catalog."""
        self._served = served
        self._catalog = catalog
        self._key = key
        self._share = share
        self._takes_pictures = takes_pictures

    def told(self) -> Mapping[str, Any]:
        """Everything but the results."""
        served = self._served
        manifest = served.manifest
        newest = self._catalog.live.newest(self._key)
        bits = served.throttled()
        counted = served.metrics.snapshot()
        return {
            "runs": self._catalog.told(),
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
                "cpu_s": round(self._catalog.metrics.snapshot().get("http_cpu_s", 0), 3),
                "share": self._share,
            },
            "board": {
                "temperature_c": served.temperature(),
                "problems": board.problems(bits) if bits else [],
            },
            "source": served.source,
            "drift": served.drift is not None,
            "source_up": bool(counted.get("source_up", 0)),
            "newest": events.describe(newest[0]) if newest else None,
            "example": self._example(),
        }

    def drift(self) -> Mapping[str, Any]:
        """What is known of drift; its report is null where it is not watched for."""
        return {"report": None, "features": []} if self._served.drift is None else self._served.drift()

    def trial(self) -> Mapping[str, Any]:
        """How the model on trial differs; its verdict is null where there is none."""
        return {"verdict": None} if self._served.trial is None else self._served.trial()

    def _example(self) -> Any:
        """A row to try, from the model's golden samples; None where a picture belongs or nothing is known."""
        return None if self._takes_pictures else example.row(self._served.manifest)


def _input(part: Any) -> Mapping[str, Any]:
    fields = {"name": part.name, "kind": part.kind, "dtype": part.dtype, "shape": part.shape}
    if part.size:
        fields["size"] = part.size
    if part.features:
        fields["features"] = [f.name for f in part.features if f.name][:200]
    return fields

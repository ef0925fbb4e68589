"""The models of the server: one, or one for each run of the process, and those that cannot be served, with the reason.

What belongs to the server and not to a model is here, too: the share of the processor, the results that the page shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from edge.http.events import Live
from edge.http.http_types import Refusal
from edge.http.options import Served
from edge.http.scheduling import CpuBudget
from edge.plugins.protocols import Clock
from edge.telemetry.metrics import Metrics


class Entry(Protocol):
    """A model that is served: name and version as clients say them."""

    name: str
    version: str
    served: Served

    def model_statistics(self) -> Mapping[str, Any]:
        """In Triton's words."""
        ...


class Catalog:
    """Filled before the server starts; `put` of a model that takes over, `fail` and `told` from any thread."""

    def __init__(self, clock: Clock, metrics: Metrics, share: float) -> None:
        """`metrics` are the server's own; of one model they are the model's, too."""
        self.metrics = metrics
        self.budget = CpuBudget(share, clock, metrics)
        metrics.set("http_share", share)
        self.live = Live(clock, self.budget)
        self.failed: dict[str, str] = {}
        """Runs that have ended with an error, and why; the model of one that had begun is served all the same."""
        self._models: dict[str, Entry] = {}

    def put(self, key: str, entry: Entry) -> None:
        """A model, by the name of its run: in the place of the one that was served so."""
        self._models = {**self._models, key: entry}

    @property
    def all(self) -> Sequence[Entry]:
        """In the order of the runs."""
        return tuple(self._models.values())

    @property
    def several(self) -> bool:
        """Whether a request has to say which model it is for: also where the others cannot be served now."""
        return len({*self._models, *self.failed}) > 1

    @property
    def names(self) -> str:
        """For messages."""
        return ", ".join(repr(one.name) for one in self.all)

    def unknown(self, name: str) -> Refusal:
        """Of a model that is not served: 404, or 503 where that may change."""
        if name in self.failed:
            return Refusal(503, f"the model {name[:80]!r} is not served: {self.failed[name]}")
        return Refusal(404, f"there is no model {name[:80]!r}; this device serves {self.names}")

    def repository(self) -> list[Mapping[str, Any]]:
        """`POST /v2/repository/index`."""
        ready = [{"name": one.name, "version": one.version, "state": "READY", "reason": ""} for one in self.all]
        return [
            *ready,
            *({"name": name, "version": "", "state": "UNAVAILABLE", "reason": reason}
              for name, reason in self.failed.items() if name not in self._models),
        ]  # fmt: skip

    def statistics(self) -> Mapping[str, Any]:
        """Of all models, in Triton's words."""
        return {"model_stats": [one.model_statistics() for one in self.all]}

    def told(self) -> list[Mapping[str, Any]]:
        """For the page: each run and why it ended, "" where it has not."""
        return [{"name": name, "ended": self.failed.get(name, "")} for name in {**self._models, **self.failed}]

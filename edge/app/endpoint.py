"""`--http`: the local endpoint, with pipelines of its own that see what the flow's see."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from edge import __version__
from edge.app import assembly, capture, cascade, drift, trial
from edge.app.core import Core, Draft
from edge.app.status import Status
from edge.errors import ConfigError
from edge.plugins.protocols import Clock, Source
from edge.runtime.stop import Stop
from edge.settings.settings import HttpSettings, Settings
from edge.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from edge.http.app import HttpServer


def open_server(settings: Settings, stop: Stop, clock: Clock, metrics: Metrics) -> HttpServer | None:
    """For all runs of the process; None where no one asks for one. Raises ConfigError."""
    address, grpc = settings.http.address, settings.http.grpc
    if address is None:
        if grpc is not None:
            raise ConfigError(f"--grpc {grpc} without --http: name the port of HTTP too, --http 8080")
        return None
    return assembly.make_server(address, settings.http, stop.fail, clock, metrics)


def serve(
    core: Core,
    draft: Draft,
    status: Status,
    source: Source | None,
    fits: tuple[drift.Drift | None, trial.TrialPart | None, capture.Capture | None],
    then: cascade.Second,
    server: HttpServer,
) -> None:
    """A run's model. `fits`: what watches, tries and keeps, which sees requests, too. Raises ConfigError."""
    from edge.http.options import Served

    watched, tried, captured = fits
    keep = captured.keep if captured is not None else None
    watches = [watched.watch_http] if watched is not None else []
    asked = core.of_requests
    observe = server.serve(
        Served(
            manifest=core.loaded.manifest,
            engine=core.loaded.engine,
            sha256=core.loaded.sha256,
            version=__version__,
            make_pipeline=lambda: asked.pipeline(*watches, follows=then.stages(), keep=keep),
            metrics=core.metrics,
            clock=core.clock,
            info=status.info,
            stats=status.stats,
            source=status.source if source is not None else "",
            instances=status.instances,
            watch_tensors=watched.watch_tensors if watched is not None else None,
            drift=watched.pictured if watched is not None else None,
            trial=tried.told if tried is not None else None,
        )
    )
    draft.observers.append(observe)


def begin(draft: Draft, server: HttpServer, settings: HttpSettings) -> None:
    """Behind the models that it serves."""
    draft.add("http", server.start, server.stop)
    from edge.app import terminal

    if terminal.is_there():
        draft.add("phone", functools.partial(_show_phone, server, settings.token_file))


def _show_phone(server: HttpServer, token_file: Path | None) -> None:
    """For a person who has just started it by hand, where a phone can reach it."""
    from edge.app import terminal

    if (url := server.url_for_others) is not None:
        terminal.show([terminal.phone(url, token_file, columns=terminal.columns())])

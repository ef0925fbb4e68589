"""`--http`: the local endpoint, with pipelines of its own that see what the flow's see."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from edge import __version__
from edge.app import capture, cascade, drift, trial
from edge.app.core import Core, Draft
from edge.app.pipelines import Pipelines
from edge.app.status import Status
from edge.errors import ConfigError
from edge.plugins.protocols import Clock
from edge.runtime.options import Observer
from edge.runtime.stop import Stop
from edge.settings.settings import HttpSettings, Settings
from edge.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from edge.http.app import HttpServer
    from edge.http.options import Served


def open_server(settings: Settings, stop: Stop, clock: Clock, metrics: Metrics) -> HttpServer | None:
    """At [HOST:]PORT, for all runs of the process; None where no one asks for one. Raises ConfigError, also where its
    libraries are not installed."""
    said = settings.http
    if said.address is None:
        if said.grpc is not None:
            raise ConfigError(f"--grpc {said.grpc} without --http: name the port of HTTP too, --http 8080")
        return None
    from edge.http import app, auth
    from edge.http.options import ServerOptions

    host, port = auth.split_address(said.address)
    options = ServerOptions(
        host=host,
        port=port,
        grpc=auth.split_address(said.grpc, "--grpc") if said.grpc is not None else None,
        token_file=said.token_file,
        cert=said.cert,
        key=said.key,
        names=said.names,
        queue=said.queue,
        max_body=said.max_body,
        max_batch=said.max_batch,
        max_wait_ms=said.max_wait_ms,
        share=said.share,
    )
    return app.HttpServer(options, stop.fail, clock, metrics)


class Sees(NamedTuple):
    """What sees requests as it sees the flow's samples."""

    watched: drift.DriftPart | None
    tried: trial.TrialPart | None
    captured: capture.Capture | None
    then: cascade.Second
    pipelines: Pipelines


def served(core: Core, status: Status, sees: Sees, seen: Observer, *, has_source: bool) -> Served:
    """A run's model, as it is served."""
    from edge.http.options import Served

    watched, tried = sees.pipelines.watched(core), sees.tried
    return Served(
        manifest=core.loaded.manifest,
        engine=core.loaded.engine,
        sha256=core.loaded.sha256,
        version=__version__,
        make_pipeline=functools.partial(sees.pipelines.of_requests, core),
        metrics=core.metrics,
        clock=core.clock,
        info=status.info,
        stats=status.stats,
        source=status.source if has_source else "",
        instances=status.instances,
        watch_tensors=watched.watch_tensors if watched is not None else None,
        drift=watched.state.pictured if watched is not None else None,
        trial=tried.told if tried is not None else None,
        seen=seen,
    )


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

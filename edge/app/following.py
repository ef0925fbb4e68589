"""How the parts of a run are carried over where another model takes over. What runs a model, what tells of it, what is
told what it may be told; what is made for a model beside that (drift, a trial) says so itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from edge.app import control
from edge.app.core import Carried, Core, Draft
from edge.app.pipelines import Pipelines
from edge.app.status import Status
from edge.runtime.inference import Takeover
from edge.runtime.runner import Runner

if TYPE_CHECKING:
    from edge.app.commands import Bounds, Commands
    from edge.app.drift import DriftPart
    from edge.homeassistant.announcer import Announcer
    from edge.http.app import HttpServer
    from edge.http.options import Served


Telling: TypeAlias = "tuple[Status, Announcer | None, DriftPart | None, Commands | None]"
"""What tells of the model, and what is told what it may be told; drift is for Home Assistant, which is told of that."""


def parts(draft: Draft, runner: Runner, pipelines: Pipelines, telling: Telling) -> Iterator[Carried]:
    """How each part of a run is carried over, in the order in which they are asked."""
    yield Carried(misfit=pipelines.misfit, runs=partial(_flow, runner, pipelines))
    yield from draft.carried
    yield from _telling(*telling)


def _flow(runner: Runner, pipelines: Pipelines, core: Core, let_go: Callable[[], None]) -> threading.Event:
    """The thread that infers, and its instances: each at its next sample."""
    of_flow = pipelines.of_flow(core)
    takeover = Takeover(of_flow, pipelines.of_instances(core, of_flow), let_go, threading.Event())
    runner.take_over(takeover)
    return takeover.taken


def endpoint(draft: Draft, server: HttpServer, core: Core, served: Callable[[Core], Served]) -> None:
    """HTTP and gRPC, which `served` tells of a model: at the next request."""
    draft.observers.append(server.serve(served(core)))
    draft.carried.append(Carried(runs=lambda core, let_go: server.use(served(core), let_go)))


def _telling(
    status: Status, announcer: Announcer | None, watched: DriftPart | None, commands: Commands | None
) -> Iterator[Carried]:
    yield Carried(told=lambda core: status.follow(core.settings, core.loaded))
    if announcer is not None:
        yield Carried(told=partial(_announce, announcer, watched))
    if commands is not None:
        yield Carried(
            misfit=lambda _, new: commands.misfit(_bounds(new)), told=lambda core: commands.follow(_bounds(core))
        )


def _announce(announcer: Announcer, watched: DriftPart | None, core: Core) -> None:
    from edge.homeassistant import build

    announcer.follow(
        build.described(
            core.settings,
            core.loaded.manifest,
            core.loaded.engine.outputs,
            drift=watched is not None and watched.watches,
            lowest=control.lowest(core),
        )
    )


def _bounds(core: Core) -> Bounds:
    return control.bounds(core.loaded, core.settings.manifest.labels)

"""Which parts of a process follow where another model takes over, and how."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from edge.app import control
from edge.app.core import Core
from edge.app.pipelines import Pipelines
from edge.app.status import Status
from edge.runtime.inference import Takeover
from edge.runtime.runner import Runner

if TYPE_CHECKING:
    from edge.app.commands import Bounds, Commands
    from edge.app.swap import RunningModel
    from edge.homeassistant.announcer import Announcer
    from edge.http.app import HttpServer


def join(running: RunningModel, runner: Runner, server: HttpServer | None, pipelines: Pipelines) -> None:
    """What runs the model. Before the process runs."""

    def flow(core: Core, let_go: Callable[[], None]) -> threading.Event:
        takeover = Takeover(pipelines.of_flow(core), let_go, threading.Event())
        runner.take_over(takeover)
        return takeover.taken

    running.users.append(flow)
    running.hindrances.append(pipelines.hindrance)
    if server is not None:

        def http(core: Core, let_go: Callable[[], None]) -> threading.Event:
            loaded, make = core.loaded, functools.partial(pipelines.of_requests, core)
            return server.use(loaded.manifest, loaded.engine, loaded.sha256, make, let_go)

        running.users.append(http)


def tell(running: RunningModel, status: Status, announcer: Announcer | None, commands: Commands | None) -> None:
    """What tells of the model, and what is told what it may be told: of the new one, once the flow has it."""
    running.followers.append(lambda core: status.follow(core.settings, core.loaded))
    if announcer is not None:
        from edge.homeassistant import build

        def announce(core: Core) -> None:
            announcer.follow(
                build.described(
                    core.settings,
                    core.loaded.manifest,
                    core.loaded.engine.outputs,
                    lowest=control.lowest(core),
                )
            )

        running.followers.append(announce)
    if commands is not None:

        def bounds(core: Core) -> Bounds:
            return control.bounds(core.loaded, core.settings.manifest.labels)

        running.hindrances.append(lambda _, new: commands.misfit(bounds(new)))
        running.followers.append(lambda core: commands.follow(bounds(core)))

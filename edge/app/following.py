"""Which parts of a process follow where another model takes over, and how."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from edge.app.core import Core
from edge.app.status import Status
from edge.runtime.inference import Takeover
from edge.runtime.runner import Runner

if TYPE_CHECKING:
    from edge.app.swap import RunningModel
    from edge.homeassistant.announcer import Announcer
    from edge.http.app import HttpServer


def join(
    running: RunningModel,
    runner: Runner,
    server: HttpServer | None,
    status: Status,
    announcer: Announcer | None,
) -> None:
    """Before the process runs. What tells of the model tells of the new one once the flow has it."""

    def flow(core: Core, let_go: Callable[[], None]) -> threading.Event:
        takeover = Takeover(core.pipeline(), let_go, threading.Event())
        runner.take_over(takeover)
        return takeover.taken

    running.users.append(flow)
    if server is not None:

        def http(core: Core, let_go: Callable[[], None]) -> threading.Event:
            loaded = core.loaded
            return server.use(loaded.manifest, loaded.engine, loaded.sha256, core.of_requests.pipeline, let_go)

        running.users.append(http)
    running.followers.append(lambda core: status.follow(core.settings, core.loaded))
    if announcer is not None:
        from edge.homeassistant import build

        running.followers.append(
            lambda core: announcer.follow(
                build.described(core.settings, core.loaded.manifest, core.loaded.engine.outputs)
            )
        )

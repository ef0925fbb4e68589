"""The connection on which a run's inputs come: the process's, or of several runs one of its own.

MQTT has acknowledgements go in the order of the messages [MQTT-4.6.0], and a broker sends only so many that have none.
So over one connection a run that is slow, paused or at its end would hold up the inputs of the others. Over its own it
holds up itself alone, and what it has not acknowledged when it ends stays with the broker until it begins again. Its
client id is that of a process with this run alone: what waits there finds it wherever it runs. So is its will: the
broker says `offline` for a run whose inputs nobody hears.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from msgspec.structs import replace

from edge.app import connecting
from edge.app.core import Core, Draft
from edge.delivery.retry import for_broker
from edge.mqtt.messages import Outgoing
from edge.mqtt.session import MqttSession
from edge.settings import runs


class Inputs:
    """`online` of its run means that its inputs are heard, too. `session` is where they come."""

    def __init__(self, core: Core, draft: Draft, process: MqttSession) -> None:
        """`process`: the connection that carries all else."""
        self._draft = draft
        self._process = process
        self._heard = threading.Event()
        self.session = MqttSession(
            replace(
                process.options,
                client_id=connecting.client_id(core.settings, core.loaded.manifest.name, of_several=True),
                status_topic=core.topics.status,
            ),
            births=self._subscribed,
            retry=for_broker(),
            failed=core.stop.fail,
            beat=core.hearts.beat,
        )

    def born(self) -> Sequence[Outgoing]:
        """What the run publishes on every connect of the process; nothing before its inputs are heard."""
        return self._draft.born() if self._heard.is_set() else []

    def _subscribed(self) -> Sequence[Outgoing]:
        """In the thread of this session."""
        self._heard.set()
        self._process.call_soon(self._tell)
        return ()

    def _tell(self) -> None:
        if self._process.up:
            for message in self._draft.born():
                self._process.post(message)


def make(core: Core, draft: Draft, process: MqttSession | None) -> Inputs | None:
    """None where they come over the connection of the process, or not over MQTT at all."""
    if process is None or not core.runs or not runs.hears(core.settings):
        return None
    return Inputs(core, draft, process)

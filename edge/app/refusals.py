"""Tells on the topic `error` of each result that a sink refuses for good."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from edge.data import codec, refusal
from edge.data.message import Message
from edge.delivery.ack import Ack
from edge.delivery.outbox import Outbox

BROKER = "mqtt"


def report(outboxes: Sequence[Outbox], model: str, beat: Callable[[str], None]) -> None:
    """Before they run. Without a broker the log alone tells.

    The error goes the way of every message, through the broker's outbox; while that has no room the thread of the
    sink that refused waits, and beats.
    """
    broker = next((o for o in outboxes if o.name == BROKER), None)
    if broker is None:
        return
    for outbox in outboxes:
        if outbox is not broker:
            waiting = functools.partial(beat, f"outbox-{outbox.name}")
            outbox.on_refused = functools.partial(_tell, broker, outbox.name, model, waiting)


def _tell(broker: Outbox, sink: str, model: str, waiting: Callable[[], None], message: Message, reason: str) -> None:
    error = refusal.of(message, sink, model, f"{sink}: {reason}")
    broker.put([(Message("error", codec.encode(error), message.seq), Ack(1, lambda: None))], waiting)

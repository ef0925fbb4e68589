from __future__ import annotations

import tracemalloc

from edge.mqtt.messages import Incoming
from edge.mqtt.source import REMEMBERED, MqttSource
from edge.plugins.protocols import SourceContext
from edge.testing.fakes import FakeClock


class Transport:
    """A connection that gives what it is told to."""

    def listen(self, listener):
        pass

    def subscribe(self, topic, handler):
        self.give = handler

    def ack(self, incoming):
        return True


def test_what_is_remembered_of_hundreds_of_pictures_does_not_hold_them():
    transport = Transport()
    source = MqttSource(transport, "in", SourceContext(FakeClock()))
    source.open()
    tracemalloc.start()
    try:
        for n in range(REMEMBERED):
            transport.give(Incoming("in", b"%d" % n + bytes(100_000), 1, dup=False, retain=False, mid=n + 1, session=1))
            source.ack(source.read(0))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 5_000_000

"""A broker that gives a source its inputs."""

from __future__ import annotations

from edge.mqtt.acknowledgements import Acknowledgements
from edge.mqtt.messages import Incoming
from edge.mqtt.subscriptions import Subscriptions

TOPIC = "edge/pi/m/input"


class Session:
    """A broker that gives what it is told to, and its session's thread is the test's."""

    def __init__(self):
        self.number = 1
        self.writes = True
        self.acked = []
        self.ended = []
        self.subscriptions = Subscriptions()
        self.acks = Acknowledgements(lambda mid, qos: self.acked.append(mid))

    def listen(self, listener):
        self.listener = listener

    def subscribe(self, topic, handler, **_):
        self.handler = handler

    def call_soon(self, call):
        call()

    def connect_again(self, reason):
        if reason not in self.ended:
            self.ended.append(reason)

    def ack_now(self, incoming, sent=None, part=None):
        if incoming.qos and incoming.session == self.number:
            self.acks.done(incoming.mid, sent, part)
            if self.writes:
                self.acks.written()

    def give(self, payload, mid=0, *, topic=TOPIC, dup=False, retain=False, **more):
        message = Incoming(topic, payload, int(bool(mid)), dup, retain, mid, self.number, **more)
        self.acks.owe([message])
        self.handler(message)

    def reconnect(self, *, resumed=True):
        self.number += 1
        self.acked.clear()
        self.acks = Acknowledgements(lambda mid, qos: self.acked.append(mid))
        self.listener.down("a test")
        self.listener.up(resumed=resumed)


def read(source):
    """All that waits."""
    samples = []
    while (sample := source.read(0)) is not None:
        samples.append(sample)
    return samples


def payloads(source):
    return [s.payload for s in read(source)]

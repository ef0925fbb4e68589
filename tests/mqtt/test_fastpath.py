"""What only the fast way through paho has to see to itself."""

from __future__ import annotations

from support.processes import until

from edge.mqtt.messages import Outgoing


def test_an_identifier_that_is_still_in_flight_is_not_given_again(broker, session, outcome):
    broker.answer = lambda m: None if m.payload == b"held" else 0
    made = session(options={"confirm_timeout_s": 3600.0})
    made.start()
    peer = broker.peer()
    until(lambda: made.up, "the connection stands")  # before that, what is posted is dropped
    made.post(Outgoing("t", b"held"))
    for n in range(66_000):
        made.post(Outgoing("t", b""), outcome.on_delivery(n))
        if n % 5000 == 0:
            outcome.wait(n)
    outcome.wait(66_000)
    held = peer.published[0].mid
    assert held not in {m.mid for m in peer.published[1:]}

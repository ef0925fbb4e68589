"""How the next connection is spoken, and what the ends of the earlier ones tell. MQTT 5 comes first."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from msgspec.structs import replace

from edge.mqtt.messages import ProtocolChoice

if TYPE_CHECKING:
    from edge.mqtt.connection import Connection  # brings paho, which a run without a broker does not load

log = logging.getLogger("edge.mqtt")

HANG_UPS = 5
"""Connections that end without a word, one after the other, before a version that has worked is doubted."""
HANG_UPS_PLAIN = 2
"""The same, before MQTT 3.1.1 is tried with a will that every broker takes, each other time: one that has QoS 0 only,
or retains nothing, hangs up on ours, and cannot say so. Never where it has worked before: `offline` is not retained."""
CUT_SHORT = 3
"""Connections that ended a moment after they stood, one after the other, before another client of the same id is
suspected."""


class Negotiation:
    """Belongs to the session's thread."""

    def __init__(self, version: int | None, client_id: str) -> None:
        """`version` as in `MqttOptions`."""
        self.choice = ProtocolChoice(version or 5)
        self._version = version
        self._client_id = client_id
        self._worked_version = self._refused_version = 0
        self._hung_up = self._cut_short = self._silent = 0
        self._taken_over = self._closed_in_silence = False

    @property
    def session_in_doubt(self) -> bool:
        """Another client of the same id may have had the session since, and have subscribed to nothing: the broker
        says that it still has it, and means that client's."""
        return self._taken_over or self._closed_in_silence

    def subscribed(self) -> None:
        """The broker has answered all subscriptions: the session is ours."""
        self._taken_over = self._closed_in_silence = False

    def up(self) -> None:
        """The broker has accepted a connection."""
        self._hung_up = 0
        if self._version is None and self.choice.version == 4 and self._worked_version != 4:
            log.info(
                "MQTT 3.1.1, for the broker did not take 5: clients that ask with a Response Topic get no answer; "
                "where it speaks 5, say --mqtt-version 5; where not, --mqtt-version 3.1.1 spares the try at each start"
            )
        self._worked_version = self.choice.version

    def stands(self) -> None:
        """It has stood for a while."""
        self._cut_short = 0

    def came_to_nothing(self, connection: Connection) -> None:
        """The broker has not accepted it, or is away."""
        if not connection.answered:
            self._closed_in_silence = False  # the broker was about to end, and closed the one before for that
        version = self.choice.version
        if self._version is None and self._is_of_the_version(connection):
            version = 4 if version == 5 else 5
        self._silent += self.choice.version == 4 != self._worked_version and connection.hung_up
        plain = version == 4 != self._worked_version and self._silent >= HANG_UPS_PLAIN and self._silent % 2 == 0
        self.choice = ProtocolChoice(version, connection.queue.retains, connection.queue.qos, plain)

    def _is_of_the_version(self, connection: Connection) -> bool:
        """Whether the failure may be the version's: the broker said so, or hung up without a word.

        A proxy or a broker that is about to end hangs up just so: what has worked before is given up only after
        several times, for MQTT 3.1.1 has no Response Topic, and clients that ask would wait in vain.
        """
        version = self.choice.version
        if connection.no_such_version:
            self._refused_version = version
            return True
        if not connection.hung_up:
            return False
        self._hung_up += 1
        return self._worked_version != version or self._hung_up % HANG_UPS == 0

    def ended(self, connection: Connection) -> bool:
        """One that was accepted has ended. True where the wait before the next try has to grow.

        A broker that ends each connection a moment after it stands, and before MQTT 5 without a word, most likely has
        another client of the same id: each of the two takes the session away from the other, for ever.
        """
        self._cut_short += not connection.leaving
        if connection.seems_without_qos_1:
            self.choice = replace(self.choice, qos=0)
        elif self.choice.plain_will and self._cut_short:
            self.choice = self._with_less()
        if self._version is None and self._refused_version != 5:  # 3.1.1 was a guess: the next connection asks again
            self.choice = ProtocolChoice(5, self.choice.retain, self.choice.qos)
        self._taken_over |= connection.taken_over
        # One of MQTT 5 has to say that it gives the session to another client; mosquitto 2.0.11 does not.
        self._closed_in_silence |= connection.closed_in_silence
        if self._cut_short == CUT_SHORT:
            text = (
                "each connection ends a moment after it stands: another client with the same id? "
                "(a cloned card, the same --device twice) give this one another --device or --mqtt-client-id; or does "
                "the broker hang up over a message of ours?"
            )
            log.error(text, extra={"client_id": self._client_id})
        return self._cut_short >= CUT_SHORT

    def _with_less(self) -> ProtocolChoice:
        """Without retained messages, then without QoS 1, then without both: one of them most likely ended it."""
        if self.choice.retain:
            return replace(self.choice, retain=False)
        return replace(self.choice, retain=self.choice.qos > 0, qos=0)

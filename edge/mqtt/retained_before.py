"""Which retained inputs were inferred already, where a broker of MQTT 3.1.1 gives them again at each start.

edge-run subscribes at each start, also in a session that the broker has kept: another client may have had it meanwhile.
By MQTT 5 nothing retained comes for that (Retain Handling 1); by 3.1.1, which has no such thing, all of it. So the last
retained input of each topic that is safe, its result confirmed or on disk, is remembered in the state folder. A repeat
is allowed, a loss is not: one is left out only where the broker says that it had kept the session, and nothing else has
come on that topic since.
"""

from __future__ import annotations

import hashlib
import logging
import time
from pathlib import Path

from edge.mqtt.asked_before import file_of
from edge.mqtt.messages import Incoming
from edge.storage import state_file

log = logging.getLogger("edge.mqtt")

MOST = 4096
"""Topics that are remembered. Of more the oldest is inferred again at the next start."""
WRITE_S = 1.0
"""Many retained inputs come at once: they are written together."""
IDLE_S = 60.0


class RetainedBefore:
    """A worker of the session, and belongs to its thread."""

    def __init__(self, state_dir: Path, broker: str, client_id: str) -> None:
        self._path = file_of(state_dir, "retained", broker, client_id)
        self._known: dict[str, str] = state_file.read(self._path, dict[str, str]) or {}
        """The digest of the input, by that of who takes it and its topic."""
        self._under_way: dict[str, str] = {}
        """Those that are not safe yet, and behind which nothing else has come on their topic."""
        self._write_at_s: float | None = None
        self._five = True
        self._resumed = False

    def up(self, *, resumed: bool, five: bool) -> None:
        """Connected: whether the broker surely had kept our session, and by which version."""
        self._resumed, self._five = resumed, five
        if not resumed:
            self._under_way.clear()

    def repeats(self, reader: str, incoming: Incoming, digest: bytes) -> bool:
        """Whether this input is retained, and one that is safe already; one that is not is under way from now on. Of
        what is too large to be kept only the size is known."""
        if incoming.unkept or not (incoming.retain or self._known or self._under_way):
            return False
        if not incoming.retain:
            self.overtaken(reader, incoming.topic, digest)
            return False
        key, said = _key(reader, incoming.topic), digest.hex()
        if self._resumed and not self._five and self._known.get(key) == said:
            return True
        if not self._five:
            self._under_way[key] = said
        return False

    def add(self, reader: str, topic: str, digest: bytes) -> None:
        """This retained input is safe."""
        key, said, known = _key(reader, topic), digest.hex(), self._known
        if self._under_way.get(key) != said:
            return
        del self._under_way[key]
        if known.pop(key, None) != said:
            self._write_soon()
        known[key] = said
        while len(known) > MOST:
            del known[next(iter(known))]

    def overtaken(self, reader: str, topic: str, digest: bytes = b"") -> None:
        """Another input has come on this topic: the same as before would be a new one behind it."""
        if not (self._known or self._under_way):
            return
        key, said = _key(reader, topic), digest.hex()
        if self._under_way.get(key, said) != said:
            del self._under_way[key]
        if self._known.get(key, said) != said:
            del self._known[key]
            self._write_soon()

    def turn(self) -> float:
        if self._write_at_s is None:
            return IDLE_S
        if (left_s := self._write_at_s - time.monotonic()) > 0:
            return left_s
        self.end()
        return IDLE_S

    def end(self) -> None:
        if self._write_at_s is not None:
            self._write_at_s = None
            state_file.write(self._path, self._known, log, "retained inputs are not remembered")

    def _write_soon(self) -> None:
        if self._write_at_s is None:
            self._write_at_s = time.monotonic() + WRITE_S


def _key(reader: str, topic: str) -> str:
    return hashlib.blake2b(f"{reader}\0{topic}".encode(), digest_size=16).hexdigest()

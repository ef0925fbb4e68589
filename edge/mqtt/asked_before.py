"""Which filters of inputs a broker may still hold of earlier lives under this client id.

It keeps a subscription as long as the session, also one that nothing here asks for any more: another `--source`, a run
that is gone. A message that such a filter and one of today ask for would come twice (mosquitto, by MQTT 5), and be
inferred twice. So what was asked for is remembered in the state folder, and given up at the next connection.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable
from pathlib import Path

from edge.storage import state_file

log = logging.getLogger("edge.mqtt")


class AskedBefore:
    """Belongs to the session's thread."""

    def __init__(self, state_dir: Path, broker: str, client_id: str, *, gives_up: bool = True) -> None:
        """Without `gives_up` not all is known that today's life wants: the broker is to hold what it holds."""
        self._gives_up = gives_up
        self._path = file_of(state_dir, "subscribed", broker, client_id)
        self._known: set[str] | None = None
        self._written: set[str] | None = None

    def stale(self, asked: Collection[str]) -> list[str]:
        """What the broker may hold, and `asked` is not of."""
        return sorted(self._read() - set(asked)) if self._gives_up else []

    def known(self, asked: Iterable[str]) -> set[str]:
        """Which of these the broker holds."""
        return self._read().intersection(asked)

    def leave(self, asked: Iterable[str] | None = None) -> bool:
        """Nobody connects under this id for these any more, None: at all; whether the broker may keep something of
        them for it. True once."""
        known = self._read()
        left = known if asked is None else known.intersection(asked)
        self._write(known - left)
        return bool(left)

    def forget(self) -> None:
        """The broker has lost the session: it holds none."""
        self._read()
        self._known = set()

    def add(self, asked: Collection[str]) -> None:
        """These are about to be asked for."""
        self._write(self._read() | set(asked))

    def only(self, asked: Collection[str]) -> None:
        """The broker has answered: it holds no others, where they were given up."""
        self._write(set(asked) if self._gives_up else self._read() | set(asked))

    def _read(self) -> set[str]:
        if self._known is None:
            # Not there, or damaged: as if nothing had been asked for. At worst something comes twice.
            self._written = self._known = state_file.read(self._path, set[str]) or set()
        return self._known

    def _write(self, filters: set[str]) -> None:
        self._known = filters
        if filters == self._written:
            return
        self._written = filters
        state_file.write(self._path, sorted(filters), log, "what is subscribed to is not remembered")


def file_of(state_dir: Path, kind: str, broker: str, client_id: str) -> Path:
    """Where something is kept that holds for one session of a broker."""
    key = hashlib.blake2b(f"{broker}\n{client_id}".encode(), digest_size=6).hexdigest()
    return state_dir / f"{kind}-{key}.json"

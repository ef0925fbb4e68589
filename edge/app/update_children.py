"""The processes that an update is worked on in: one speaks with the repository, one loads a new model first.

Each ends again, so that its memory goes back, and its death is nothing but an answer.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from edge.app import child
from edge.app.proving import Proof
from edge.settings.settings import Settings
from edge.telemetry.clock import clock_synced
from edge.updates import order
from edge.updates.order import Answer, Order
from edge.updates.release import Release
from edge.updates.store import UpdateStore

ASK_MOST_S = 300.0
PROVE_MOST_S = 600.0
PYTHON = (sys.executable, "-P")  # what lies in the working folder is not imported
FETCH_LEAST_BYTES_S = 1000
"""A link slower than that is no link: the child is ended, and what it has is kept."""


class UpdateChildren:
    """Of the thread of the updates."""

    def __init__(self, settings: Settings, store: UpdateStore, flags: Sequence[str], leaving: threading.Event) -> None:
        """`settings` with the file that the user named; `flags` are the service's own words, for the process that
        proves. Where the service is `leaving` they are ended."""
        self._settings = settings
        self._store = store
        self._flags = tuple(flags)
        self._leaving = leaving

    def ask(self, model: str, running: str, wanted: Release | None, progress: Callable[[int], None]) -> Answer:
        """What the repository has of a model for this device, which runs the one of that sha256; with `wanted` it is
        fetched, and `progress` told now and then how many hundredths of it are there."""
        u, store = self._settings.updates, self._store
        asked = Order(
            uri=u.uri or "",
            folder=store.folder.absolute(),
            model=model,
            channel=u.channel,
            device=self._settings.topics.device,
            running=running,
            refused=store.state.refused,
            root=u.root,
            ca=u.ca,
            cert=u.cert,
            key=u.key,
            synced=clock_synced(),
            broker=self._settings.mqtt if u.uri == order.MQTT else None,
            prefix=self._settings.topics.prefix,
            fetch=wanted,
        )

        def look() -> None:
            if wanted is not None:
                progress(100 * min(store.fetched(wanted.sha256), wanted.length) // wanted.length)

        most_s = ASK_MOST_S + (wanted.length / FETCH_LEAST_BYTES_S if wanted is not None else 0)
        out, end = child.run([*PYTHON, "-m", "edge.updates"], order.encode(asked), most_s, self._leaving, look)
        try:
            return order.decode_answer(out)
        except msgspec.MsgspecError:
            return Answer(fault="away", reason=f"the check gave no answer: {end}")

    def prove(self, new: Path, old: Path | None) -> Proof:
        """What became of a model that was loaded and run alone, beside the one that runs."""
        command = [*PYTHON, "-m", "edge.app.proving", str(new), str(old) if old is not None else "-", *self._flags]
        out, end = child.run(command, b"", PROVE_MOST_S, self._leaving)
        try:
            return msgspec.json.decode(out, type=Proof)
        except msgspec.MsgspecError:
            return Proof(f"proving it ended without an answer: {end}", again=True)

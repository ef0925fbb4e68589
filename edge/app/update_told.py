"""What is said of updates: on the retained topic `update`, in `info`, and in the log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeAlias

from edge.app.core import Core, Draft
from edge.app.status import Status
from edge.data import codec
from edge.mqtt.messages import Outgoing
from edge.mqtt.session import MqttSession
from edge.pipeline.results import timestamp
from edge.updates.release import Release
from edge.updates.state import Slot
from edge.updates.store import UpdateStore

log = logging.getLogger("edge.updates")

Figures: TypeAlias = Callable[[], dict[str, Any] | None]

STEP = 20
"""Hundredths from one word of it to the next."""
NOTES_MOST = 255
"""Characters of the notes that are told: as many as Home Assistant takes."""


class UpdateTold:
    """`births` and `told` are for any thread: states are values. The rest belongs to the thread of the updates, and to
    the main thread before that runs."""

    def __init__(self, store: UpdateStore, trial: Figures = lambda: None, watch: Figures = lambda: None) -> None:
        """`trial` and `watch` say how these stand."""
        self.running = Slot("", "")
        self.freshness = ""
        self.waiting: Release | None = None
        """What a person may have installed."""
        self._store = store
        self._trouble = ""
        self._notes = ""
        self._percent: int | None = None
        self._topic = ""
        self._post: Callable[[bool], None] = lambda _: None
        self._trial, self._watch = trial, watch

    def join(self, core: Core, draft: Draft, session: MqttSession | None, status: Status) -> None:
        """Becomes a part of the service that is told of."""
        status.update = self.told
        if session is None:
            return
        self._topic = core.topics.update
        draft.births.append(self.births)

        def post(everywhere: bool) -> None:
            for said in (*self.births(), *([status.information()] if everywhere else ())):
                session.post(said)

        self._post = post

    def births(self) -> list[Outgoing]:
        return [Outgoing(self._topic, codec.encode(self.told()), retain=True, content_type="application/json")]

    def told(self) -> dict[str, Any]:
        """`from` is what is installed: it stays so while another one is watched. `latest` is that which is on its way,
        or waits; else what is installed."""
        now, waiting = self._store.state, self.waiting
        gone = now.gone_back_from if now.phase == "rolled-back" else ""
        installed = now.before if now.phase == "watching" else self.running.version
        latest = now.candidate or waiting
        return {
            "state": now.phase,
            "from": installed,
            "to": now.candidate.version if now.candidate is not None else gone,
            "latest": latest.version if latest is not None else installed,
            "waiting": waiting is not None,
            "percent": self._percent if now.phase in ("downloading", "trial", "watching") else None,
            "notes": self._notes[:NOTES_MOST] if latest is not None else "",
            "reason": now.reason or self._trouble,
            "since": timestamp(int(now.since * 1e9)) if now.since else "",
            "trial": self._trial(),
            "watch": self._watch() if now.phase == "watching" else None,
            "running": {"version": self.running.version, "sha256": self.running.sha256},
            "freshness": self.freshness,
        }

    def tell(self) -> None:
        """What is so now."""
        self._post(True)

    def progress(self, percent: int | None) -> None:
        """How much of a download, a trial or the watch is over, told now and then; None: of none."""
        step = None if percent is None else percent // STEP * STEP
        if step != self._percent:
            self._percent = step
            if step is not None:
                self._post(False)

    def offered(self, release: Release | None, *, waits: bool = False) -> None:
        """What is there for this device that it does not run; `waits`: for a person who has it installed."""
        before, self.waiting = self.waiting, release if waits else None
        self._notes, self._percent = release.notes if release is not None else "", None
        if self.waiting is not None and self.waiting != before:
            log.info("a new model waits to be installed", extra={"version": self.waiting.version})
        if before != self.waiting and (waits or release is None):
            self.tell()

    def trouble(self, text: str) -> None:
        """Once: a server that is away for a week is one line."""
        if text != self._trouble:
            self._trouble = text
            if text:
                log.warning("no update", extra={"reason": text})
            self.tell()

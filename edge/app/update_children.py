"""The processes that an update is worked on in: one speaks with the repository, one loads a new model first.

Each ends again, so that its memory goes back, and its death is nothing but an answer.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from edge.app.proving import Proof
from edge.settings.settings import Settings
from edge.telemetry.clock import clock_synced
from edge.updates import glance, order, release
from edge.updates.order import Answer, Order
from edge.updates.release import Release
from edge.updates.seen import Seen, kept, read, timestamp_of
from edge.updates.state import Slot
from edge.updates.store import UpdateStore

ASK_MOST_S = 300.0
PROVE_MOST_S = 600.0
PYTHON = (sys.executable, "-P")  # what lies in the working folder is not imported
BARE = (sys.executable, "-I", "-S", "-X", "no_debug_ranges")
"""Without what is installed: a megabyte less."""
GLANCE_MOST_S = 60.0
FETCH_LEAST_BYTES_S = 1000
"""A link slower than that is no link: the child is ended, and what it has is kept."""


POLL_S = 0.2
GRACE_S = 2.0
"""For what it tidies up behind itself, once it is to end."""


def run(
    command: Sequence[str],
    given: bytes,
    most_s: float,
    over: Callable[[], bool],
    look: Callable[[], None] = lambda: None,
) -> tuple[bytes, str]:
    """What a process answers to what it is `given`, and how it ended. It is ended where `over` says that nobody waits
    for it, or after `most_s`. `look` is called now and then while it works."""
    began_s, told_s = time.monotonic(), 0.0
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        out, rest, late = b"", given, False
        while True:
            try:
                out, _ = child.communicate(rest or None, timeout=POLL_S)
                break
            except subprocess.TimeoutExpired:
                rest = b""
            now_s = time.monotonic()
            if told_s:
                if now_s - told_s > GRACE_S:
                    child.kill()
            elif (late := now_s - began_s > most_s) or over():
                child.terminate()
                told_s = now_s
            look()
    if late:
        return out, f"it did not end within {most_s:.0f} s"
    return out, f"exit {child.returncode}" if child.returncode >= 0 else f"signal {-child.returncode}"


class UpdateChildren:
    """Of the thread of the updates."""

    def __init__(self, settings: Settings, store: UpdateStore, flags: Sequence[str], leaving: threading.Event) -> None:
        """`settings` with the file that the user named; `flags` are the service's own words, for the process that
        proves. Where the service is `leaving` they are ended."""
        self._settings = settings
        self._store = store
        self._flags = tuple(flags)
        self._leaving = leaving

    def ask(
        self,
        model: str,
        running: str,
        wanted: Release | None = None,
        progress: Callable[[int], None] = lambda _: None,
        over: Callable[[], bool] = lambda: False,
    ) -> Answer:
        """What the repository has of a model for this device, which runs the one of that sha256; with `wanted` it is
        fetched, and `progress` told now and then how many hundredths of it are there. Where it is `over`, what is said
        is of no account any more."""
        asked, store = self._order(model, running, wanted), self._store

        def ends() -> bool:
            return self._leaving.is_set() or over()

        if wanted is None and (seen := self._glance(asked, ends)) is not None:
            chosen = release.choose(seen.releases, asked.device, running, asked.refused)
            return Answer(release=chosen, freshness="known" if asked.synced else "unknown")

        if ends():
            return Answer(fault="away", reason="nobody waits for it")

        def look() -> None:
            if wanted is not None:
                progress(100 * min(store.fetched(wanted.sha256), wanted.length) // wanted.length)

        most_s = ASK_MOST_S + (wanted.length / FETCH_LEAST_BYTES_S if wanted is not None else 0)
        out, end = run([*PYTHON, "-m", "edge.updates"], order.encode(asked), most_s, ends, look)
        try:
            return order.decode_answer(out)
        except msgspec.MsgspecError:
            return Answer(fault="away", reason=f"the check gave no answer: {end}")

    def gone(self, model: str, running: str, slot: Slot, over: Callable[[], bool]) -> str:
        """Why a version that is on its way is no longer for this device; "" where it is, and where nobody can say, or
        it is `over`."""
        answer = self.ask(model, running, over=over)
        if answer.fault is not None or (answer.release is not None and answer.release.sha256 == slot.sha256):
            return ""
        return in_its_place(answer.release)

    def remembered(self, model: str, running: str) -> Release | None:
        """What the last check would answer today, also one before the restart: it is asked again soon."""
        asked = self._order(model, running, None)
        seen = read(asked)
        return release.choose(seen.releases, asked.device, running, asked.refused) if seen is not None else None

    def _order(self, model: str, running: str, wanted: Release | None) -> Order:
        u, store = self._settings.updates, self._store
        return Order(
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

    def _glance(self, asked: Order, over: Callable[[], bool]) -> Seen | None:
        """What was seen at the last check, where the repository still says the same."""
        seen = kept(asked)
        if seen is None or _has_proxy():
            return None
        files = (str(file or "") for file in (asked.ca, asked.cert, asked.key))
        words = (order.base_url(asked.uri), str(seen.root), str(timestamp_of(asked.folder)), *files)
        out, _ = run([*BARE, glance.__file__, *words], b"", GLANCE_MOST_S, over)
        return seen if out == b"same" else None

    def prove(self, new: Path, old: Path | None) -> Proof:
        """What became of a model that was loaded and run alone, beside the one that runs."""
        command = [*PYTHON, "-m", "edge.app.proving", str(new), str(old) if old is not None else "-", *self._flags]
        out, end = run(command, b"", PROVE_MOST_S, self._leaving.is_set)
        try:
            return msgspec.json.decode(out, type=Proof)
        except msgspec.MsgspecError:
            return Proof(f"proving it ended without an answer: {end}", again=True)


def in_its_place(release: Release | None) -> str:
    """What became of a version that is not the one for this device."""
    return "it is no longer offered" if release is None else f"version {release.version} is offered in its place"


def _has_proxy() -> bool:
    """Whether a server may have to be reached through one, which a glance does not."""
    return any(name.lower() in ("http_proxy", "https_proxy", "all_proxy") for name in os.environ)

"""`--capture-collect`: what is kept is given to who asks for it on the topic `collect` (`edge-fleet collect`)."""

from __future__ import annotations

import logging
import queue
import threading
from pathlib import Path

from edge.app.core import Core, Draft
from edge.capture import transfer
from edge.errors import ConfigError
from edge.mqtt.messages import Incoming, OnDelivery, Outgoing
from edge.mqtt.session import MqttSession

log = logging.getLogger("edge.app.collect")

WAITING_MOST = 8
"""What comes beyond is not answered: who asks asks again."""
PACE = 1_000_000
"""Bytes in a second at most: results share the link."""
CONFIRM_S = 30.0


def listen(core: Core, draft: Draft, session: MqttSession | None, folder: Path | None) -> None:
    """Raises ConfigError where nothing is kept that could be given."""
    if folder is None or session is None:
        missing = "--capture keeps nothing" if folder is None else "there is no broker (--mqtt none)"
        raise ConfigError(f"--capture-collect gives out what --capture keeps, but {missing}")
    giving = Giving(folder, core.topics.captured, session)
    session.subscribe(core.topics.collect, giving.heard, qos=0)
    draft.add("collect", giving.start, giving.stop)


class Giving:
    """`heard` in the session's thread; files are read in a thread of its own, one piece under way at a time."""

    def __init__(self, folder: Path, topic: str, session: MqttSession) -> None:
        self._folder = folder
        self._topic = topic
        self._session = session
        self._waiting: queue.Queue[bytes] = queue.Queue(WAITING_MOST)
        self._leaving = threading.Event()
        self._sent = threading.Event()
        self._thread: threading.Thread | None = None

    def heard(self, incoming: Incoming) -> None:
        """What came on `collect`. A message that the broker had retained is none of now."""
        if incoming.retain:
            return
        try:
            self._waiting.put_nowait(incoming.payload[: transfer.LARGEST + 1])
        except queue.Full:
            log.debug("more is asked at once than is answered")

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="collect", daemon=False)
        self._thread.start()

    def stop(self) -> None:
        self._leaving.set()
        self._sent.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._leaving.is_set():
            try:
                payload = self._waiting.get(timeout=0.5)
            except queue.Empty:
                continue
            self._answer(payload)

    def _answer(self, payload: bytes) -> None:
        try:
            asked = transfer.parse(payload)
        except transfer.RefusedError as exc:
            log.warning("what is asked of kept samples is refused", extra={"reason": str(exc)})
            return
        if not asked.file and not asked.after:
            log.info("kept samples are asked for", extra={"by": asked.id[:16]})
        said = transfer.answer(self._folder, asked)
        self._sent.clear()
        done = OnDelivery(lambda keys: self._sent.set(), lambda key, refusal: self._sent.set())
        self._session.post(Outgoing(self._topic, said), done)
        # Not more than the link takes, nor than is polite.
        self._sent.wait(CONFIRM_S)
        self._leaving.wait(len(said) / PACE)

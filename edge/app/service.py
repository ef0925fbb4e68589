"""A running process: its parts are started in order, the runner runs, and they are stopped the other way round."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType

import msgspec

from edge.app.loading import Loaded
from edge.runtime.runner import Runner
from edge.runtime.stop import Stop
from edge.telemetry.watchdog import Watchdog

log = logging.getLogger("edge.app.service")


class Part(msgspec.Struct, frozen=True):
    """Something that is started before the runner runs and stopped after it.

    `start` may raise FatalError; `stop` is called after a failed start too.
    """

    name: str
    start: Callable[[], object]
    stop: Callable[[], object]


class App(msgspec.Struct, frozen=True):
    """All that a process is made of, as `build` gives it. `parts` stand in the order of their start.

    `topics` is what is published and heard, for the log; "" without a broker.
    """

    loaded: Loaded
    topics: str
    stop: Stop
    runner: Runner
    watchdog: Watchdog
    parts: tuple[Part, ...]

    def run(self) -> None:
        """Once, in the main thread: until the source ends or a signal comes. Raises FatalError."""
        _listen_to_signals(self.stop)
        _say_start(self.loaded, self.topics)
        with ExitStack() as stack:
            for part in self.parts:
                stack.callback(part.stop)
                part.start()
            self.watchdog.ready(f"{self.loaded.manifest.name} runs")
            stack.callback(self._say_end)
            self.runner.run()

    def _say_end(self) -> None:
        if self.stop.begins_again:
            self.watchdog.restarting("beginning anew with another model")
        else:
            self.watchdog.stopping("delivering what is left")


def _listen_to_signals(stop: Stop) -> None:
    """The first ends the process in order, a second Ctrl-C at once."""
    interrupts = 0

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal interrupts
        interrupts += number == signal.SIGINT
        if interrupts > 1:
            # What is not delivered is in the spool or was never acknowledged: leaving at once loses nothing.
            os._exit(130)
        stop.request()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)


def _say_start(loaded: Loaded, topics: str) -> None:
    if loaded.guesses:
        log.info("the model file says little of itself; guessed", extra={"flags": " ".join(loaded.guesses)})
    for text in loaded.warnings:
        log.warning("model", extra={"note": text})
    model = {"model": loaded.manifest.name, "task": loaded.manifest.task}
    engine = f"{loaded.engine.name} {loaded.engine.version}"
    log.info("model ready", extra={**model, "engine": engine, **({"topics": topics} if topics else {})})


class HangLog:
    """Feeds the watchdog and says once which thread hangs. Of the main thread."""

    def __init__(self, watchdog: Watchdog) -> None:
        self._watchdog = watchdog
        self._hung: set[str] = set()

    def tick(self) -> None:
        """About twice a second."""
        late = set(self._watchdog.tick())
        for name in sorted(late - self._hung):
            log.error("thread hangs", extra={"hung": name})
        self._hung = late

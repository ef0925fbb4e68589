"""A running process: its parts are started in order, its runs run, and all is stopped the other way round."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import FrameType

import msgspec

from edge.app.loading import Loaded
from edge.app.run import Part, Run
from edge.errors import ConfigError, FatalError, ModelError
from edge.runtime import ending
from edge.runtime.runner import LOOK_S
from edge.runtime.stop import Stop
from edge.telemetry.watchdog import Watchdog

log = logging.getLogger("edge.app.service")


class App(msgspec.Struct, frozen=True):
    """All that a process is made of, as `build` gives it. `first` is started before the runs' own parts, `last` behind
    them, each in its order; `left` is told of a run that has ended while others go on. `hears`: there is a broker."""

    stop: Stop
    runs: tuple[Run, ...]
    watchdog: Watchdog
    first: tuple[Part, ...] = ()
    last: tuple[Part, ...] = ()
    tick: Callable[[], None] = lambda: None
    left: Callable[[Run], None] = lambda run: None
    hears: bool = False

    @property
    def parts(self) -> tuple[Part, ...]:
        """All of them, in the order of the start."""
        own = [part for run in self.runs if run.made is not None for part in run.made.parts]
        return (*self.first, *own, *self.last)

    def run(self) -> None:
        """Once, in the main thread: until every run has ended or a signal comes. Raises FatalError: of several runs the
        first one's, in their order, that another start may mend; else the first one's."""
        _listen_to_signals(self.stop, [abort for run in self.runs if run.made is not None for abort in run.made.aborts])
        for run in self.runs:
            if run.made is not None:
                _say_start(run.made.loaded, run.topics.all if self.hears else "")
        with ExitStack() as stack:
            _start(self.first, stack)
            for run in self.runs:
                run.begin(stack)
                if run.ended:
                    self._leave(run)
            if any(not run.ended for run in self.runs):
                _start(self.last, stack)
                self.watchdog.ready(f"{', '.join(run.name for run in self.runs if not run.ended)} runs")
                stack.callback(self._say_end)
                self._watch()
        self._raise()

    def _watch(self) -> None:
        going = [run for run in self.runs if not run.ended]
        asked = False
        try:
            while self._step(going):
                self.stop.wait(LOOK_S)
                self.tick()
                if self.stop.asked and not asked:
                    asked = True
                    self._ask_all()
        except BaseException:
            self._ask_all()
            while self._step(going):
                self.stop.wait(LOOK_S)
            raise

    def _step(self, going: list[Run]) -> bool:
        """Looks after each; False where none is left."""
        for run in tuple(going):
            if not run.step():
                going.remove(run)
                run.close()
                self._leave(run)
        return bool(going)

    def _ask_all(self) -> None:
        for run in self.runs:
            if run.stop is not self.stop or not run.stop.asked:
                run.stop.request()

    def _leave(self, run: Run) -> None:
        """It has ended, one of several. What is no fate of edge-run's is a bug, and told with its place."""
        if len(self.runs) == 1:
            return
        if run.error is None:
            log.info("run ended", extra={"run": run.name})
        else:
            bug = None if isinstance(run.error, FatalError) else run.error
            extra = {"run": run.name, "reason": run.reason}
            log.error("run ended with an error", extra=extra, exc_info=bug)
        self.left(run)

    def _raise(self) -> None:
        if self.stop.failure is not None:
            raise self.stop.failure
        errors = [run.error for run in self.runs if run.error is not None]
        for error in (*(one for one in errors if not isinstance(one, (ConfigError, ModelError))), *errors):
            raise error

    def _say_end(self) -> None:
        if self.stop.begins_again:
            self.watchdog.restarting("beginning anew with another model")
        else:
            self.watchdog.stopping("delivering what is left")


def _start(parts: Sequence[Part], stack: ExitStack) -> None:
    for part in parts:
        stack.callback(part.stop)
        part.start()


def _listen_to_signals(stop: Stop, aborts: Sequence[Callable[[], None]]) -> None:
    """The first ends the process in order, a second Ctrl-C at once, after `aborts`."""
    interrupts = 0

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal interrupts
        interrupts += number == signal.SIGINT
        if interrupts > 1:
            for abort in aborts:
                abort()
            # What is not delivered is in the spool or was never acknowledged: leaving at once loses nothing.
            os._exit(130)
        stop.request()

    ending.listen(on_signal)


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

"""The model that runs, and how another takes its place while samples come.

The new one is loaded and warmed beside the one that runs, in the thread of the updates. Then each part that runs models
is given it through its own queue, and takes it between two samples, or two requests: what was begun ends with the old
one. When the last part has let that go its memory goes back. So no sample is lost, doubled or out of order, connections
stand, and the flow waits for nothing.

Each part of a run says how it is carried over (`Carried`). Where one cannot be (`hindrance`), the process begins anew
instead (`updating.py`).
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import msgspec
from msgspec.structs import replace

from edge.app import assembly, fits, loading, profile, words
from edge.app.core import Carried, Core
from edge.app.proving import ROOM, example_tensors
from edge.errors import FatalError, SampleError
from edge.plugins.protocols import Engine
from edge.settings.settings import Settings
from edge.telemetry import memory

log = logging.getLogger("edge.updates")

POLL_S = 0.2


class Replacement(msgspec.Struct, frozen=True):
    """A model that is loaded and has run, and may take over."""

    core: Core

    def drop(self) -> None:
        """It does not take over."""
        self.core.loaded.engine.close()
        memory.give_back()


class _Left(msgspec.Struct):
    """An engine that is no longer run, and how many parts still hold it."""

    engine: Engine
    held: threading.Semaphore
    holders: int

    def is_free(self) -> bool:
        """Whether each has let it go. Of one thread."""
        while self.holders and self.held.acquire(blocking=False):
            self.holders -= 1
        return not self.holders


class RunningModel:
    """`replacement`, `load`, `hindrance`, `swap` and `tidy` belong to the thread of the updates; the rest to the main
    thread, before that thread runs and after it."""

    def __init__(self, core: Core) -> None:
        self.core = core
        """What the parts of the process were made with, and the model that runs now."""
        self.parts: list[Carried] = []
        self._left: list[_Left] = []

    def replacement(self, settings: Settings, file: Path) -> Replacement | None:
        """Another model, loaded and ready to take over in the running flow; None, said in the log, where the process
        has to begin anew for it. So it has where it does not load: it did, alone, and the start judges that."""
        try:
            if not (reason := self.room_for(file)):
                new = self.load(settings, file)
                if not (reason := self.hindrance(new)):
                    return new
                new.drop()
        except (FatalError, OSError, MemoryError) as exc:
            reason = f"it is not loaded beside the model that runs: {str(exc) or 'out of memory'}"
        log.info("the process begins anew for the switch", extra={"reason": reason})
        return None

    def load(self, settings: Settings, file: Path) -> Replacement:
        """A model loaded, its golden samples replayed, and run once, with the settings of the start. Raises ModelError,
        ConfigError."""
        core = self.core
        tuned = profile.apply(
            replace(
                settings,
                model=replace(settings.model, file=file),
                topics=replace(core.settings.topics, name=core.loaded.manifest.name),
            )
        )
        loaded = loading.open_model(tuned)
        fits.check(tuned, loaded)
        loading.replay(loaded, tuned)
        try:
            loaded.engine.infer(example_tensors(tuned, loaded))
        except SampleError as exc:
            log.info("the new model was not warmed", extra={"reason": str(exc)})
        return Replacement(replace(core, settings=tuned, loaded=loaded))

    def room_for(self, file: Path) -> str:
        """Why a model cannot be loaded beside the one that runs; "" where it can."""
        left = memory.available()
        needs = ROOM * file.stat().st_size + self.core.settings.updates.memory
        return "" if left is None or left >= needs else "memory does not hold it beside the model that runs"

    def hindrance(self, new: Replacement) -> str:
        """Why it cannot take over in the running flow; "" where it can. Raises FatalError."""
        old, core = self.core, new.core
        settings = core.settings
        if _kinds(old) != _kinds(core):
            return f"it takes {_kinds(core)}, the one that runs {_kinds(old)}"
        pipelines = [one.pipeline() for one in (old, core)]
        if not all(p.free for p in pipelines):
            return "a window or a state is kept from input to input"
        if pipelines[0].ahead != pipelines[1].ahead:
            return "its inputs are prepared in another way"
        task = core.loaded.manifest.task
        worded = assembly.make_publish_filter(settings, task) or words.make(settings, core.loaded, core.topics.base)
        if old.loaded.manifest.task != task and worded:
            return "the rules and templates of publishing are for another task"
        if (settings.input.source or "").startswith("synthetic") and _fed(old) != _fed(core):
            return "the source makes other inputs up for it"
        if settings.join.features and old.loaded.manifest.features != core.loaded.manifest.features:
            return "the joined topics are for other features"
        return next(filter(None, (part.misfit(old, core) for part in self.parts)), "")

    def swap(self, new: Replacement, leaving: threading.Event) -> None:
        """Returns when the next sample is the new one's, or the process is `leaving`."""
        old, core = self.core, new.core
        for part in self.parts:
            core = part.ready(core, leaving)
        self.core = core
        held = threading.Semaphore(0)
        taken = [part.runs(core, held.release) for part in self.parts if part.runs is not None]
        self._left.append(_Left(old.loaded.engine, held, len(taken)))
        for one in taken:
            while not one.wait(POLL_S) and not leaving.is_set():
                pass
        for part in self.parts:
            if part.told is not None:
                part.told(core)

    def tidy(self) -> bool:
        """Closes engines that every part has let go; True while some are still held."""
        free = [one for one in self._left if one.is_free()]
        for left in free:
            left.engine.close()
            self._left.remove(left)
        if free:
            memory.give_back()
        return bool(self._left)

    def close(self) -> None:
        """Behind all parts that run it."""
        for engine in (*(left.engine for left in self._left), self.core.loaded.engine):
            engine.close()
        self._left.clear()


def _kinds(core: Core) -> str:
    return ", ".join(sorted({i.kind for i in core.loaded.manifest.inputs if i.kind != "constant" and not i.state_from}))


def _fed(core: Core) -> object:
    context = assembly.source_context(core.loaded, core.clock, core.settings)
    return context.features, context.input_specs

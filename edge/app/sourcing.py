"""Where a run's samples come from, what is known of an earlier life's, and which of them kill the process."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Protocol

from msgspec.structs import replace

from edge.app import assembly
from edge.app.core import Carried, Core, Draft
from edge.delivery.outbox import Outbox
from edge.errors import ConfigError
from edge.mqtt.session import MqttSession
from edge.plugins.protocols import RememberingSource, RepeatingSource, Source
from edge.runtime.guard import Guard

ORIGINS_MOST = 1024
"""More than any broker sends without an acknowledgement."""


class Blamable(Protocol):
    """A trial, which may have been at work when the process died."""

    @property
    def to_blame(self) -> bool: ...


def source(core: Core, session: MqttSession | None) -> Source | None:
    """None where there is none: HTTP alone asks. Raises ConfigError."""
    uri = core.settings.input.source or ("mqtt:" if session is not None else None)
    if uri is None:
        if core.rows.path is not None:
            raise ConfigError("--input-path is for what a --source brings, and there is none; leave it out")
        return None
    context = assembly.source_context(
        core.loaded,
        core.clock,
        core.settings,
        session,
        core.topics.input,
        core.metrics.inc,
    )
    context = replace(context, shelf=core.shelf)
    rules = assembly.join_rules(core.settings)
    if rules is None:
        return assembly.make_source(uri, context)
    from edge.mqtt import join

    return join.create(rules, context)


def remind(source: RememberingSource, outboxes: Sequence[Outbox]) -> None:
    """Opens a source that was told which inputs of an earlier life are on disk. Raises SpoolError.

    Those are inputs whose results every outbox that matters has there.
    """
    held: list[set[bytes]] = []
    for outbox in outboxes:
        outbox.open()
        if outbox.durable:
            held.append(set(outbox.origins(ORIGINS_MOST)))
    source.remember(set.intersection(*held) if held else set())
    source.open()  # subscribed first: who reads `online` may publish at once


def guard(core: Core, draft: Draft, source: Source | None, *trials: Blamable | None, beside: bool) -> Guard:
    """Behind the lock of topics, where there is a broker: the process that is sent away is the one that would wait. And
    behind the trials: where the process died of one, no input is suspected. `beside`: others work in this process."""
    if not isinstance(source, RepeatingSource) or not source.repeats:
        return Guard()
    from edge.runtime import capturing, inference, instances
    from edge.runtime.crash_guard import CrashGuard
    from edge.storage.crash_marks import CrashMarks, Works

    if core.runs:  # the process has one that tells what it died of, and each of them would take it for its own
        marks = CrashMarks(core.settings.delivery.state_dir, core.stem)
    else:
        works: Works = "beside" if beside else "alone"
        files = (inference.__file__, capturing.__file__, instances.__file__)
        model = core.loaded.sha256
        marks = CrashMarks(core.settings.delivery.state_dir, core.stem, works=works, workers=files, model=model)
    guard = CrashGuard(marks, lambda: any(trial.to_blame for trial in trials if trial is not None))
    draft.add("crash marks", guard.open, guard.close)
    draft.ticks.append(guard.tick)

    def follow(new: Core, leaving: threading.Event) -> Core:
        guard.follow(new.loaded.sha256)
        return new

    draft.carried.append(Carried(ready=follow))
    draft.aborts.append(guard.close)
    return guard

"""What a runner may be given beside its parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from edge.data.result import Result, Skipped
from edge.data.sample import Sample
from edge.delivery.publish_filter import PublishFilter
from edge.delivery.retry import Backoff
from edge.pipeline.pipeline import Pipeline
from edge.runtime.controls import Controls
from edge.runtime.guard import Guard
from edge.runtime.stop import Stop

if TYPE_CHECKING:
    from edge.wording.wording import Wording

Observer: TypeAlias = Callable[[Sample, Sequence[Result | Skipped]], None]


class RunnerOptions(msgspec.Struct, frozen=True):
    """`grace_s`: how long outboxes go on sending after a signal. `tick` is called about twice a second.

    `publish_filter` says which results are published; None: all. Observers see all of them.
    """

    grace_s: float = 5.0
    source_name: str = "source"
    run: str = ""
    """Its name in the log; "" where it is the process's only one."""
    tick: Callable[[], None] = lambda: None
    observers: tuple[Observer, ...] = ()
    beat: Callable[[str], None] = msgspec.field(default=lambda _: None)
    """A thread makes progress, by its name."""
    ended: Callable[[str], None] = msgspec.field(default=lambda _: None)
    """A thread has ended."""
    admit: Callable[[], bool] | None = None
    """False: this sample of a live source is shed, for the board is hot. None: none ever is."""
    gate: Callable[[Sample], Sample | None] | None = None
    """Before a sample is prepared, in the thread that captures: what goes on in its place, or None where nothing moves
    and it is left out."""
    publish_filter: PublishFilter | None = None
    beside_others: bool = False
    """The loop that sends its results sends those of other runs, too, and has no time to run a model."""
    idle: Callable[[], None] | None = None
    """Called by the thread that infers while nothing waits, about twice a second or more often."""
    instances: tuple[Pipeline, ...] = ()
    """A pipeline for each instance of the model, where there are several; of one that keeps nothing from sample to
    sample. None: the runner's own pipeline is the only one."""
    controls: Controls | None = None
    """What commands change while it runs; None: there are none."""
    wording: Wording | None = None
    """How the broker is told results; None: as they are."""
    backoff: Backoff = msgspec.field(default_factory=Backoff)
    """When a source that went away is opened again."""
    stop: Stop = msgspec.field(default_factory=Stop)
    """How other parts and signals end it."""
    guard: Guard = msgspec.field(default_factory=Guard)
    """Leaves out inputs that kill the process; for a source that would be given them again."""

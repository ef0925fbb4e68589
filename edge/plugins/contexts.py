"""What a plug-in is given beside what the user said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from edge.data.message import Message
from edge.data.names import DISCOVERY
from edge.data.tensor import TensorSpec
from edge.plugins.protocols import Clock


class SourceContext(msgspec.Struct, frozen=True):
    """What a source may need beside its URI."""

    clock: Clock
    features: tuple[str, ...] = ()
    """The model's feature names, in order; they tell a header from a row."""
    feature_kinds: tuple[str, ...] = ()
    partial: bool = False
    """Rows may lack a feature."""
    watch: bool = False
    input_specs: tuple[TensorSpec, ...] = ()
    transport: Any = None
    """The MQTT connection, for `mqtt:` sources."""
    topic: str = ""
    """The default topic of an `mqtt:` source."""
    ignore_retained: bool = False
    """Whether an `mqtt:` source leaves out what its broker had retained."""
    count: Callable[[str], None] = lambda _: None
    """Counts what was dropped, by reason."""
    max_input: int = 32_000_000
    """Bytes of the largest input."""
    shelf: Any = None
    """Where an `mqtt:` source keeps what waits, where it has no connection of its own."""


class SinkContext(msgspec.Struct, frozen=True):
    """For a sink."""

    device: str = ""
    model: str = ""
    """The model's name."""
    topic: str = ""
    """What this service's topics begin with: prefix, device and model."""
    task: str = ""
    values: tuple[str, ...] = ()
    """Names of the numbers that a regression gives."""
    results: bool = True
    """The `mqtt` sink publishes results for everybody; else only errors, events and replies."""
    batch: int = 1
    """Most results that the user wants in one message; for sinks that can join them."""
    retain: bool = False
    """The `mqtt` sink has the broker retain results."""
    """Also those that come after an outage: nothing newer was sent before them."""
    clock: Clock | None = None
    """None: the system's."""
    transport: object | None = None
    """The connection to the broker of `--mqtt`; None where there is none."""
    discovery: tuple[str, ...] = (DISCOVERY,)
    """Prefixes of topics under which Home Assistant is told of devices: nothing that an asker names goes there."""
    reply_topics: tuple[str, ...] = ()
    """Filters of the topics that askers may name for a reply; none: all but those of this service and other systems."""
    results_topic: str = ""
    """The template of `--topic`: no reply goes where results go."""
    sending: Callable[[Message], None] = lambda _: None
    """The `mqtt` sink tells it each message that goes to everybody, before it goes to the connection."""
    count: Callable[[str], None] = lambda _: None
    """Counts what was dropped, by reason. From any thread."""
    closed: Callable[[], None] = lambda: None
    """The sink's reader has gone for good (`edge-run ... | head`). From any thread."""


class SpoolContext(msgspec.Struct, frozen=True):
    """For a spool. `path` has no suffix and is this spool's alone; the folder may not be there yet."""

    path: Path
    max_bytes: int
    max_age_s: float | None = None
    """What waits longer is dropped; None: nothing is."""
    forgets_at_once: bool = False
    """What was removed must not come back where the process is killed."""

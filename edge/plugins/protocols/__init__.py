"""The seams: what a part must be to take its place. `edge.testing.checks` proves that it is.

Constructing is free, opening costs: `__init__` stores what it is given, `open()` touches hardware or
network and may be called again after `close()`, `close()` may be called twice or after a failed `open()`.
"""

from edge.plugins.protocols.delivery import (
    BatchSink,
    Entry,
    ReplyingSink,
    Sink,
    SinkEvents,
    Spool,
)
from edge.plugins.protocols.inputs import (
    AcknowledgingSource,
    Clock,
    ReadySource,
    RememberingSource,
    RepeatingSource,
    Source,
    WakeableSource,
)
from edge.plugins.protocols.loops import (
    FallibleWorker,
    Loop,
    LoopSink,
    LoopSource,
    LoopWorker,
    Waker,
)
from edge.plugins.protocols.model import (
    AheadPreprocessor,
    BatchPostprocessor,
    BatchPreprocessor,
    ComparingPostprocessor,
    CouplingEngine,
    Engine,
    EngineLibrary,
    EngineOptions,
    FreePreprocessor,
    LookingPreprocessor,
    PicturePreprocessor,
    Postprocessor,
    Preprocessor,
    RememberingEngine,
    RepairingEngine,
    ResettableEngine,
    ThresholdPostprocessor,
)

__all__ = [
    "AcknowledgingSource",
    "AheadPreprocessor",
    "BatchPostprocessor",
    "BatchPreprocessor",
    "BatchSink",
    "Clock",
    "ComparingPostprocessor",
    "CouplingEngine",
    "Engine",
    "EngineLibrary",
    "EngineOptions",
    "Entry",
    "FallibleWorker",
    "FreePreprocessor",
    "LookingPreprocessor",
    "Loop",
    "LoopSink",
    "LoopSource",
    "LoopWorker",
    "PicturePreprocessor",
    "Postprocessor",
    "Preprocessor",
    "ReadySource",
    "RememberingEngine",
    "RememberingSource",
    "RepairingEngine",
    "RepeatingSource",
    "ReplyingSink",
    "ResettableEngine",
    "Sink",
    "SinkEvents",
    "Source",
    "Spool",
    "ThresholdPostprocessor",
    "WakeableSource",
    "Waker",
]

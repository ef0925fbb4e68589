"""What a plug-in says of itself: the object that its entry point names.

An entry point's *name* is what a user says: a scheme (`camera`), a plug-in's name (`onnxruntime`) or a suffix of files
(`.csv`); several entry points may name one declaration. So the right plug-in is found without importing any other, and
one that is broken or slow to import harms only those who ask for it. What else the runtime must know of it stands in
the declaration, beside the class. A declaration's module imports no heavy library: `create` and `library` do, when they
are called.

`edge_api` is the version of the seams that the plug-in was written for, `EDGE_API` the newest one known here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

import msgspec

from edge.plugins.contexts import SinkContext, SourceContext, SpoolContext
from edge.plugins.protocols import EngineLibrary, Sink, Source, Spool

EDGE_API = 1
"""The seams' version. It grows where a plug-in that was right before would be wrong."""

Gives = Literal["", "pictures", "sound", "rows", "readings"]
"""Rows are values in an order, as a table's or a file's of samples of sound; readings are those of one moment."""


class Declaration(msgspec.Struct, frozen=True, kw_only=True):
    """The part that every plug-in has."""

    GROUP: ClassVar[str] = ""
    """The group of entry points whose objects are of this kind."""

    edge_api: int
    usage: str = ""
    """How a user says it, for help and messages: `camera:0`; "" where the name alone is."""


class SourceInfo(Declaration, frozen=True, kw_only=True):
    """A source. Entry points of `edge.sources` are named by scheme, and by the suffixes of the files that it reads."""

    GROUP: ClassVar[str] = "edge.sources"

    create: Callable[[str, SourceContext], Source]
    """Gets what follows the scheme, or the whole path. Raises ConfigError."""
    gives: Gives = ""
    """What its samples surely are; "" where that depends on what comes."""
    reads_path: bool = False
    """What follows the scheme is a file or a folder: a service must be allowed to see it."""
    ongoing: bool = False
    """What it gives is of now, as what comes from `devices` is: opened again it goes on, and nothing comes twice."""
    reads_files: tuple[str, ...] = ()
    """Options behind the # (`edge/remote/address.py`) that name a file which it reads: a service must be given it."""
    devices: tuple[str, ...] = ()
    """What it opens of /dev, as systemd's DeviceAllow says it: `char-video4linux`."""
    groups: tuple[str, ...] = ()
    """Unix groups that may open them."""
    packages: tuple[str, ...] = ()
    """Distributions without which it does not work."""
    fix: str = "check --source"
    """What to try where no sample comes."""


class SinkInfo(Declaration, frozen=True, kw_only=True):
    """A sink. Entry points of `edge.sinks` are named by scheme."""

    GROUP: ClassVar[str] = "edge.sinks"

    create: Callable[[str, SinkContext], Sink]
    """Gets what follows the scheme. Raises ConfigError, or SpoolError for an output that cannot be meant."""
    writes_path: bool = False
    """What follows the scheme is a file that it writes."""
    reads_files: tuple[str, ...] = ()
    """Options behind the # (`edge/remote/address.py`) that name a file which it reads: a service must be given it."""


class SpoolInfo(Declaration, frozen=True, kw_only=True):
    """A spool: what waits for a sink. Entry points of `edge.spools` are named as `--spool` is told."""

    GROUP: ClassVar[str] = "edge.spools"

    create: Callable[[SpoolContext], Spool]


class EngineInfo(Declaration, frozen=True, kw_only=True):
    """An engine. Entry points of `edge.engines` are named as `--engine` is told, and by suffixes of model files."""

    GROUP: ClassVar[str] = "edge.engines"

    library: Callable[[], EngineLibrary]
    """Imports what loads models. Raises ConfigError where it is not installed."""
    reads: Callable[[bytes], bool]
    """Whether a model file that begins with these bytes (64, or the whole file) is one of its own."""
    files: str = ""
    """What its model files are called: `an .onnx file`."""
    packages: tuple[str, ...] = ()
    """Distributions, one of which has to be there."""


KINDS: Mapping[str, type[Declaration]] = {k.GROUP: k for k in (SourceInfo, SinkInfo, SpoolInfo, EngineInfo)}

"""What exporters and passes declare of themselves, and how they are found.

Both are entry points (`converter.exporters`, `converter.passes`), ours as a stranger's; an entry point names an
`ExporterInfo` or a `PassInfo`. The module of a declaration imports no framework: what it recognises a file or a class
by is asked of every model, the framework itself is imported by `export` and `run`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import ClassVar, Literal

import msgspec

from converter.artifact import Artifact
from converter.errors import UnsupportedError
from converter.options import Options, Target
from converter.rows.rows import Rows
from converter.source import Probe, Source
from edge.errors import ConfigError
from edge.plugins import registry
from edge.plugins.declarations import Declaration


class ExporterInfo(Declaration, frozen=True, kw_only=True):
    """A framework's exporter. The entry point's name is the framework, as `--framework` takes it.

    `export(source, rows, options)` opens the source (never unpickling without `options.trust_pickle`), fills the
    manifest's task, inputs, outputs and labels, and hands over a reference that gives the framework's own answers.
    `rows` is None where the user gave none: then it makes rows up (`Rows.source` "generated") from what the model
    tells of its ranges. It raises UnsupportedError for what cannot be converted honestly, with the reason.
    """

    GROUP: ClassVar[str] = "converter.exporters"

    export: Callable[[Source, Rows | None, Options], Artifact]
    recognise: Callable[[Probe], str] = lambda probe: ""
    """A name for the form of a file or folder that is this framework's own, "" for any other."""
    packages: tuple[str, ...] = ()
    """Top packages of its classes: tells objects in memory, in skops files and in pickles."""
    schemes: tuple[str, ...] = ()
    """What URIs of its models begin with: `models:`."""
    suffixes: tuple[str, ...] = ()
    """How its files are usually called, for messages; they are told by their content."""
    distributions: tuple[str, ...] = ()
    """Whose versions the manifest's provenance records."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What parity allows after a pass: the largest difference, and the least share of rows with the same class."""

    difference: float
    agreement: float


class PassInfo(Declaration, frozen=True, kw_only=True):
    """A change to a converted model: Artifact in, Artifact out. The entry point's name is what `--quantize` takes.

    A pass leaves an artifact that it has nothing to do for as it is, and raises ConfigError where it cannot be used.
    """

    GROUP: ClassVar[str] = "converter.passes"

    run: Callable[[Artifact, Options], Artifact]
    limits: Limits | None = None
    """None: the answers stay the original's."""
    stage: Literal["tidy", "quantize"] = "quantize"
    """`tidy` runs for every file, in the order of `place`; `quantize` where it is asked for."""
    place: int = 100
    targets: tuple[Target, ...] = ("onnx", "tflite")
    tried: bool = False
    """`--quantize auto` tries it."""


def exporter(framework: str) -> ExporterInfo:
    """The exporter of a framework. Raises UnsupportedError where none is installed."""
    known = registry.names(ExporterInfo.GROUP)
    if framework not in known:
        raise UnsupportedError(
            f"this is a {framework} model, and no exporter for it is installed; there are {', '.join(known)}"
        )
    return registry.declared(ExporterInfo, framework)


def exporters() -> Iterator[tuple[str, ExporterInfo]]:
    """Every exporter by its framework."""
    yield from registry.all_declared(ExporterInfo)


def require_framework(name: str) -> None:
    """Raises ConfigError for a framework that no exporter is registered for."""
    known = registry.names(ExporterInfo.GROUP)
    if name not in known:
        raise ConfigError(f"--framework {name}: there is none by that name; known: {', '.join(known)}")


def framework_of_module(module: str) -> str:
    """The framework whose class a module defines; "" where there is none."""
    package = module.partition(".")[0]
    return next((name for name, info in exporters() if package in info.packages), "")


def passes(stage: Literal["tidy", "quantize"]) -> list[tuple[str, PassInfo]]:
    """The passes of a stage by name, in order."""
    declared = registry.all_declared(PassInfo)
    return sorted(((n, p) for n, p in declared if p.stage == stage), key=lambda pair: (pair[1].place, pair[0]))


def quantizer(name: str) -> PassInfo:
    """What `--quantize` calls so. Raises ConfigError."""
    known = [n for n, _ in passes("quantize")]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        raise ConfigError(
            f"--quantize {name}: there is no such pass{f'; did you mean {near[0]!r}?' if near else ''}; "
            f"known: none{''.join(', ' + k for k in known)}"
        )
    return registry.declared(PassInfo, name)


def limits_of(pass_name: str) -> Limits | None:
    """What parity allows after a pass; None for one that changes no answers."""
    return registry.declared(PassInfo, pass_name).limits if pass_name in registry.names(PassInfo.GROUP) else None

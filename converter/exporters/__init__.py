"""From a framework's model to ONNX or TFLite: a file for each framework, found by name.

An exporter is a function `export(source, rows, options) -> Artifact`, registered as an entry point of the
group `converter.exporters`. It opens the source (never unpickling without `options.trust_pickle`), fills the
manifest's task, inputs, outputs and labels, and hands over a reference that gives the framework's own answers.
`rows` is None where the user gave none: then it makes rows up (`Rows.source` "generated") from what the model
tells of its ranges. It raises UnsupportedError for what cannot be converted honestly, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable

from converter.artifact import Artifact
from converter.errors import UnsupportedError
from converter.options import Options
from converter.rows.rows import Rows
from converter.sources.recognise import GROUP, Source
from edge.plugins import registry

Exporter = Callable[[Source, Rows | None, Options], Artifact]


def find(framework: str) -> Exporter:
    """The exporter of a framework. Raises UnsupportedError where none is installed."""
    known = registry.names(GROUP)
    if framework not in known:
        raise UnsupportedError(
            f"this is a {framework} model, and no exporter for it is installed; there are {', '.join(known)}"
        )
    exporter: Exporter = registry.find(GROUP, framework)
    return exporter

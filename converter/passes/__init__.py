"""Changes to a converted model: a file each, Artifact in, Artifact out, found by name.

A pass is a function `(artifact, options) -> Artifact`, registered as an entry point of the group
`converter.passes`. It leaves an artifact that it has nothing to do for as it is. `--quantize NAME` runs the
pass of that name last.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

from converter.artifact import Artifact
from converter.options import Options
from edge.errors import ConfigError
from edge.plugins import registry

GROUP = "converter.passes"
ONNX = ("remove-zipmap", "free-batch", "simplify", "optimize")

Pass = Callable[[Artifact, Options], Artifact]


def plan(artifact: Artifact, options: Options) -> list[str]:
    """The passes that an artifact goes through, in order."""
    tidy = list(ONNX) if artifact.target == "onnx" else []
    return tidy if options.quantize == "none" else [*tidy, options.quantize]


def run(artifact: Artifact, options: Options) -> Artifact:
    """The artifact after all of its passes. Raises ConfigError for a quantisation that is not there."""
    for name in plan(artifact, options):
        artifact = find(name)(artifact, options)
    return artifact


def find(name: str) -> Pass:
    """A pass by name. Raises ConfigError."""
    known = registry.names(GROUP)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        raise ConfigError(
            f"--quantize {name}: there is no such pass{f'; did you mean {near[0]!r}?' if near else ''}; "
            f"known: none{''.join(', ' + k for k in known if k not in ONNX)}"
        )
    found: Pass = registry.find(GROUP, name)
    return found

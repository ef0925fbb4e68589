"""The way of a model: recognise, export, passes, parity, bundle. Nothing else is here."""

from __future__ import annotations

import warnings
from typing import Any, Unpack

from converter import plugins
from converter.artifact import Artifact
from converter.options import Choices, Options, Target, check_pictures, in_pixel_values
from converter.proof import identity, parity, reference
from converter.rows import files
from converter.sources.recognise import recognise
from edge.progress import steps


def convert(
    model: Any, *, target: Target = "onnx", sample: Any = None, expect: Any = None, **choices: Unpack[Choices]
) -> Artifact:
    """Converts a native model, a model file or folder, or a `models:/` URI.

    `sample` is rows: an array [rows, ...], a data frame, a mapping of arrays, or a .csv, .jsonl, .npy or .npz
    file; without it rows are made up, which proves less. `expect` is the true answer for each row, a column of
    the sample by name, or a file. `choices` are fields of `Options`.

    The artifact has been compared with the model it comes from. Raises ModelError for a model that cannot be
    converted, ParityError (unless `force`) for one that gives other answers, ConfigError for bad arguments.
    """
    options, notes = in_pixel_values(Options(target=target, **choices))
    source = recognise(model, options.framework)
    given = files.with_expected(files.of(sample), expect) if sample is not None else None
    with warnings.catch_warnings():
        # The frameworks warn of their own futures; what matters to this model is an error or a note.
        warnings.simplefilter("ignore")
        with steps(3, f"converting {source.name}") as step:
            step("exporting")
            artifact = plugins.exporter(source.framework).export(source, given, options)
            check_pictures(options, artifact.manifest)
            step("passes")
            artifact = identity.identify(artifact, source, options)
            artifact = identity.describe(_passed(artifact, options), source).noting(*notes)
            step("comparing with the original")
            return reference.told(parity.prove(artifact, options), options)


def _passed(artifact: Artifact, options: Options) -> Artifact:
    """The artifact after its passes: those that tidy it up, then the quantisation. Raises ConfigError."""
    planned = [info for _, info in plugins.passes("tidy") if artifact.target in info.targets]
    if options.quantize != "none":
        planned.append(plugins.quantizer(options.quantize))
    for info in planned:
        artifact = info.run(artifact, options)
    return artifact

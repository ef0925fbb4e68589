"""The way of a model: recognise, export, passes, parity, bundle. Nothing else is here."""

from __future__ import annotations

import warnings
from typing import Any, Unpack

from converter import exporters, passes
from converter.artifact import Artifact
from converter.options import Choices, Options, Target
from converter.proof import bundle, parity
from converter.report.progress import steps
from converter.rows import rows
from converter.sources.recognise import recognise


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
    options = Options(target=target, **choices)
    source = recognise(model, options.framework)
    given = rows.with_expected(rows.of(sample), expect) if sample is not None else None
    with warnings.catch_warnings():
        # The frameworks warn of their own futures; what matters to this model is an error or a note.
        warnings.simplefilter("ignore")
        with steps(f"converting {source.name}", 3) as step:
            artifact = exporters.find(source.framework)(source, given, options)
            step("passes")
            artifact = bundle.identify(artifact, source, options)
            artifact = bundle.describe(passes.run(artifact, options), source)
            step("comparing with the original")
            return parity.prove(artifact, options)

"""Models that are ONNX or TFLite already: they get a manifest and golden samples, and are checked.

The manifest that the file brings is kept; else what the runtime would guess of it (`edge.describe.describe`) becomes
its word. The reference is the file as it came, so parity shows what the passes did to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from converter.artifact import Artifact
from converter.errors import SampleFileError, UnrecognisedError
from converter.graph import graph
from converter.options import Options, Target
from converter.proof import device, initial_state
from converter.quiet import quiet
from converter.rows import pictures
from converter.rows.rows import UNNAMED, Rows
from converter.rows.tensors import feed
from converter.source import Source
from edge.data.tensor import STRING, Array, TensorSpec, numpy_dtype
from edge.describe import describe
from edge.engines import choose
from edge.errors import ModelError
from edge.model import container
from edge.model.manifest import Feature, Input, Manifest
from edge.plugins.protocols import Engine, EngineOptions

COUNT = 32
_SEED = 20261123


def artifact(source: Source, path: Path, rows: Rows | None, options: Options, target: Target) -> Artifact:
    """The artifact of a ready file. `path` is what runs, `source.path` what the user named (labels lie beside it)."""
    engine = _load(path, source)
    manifest, notes = _manifest(source, engine, options)
    manifest = replace(manifest, inputs=tuple(_with_features(i, rows) for i in manifest.inputs), golden=(), parity=None)
    if rows is None:
        rows = _made_up(engine.inputs, manifest.inputs)
    rows = pictures.prepared(rows, manifest.inputs, engine.inputs)

    model = path.read_bytes()
    if target == "onnx" and graph.scales_by_batch(graph.parse(model)):
        manifest = replace(manifest, batch_independent=False)
    alone = initial_state.of(engine, manifest)

    def reference(given: Rows) -> dict[str, Array]:
        return device.run(alone, feed(given, manifest.inputs), singly=not manifest.batch_independent)

    return Artifact(
        framework=target, target=target, model=model, manifest=manifest, reference=reference, rows=rows,
        notes=notes, source_bytes=source.file.stat().st_size,
    )  # fmt: skip


def _load(path: Path, source: Source) -> Engine:
    try:
        with quiet():
            engine = choose.load(path, EngineOptions())
    except ModelError as exc:
        raise UnrecognisedError(f"{source.name}: {str(exc).removeprefix(path.name + ': ')}") from exc
    return engine


def _manifest(source: Source, engine: Engine, options: Options) -> tuple[Manifest, tuple[str, ...]]:
    known = container.read_manifest(source.file, engine.metadata)
    if known is not None:
        inputs = tuple(_overridden(i, options) if i.kind == "image" else i for i in known.inputs)
        return replace(known, inputs=inputs), ("the file's own manifest was kept",)
    overrides = describe.Overrides(
        task=options.task, labels=options.labels, layout=options.layout, color=options.color,
        mean=options.mean or None, std=options.std or None, resize=options.resize, size=options.input_size,
    )  # fmt: skip
    description = describe.describe(source.file, engine, overrides)
    guessed = (f"guessed, say otherwise by flags: {' '.join(description.guesses)}",) if description.guesses else ()
    return description.manifest, (*guessed, *description.warnings)


def _overridden(image: Input, options: Options) -> Input:
    fields: dict[str, Any] = {
        "layout": options.layout, "color": options.color, "mean": options.mean, "std": options.std,
        "resize": options.resize, "size": options.input_size,
    }  # fmt: skip
    return replace(image, **{name: value for name, value in fields.items() if value})


def _with_features(one: Input, rows: Rows | None) -> Input:
    """A table whose columns nobody named gets the names of the sample's header, else x0, x1, ..."""
    width = one.shape[-1] if one.shape else None
    if one.kind != "table" or one.features:
        return one
    header = rows.names if rows is not None and rows.table else ()
    if not isinstance(width, int):
        width = len(header) if header else (rows.array.shape[-1] if rows is not None else None)
    if width is None:
        raise SampleFileError(f"input {one.name!r} does not say how many features it takes; give --sample")
    names = header if len(header) == width else tuple(f"x{i}" for i in range(width))
    if header and len(header) != width:
        raise SampleFileError(f"the sample has {len(header)} columns, input {one.name!r} takes {width} features")
    return replace(one, features=tuple(Feature(name=n) for n in names))


def _rest(spec: TensorSpec, one: Input) -> tuple[int, ...]:
    """The shape of one row: of a wave as long as its window, else with 1 for a free dimension."""
    if one.kind == "audio" and one.window is not None and not one.frontend and len(spec.fixed()) == 2:
        return (one.window.size + one.window.context,)
    return spec.fixed()[1:]


def _made_up(specs: Sequence[TensorSpec], inputs: Sequence[Input]) -> Rows:
    """`COUNT` rows of noise in the shapes the model takes; a free dimension is 1."""
    random = np.random.default_rng(_SEED)
    by_name = {s.name: s for s in specs}
    arrays: dict[str, Array] = {}
    for one in inputs:
        if one.state_from or one.kind == "constant":
            continue
        spec = by_name[one.name]
        shape = (COUNT, *_rest(spec, one))
        if spec.dtype == STRING:
            arrays[one.name] = np.full(shape, "text", dtype=object)
        elif numpy_dtype(spec.dtype).kind in "iub":
            arrays[one.name] = random.integers(0, 2 if spec.dtype == "bool" else 100, shape).astype(spec.dtype)
        else:
            arrays[one.name] = random.normal(0.0, 1.0, shape).astype(spec.dtype)
    if all(i.kind in ("table", "column") for i in inputs):
        columns = [c for a in arrays.values() for c in a.reshape(COUNT, -1).T]
        names = [f.name for i in inputs for f in i.features]
        return Rows(dict(zip(names, columns, strict=True)), table=True, source="generated")
    return Rows(arrays if len(arrays) > 1 else {UNNAMED: next(iter(arrays.values()))}, source="generated")

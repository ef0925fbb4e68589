"""What the sample looked like, into the manifest: so that the device can tell when its world is another one."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np

from converter.artifact import Artifact
from converter.options import Options
from converter.proof import device
from converter.proof.answers import class_values, roles
from converter.rows.rows import Rows
from converter.rows.tensors import feed, table
from edge.data.result import Detection
from edge.data.sample import ModelInput
from edge.data.tensor import Array
from edge.describe.head import HeadInfo
from edge.drift import reference
from edge.drift.reference import FeatureReference, Reference
from edge.errors import ConfigError, ModelError, SampleError
from edge.model.golden import choose
from edge.model.manifest import Feature, Manifest
from edge.pipeline.real_values import RealValues
from edge.plugins import registry

FEWEST_ROWS = 50
FEWEST_PICTURES = 10
SHUFFLED = 0.1
"""Rows of which no feature goes with the row before it by more than this are in no order, or need none."""


def told(artifact: Artifact, options: Options) -> Artifact:
    """The artifact with a reference in its manifest, made of the sample; or that which the source brought.

    Raises ModelError where that one is of other features than the model's, ConfigError for an order of rows that are
    made up.
    """
    rows, manifest = artifact.rows, artifact.manifest
    if options.no_reference:
        return artifact.with_manifest(reference=None)
    if rows.source != "sample":
        if options.sample_order == "time":
            raise ConfigError("--sample-order time: the rows are made up; give --sample")
        return _brought(artifact)
    if manifest.takes_pictures and rows.looks is not None:
        return _of_pictures(artifact, rows.looks)
    if not _tabular(manifest):
        return artifact.with_manifest(reference=None)
    if len(rows) < FEWEST_ROWS:
        return _too_few(artifact, "rows", FEWEST_ROWS)
    ordered = options.sample_order == "time" and _in_order(rows, manifest)
    made = Reference(
        rows=len(rows), order="time" if ordered else "",
        features=tuple(_feature(rows, manifest, i, ordered=ordered) for i in range(len(manifest.features))),
        predictions=_predictions(artifact),
    )  # fmt: skip
    artifact = artifact.with_manifest(reference=msgspec.to_builtins(made))
    if options.sample_order == "time" and not ordered:
        return artifact.noting(
            "--sample-order time: no feature of a row goes with the row before it: the rows look shuffled, and their "
            "order is not used"
        )
    return artifact


def _of_pictures(artifact: Artifact, looks: Array) -> Artifact:
    if len(looks) < FEWEST_PICTURES:
        return _too_few(artifact, "pictures", FEWEST_PICTURES)
    features, thumbnail, alike = reference.of_pictures(looks)
    made = Reference(
        rows=len(looks), features=features, thumbnail=thumbnail, alike=alike, predictions=_predictions(artifact)
    )  # fmt: skip
    return artifact.with_manifest(reference=msgspec.to_builtins(made))


def _too_few(artifact: Artifact, what: str, fewest: int) -> Artifact:
    note = f"no reference for --drift: {len(artifact.rows)} {what} are too few, {fewest} make one"
    return artifact.with_manifest(reference=None).noting(note)


def _brought(artifact: Artifact) -> Artifact:
    """With the reference of a file that was converted before, if it is one of this model."""
    manifest = artifact.manifest
    if manifest.reference is None:
        return artifact
    try:
        names = [f.name for f in manifest.features]
        reference.read(manifest.reference, names, pictures=manifest.takes_pictures)
    except ValueError as exc:
        raise ModelError(
            f"the reference in the manifest cannot be used: {exc}; give --sample to make it anew, or --no-reference"
        ) from exc
    return artifact


def _tabular(manifest: Manifest) -> bool:
    """Whether samples are rows of features, each of which is looked at by itself."""
    fed = [i for i in manifest.inputs if not i.state_from and i.kind != "constant"]
    rows = bool(fed) and all(i.kind in ("table", "column") and i.window is None for i in fed)
    return rows and 0 < len(manifest.features) <= reference.FEATURES_MOST


def _in_order(rows: Rows, manifest: Manifest) -> bool:
    """Whether neighbouring rows go together, in any feature."""
    limit = max(SHUFFLED, 4 / np.sqrt(len(rows)))
    numbers = [i for i, f in enumerate(manifest.features) if f.kind == "number"]
    return any(reference.lag_correlation(_numbers(rows, manifest.features, i)) > limit for i in numbers)


def _feature(rows: Rows, manifest: Manifest, at: int, *, ordered: bool) -> FeatureReference:
    feature = manifest.features[at]
    if feature.kind == "text":
        return reference.of_texts(feature.name, (str(t) for t in rows.texts(feature.name)))
    return reference.of_numbers(feature.name, _numbers(rows, manifest.features, at), ordered=ordered)


def _numbers(rows: Rows, features: tuple[Feature, ...], at: int) -> Array:
    return rows.numbers(features[at].name) if rows.table else table(rows, features)[:, at]


def _predictions(artifact: Artifact) -> tuple[FeatureReference, ...]:
    """The shares of the classes, or the numbers that the model predicts; of a detector the shares of the classes of all
    objects, how many there are in a picture, and their scores."""
    manifest, compared = artifact.manifest, artifact.comparison
    if manifest.task in ("detect", "keypoints"):
        seen = objects_in(artifact)
        things = [thing for some in seen for thing in some]
        if not things:
            return ()
        classes = reference.of_classes(Counter(thing.label for thing in things))
        counts = reference.of_objects([len(some) for some in seen])
        return classes, counts, reference.of_scores([thing.score for thing in things])
    if manifest.task == "classify" and compared is not None and compared.after is not None:
        names = dict(zip(class_values(manifest), manifest.labels, strict=False))
        return (reference.of_classes(dict(Counter(names.get(c, c) for c in compared.after))),)
    wanted = {"regress": "value", "anomaly": "score"}.get(manifest.task)
    if wanted is None:
        return ()
    outputs = artifact.reference(artifact.rows)
    found = [outputs[n] for n in roles(manifest, wanted) if n in outputs]
    if not found:
        return ()
    values = found[0].astype(np.float64).reshape(len(artifact.rows), -1)
    return tuple(reference.of_numbers(f"prediction {i}", values[:, i]) for i in range(values.shape[1]))


MOST = 200
"""Pictures that are looked at, chosen evenly."""


def objects_in(artifact: Artifact) -> list[list[Detection]]:
    """The objects that a detector finds in each picture of the sample, decoded by the code that will do it on the
    device; none where the file does not say how its boxes are read. Raises ModelError."""
    manifest = artifact.manifest
    name = manifest.decoder or manifest.task
    if name == "detect":
        return []
    objects: list[list[Detection]] = []
    with tempfile.TemporaryDirectory() as folder:
        engine = device.load(artifact, Path(folder))
        try:
            decode = registry.declared(HeadInfo, name).create(manifest, engine.outputs)
            model = RealValues(engine)
            for at in choose(range(len(artifact.rows)), MOST):
                tensors = feed(artifact.rows.take([at]), manifest.inputs)
                try:
                    seen = decode(model.infer(tensors), ModelInput(tensors))
                except SampleError:
                    continue  # told by parity; here it is one picture less
                objects.append([one for one in seen if isinstance(one, Detection)])
        finally:
            engine.close()
    return objects

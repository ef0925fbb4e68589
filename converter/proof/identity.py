"""Who a converted model is: name, version, task, labels, and where it comes from."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata

from msgspec import structs

from converter import plugins
from converter.artifact import Artifact, topic_name
from converter.errors import SampleFileError
from converter.options import Options
from converter.proof.answers import class_values
from converter.source import Source
from edge.errors import ConfigError
from edge.model import identity
from edge.model.manifest import Provenance


def identify(artifact: Artifact, source: Source, options: Options) -> Artifact:
    """The artifact with name, version, task and labels in its manifest: passes that count right answers need them.

    Raises ConfigError for a task that the model has not.
    """
    own = artifact.manifest.task
    if options.task not in (None, "raw", own) and artifact.framework != artifact.target:
        raise ConfigError(f"--task {options.task}: this model's is {own}; leave --task out")
    unnamed = not options.name and not artifact.manifest.name and source.path is None and not source.uri
    named = replace(artifact, unnamed=unnamed).with_manifest(
        name=options.name or artifact.manifest.name or name_of(source),
        version=options.version or artifact.manifest.version, task=options.task or artifact.manifest.task,
    )  # fmt: skip
    return _labelled(named, options.labels) if options.labels else named


def describe(artifact: Artifact, source: Source) -> Artifact:
    """The artifact with its provenance in the manifest."""
    before = artifact.manifest.provenance or Provenance()
    provenance = Provenance(
        framework=artifact.framework, versions=before.versions or versions_of(source.framework), source=source.name,
        source_sha256=before.source_sha256 or _sha256(source), passes=artifact.passes,
        created=datetime.now(UTC).isoformat(timespec="seconds"), notes=artifact.notes,
    )  # fmt: skip
    return artifact.with_manifest(provenance=provenance)


def _labelled(artifact: Artifact, labels: tuple[str, ...]) -> Artifact:
    """Other names for the classes: the label output goes on giving the values that it gave."""
    manifest = artifact.manifest
    known = class_values(manifest)
    if known and len(known) != len(labels):
        raise SampleFileError(
            f"--labels: {len(labels)} labels, but the model has {len(known)} classes: {', '.join(known)}"
        )
    moved = [n for n, other in zip(labels, known, strict=False) if n != other and n in known]
    if moved:
        raise SampleFileError(
            f"--labels {','.join(labels)}: the classes are {', '.join(known)}, and new names are given in their "
            f"order; {moved[0]!r} is the name of another one: leave --labels out, or give other names"
        )
    outputs = tuple(structs.replace(o, values=known) if o.role == "label" else o for o in manifest.outputs)
    return artifact.with_manifest(labels=labels, outputs=outputs)


def name_of(source: Source) -> str:
    """A name for a model that nobody gave one."""
    text = source.path.stem if source.path else source.uri.partition("/")[2] or type(source.value).__name__
    return topic_name(text) or "model"


def versions_of(framework: str) -> dict[str, str]:
    """Versions of the libraries that took part, by distribution."""
    versions: dict[str, str] = {}
    for name in ("edge-run", *plugins.exporter(framework).distributions, "onnx", "onnxruntime"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = _installed(name)
    return versions


_installed = functools.cache(metadata.version)  # which reads the whole page of a package, a fifth of a small conversion


def _sha256(source: Source) -> str:
    return identity.sha256(source.path) if source.path is not None and source.path.is_file() else ""

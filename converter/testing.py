"""Proofs for exporters and passes: run them on your own. Each raises AssertionError that says what is broken."""

from __future__ import annotations

import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from converter.artifact import Artifact
from converter.options import Options
from converter.plugins import ExporterInfo, PassInfo
from converter.proof import parity
from converter.proof.device import load
from converter.rows.rows import Rows
from converter.source import Probe, Source


def check_exporter(
    info: ExporterInfo, model: Path, *, rows: Rows | None = None, options: Options | None = None
) -> Artifact:
    """`model` is a file of its framework. It is recognised and no other file is; what is made of it answers as the
    original. Returns the artifact, for `check_pass`."""
    options = options or Options()
    form = info.recognise(Probe(model))
    assert form, f"{model.name} is recognised"
    with tempfile.TemporaryDirectory(prefix="edge-check-") as folder:
        for other in _others(Path(folder)):
            assert info.recognise(Probe(other)) == "", f"{other.name}, which is none of its files, is not recognised"
    artifact = info.export(Source("checked", form, model), rows, options)
    assert artifact.target == options.target, "the file is for the target that was asked for"
    assert artifact.manifest.inputs, "the manifest names the inputs"
    assert len(artifact.rows) > 0, "there are rows to compare with, made up where none were given"
    outputs = {o.name for o in artifact.manifest.outputs}
    answers = artifact.reference(artifact.rows)
    assert answers, "the reference gives the original's own answers"
    assert set(answers) <= outputs, f"the reference answers for outputs of the manifest: {sorted(outputs)}"
    for name, values in answers.items():
        assert len(values) == len(artifact.rows), f"{name}: an answer for each row"
    _answers_alike(artifact, options)
    return artifact


def check_pass(info: PassInfo, artifact: Artifact, options: Options | None = None) -> Artifact:
    """The pass changes a new artifact, not this one; the answers stay within its limits. Returns the new one."""
    options = options or Options(target=artifact.target)
    assert artifact.target in info.targets, f"the pass is for {', '.join(info.targets)}"
    before, manifest = bytes(artifact.model), artifact.manifest
    changed = info.run(artifact, options)
    assert (artifact.model, artifact.manifest) == (before, manifest), "an artifact is never changed"
    assert changed.target == artifact.target, "the target stays"
    inputs = [i.name for i in changed.manifest.inputs]
    assert inputs == [i.name for i in artifact.manifest.inputs], "the inputs stay"
    if changed.model != before:
        assert changed.passes[: len(artifact.passes)] == artifact.passes, "what was there before is still told"
        assert len(changed.passes) > len(artifact.passes), "a pass that changed the model says its name"
    assert info.run(artifact, options).model == changed.model, "the same artifact gives the same"
    if info.limits is not None:
        options = replace(options, tolerance=info.limits.difference)
    _answers_alike(changed, options)
    return changed


def _answers_alike(artifact: Artifact, options: Options) -> None:
    with tempfile.TemporaryDirectory(prefix="edge-check-") as folder:
        engine = load(artifact, Path(folder))
        try:
            reasons = parity.compare(artifact, engine, options, timed=False).reasons
        finally:
            engine.close()
    assert not reasons, f"the file answers as the original: {'; '.join(reasons)}"


def _others(folder: Path) -> list[Path]:
    """Files that are no model of anybody's."""
    contents = {"empty": b"", "noise.bin": np.random.default_rng(0).bytes(4096), "text.txt": b"a,b\n1,2\n",
                "other.json": b'{"unknown": 1}', "list.json": b"[1, 2]"}  # fmt: skip
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    with zipfile.ZipFile(folder / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing of interest")
    (folder / "folder").mkdir()
    return sorted(folder.iterdir())

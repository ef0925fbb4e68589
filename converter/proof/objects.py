"""What a detector finds in the pictures of the sample: decoded by the code that will do it on the device."""

from __future__ import annotations

import tempfile
from pathlib import Path

from converter.artifact import Artifact
from converter.proof import device
from converter.rows.tensors import feed
from edge.data.result import Detection
from edge.data.sample import ModelInput
from edge.describe.head import HeadInfo
from edge.errors import SampleError
from edge.model.golden import choose
from edge.pipeline.real_values import RealValues
from edge.plugins import registry

MOST = 200
"""Pictures that are looked at, chosen evenly."""


def found(artifact: Artifact) -> list[list[Detection]]:
    """The objects in each picture; of none where the file does not say how its boxes are read. Raises ModelError."""
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

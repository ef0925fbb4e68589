"""What detectors of faces with a set of outputs for each stride have in common: which output is which."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from edge.data.tensor import Array, Tensors, TensorSpec
from edge.errors import ModelError
from edge.model.manifest import Manifest
from edge.postprocess.detect import boxes

COLUMNS = {"score": 1, "cls": 1, "obj": 1, "bbox": 4, "kps": 10}
"""Numbers of a row of each kind."""


def joined(outputs: Tensors, names: Mapping[str, str], kind: str, strides: Sequence[int]) -> Array:
    """The rows of a kind [N, C], of all strides. Raises SampleError where an output has another shape."""
    return np.concatenate([boxes.rows(outputs, names[f"{kind}_{s}"], COLUMNS[kind]) for s in strides])


def by_stride(
    manifest: Manifest, specs: Sequence[TensorSpec], kinds: Sequence[str], wanted: Sequence[int] = ()
) -> Mapping[str, str]:
    """Output names by role `kind_stride` ("bbox_8"), from the manifest's roles, else the names; of the strides that
    there are, and of those that are `wanted`. Raises ModelError."""
    known = [s.name for s in specs]
    names = {o.role: o.name for o in manifest.outputs if o.role} or {n: n for n in known}
    strides = sorted({*wanted} | {int(m[1]) for role in names if (m := re.match(rf"{kinds[0]}_(\d+)$", role))})
    missing = [r for s in strides for k in kinds if (r := f"{k}_{s}") not in names or names[r] not in known]
    lacking = [*missing, f"{kinds[0]}_8"][0]
    if missing or not strides:
        raise ModelError(
            f"{manifest.name}: the decoder {manifest.decoder!r} needs an output for {lacking!r}, "
            f"the file has {', '.join(known)}; name it in the manifest's outputs, or try --task raw"
        )
    return names

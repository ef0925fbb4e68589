"""Names for the free dimensions of an ONNX graph: exporters call them s77, or unk__12."""

from __future__ import annotations

import re
from typing import Any

from converter.graph import graph


def tidy(model: Any) -> Any:
    """The model, changed in place: the free first dimension is "batch", others "length", "length_2", ..."""
    names: dict[str, str] = {}
    for one in model.graph.input:
        for at, size in enumerate(graph.dims(one)):
            if isinstance(size, str) and size.isidentifier() and size not in names:
                names[size] = _name(at, names)
    for one in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for dim in one.type.tensor_type.shape.dim:
            if dim.HasField("dim_param"):
                dim.dim_param = re.sub(r"[A-Za-z_]\w*", lambda match: names.get(match[0], match[0]), dim.dim_param)
    if all(graph.dims(i)[:1] == ["batch"] for i in model.graph.input):
        for one in model.graph.output:
            shape = graph.dims(one)
            if shape and not isinstance(shape[0], int):
                one.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model


def _name(at: int, names: dict[str, str]) -> str:
    if at == 0 and "batch" not in names.values():
        return "batch"
    count = sum(n.startswith("length") for n in names.values())
    return "length" if not count else f"length_{count + 1}"

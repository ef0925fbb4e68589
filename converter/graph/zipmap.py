"""ZipMap at the end of a classifier makes a list of maps of its probabilities: slow, and no tensor. Take it out."""

from __future__ import annotations

from typing import Any

from converter.graph import graph


def without_zipmap(model: Any) -> Any:
    """The model, changed in place: an output that came from ZipMap is the tensor [rows, classes] that went into it."""
    helper = graph.library().helper
    for node in [n for n in model.graph.node if n.op_type == "ZipMap"]:
        tensor, output = node.input[0], node.output[0]
        model.graph.node.remove(node)
        place = next((i for i, o in enumerate(model.graph.output) if o.name == output), None)
        if place is None:
            continue
        for other in model.graph.node:
            other.output[:] = [output if n == tensor else n for n in other.output]
            other.input[:] = [output if n == tensor else n for n in other.input]
        model.graph.output[place].CopyFrom(helper.make_tensor_value_info(output, 1, [None, None]))
    return model

"""Small work on an ONNX graph that exporters and passes share. `onnx` is imported when it is used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from converter.errors import UnsupportedError
from edge.data.tensor import Array
from edge.errors import ConfigError, Needing, one_line

_QUANTISERS_RAISE = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError, OSError)

if TYPE_CHECKING:
    import onnx


def library() -> Any:
    """The module `onnx`. Raises ConfigError where it is not installed."""
    with Needing("the converter", "onnx", "convert-sklearn"):
        import onnx
    return onnx


def parse(model: bytes) -> onnx.ModelProto:
    """The model that the bytes hold."""
    loaded: onnx.ModelProto = library().load_model_from_string(model)
    return loaded


def without_listed_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model, in place, with no weight among its inputs.

    Old exporters list them so that a caller may give others. ONNX Runtime then folds and fuses nothing of them, and
    runs up to four times slower. Before IR version 4 the listing was a must.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [given for given in model.graph.input if given.name not in weights]
    if len(inputs) < len(model.graph.input):
        del model.graph.input[:]
        model.graph.input.extend(inputs)
        model.ir_version = max(model.ir_version, 4)
    return model


def rename_output(model: onnx.ModelProto, old: str, new: str) -> None:
    """Gives a graph output another name, in place; what had that name inside the graph gives way."""
    if old == new:
        return
    _rename(model, new, f"{new}_inner")
    _rename(model, old, new)


def name_inputs(model: onnx.ModelProto, names: list[str]) -> None:
    """Gives the graph inputs these names, in order and in place; what had one inside the graph gives way."""
    given = [i.name for i in model.graph.input]
    for place, old in enumerate(given):
        _rename(model, old, f"_input_{place}")
    for place, new in enumerate(names):
        _rename(model, new, f"{new}_inner")
        _rename(model, f"_input_{place}", new)


def _rename(model: onnx.ModelProto, old: str, new: str) -> None:
    for node in model.graph.node:
        node.output[:] = [new if n == old else n for n in node.output]
        node.input[:] = [new if n == old else n for n in node.input]
    for named in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        if named.name == old:
            named.name = new


def keep_outputs(model: onnx.ModelProto, names: list[str]) -> None:
    """Drops every graph output but these (in this order) and the nodes that only the others needed, in place."""
    by_name = {o.name: o for o in model.graph.output}
    kept = [by_name[n] for n in names]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    drop_dead_nodes(model)


def drop_dead_nodes(model: onnx.ModelProto) -> None:
    """Drops nodes and constants that no output needs, in place. Subgraphs keep what they use."""
    needed = {o.name for o in model.graph.output}
    alive: list[Any] = []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            alive.append(node)
            needed.update(_inputs(node))
    del model.graph.node[:]
    model.graph.node.extend(reversed(alive))
    constants = [i for i in model.graph.initializer if i.name in needed]
    del model.graph.initializer[:]
    model.graph.initializer.extend(constants)


def _inputs(node: Any) -> set[str]:
    names = set(node.input)
    for attribute in node.attribute:
        for graph in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]:
            for inner in graph.node:
                names |= _inputs(inner)
            names |= {o.name for o in graph.output}
    return names


def append(
    model: onnx.ModelProto, operator: str, source: str, result: str, operand: Array | None = None, **attributes: Any
) -> None:
    """Puts an operator of the standard set behind the output `source`; the result takes its place.

    `operand` is the second input of one that takes two.
    """
    onnx = library()
    inner = f"{source}_before_{operator}_{len(model.graph.node)}"
    position = [o.name for o in model.graph.output].index(source)
    rename_output(model, source, inner)
    inputs = [inner]
    if operand is not None:
        kind = onnx.helper.tensor_dtype_to_np_dtype(model.graph.output[position].type.tensor_type.elem_type)
        inputs.append(f"{inner}_operand")
        model.graph.initializer.append(onnx.numpy_helper.from_array(operand.astype(kind), inputs[1]))
    model.graph.node.append(onnx.helper.make_node(operator, inputs, [result], **attributes))
    model.graph.output[position].name = result


def declare_trees_float(model: onnx.ModelProto) -> None:
    """Declares float32 what trees give, in place: some converters say float64 because that is what goes in."""
    makers = {name: node for node in model.graph.node for name in node.output}
    for output in model.graph.output:
        node = makers.get(output.name)
        while node is not None and node.op_type == "Identity":
            node = makers.get(node.input[0])
        if node is not None and node.op_type.startswith("TreeEnsemble"):
            output.type.tensor_type.elem_type = library().TensorProto.FLOAT


def dims(value: Any) -> list[int | str | None]:
    """The declared shape of a graph input or output; None where a dimension is free without a symbol."""
    shape = value.type.tensor_type.shape
    return [d.dim_value if d.HasField("dim_value") else (d.dim_param or None) for d in shape.dim]


def is_network(model: Any) -> bool:
    """True for a graph of the standard operators only: no trees, no operator of one runtime."""
    return all(n.domain in ("", "ai.onnx") for n in model.graph.node) and not model.functions


def require_network(model: Any, quantization: str) -> None:
    """Raises ConfigError for a graph that cannot be quantised: trees and pipelines."""
    if not is_network(model):
        raise ConfigError(
            f"--quantize {quantization}: this model is of trees, a pipeline or one runtime's own operators, which have "
            "no such kernels; leave --quantize out"
        )


@contextmanager
def refusing(quantization: str) -> Iterator[None]:
    """Turns what ONNX Runtime's quantisers raise into an UnsupportedError that gives the reason in a line."""
    try:
        yield
    except (*_QUANTISERS_RAISE, library().version_converter.ConvertError) as exc:
        raise UnsupportedError(
            f"--quantize {quantization}: ONNX Runtime cannot quantise this model: {one_line(exc)}; leave --quantize out"
        ) from exc


def same_signature(one: Any, other: Any) -> bool:
    """True where two models have the same inputs and outputs by name and type, in order."""

    def signature(model: Any) -> list[tuple[str, int]]:
        constants = {i.name for i in model.graph.initializer}
        values = [*(i for i in model.graph.input if i.name not in constants), *model.graph.output]
        return [(v.name, v.type.tensor_type.elem_type) for v in values]

    return signature(one) == signature(other)


def named_nodes(model: Any) -> Any:
    """The model, changed in place: every node has a name, and no two the same."""
    seen: set[str] = set()
    for place, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_{place}"
        seen.add(node.name)
    return model


def constant_sizes(model: Any) -> dict[str, int]:
    """How many numbers each constant holds, by name."""
    sizes = {}
    for constant in model.graph.initializer:
        count = 1
        for length in constant.dims:
            count *= length
        sizes[constant.name] = int(count)
    return sizes


def scales_by_batch(model: Any) -> bool:
    """True where a scale is found over all rows of a tensor, so that neighbours change answers."""
    return any(n.op_type in ("DynamicQuantizeLinear", "DynamicQuantizeLSTM") for n in model.graph.node)


def unknown_operators(model: Any) -> list[str]:
    """Operators of the standard set by name that there are none of: a converter left them as its framework has them."""
    defined = library().defs.has
    return sorted({n.op_type for n in model.graph.node if n.domain in ("", "ai.onnx") and not defined(n.op_type)})


def erf_for_erfc(model: Any) -> None:
    """Writes 1 - Erf where a converter has left TensorFlow's Erfc (the exact GELU), in place."""
    helper = library().helper
    nodes: list[Any] = []
    for node in model.graph.node:
        if node.op_type != "Erfc":
            nodes.append(node)
            continue
        inner, one = f"{node.output[0]}_erf", f"{node.output[0]}_one"
        constant = helper.make_tensor(one, library().TensorProto.FLOAT, [], [1.0])
        nodes.append(helper.make_node("Constant", [], [one], value=constant))
        nodes.append(helper.make_node("Erf", list(node.input), [inner]))
        nodes.append(helper.make_node("Sub", [one, inner], list(node.output)))
    ordered = [type(n).FromString(n.SerializeToString()) for n in nodes]
    del model.graph.node[:]
    model.graph.node.extend(ordered)

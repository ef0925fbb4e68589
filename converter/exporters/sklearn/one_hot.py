"""Our own converter for OneHotEncoder: numbers that need not be whole, texts beside numbers, rare categories as one.

skl2onnx refuses categories such as 0.5 and takes 0.3 for 0; of rare categories (`min_frequency`, `max_categories`) it
knows those of texts with a column each, and none with values that were never seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from converter.exporters.sklearn import estimators
from converter.exporters.sklearn.nodes import BOOL, FLOAT, Nodes, numbers_of
from converter.exporters.sklearn.target_encoder import hot_texts
from edge.data.tensor import Array

TO_INFREQUENT = ("infrequent_if_exist", "warn")
"""What a value that was never seen is among, where there are rare ones."""


def shape(operator: Any) -> None:
    """The output's shape: skl2onnx counts each of the rare categories."""
    from skl2onnx.common._registration import get_shape_calculator

    encoder = operator.raw_operator
    get_shape_calculator("SklearnOneHotEncoder")(operator)
    if estimators.has_infrequent(encoder):
        kept = [_kept(encoder, column) for column in range(len(encoder.categories_))]
        width = sum(len(often) + with_rare for _, often, with_rare in kept)
        operator.outputs[0].type.shape = [operator.inputs[0].get_first_dimension(), width]


def convert(scope: Any, operator: Any, container: Any) -> None:
    """The converter, by skl2onnx's convention."""
    from skl2onnx.common.data_types import Int64TensorType, StringTensorType
    from skl2onnx.operator_converters.one_hot_encoder import convert_sklearn_one_hot_encoder

    encoder = operator.raw_operator
    known = [np.asarray(c) for c in encoder.categories_]
    texts = [isinstance(i.type, StringTensorType) for i in operator.inputs]
    if encoder.handle_unknown == "error":  # an unknown text is one of skl2onnx's operator, as it is scikit-learn's
        rare = all(texts) and estimators.has_infrequent(encoder)
        ours = rare or takes_unknown(encoder)
    else:
        rare = encoder.handle_unknown in TO_INFREQUENT or estimators.has_infrequent(encoder)
        mixed = any(texts) and not all(texts)
        ours = rare or mixed or (_are_numbers(known) and not isinstance(operator.inputs[0].type, Int64TensorType))
    if ours:
        _by_column(scope, operator, container, known)
        return
    convert_sklearn_one_hot_encoder(scope, operator, container)


def takes_unknown(encoder: Any) -> bool:
    """True where the file gives zeros for a value that the encoder itself refuses: its numbers are not all whole."""
    known = [np.asarray(c) for c in encoder.categories_]
    whole = all(c.dtype.kind in "iub" or np.all(c == np.rint(c)) for c in known if c.dtype.kind in "fiu")
    return encoder.handle_unknown == "error" and _are_numbers(known) and not whole and encoder.drop_idx_ is None


def _are_numbers(known: list[Array]) -> bool:
    return all(c.dtype.kind in "fiub" and np.isfinite(c).all() for c in known)


def _by_column(scope: Any, operator: Any, container: Any, known: list[Array]) -> None:
    """Each column by itself: which category it is, and the places of that in the output."""
    from skl2onnx.common.data_types import StringTensorType, guess_proto_type

    encoder, graph = operator.raw_operator, Nodes(scope, container)
    hot: list[str] = []
    for place, (name, variable) in enumerate(_columns(graph, operator.inputs)):
        categories = known[place]
        if isinstance(variable.type, StringTensorType):
            found = hot_texts(graph, name, categories, zeros=int(encoder.handle_unknown != "error"))
        else:
            found = graph.node("Cast", _equal(graph, name, categories, numbers_of(variable)), to=FLOAT)
        hot += _placed(graph, encoder, place, found)
    to = guess_proto_type(operator.outputs[0].type)
    graph.node("Cast", graph.node("Concat", hot, axis=1), operator.outputs[0].full_name, to=to)


def _columns(graph: Nodes, inputs: Any) -> Iterator[tuple[str, Any]]:
    """The name of each column as [rows, 1], and the variable that it is of."""
    for variable in inputs:
        width = variable.type.shape[1]
        for column in range(width):
            one = [variable.full_name, graph.constant(np.array([column]))]
            yield (variable.full_name if width == 1 else graph.node("Gather", one, axis=1)), variable


def _equal(graph: Nodes, column: str, categories: Array, numbers: type) -> str:
    """The name of bool [rows, categories]."""
    values: Array = np.asarray(categories, dtype=numbers).reshape(1, -1)
    same = graph.node("Equal", [column, graph.constant(values)])
    if not np.isnan(values).any():
        return same
    gap = graph.node("Cast", graph.constant(np.isnan(values).astype(np.int64)), to=BOOL)
    return graph.node("Or", [same, graph.node("And", [graph.node("IsNaN", column), gap])])


def _placed(graph: Nodes, encoder: Any, column: int, found: str) -> Iterator[str]:
    """The names of what stands in the output for `found` [rows, categories]: no table of categories by outputs, which
    of 2,000 is larger than any model behind it."""
    rare, often, with_rare = _kept(encoder, column)
    if len(often) == len(rare):
        yield found
    else:  # also of none: all are rare, and dropped
        yield graph.node("Gather", [found, graph.constant(often)], axis=1)
    if with_rare:
        unknown = encoder.handle_unknown in TO_INFREQUENT
        counted = (~rare if unknown else rare).astype(np.float32).reshape(-1, 1)
        one = graph.node("MatMul", [found, graph.constant(counted)])
        yield graph.node("Sub", [graph.constant(np.ones((), np.float32)), one]) if unknown else one


def _kept(encoder: Any, column: int) -> tuple[Array, Array, bool]:
    """Which categories are rare, the places of those with a column of their own, and whether the rare have one."""
    categories = encoder.categories_[column]
    named = getattr(encoder, "infrequent_categories_", [None] * (column + 1))[column]
    named = [] if named is None else list(named)
    gap = any(r != r for r in named)  # one NaN is not the other
    known = {r for r in named if r == r}
    rare = np.array([c in known if c == c else gap for c in categories], dtype=bool)
    often, with_rare = np.flatnonzero(~rare), bool(rare.any())
    dropped = None if encoder.drop_idx_ is None else encoder.drop_idx_[column]
    if dropped is not None:
        with_rare = with_rare and not rare[dropped]
        often = often[often != dropped]
    return rare, often, with_rare

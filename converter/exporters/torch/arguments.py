"""What a PyTorch module takes: its inputs, and example rows for them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np

from converter.errors import SampleFileError
from converter.networks import beside
from converter.options import Options
from converter.rows.rows import Rows
from converter.source import Source
from edge.data.sample import EncodedImage
from edge.data.tensor import Array, TensorSpec

EXAMPLE_ROWS = 3
HALF = frozenset({"float16", "bfloat16"})
_EMBEDDINGS = ("Embedding", "EmbeddingBag")


def specs_of(model: Any, rows: Rows | None, options: Options, source: Source) -> tuple[TensorSpec, ...]:
    """The inputs of a module, by the sample, else by its first layer. Raises SampleFileError."""
    names = parameters(model)
    if rows is None:
        return (_spec_of_first_layer(model, names[0], options, source),)
    if rows.table or len(rows.arrays) == 1:
        return (_spec_of_rows(model, names[0], rows, options, source),)
    strange = [n for n in rows.arrays if n not in names]
    if strange:
        raise SampleFileError(
            f"the sample has an array {strange[0]!r}; forward takes {', '.join(names)}: {_way_of_names(names, rows)}"
        )
    return tuple(
        TensorSpec(name=n, dtype=_dtype(rows.arrays[n], _numbers(model)), shape=(None, *rows.arrays[n].shape[1:]))
        for n in names
        if n in rows.arrays
    )


def _way_of_names(names: Sequence[str], rows: Rows) -> str:
    """What to do where a .npz has other arrays than forward has parameters."""
    if len(rows.arrays) <= len(names):
        return "name the arrays as those"
    return (
        "where one is a tuple, a list or a dict of tensors, convert a module around it whose forward takes each tensor "
        f"by position (def forward(self, {', '.join(rows.arrays)})) and hands them on as one; else leave the rest out "
        "of the sample"
    )


def parameters(model: Any) -> list[str]:
    """What the forward of a module takes by position, by name; `input` where it does not say."""
    schema = getattr(getattr(model, "forward", None), "schema", None)
    if schema is not None:
        return [a.name for a in schema.arguments if a.name != "self"]
    parameters = inspect.signature(model.forward).parameters.values()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return names or ["input"]  # forward(*args)


def precisions(model: Any) -> set[str]:
    """What the weights of a module are: float32, float64, float16, bfloat16; whole numbers are left out."""
    return {str(p.dtype).removeprefix("torch.") for p in model.parameters() if p.is_floating_point()}


def _numbers(model: Any) -> str:
    """What a module takes for numbers: float64 where it is of float64 throughout."""
    return "float64" if precisions(model) == {"float64"} else "float32"


def _dtype(array: Array, numbers: str) -> str:
    return {"i": "int64", "u": "int64", "b": "bool"}.get(array.dtype.kind, numbers)


def first_layer(model: Any) -> Any:
    """The first layer with weights, as they were declared."""
    for layer in model.modules():
        if not list(layer.children()) and (list(layer.parameters(recurse=False)) or _kind(layer) in _EMBEDDINGS):
            return layer
    return None


def _kind(layer: Any) -> str:
    return str(getattr(layer, "original_name", type(layer).__name__))


def vocabulary(model: Any) -> int:
    """How many words the first embedding knows; 2 where there is none."""
    embeddings = [m for m in (model.modules() if hasattr(model, "modules") else ()) if _kind(m) in _EMBEDDINGS]
    return int(embeddings[0].weight.shape[0]) if embeddings else 2


def _spec_of_rows(model: Any, name: str, rows: Rows, options: Options, source: Source) -> TensorSpec:
    if rows.table:
        return TensorSpec(name=name, dtype=_numbers(model), shape=(None, len(rows.names)))
    array = rows.array
    if array.dtype == object or (array.dtype == np.uint8 and array.ndim in (3, 4)):
        return _picture_spec(model, name, array, options, source)
    # Of a table some columns may be looked up and others be measured: fractions are never cut off.
    whole = _kind(first_layer(model)) in _EMBEDDINGS and np.array_equal(array, np.trunc(array))
    return TensorSpec(name=name, dtype="int64" if whole else _numbers(model), shape=(None, *array.shape[1:]))


def _picture_spec(model: Any, name: str, array: Array, options: Options, source: Source) -> TensorSpec:
    layer = first_layer(model)
    channels = int(layer.weight.shape[1]) if _kind(layer) == "Conv2d" and getattr(layer, "groups", 1) == 1 else 3
    if array.dtype != object and array.ndim == 4 and array.shape[1] == channels and array.shape[3] not in (1, 3, 4):
        return TensorSpec(name=name, dtype=_numbers(model), shape=(None, *array.shape[1:]))
    size = options.input_size or beside.read(source.path).pictures.size
    if size is None and not isinstance(array[0], EncodedImage):
        size = (int(array.shape[2]), int(array.shape[1]))
    if size is None:
        raise SampleFileError("how large are the model's pictures? say it: --input-size 224x224, for instance")
    return TensorSpec(name=name, dtype=_numbers(model), shape=(None, channels, size[1], size[0]))


def _spec_of_first_layer(model: Any, name: str, options: Options, source: Source) -> TensorSpec:
    layer = first_layer(model)
    kind = _kind(layer)
    if kind == "Linear":
        return TensorSpec(name=name, dtype=_numbers(model), shape=(None, int(layer.weight.shape[1])))
    size = options.input_size or beside.read(source.path).pictures.size
    if kind == "Conv2d" and size is not None:
        return TensorSpec(name=name, dtype=_numbers(model), shape=(None, int(layer.weight.shape[1]), size[1], size[0]))
    raise SampleFileError(
        f"{source.name}: a PyTorch module does not say what it takes; give --sample (or --input-size for pictures)"
    )


def example_of(specs: Sequence[TensorSpec], rows: Rows | None) -> list[Array]:
    """`EXAMPLE_ROWS` rows in the shapes of the specs: the sample's own where it has such, else zeros."""
    arrays: list[Array] = []
    for spec in specs:
        shape = tuple(d if isinstance(d, int) else 16 for d in (spec.shape or ())[1:])
        array = None if rows is None or rows.table else rows.arrays.get(spec.name, rows.arrays.get(""))
        if array is not None and array.dtype != object and array.shape[1:] == shape:
            arrays.append(np.resize(array[:EXAMPLE_ROWS], (EXAMPLE_ROWS, *shape)).astype(spec.dtype))
        else:
            arrays.append(np.zeros((EXAMPLE_ROWS, *shape), dtype=spec.dtype))
    return arrays

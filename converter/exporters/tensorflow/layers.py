"""The layers of a Keras model, and those that no file can hold: refused by name, with the way out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from converter.errors import UnsupportedError
from converter.source import Source

_LOOKS_UP = {"IntegerLookup", "StringLookup", "TextVectorization", "Hashing", "HashedCrossing"}
_BY_CHANCE = ("Dropout", "Noise", "Random", "RandAugment", "AugMix", "MixUp", "CutMix")
_IN_TRAINING_ONLY = ("AugMix", "CutMix", "MixUp", "RandAugment", "Solarization")


def walk(model: Any) -> Iterator[Any]:
    """Every layer of a model and of the models inside of it, without those models themselves."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from walk(layer)
        else:
            yield layer


def augments(kind: str) -> bool:
    """Whether layers of this class change pictures in training only, and need random numbers that no file has."""
    return (kind.startswith("Random") and kind != "RandomCrop") or kind in _IN_TRAINING_ONLY


def parts(config: Any) -> Iterator[dict[str, Any]]:
    """Every part of a configuration that names a class."""
    stack = [config]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if isinstance(value.get("class_name"), str):
                yield value
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)


def refuse(model: Any, source: Source) -> None:
    """Raises UnsupportedError for a layer that keeps its state, looks values up in a table, or trains at prediction."""
    keeps = [layer.name for layer in walk(model) if getattr(layer, "stateful", False)]
    if keeps:
        raise UnsupportedError(
            f"{source.name}: {', '.join(keeps[:3])} keeps its state from row to row (stateful=True), and a file keeps "
            "nothing: build it without, and take the state as an input (initial_state) and give it back as an output "
            "(return_state=True)"
        )
    tables = [layer for layer in walk(model) if type(layer).__name__ in _LOOKS_UP]
    if tables:
        named = ", ".join(f"{layer.name} ({type(layer).__name__})" for layer in tables[:3])
        raise UnsupportedError(
            f"{source.name}: {named} looks values up in a table or hashes them, which neither ONNX nor TFLite can; do "
            f"that before the model, and convert the layers that take its numbers: {_behind(model, tables[0])}"
        )
    crops = [layer for layer in walk(model) if type(layer).__name__ == "RandomCrop" and _changes_size(layer)]
    if crops:
        size = f"{crops[0].height}, {crops[0].width}"
        raise UnsupportedError(
            f"{source.name}: {crops[0].name} (RandomCrop) leaves pictures whole at inference or resizes them, as the "
            f"release of Keras has it; build the model anew with CenterCrop({size}), or Resizing, in its place"
        )
    _refuse_training(model, source)


def _changes_size(crop: Any) -> bool:
    return (crop.height, crop.width) != (crop.input.shape[crop.height_axis], crop.input.shape[crop.width_axis])


def _behind(model: Any, layer: Any) -> str:
    """What makes a model of the layers behind one."""
    if type(model).__name__ == "Sequential" and layer in model.layers:
        place = model.layers.index(layer) + 1
        return f"keras.Sequential([keras.Input(shape, dtype='int64'), *model.layers[{place}:]])"
    return f"keras.Model(model.get_layer({layer.name!r}).output, model.output)"


def _refuse_training(model: Any, source: Source) -> None:
    for part in parts(model.get_config()):
        if augments(part["class_name"]) or not _is_told_to_train(part):  # Keras itself says it of those
            continue
        inside = sorted({one["class_name"] for one in parts(part)})
        name = f"{part.get('name') or part.get('config', {}).get('name')} ({part['class_name']})"
        chance = [kind for kind in inside if any(word in kind for word in _BY_CHANCE)]
        if chance:
            cause = f"{chance[0]} is on wherever the model is called, by random numbers that a file has not"
        elif "BatchNormalization" in inside:
            cause = (
                "BatchNormalization takes mean and variance from the rows that come together wherever the model is "
                "called, and a device has one row at a time"
            )
        else:
            continue
        raise UnsupportedError(
            f"{source.name}: {name} is called with training=True, so {cause}; leave training=True out of its call, "
            "build the model anew with the same weights (set_weights), and convert that"
        )


def _is_told_to_train(part: dict[str, Any]) -> bool:
    nodes = part.get("inbound_nodes")
    calls = [node for node in nodes if isinstance(node, dict)] if isinstance(nodes, list) else []
    return any(node.get("kwargs", {}).get("training") is True for node in calls)

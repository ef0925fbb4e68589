"""Keras models that compute in half precision or float64, rebuilt in float32: devices compute in that.

float32 holds every number of float16 and bfloat16, so the weights are the same; what differs is the rounding between
the layers.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from converter.errors import UnsupportedError
from converter.exporters.tensorflow import library
from converter.networks.planning import Network, Plan
from converter.quiet import quiet
from converter.source import Source
from edge.data.tensor import Array, Tensors

HALF = ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16")
_NOTE = (
    "its layers compute in {kinds}, the file in float32 with the same weights, and is compared with that; on these "
    "rows it differs by up to {apart:.2g} from what the original says"
)


def policies(model: Any, *, double: bool) -> tuple[str, ...]:
    """What the layers of a model compute in that is not float32: half precision, and float64 where `double`."""
    wanted = (*HALF, "float64") if double else HALF
    found = {name.removeprefix("mixed_") for name in _names(model.get_config()) if name in wanted}
    return tuple(sorted(found))


def in_float32(model: Any, source: Source) -> Any:
    """The model anew with the same weights, each layer in float32. Raises UnsupportedError where Keras cannot.

    By way of a file: that is how Keras hands on everything that a layer keeps, not the weights alone.
    """
    keras = library.keras()
    own = {type(layer).__name__: type(layer) for layer in _every(model)}
    try:
        with quiet(), TemporaryDirectory(prefix="edge-convert-") as folder:
            before, after = Path(folder) / "half.keras", Path(folder) / "float32.keras"
            model.save(before)
            with zipfile.ZipFile(before) as old, zipfile.ZipFile(after, "w") as new:
                for member in old.namelist():
                    content = old.read(member)
                    if member == "config.json":
                        content = json.dumps(_float32(json.loads(content))).encode()
                    new.writestr(member, content)
            return keras.saving.load_model(after, custom_objects=own, compile=False, safe_mode=False)
    except library.REFUSALS as exc:
        raise UnsupportedError(
            f"{source.name}: its layers do not compute in float32, and Keras cannot build it in float32: "
            f"{library.why(exc)}; build it with keras.config.set_dtype_policy('float32'), set_weights those of this "
            "one, and convert that"
        ) from exc


def answered_by(exact: Network, original: Network) -> Network:
    """`exact` with the answers of `original`, whose inputs may have other names, in the same order."""
    names = [(old.name, new.name) for old, new in zip(original.inputs, exact.inputs, strict=True)]

    def forward(tensors: Tensors) -> Sequence[Array]:
        return original.forward({old: tensors[new] for old, new in names})

    return replace(exact, forward=forward)


def told(plan: Plan, original: Plan, kinds: tuple[str, ...]) -> Plan:
    """The plan with a note of how far it is from that with the original's answers, on the same rows."""
    exact, half = plan.reference(plan.rows), original.reference(plan.rows)
    apart = max((_apart(exact[n], half[n]) for n in exact), default=0.0)
    note = _NOTE.format(kinds=" and ".join(kinds), apart=apart)
    return replace(plan, notes=(*plan.notes, note))


def _apart(exact: Array, half: Array) -> float:
    with np.errstate(invalid="ignore"):
        return float(np.nanmax(np.abs(exact.astype(np.float64) - half.astype(np.float64)), initial=0.0))


def _every(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from _every(layer)


def _names(config: Any) -> Iterator[str]:
    """Every dtype and policy that a configuration names."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy" and isinstance(config.get("config"), dict):
            yield str(config["config"].get("name"))
        for key, value in config.items():
            if key == "dtype" and isinstance(value, str):
                yield value
            else:
                yield from _names(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            yield from _names(value)


def _float32(config: Any) -> Any:
    """The configuration with float32 for each of those that is not."""
    if isinstance(config, list):
        return [_float32(value) for value in config]
    if not isinstance(config, dict):
        return config
    changed = {key: _float32(value) for key, value in config.items()}
    if changed.get("class_name") == "DTypePolicy" and isinstance(changed.get("config"), dict):
        changed["config"]["name"] = _plain(changed["config"].get("name"))
    if isinstance(changed.get("dtype"), str):
        changed["dtype"] = _plain(changed["dtype"])
    return changed


def _plain(name: Any) -> Any:
    return "float32" if name in (*HALF, "float64") else name

"""Opening a model file without running what somebody put into it."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from converter.errors import UnrecognisedError, UnsafeError, UnsupportedError
from converter.options import Options
from converter.source import Source
from edge.errors import Needing, one_line

log = logging.getLogger("converter")

_KNOWN = ("sklearn", "xgboost", "lightgbm", "catboost")
# Containers, and functions that only score features: what skops leaves out and fitted models hold.
_HARMLESS = {
    "numpy.dtype", "collections.OrderedDict", "collections.defaultdict",
    *(f"sklearn.feature_selection._univariate_selection.{n}" for n in ("f_classif", "f_regression", "chi2")),
    *(f"sklearn.feature_selection._mutual_info.{n}" for n in ("mutual_info_classif", "mutual_info_regression")),
}  # fmt: skip
_SHOWN = 12


def native(source: Source, options: Options) -> Any:
    """The framework's own object of a source: given, from skops, or from a pickle that the user trusts.

    Raises UnsafeError where opening would run code and `options.trust_pickle` is not set.
    """
    if source.form == "object":
        return source.value
    if source.form == "skops":
        return _from_skops(source, options)
    if source.form == "pickle":
        return _from_pickle(source, options)
    raise UnrecognisedError(
        f"{source.name}: a {source.form} file holds no {source.framework} model; leave --framework out"
    )


def _from_skops(source: Source, options: Options) -> Any:
    with Needing("reading a skops file", "skops", "convert-sklearn"):
        from skops import io
    try:
        unknown = io.get_untrusted_types(file=source.file)
        strange = [t for t in unknown if not _is_known_class(t)]
        if strange and not options.trust_pickle:
            raise UnsafeError(
                f"{source.name}: it holds {_some(strange)}, which is not of a known framework and may run code; "
                "--trust-pickle opens it all the same"
            )
        return io.load(source.file, trusted=unknown)
    except _UNREADABLE as exc:
        raise UnrecognisedError(
            f"{source.name}: cannot be read as a skops file: {one_line(exc)}; save it again"
        ) from exc


def _is_known_class(full_name: str) -> bool:
    """True for a class that one of the frameworks itself defines, which skops only has not listed (a Tree, a loss).

    Functions are not among them, nor what a framework's module has imported from elsewhere.
    """
    if full_name in _HARMLESS:
        return True
    module, _, name = full_name.rpartition(".")
    if module.partition(".")[0] not in _KNOWN:
        return False
    try:
        kind = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return False
    return isinstance(kind, type) and kind.__module__.partition(".")[0] in _KNOWN


def _from_pickle(source: Source, options: Options) -> Any:
    imports = _some(list(source.globals))
    if not options.trust_pickle:
        raise UnsafeError(
            f"{source.name} is a pickle: opening it runs whatever it says, and it imports {imports}; "
            "--trust-pickle opens it all the same (a skops file needs no trust)"
        )
    log.warning("%s is opened as a trusted pickle; it imports %s", source.name, ", ".join(source.globals))
    with Needing("reading a pickle", "joblib", "convert-sklearn"):
        import joblib
    try:
        return joblib.load(source.file)
    except ModuleNotFoundError as exc:
        raise missing_module(source, exc) from exc
    except _UNREADABLE as exc:
        raise UnrecognisedError(f"{source.name}: the pickle cannot be read: {one_line(exc)}; save it again") from exc


# What readers of damaged or foreign files raise; a bug of ours would be none of these.
_UNREADABLE = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, OSError, ImportError, RuntimeError,
    NotImplementedError,
)  # fmt: skip


WRAPPERS = {
    "skorch": "convert the PyTorch network that it holds (net.module_), and do steps before it before the model",
    "pytorch_tabnet": "convert the PyTorch network that it holds (model.network), whose scores are logits",
}
"""Packages whose classes hold a PyTorch network, and what to take instead."""


def no_model(source: Source, value: Any, wanted: str) -> UnsupportedError:
    """The error for a file that holds something else than the model of a framework (`wanted`), with the way out."""
    kind = type(value)
    package = kind.__module__.partition(".")[0]
    if package in WRAPPERS:
        return UnsupportedError(f"{source.name} holds {package}'s {kind.__name__}; {WRAPPERS[package]}")
    if isinstance(value, Mapping | list | tuple):
        way_out = "save the model in it by itself, in a file of its own"
    else:
        way_out = "save the model that it uses by itself, and do the rest of its code before or behind it"
    return UnsupportedError(f"{source.name} holds a {kind.__name__}, not {wanted}; {way_out}")


# What a library offers itself for its own pickled models, by its module.
_OWN_EXPORTS = {"ultralytics": "yolo export model={name} format=onnx"}


def own_export(source: Source, modules: Iterable[str]) -> str:
    """The command by which a library exports its own models, where one of the modules is such a library's; else ""."""
    hint = next((_OWN_EXPORTS[m] for name in modules if (m := name.partition(".")[0]) in _OWN_EXPORTS), "")
    return hint.format(name=source.name)


def missing_module(source: Source, exc: ModuleNotFoundError) -> UnrecognisedError:
    """The error for a pickle of classes whose library is not installed here."""
    name = (exc.name or "").partition(".")[0]
    other = own_export(source, (name,))
    return UnrecognisedError(
        f"{source.name}: the pickle needs the library {name!r}, which is not installed here: pip install it"
        + (f", or let it export the model: {other}" if other else ", or put its module on PYTHONPATH")
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")

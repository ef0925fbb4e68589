"""Whether one sample can be given to two models, and their answers be compared. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from edge.errors import ConfigError
from edge.model.manifest import Feature, Input, Manifest
from edge.plugins.rows import RowRules

SHOWN = 4
"""Names that a message has room for."""


def refuse(running: Manifest, trial: Manifest, rules: RowRules, file: str) -> None:
    """Raises ConfigError where the two could never agree, or one of them would refuse each sample. `file` is the one on
    trial; `rules` are those of both for rows."""
    if running.task != trial.task:
        raise ConfigError(
            f"--trial {file} does {trial.task}, the model that runs {running.task}: they cannot be compared; "
            "try it in the place of the model"
        )
    reason = _kinds(running, trial) or _rows(running, trial, rules) or _tensors(running, trial)
    if reason:
        raise ConfigError(f"--trial {file}: {reason}")
    if reason := _classes(running, trial):
        raise ConfigError(
            f"--trial {file}: {reason}; --labels names those of the model that runs, edge-convert --labels, or a file "
            f"{file}.json beside it, those of the one on trial"
        )


def remarks(running: Manifest, trial: Manifest, rules: RowRules) -> Iterator[str]:
    """Where two readings fit: what is compared with what."""
    yield from _remarks_on_rows(running, trial, rules)
    yield from _remarks_on_classes(running, trial)
    yield from _remarks_on_values(running, trial)


# --- what they are given ----------------------------------------------------------------------------------


def _fed(manifest: Manifest) -> list[Input]:
    """The inputs that come from a sample."""
    return [i for i in manifest.inputs if i.kind != "constant" and not i.state_from]


def _kind(manifest: Manifest) -> str:
    kinds = [i.kind for i in _fed(manifest)]
    return {"table": "rows", "column": "rows", "tensor": "arrays"}.get(kinds[0], kinds[0]) if kinds else "arrays"


def _kinds(running: Manifest, trial: Manifest) -> str:
    ours, theirs = _kind(running), _kind(trial)
    return f"it takes {theirs}, the model that runs {ours}: no sample is for both" if ours != theirs else ""


def _rows(running: Manifest, trial: Manifest, rules: RowRules) -> str:
    ours, theirs = running.features, trial.features
    if not (_named(ours) and _named(theirs)):
        if len(ours) == len(theirs):
            return ""
        return (
            f"it takes rows of {len(theirs)} values, the model that runs of {len(ours)}: one of them refuses each row"
        )
    more, fewer = _only(theirs, ours), _only(ours, theirs)
    if more and not (rules.ignore_unknown or rules.absent_missing):
        return (
            f"it takes {_listed(more)}, which the model that runs refuses in a row: no row is for both; with "
            "--ignore-unknown rows may bring more than one of them takes"
        )
    if fewer and not (rules.ignore_unknown or rules.absent_missing):
        return (
            f"it does not know {_listed(fewer)}, and refuses each row that the model that runs takes; with "
            "--ignore-unknown it leaves them out"
        )
    kinds = {f.name: f.kind for f in ours}
    for feature in theirs:
        if kinds.get(feature.name, feature.kind) != feature.kind:
            return (
                f"it takes {feature.name!r} as a {feature.kind}, the model that runs as a {kinds[feature.name]}: one "
                "of them refuses each row; convert it anew from the same kind of table"
            )
    return ""


def _remarks_on_rows(running: Manifest, trial: Manifest, rules: RowRules) -> Iterator[str]:
    ours, theirs = running.features, trial.features
    if _named(ours) != _named(theirs):
        which = "the model that runs" if _named(theirs) else "the one on trial"
        yield f"the features of {which} have no names: rows have to come as arrays, in one order for both"
        return
    if not ours or not _named(ours):
        return
    more, fewer = _only(theirs, ours), _only(ours, theirs)
    if more:
        without = "are missing values for it" if rules.absent_missing else "make it skip the row"
        yield f"the model on trial takes {_listed(more)} too: where a row does not bring them they {without}"
    if fewer and not rules.ignore_unknown:
        yield f"the model on trial does not know {_listed(fewer)}: a row that brings them is skipped by it"
    if not more and not fewer and [f.name for f in ours] != [f.name for f in theirs]:
        yield (
            "the two have the same features in another order: rows by name are for both, a row that is an array is "
            "read by each in its own order"
        )
    units = {f.name: f.unit for f in ours}
    for feature in theirs:
        own = units.get(feature.name, "")
        if own and feature.unit and own != feature.unit:
            yield f"{feature.name!r} is in {own} for the model that runs, in {feature.unit} for the one on trial"


def _tensors(running: Manifest, trial: Manifest) -> str:
    if _kind(running) != "arrays":
        return ""
    ours, theirs = _fed(running), _fed(trial)
    if len(ours) != len(theirs):
        return f"it has {len(theirs)} inputs, the model that runs {len(ours)}: no sample is for both"
    for own, other in zip(ours, theirs, strict=True):
        if len(ours) > 1 and {own.name, own.key} - {""} != {other.name, other.key} - {""}:
            return f"its inputs have other names ({other.name!r} in the place of {own.name!r}): no sample is for both"
        if own.shape and other.shape and not _same_shape(own, other):
            return f"it takes {_shape(other)}, the model that runs {_shape(own)}: no array is for both"
    return ""


def _same_shape(own: Input, other: Input) -> bool:
    """Where both say a length, it is the same."""
    pairs = zip(own.shape, other.shape, strict=False)
    fixed = all(a == b for a, b in pairs if isinstance(a, int) and isinstance(b, int))
    return fixed and len(own.shape) == len(other.shape)


def _shape(one: Input) -> str:
    return f"[{', '.join('?' if d is None else str(d) for d in one.shape)}]"


# --- what they say ----------------------------------------------------------------------------------------


def _labels(manifest: Manifest) -> tuple[str, ...]:
    return manifest.labels or next((o.values for o in manifest.outputs if o.values), ())


def _says_labels(manifest: Manifest) -> bool:
    """The model itself gives texts, whatever the manifest names."""
    return any(o.role == "label" for o in manifest.outputs)


def _classes(running: Manifest, trial: Manifest) -> str:
    if running.task not in ("classify", "detect", "segment"):
        return ""
    ours, theirs = _labels(running), _labels(trial)
    if ours and theirs and not {*ours} & {*theirs}:
        return f"its classes ({_listed(theirs)}) are none of those of the model that runs ({_listed(ours)})"
    without = running if not ours else trial
    if bool(ours) != bool(theirs) and not _says_labels(without) and running.task != "detect":
        which = "the model that runs" if without is running else "it"
        return f"{which} does not name its classes, the other one does ({_listed(ours or theirs)})"
    return ""


def _remarks_on_classes(running: Manifest, trial: Manifest) -> Iterator[str]:
    if running.task not in ("classify", "detect", "segment"):
        return
    ours, theirs = _labels(running), _labels(trial)
    if not ours and not theirs:
        if not (_says_labels(running) or _says_labels(trial)):
            yield "neither of the two names its classes: those of one number are taken for the same"
    elif not ours or not theirs:
        yield f"only one of the two names its classes ({_listed(ours or theirs)}): they agree where names are the same"
    else:
        for which, names in (("the model that runs", _less(ours, theirs)), ("the one on trial", _less(theirs, ours))):
            if names:
                yield f"only {which} knows the classes {_listed(names)}: where it says so, the two differ"


def _remarks_on_values(running: Manifest, trial: Manifest) -> Iterator[str]:
    if running.task != "regress":
        return
    ours, theirs = (tuple(n for o in m.outputs for n in (o.names or (o.name,))) for m in (running, trial))
    if {*ours} != {*theirs} and ours and theirs:
        yield f"the values have other names: {_listed(ours)} is compared with {_listed(theirs)}, in that order"
    for own, other in zip(running.outputs, trial.outputs, strict=False):
        if own.unit and other.unit and own.unit != other.unit:
            yield f"{own.name!r} is in {own.unit}, {other.name!r} of the one on trial in {other.unit}"


# --- names ------------------------------------------------------------------------------------------------


def _named(features: Iterable[Feature]) -> bool:
    return all(f.name for f in features)


def _only(some: Iterable[Feature], others: Iterable[Feature]) -> list[str]:
    return _less([f.name for f in some], [f.name for f in others])


def _less(some: Iterable[str], others: Iterable[str]) -> list[str]:
    known = set(others)
    return [name for name in some if name not in known]


def _listed(names: Iterable[str]) -> str:
    shown = list(names)
    more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
    return ", ".join(repr(n) for n in shown[:SHOWN]) + more

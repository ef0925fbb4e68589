"""What models answer to some rows, as they publish it: the best class, or numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edge.data.tensor import Array
from edge.errors import ConfigError

REFUSED = "(refused)"
"""The answer to a row that the device would skip."""


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """The class of each row as text, [rows], and its name, [rows]; "(refused)" where the device would not take it."""

    values: Array
    names: Array

    def right(self, expected: Array) -> Array:
        """bool [rows]: whether the class, or its name, is the one that was expected."""
        wanted = np.array([plain(e) for e in expected], dtype=object)
        return np.asarray((self.values == wanted) | (self.names == wanted), dtype=bool)


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """What a regression predicts, float64 [rows, numbers]; NaN where the device would refuse the row."""

    values: Array


Answers = Classes | Numbers


def in_common_words(
    old: Classes, new: Classes, known_old: tuple[set[str], set[str]], known_new: tuple[set[str], set[str]]
) -> tuple[Classes, Classes]:
    """Both answers with names that mean the same: by the names of the classes, else by the classes themselves.

    A model may name its classes and the other only number them. `known_...`: the classes that the file tells of, and
    their names. Raises ConfigError where no class of one is a class of the other: every row would differ, and nothing
    would be said by that.
    """
    names_old, names_new = known_old[1] | _seen(old.names), known_new[1] | _seen(new.names)
    if names_old & names_new:
        return old, new
    if (known_old[0] | _seen(old.values)) & (known_new[0] | _seen(new.values)):
        named = dict(zip(old.values, old.names, strict=True)) | dict(zip(new.values, new.names, strict=True))
        return replace(old, names=_named(old, named)), replace(new, names=_named(new, named))
    raise ConfigError(f"--compare: the models have no class in common: {_some(names_old)} and {_some(names_new)}")


def require_known(expected: Array, known: set[str], answers: Sequence[Classes]) -> None:
    """Raises ConfigError where no expected class, [rows], is a class of a model: every row would be wrong, and nothing
    would be said by that."""
    known = known.union(*(_seen(a.values) | _seen(a.names) for a in answers)) - {REFUSED}
    wanted = {plain(e) for e in expected}
    if not wanted & known:
        raise ConfigError(
            f"--expect: no answer ({_some(wanted)}) is a class of a model; their classes are {_some(known)}"
        )


def _named(answers: Classes, names: dict[str, str]) -> Array:
    return np.array([names[c] for c in answers.values], dtype=object)


def _seen(values: Array) -> set[str]:
    return set(values) - {REFUSED}


def _some(names: set[str]) -> str:
    return ", ".join(sorted(names)[:4]) + (", ..." if len(names) > 4 else "")


def plain(value: Any) -> str:
    """A class as text; 3, 3.0 and "3" are the same one."""
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)

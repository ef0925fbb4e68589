"""Which samples are worth keeping, and what each of them is worth. Pure but for the chance that is handed in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import msgspec

from edge.capture.about import ANOMALY
from edge.data.result import Anomaly, Classification, Detection, Result, Segmentation

Rule: TypeAlias = tuple[str, float | str]
"""Its kind, one of `KINDS`, and its value: a score, a share, a class; "" where it has none."""

KINDS = ("trial-differs", "drift", "score<", "score>", "class", "random")
"""The most valuable first: where there is no room, what the last ones picked goes before all others."""
TRIAL: Rule = ("trial-differs", "")


class Picked(msgspec.Struct, frozen=True):
    """Why a sample is kept, in the words of the flag, and its worth: the larger the later it is thrown away."""

    reasons: tuple[str, ...]
    worth: int


class Rules:
    """From any thread."""

    def __init__(self, rules: Sequence[Rule], chance: Callable[[], float], drifted: Callable[[], bool]) -> None:
        """`chance` gives numbers from 0 to 1; `drifted` says whether drift is suspected now."""
        self._rules = sorted(rules, key=lambda rule: KINDS.index(rule[0]))
        self._chance = chance
        self._drifted = drifted

    def of(self, result: Result) -> Picked | None:
        """None where no rule picks it."""
        found = [rule for rule in self._rules if self._picks(rule, result)]
        return picked(found) if found else None

    def _picks(self, rule: Rule, result: Result) -> bool:
        kind, value = rule
        if kind == "score<":
            return any(score < float(value) for score in _scores(result.predictions))
        if kind == "score>":
            return any(score > float(value) for score in _scores(result.predictions))
        if kind == "class":
            return any(label == value for label in _classes(result.predictions))
        if kind == "random":
            return self._chance() < float(value)
        return kind == "drift" and self._drifted()


def picked(rules: Sequence[Rule]) -> Picked:
    """By these, of which there is at least one."""
    worth = max(len(KINDS) - KINDS.index(kind) for kind, _ in rules)
    return Picked(tuple(text(rule) for rule in rules), worth)


def text(rule: Rule) -> str:
    """As the flag has it."""
    kind, value = rule
    said = f"{value:g}" if isinstance(value, float) else value
    return f"{kind}{said}" if kind[-1] in "<>" else f"{kind}:{said}" if said else kind


def _scores(predictions: Sequence[Any]) -> Iterator[float]:
    """Of a class the best one's; of objects and lines of text each one's."""
    for prediction in predictions[:1] if _are_classes(predictions) else predictions:
        score = getattr(prediction, "score", None)
        if score is not None:
            yield score


def _classes(predictions: Sequence[Any]) -> Iterator[str]:
    for prediction in predictions[:1] if _are_classes(predictions) else predictions:
        if isinstance(prediction, (Classification, Detection)):
            yield prediction.label
        elif isinstance(prediction, Anomaly):
            yield ANOMALY[prediction.is_anomaly]
        elif isinstance(prediction, Segmentation):
            yield from (label for label, area in zip(prediction.labels, prediction.areas, strict=True) if area > 0)


def _are_classes(predictions: Sequence[Any]) -> bool:
    return bool(predictions) and isinstance(predictions[0], Classification)

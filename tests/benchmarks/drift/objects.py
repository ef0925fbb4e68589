"""What a detector finds on a street, by the watch on classes, numbers and scores: `python -m drift.objects`.

Objects come by the hour of the day, from three in an hour at night to thousands, in bursts, and stay in view for some
pictures with much the same score. A month of 360 pictures an hour is judged behind the day that arms; then, with all
learnt, the scores of all objects fall (a dirty lens, a scene that the model knows less of), beside months without.
"""

from __future__ import annotations

import argparse
import copy
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from edge.drift import reference
from edge.drift.judge import Judge, Side
from edge.drift.look import SIZE
from edge.drift.reference import Reference

PICTURES, DAY, DAYS, LEARNT = 360, 24, 31, 8
THRESHOLD = 0.25
CLASSES = ("person", "car", "bicycle")
FALLS = (0.25, 0.5, 1.0)
"""Of the logarithm of the odds: a score of 0.7 becomes 0.65, 0.59, 0.46."""


class Street(NamedTuple):
    """Objects that come in an hour, at the quietest and at the busiest; how unlike the hours of two days are."""

    name: str
    quiet: float
    busy: float
    bursts: float


STREETS = (Street("busy", 100, 800, 0.3), Street("empty at night", 1, 200, 0.5), Street("hardly anybody", 0.5, 8, 0.5))


def hour(
    street: Street, at: int, random: np.random.Generator, falls: float = 0.0
) -> tuple[list[str], list, list[float]]:
    """The classes and scores of all objects of an hour's pictures, and how many there are in each."""
    light = 0.5 - 0.5 * np.cos(2 * np.pi * at / DAY)
    rate = street.quiet + (street.busy - street.quiet) * light
    come = random.poisson(rate * random.lognormal(-(street.bursts**2) / 2, street.bursts))
    stay = random.geometric(1 / 4, come)
    first = random.integers(0, PICTURES, come)
    classes = random.choice(3, come, p=(0.6, 0.3, 0.1))
    # By day an object is seen more surely, and each in its own way, whatever the picture.
    odds = 0.4 + 0.8 * light + random.normal(0, 1.0, come) + random.normal(0, 0.1) - falls
    which = np.repeat(np.arange(come), stay)
    scores = expit(odds[which] + random.normal(0, 0.3, len(which)))
    pictures = (first[which] + np.concatenate([np.arange(n) for n in stay]) if come else first).astype(int)
    seen = (scores >= THRESHOLD) & (pictures < PICTURES)
    counts = np.bincount(pictures[seen], minlength=PICTURES)
    return [CLASSES[classes[i]] for i in which[seen]], counts.tolist(), scores[seen].tolist()


def side(street: Street, *, scores: bool) -> Side:
    """The watch on the predictions of a model whose sample is a day of that street."""
    random = np.random.default_rng(0)
    hours = [hour(street, at, random) for at in range(DAY)]
    labels = [label for one, _, _ in hours for label in one]
    found = [
        reference.of_classes({name: labels.count(name) for name in CLASSES}),
        reference.of_objects([n for _, counts, _ in hours for n in counts]),
        reference.of_scores([s for _, _, some in hours for s in some]),
    ]
    features, thumbnail, alike = reference.of_pictures(random.normal(size=(20, SIZE)))
    made = Reference(
        rows=20, features=features, thumbnail=thumbnail, alike=alike, predictions=tuple(found[: 2 + scores])
    )
    return Judge(made, DAY, "0" * 64).predictions


def window(watch: Side, found: tuple[list[str], list, list[float]], at: int) -> bool:
    """Whether it drifts."""
    places, (labels, numbers, scores) = watch.places, found
    counts = places.count_texts(0, labels) + places.count_number(1, np.asarray(numbers, np.float32))
    if places.object_score is not None:
        counts += places.count_number(places.object_score, np.asarray(scores, np.float32))
    learnt = len(watch.rule.baseline)
    wider = places.wider(counts, watch.counts, learnt)
    verdict = watch.rule.window(places.judged(counts), at % DAY, places.floor(PICTURES, counts), wider)
    if len(watch.rule.baseline) > learnt:
        watch.counts = watch.counts + counts
    return bool(verdict.drifts.any())


def month(street: Street, seed: int, *, scores: bool) -> tuple[int, list[bool]]:
    """Alarms where nothing has happened, and which falls are found within the two busiest hours."""
    random, watch = np.random.default_rng(seed + 1), side(street, scores=scores)
    alarms, before, found = 0, False, []
    for at in range(DAY * DAYS):
        if at == DAY * LEARNT + 11:
            for falls in FALLS:
                fallen, other = copy.copy(watch), np.random.default_rng(seed)
                fallen.rule = copy.copy(watch.rule)
                found.append(any(window(fallen, hour(street, at + n, other, falls), at + n) for n in (0, 1)))
        now = window(watch, hour(street, at, random), at)
        alarms += now and not before
        before = now
    return alarms, found


def main() -> None:
    """The table of tests/benchmarks/README.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--months", type=int, default=50)
    months = parser.parse_args().months
    print("| street | judged | false alarms | " + " | ".join(f"scores fall by {f:g}" for f in FALLS) + " |")
    print("|-|-|-:|" + "-:|" * len(FALLS))
    for street in STREETS:
        for scores in (False, True):
            each = [month(street, seed, scores=scores) for seed in range(months)]
            found = np.mean([some for _, some in each], axis=0)
            what = "classes, numbers, scores" if scores else "classes, numbers"
            said = " | ".join(f"{share:.0%}" for share in found)
            print(f"| {street.name} | {what} | {sum(n for n, _ in each)} in {months} months | {said} |", flush=True)


if __name__ == "__main__":
    main()

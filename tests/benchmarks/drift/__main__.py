"""`make bench-drift`: false alarms and detection of `edge.drift.rule` beside the rules in use elsewhere.

Prints the table of tests/benchmarks/README.md. `--months` of a device for our rule, of which the first `--rival-months`
are judged by the others as well, on the same samples; `--seed-from` to go on where another run ended.
"""

from __future__ import annotations

import argparse
import copy
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from edge.drift.rule import ARMED, FULL, Rule

from .rivals import installed
from .streams import FAULTS, FEATURES, HOURS, STREAMS, WINDOW, Day, Stream, days, scores

KINDS = ("place",) * FEATURES + ("spread",) * FEATURES
FLOOR = np.full(2 * FEATURES, 0.1 / WINDOW**0.5)
ALL_LEARNT = 10
"""The day with which a fault begins: with the hour-of-day baseline."""
WITHIN = {"one deviation": 2, "half a deviation": 4}


def judged(month: Sequence[Day]) -> tuple[int, dict[str, float]]:
    """Times that our rule begins to alarm where nothing has happened; and by fault in how many features, moved each by
    itself, it is found in time."""
    rule, episodes, before = Rule(KINDS, HOURS), 0, False
    found: dict[str, float] = {}
    for i, day in enumerate(month):
        if i == ALL_LEARNT:
            found = {name: found_in(copy.copy(rule), day.moved[name], WITHIN[name]) for name in FAULTS}
        for hour, window in enumerate(day.scores):
            now = bool(rule.window(window, hour, FLOOR).drifts.any())
            episodes += now and not before
            before = now
    return episodes, found


def found_in(rule: Rule, hours: np.ndarray, within: int) -> float:
    """The share of the features, all of which have moved, that are found within so many windows. Each is judged by
    itself: the others are no help, and nothing is learnt any more."""
    found = np.zeros(2 * FEATURES, dtype=bool)
    for hour, window in enumerate(hours[:within]):
        found |= rule.window(window, hour, FLOOR).drifts != 0
    return float((found[:FEATURES] | found[FEATURES:]).mean())


def run(stream: Stream, months: Sequence[int], rival_months: int) -> Iterator[str]:
    """The lines of the table for one stream."""
    ours: list[int] = []
    alarmed, detected = Counter[str](), {name: [] for name in FAULTS}
    rivals = installed()
    for number in months:
        month: list[Day] = []
        for i, day in enumerate(days(stream, number)):
            if number - months[0] < rival_months:
                for rival in rivals:
                    if i == 0:
                        rival.learn(day)
                    else:
                        alarmed[rival.name] += rival.alarms(day)
            moved = {name: scores(day.samples + np.float32(by)) for name, by in FAULTS.items() if i == ALL_LEARNT}
            month.append(Day(np.empty(0), day.scores, moved))
        episodes, found = judged(month)
        ours.append(episodes)
        for name, share in found.items():
            detected[name].append(share)
    said = ", ".join(f"{name}: {np.mean(shares):.1%} within {WITHIN[name]}" for name, shares in detected.items())
    yield f"| {stream.name} | ours | {sum(ours)} in {len(ours)} months | {said} |"
    for rival in rivals if rival_months else ():
        each = alarmed[rival.name] / min(rival_months, len(months))
        yield f"| {stream.name} | {rival.name} | {each:.0f} of 720 windows a month | |"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--months", type=int, default=200)
    parser.add_argument("--rival-months", type=int, default=1)
    parser.add_argument("--seed-from", type=int, default=0)
    parser.add_argument("--stream", type=int, action="append", choices=range(len(STREAMS)), help="which; default: all")
    said = parser.parse_args()
    print(
        f"armed after {ARMED} windows, all learnt after {FULL}; 30 features, 720 samples a window, 720 windows a month"
    )
    print("| stream | rule | false alarms | detection (windows), all learnt |\n| --- | --- | ---: | --- |")
    months = range(said.seed_from, said.seed_from + said.months)
    for number in said.stream or range(len(STREAMS)):
        for line in run(STREAMS[number], months, said.rival_months):
            print(line, flush=True)


if __name__ == "__main__":
    main()

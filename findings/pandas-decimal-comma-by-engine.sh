#!/usr/bin/env bash
# pandas 3.1.1: one CSV with decimal=",", two parsers: the Python one reads 1.234 as a number, and rewrites a cell of text.
#
# One would expect: with decimal="," a cell `1.234` is no decimal number, whichever parser reads the file, and a column that
# turns out to be text holds what stands in the file.
# What happens: the C parser leaves such a column as text, which is noticed. The Python parser takes 1.234 for a number, so
# 1234 of a German spreadsheet becomes 1.234. In a column of names it turns `1,5` into `1.5`, though the column stays text.
# sep=None, which finds the separator, takes the Python parser, with a warning that speaks of the separator alone.
# Why it matters: a table of training and one of the device differ by a factor of a thousand, or a category is not known,
# depending on a flag that says nothing of numbers. thousands="." makes both parsers right; dtype=str keeps the cells of text.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pandas==3.1.1 numpy==2.4.6
cat > "$folder/read.py" <<'PYTHON'
import io
import warnings

import pandas as pd

warnings.simplefilter("ignore")
TEXT = "part;price\n1,5;1.234\nB7;2,5\n"


def read(**more):
    return pd.read_csv(io.StringIO(TEXT), decimal=",", **more)


c, python, found = read(sep=";", engine="c"), read(sep=";", engine="python"), read(sep=None)
print("pandas", pd.__version__)
for name, table in (("C parser", c), ("Python parser", python), ("sep=None", found)):
    print(f"{name:14} {table.values.tolist()} {[str(kind) for kind in table.dtypes]}")
assert c.price.tolist() == ["1.234", "2,5"], "the C parser has changed"
assert python.price.tolist() == [1.234, 2.5], "the Python parser's numbers have changed"
assert c.part.tolist() == ["1,5", "B7"], "the C parser's text has changed"
assert python.part.tolist() == ["1.5", "B7"], "the Python parser leaves text alone now: it has changed"
assert python.equals(found), "sep=None takes another parser now"
right = [read(sep=";", engine=engine, thousands=".", dtype={"part": str}) for engine in ("c", "python")]
assert all(table.values.tolist() == [["1,5", 1234.0], ["B7", 2.5]] for table in right), "the way out has changed"
PYTHON
"$folder/venv/bin/python" "$folder/read.py"

"""Labels in tables and in YAML: just enough of both to read a list of names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from edge.model.label_text import UnclearError

_INDEX = re.compile(
    r"^(#|id|ids|idx|index|class_?id|class_?index|class_?idx|label_?id|category_?id|number|no\.?)$", re.I
)
_NAME = re.compile(
    r"^(display_?name|class_?names?|label_?names?|category_?names?|names?|labels?|class|classes|category|title)$", re.I
)
_AMOUNT = re.compile(
    r"count|amount|total|samples|images|instances|objects|support|freq|rank|priority|weight|size|seen|area", re.I
)
"""What may be 1 to N by chance, and numbers nothing."""
_BEST_NAMES = ("display", "name", "label")
Key = TypeVar("Key")
Value = TypeVar("Value")


class TwiceError(UnclearError):
    """A key or an index that comes twice, or two tables that disagree: which name is meant nothing says."""


def once(pairs: Iterable[tuple[Key, Value]]) -> dict[Key, Value]:
    """A mapping of them. Raises TwiceError."""
    mapping: dict[Key, Value] = {}
    for key, value in pairs:
        if key in mapping:
            raise TwiceError(f"{key!r} comes twice, as {mapping[key]!r} and {value!r}"[:200])
        mapping[key] = value
    return mapping


def cells(line: str) -> list[str]:
    """The fields of one line, between commas, else semicolons."""
    import csv  # only for labels that are written so

    return next(csv.reader([line], delimiter="," if "," in line else ";", skipinitialspace=True))


def name_of(record: Mapping[str, object]) -> str | None:
    """The name in a record such as `{"id": 1, "name": "cat"}`."""
    said = {k: v for k, v in record.items() if isinstance(k, str) and _NAME.match(k) and isinstance(v, str)}
    best = [v for word in _BEST_NAMES for k, v in said.items() if word in k.lower()]
    return next(iter([*best, *said.values()]), None)


def index_of(record: Mapping[str, object]) -> int | None:
    """The index in it."""
    return next((v for k, v in record.items() if isinstance(k, str) and _INDEX.match(k) and type(v) is int), None)


def from_pairs(pairs: Sequence[Sequence[object]]) -> Mapping[int, str]:
    """Of an index and a name each, in either order, the same in all; else nothing. Raises TwiceError."""
    for index, name in ((0, 1), (1, 0)):
        if all(type(pair[index]) is int and isinstance(pair[name], str) for pair in pairs):
            return once((int(str(pair[index])), str(pair[name])) for pair in pairs)
    return {}


def from_pbtxt(text: str) -> Mapping[int, str]:
    """Index to name of a label map of TensorFlow. Raises TwiceError."""
    pairs: list[tuple[int, str]] = []
    for item in re.findall(r"item\s*\{(.*?)\}", text, re.DOTALL):
        number = re.search(r"\bid\s*:\s*(\d+)", item)
        name = re.search(r"\bdisplay_name\s*:\s*[\"'](.*?)[\"']", item) or re.search(
            r"\bname\s*:\s*[\"'](.*?)[\"']", item
        )
        if number and name:
            pairs.append((int(number[1]), name[1]))
    return once(pairs)


def from_csv(lines: Sequence[str]) -> Mapping[int, str] | None:
    """Index to name of a table with a header, or of names and indexes in two columns; None for other text."""
    if len(lines) < 2:
        return None
    rows = _rows(lines)
    header = [title or ("index" if at == 0 else "") for at, title in enumerate(rows[0])]  # pandas leaves it out
    if not any(_NAME.match(c) or _INDEX.match(c) for c in header) or not all(c and not c.isdigit() for c in header):
        return _turned(rows, quoted=all(line.startswith('"') for line in lines))
    if len(header) == 1 and not _NAME.match(header[0]):
        return None  # a lone "no" or "number" is a class (of speech, say): there is no index without names beside it
    columns = [[r[i] if i < len(r) else "" for r in rows[1:]] for i in range(len(header))]
    name = _names(header, columns)
    if name is None:
        return _turned(rows)
    index = _index(header, columns, name)
    if index is None and len(header) == 1 and len(rows) < 3:
        return None  # two lines, one of which is "name": two classes as likely as a table of one
    if index is None:
        return dict(enumerate(columns[name]))
    return once((int(n), text) for n, text in zip(columns[index], columns[name], strict=True))


def _names(header: Sequence[str], columns: Sequence[Sequence[str]]) -> int | None:
    """The column of the names, of several the one for people; numbers are names where no column of words is left."""
    said = [i for i, c in enumerate(header) if _NAME.match(c)]
    words = [i for i, values in enumerate(columns) if not _are_numbers(values)]
    best = [i for word in _BEST_NAMES for i in said if word in header[i].lower() and i in words]
    best += [i for i in said if i in words]
    if not best and len(words) == 1:
        return words[0]
    return next(iter(best or said), None)


def _index(header: Sequence[str], columns: Sequence[Sequence[str]], name: int) -> int | None:
    """The column of the indexes: by its title, else one that counts from 0 or 1 in any order."""
    for at, title in enumerate(header):
        if at != name and _INDEX.match(title) and _are_numbers(columns[at]):
            return at
    for at, values in enumerate(columns):
        numbers = sorted(int(v) for v in values) if at != name and _are_numbers(values) else []
        if _AMOUNT.search(header[at]):
            continue
        if len(numbers) > 1 and numbers in (list(range(len(numbers))), list(range(1, len(numbers) + 1))):
            return at
    return None


def _are_numbers(values: Sequence[str]) -> bool:
    return bool(values) and all(v.isdecimal() for v in values)


def _rows(lines: Sequence[str]) -> list[list[str]]:
    if not any(s in lines[0] for s in ",;\t"):
        return [[unquoted(line)] for line in lines]
    import csv  # for those who write them so

    separator = ";" if lines[0].count(";") > lines[0].count(",") else "\t" if "\t" in lines[0] else ","
    return [[c.strip() for c in r] for r in csv.reader(lines, delimiter=separator, skipinitialspace=True)]


def _turned(rows: Sequence[Sequence[str]], *, quoted: bool = False) -> Mapping[int, str] | None:
    """`cat,0`, `"0","cat"`: name and index without a header."""
    if quoted and all(len(r) == 2 and r[0].isdigit() for r in rows):
        return once((int(number), name) for number, name in rows)
    if not all(len(r) == 2 and r[1].isdigit() and not r[0].isdigit() for r in rows):
        return None
    by_index = {int(r[1]): r[0] for r in rows}
    return by_index if sorted(by_index) == list(range(len(rows))) else None


def from_yaml(text: str, keys: Sequence[str]) -> object:
    """The list or mapping below the first of `keys` that the text has at its left edge; None where there is none."""
    lines = [_uncommented(line) for line in text.split("\n")]
    for key in keys:
        found = [(at, m) for at, line in enumerate(lines) if (m := re.match(rf"['\"]?{key}['\"]?\s*:\s*(.*)$", line))]
        if len(found) > 1:
            raise TwiceError(f"{key!r} comes twice, in the lines {found[0][0] + 1} and {found[1][0] + 1}")
        for at, match in found:
            rest = match[1].strip()
            return _flow(" ".join([rest, *_indented(lines[at + 1 :])])) if rest else _block(lines[at + 1 :])
    return None


def _uncommented(line: str) -> str:
    """Without a comment, which begins with # at the start or after a space, outside of quotes."""
    quote = ""
    for at, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"" and (at == 0 or line[at - 1] in " [{,:"):
            quote = letter
        elif letter == "#" and (at == 0 or line[at - 1].isspace()):
            return line[:at].rstrip()
    return line.rstrip()


def _indented(lines: Sequence[str]) -> Iterator[str]:
    """The lines that belong to the key before: indented, or the end of a bracket."""
    for line in lines:
        if line and not line[0].isspace() and line[0] not in "]}-":
            return
        if line.strip():
            yield line.strip()


def _block(lines: Sequence[str]) -> object:
    entries = list(_indented(lines))
    if entries and all(e.startswith("-") for e in entries):
        return [unquoted(e[1:]) for e in entries]
    pairs = [e.partition(":") for e in entries]
    if entries and all(colon for _, colon, _ in pairs):
        return _mapping(pairs)
    return _flow(" ".join(entries))


def _flow(text: str) -> object:
    """`[a, 'b']` or `{0: a, 1: b}`; None for anything else."""
    text = text.strip()
    if text[:1] + text[-1:] not in ("[]", "{}"):
        return None
    entries = [e for e in _split(text[1:-1]) if e.strip()]
    if text[0] == "[":
        return [unquoted(e) for e in entries]
    return _mapping([e.partition(":") for e in entries])


def _split(text: str) -> list[str]:
    """At commas outside of quotes; a quote opens at the start of a value only (`it's` is a plain one)."""
    parts, quote, start = [""], "", True
    for letter in text:
        if letter == "," and not quote:
            parts.append("")
            start = True
            continue
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"" and (start or parts[-1].strip()[:1] == letter):  # doubled, it stands for itself
            quote = letter
        start = letter == ":" or (start and letter.isspace())
        parts[-1] += letter
    return parts


def unquoted(text: str) -> str:
    """A name without the quotes around it."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        inner = text[1:-1]
        return inner.replace("''", "'") if text[0] == "'" else _unescaped(inner)
    return text


def _mapping(pairs: Sequence[tuple[str, str, str]]) -> Mapping[str, str | int]:
    """A number without quotes is one where its key is none: `cat: 0` is name to index, `0: 7` index to name."""
    entries = ((unquoted(key), value.strip()) for key, _, value in pairs)
    return once((n, int(v) if v.isdigit() and not n.isdigit() else unquoted(v)) for n, v in entries)


def _unescaped(text: str) -> str:
    """What stands between double quotes: YAML's escapes are JSON's, and a short one of its own."""
    import json  # for labels that are written so

    try:
        return str(json.loads('"' + re.sub(r"\\x([0-9A-Fa-f]{2})", r"\\u00\1", text) + '"'))
    except ValueError:
        return text

"""The text of a file of labels: what encoding it has, which lines are comments, and what a section heads."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence

_MARKS = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
          (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
_COMMENT = re.compile(r"^[ \t]*(#|//|;)[ \t]+\S")
"""`# words`: a lone sign may be a class (of text recognition), and so may `#words`."""
_TITLES = re.compile(r"[,;\t]")
_HEAD = re.compile(r"^\[{1,2}([\w .-]+)\]{1,2}$")
_ENTRY = re.compile(r"^(\d+\s*=.*\S|\D.*=\s*\d+)$")
"""`0 = cat` or `cat = 0`."""


class UnclearError(ValueError):
    """A text whose labels may be read in more than one way, or in none; the message says why."""


def decode(data: bytes) -> str:
    """The text of a file: by its mark, as UTF-8, as UTF-16 without a mark, else as Windows' own encoding.

    Each line's end has a zero byte in UTF-16, and UTF-8 has none: which half of the pairs it stands in tells the order.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    first, second = data[::2].count(0), data[1::2].count(0)
    if first != second and len(data) % 2 == 0:
        text = data.decode("utf-16-le" if second > first else "utf-16-be", "replace")
        return text if "\0" not in text else data.decode("latin-1")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def without_comments(text: str) -> str:
    """The text with its lines of comments empty, where it begins with one; the titles of a table stay.

    Raises UnclearError where comments are all that there is.
    """
    lines = text.split("\n")
    filled = [at for at, line in enumerate(lines) if line.strip()]
    comments = [at for at in filled if _COMMENT.match(lines[at])]
    if not comments or comments[0] != filled[0]:
        return text
    if comments == filled:
        raise UnclearError("there are only lines of comments, such as " + repr(lines[filled[0]].strip()[:80]))
    for at in comments:
        following = next((f for f in filled if f > at), None)
        if following is None or not _are_titles(lines[at], lines[following]):
            lines[at] = ""
    return "\n".join(lines)


def _are_titles(line: str, following: str) -> bool:
    """True for `# id,name` above `0,cat`."""
    return bool(_TITLES.findall(line)) and _TITLES.findall(line) == _TITLES.findall(following)


def refuse_comment(lines: Sequence[str]) -> None:
    """Raises UnclearError for a comment among plain lines: it may be a class, and the names behind it shifted."""
    comment = next((line for line in lines if _COMMENT.match(line)), None)
    if comment is not None:
        raise UnclearError(f"the line {comment[:80]!r} may be a comment or a class; take it out")


def sections(text: str, keys: Sequence[str]) -> object:
    """What TOML says, of its tables the first with one of `keys`; the lines below the only head of an INI, such as
    `[labels]`; None where the text is neither. Raises UnclearError for other sections.
    """
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    table = _toml(text, keys) if any("=" in line for line in lines) else None
    heads = [match[1].strip().lower() for line in lines if (match := _HEAD.match(line))]
    if table is not None or not _HEAD.match(lines[0]) or len(lines) < 2 or _HEAD.match(lines[1]):
        return table
    below = lines[1:]
    told = all(map(_ENTRY.match, below)) or not any("=" in line for line in below)
    if len(heads) == 1 and heads[0] in keys and told:
        return "\n".join(below)
    if len(heads) > 1 or heads[0] in keys or any("=" in line for line in below):
        raise UnclearError(f"the line {lines[0]!r} heads a section in which no labels are found")
    return None


def _toml(text: str, keys: Sequence[str]) -> object:
    import tomllib  # for labels that are written so

    try:
        whole = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None
    tables = [whole, *(value for value in whole.values() if isinstance(value, dict))]
    return next((t for t in tables if any(isinstance(t.get(key), (list, dict)) for key in keys)), None)

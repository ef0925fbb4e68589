"""Labels: found beside the model, read from the forms that people keep them in."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from pathlib import Path

from edge.errors import ConfigError

MAX_BYTES = 16 * 2**20
_USUAL = ("labels.txt", "label.txt", "labelmap.txt", "classes.txt", "coco_classes.txt", "names.txt", "labels.csv")
_NUMBERED = re.compile(r"^\s*(\d+)\s*[,:;\t ]\s*(\S.*?)\s*$")


def parse(text: str) -> tuple[str, ...]:
    """Labels in the order of the class index.

    Forms: one on each line; `index,name`, `index: name` or `index name` on each line (holes become "???"); a
    Python or JSON dictionary of index to name; a .pbtxt label map of TensorFlow; one line with commas. A byte
    order mark and empty lines at the end are ignored. Lines of ids such as `n01440764 tench` keep the name.
    """
    text = text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n").strip("\n")
    if not text.strip():
        return ()
    if text.lstrip().startswith(("{", "[")):
        return _from_literal(text)
    if re.search(r"^\s*item\s*\{", text, re.MULTILINE):
        return _from_pbtxt(text)
    lines = [line.strip() for line in text.split("\n")]
    if len(lines) == 1 and "," in lines[0]:
        import csv  # for those who write them so

        return tuple(part.strip() for part in next(csv.reader(lines)))
    numbered = [_NUMBERED.match(line) for line in lines if line]
    if numbered and all(numbered):
        pairs = {int(m[1]): m[2] for m in numbered if m}
        if len(pairs) == len(numbered) and max(pairs) < 10 * len(pairs) + 100:
            return _fill({k: v.strip("\"' ") for k, v in pairs.items()})
    if all(re.match(r"^n\d{8} ", line) for line in lines if line):
        return tuple(line.split(" ", 1)[1] for line in lines if line)
    return tuple(lines)


def _fill(pairs: dict[int, str]) -> tuple[str, ...]:
    return tuple(pairs.get(i, "???") for i in range(max(pairs) + 1)) if pairs else ()


def _from_literal(text: str) -> tuple[str, ...]:
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return ()
    return from_value(value)


def from_value(value: object) -> tuple[str, ...]:
    """Labels from a list of names or a dictionary of index to name (as Ultralytics writes them)."""
    if isinstance(value, (list, tuple)):
        return tuple(str(v) for v in value)
    if isinstance(value, dict):
        try:
            pairs = {int(k): str(v) for k, v in value.items()}
        except (TypeError, ValueError):
            return ()
        if not pairs or min(pairs) < 0 or max(pairs) > 10 * len(pairs) + 100:
            return ()
        return _fill(pairs)
    return ()


def _from_pbtxt(text: str) -> tuple[str, ...]:
    pairs: dict[int, str] = {}
    for item in re.findall(r"item\s*\{(.*?)\}", text, re.DOTALL):
        number = re.search(r"\bid\s*:\s*(\d+)", item)
        name = re.search(r"\bdisplay_name\s*:\s*[\"'](.*?)[\"']", item) or re.search(
            r"\bname\s*:\s*[\"'](.*?)[\"']", item
        )
        if number and name:
            pairs[int(number[1])] = name[1]
    return _fill(pairs) if pairs and max(pairs) < 100_000 else ()


def read(path: Path) -> tuple[str, ...]:
    """The labels of a file that the user names. Raises ConfigError where there are none."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"--labels {path}: {path.stat().st_size} bytes is no list of labels")
        text = path.read_text("utf-8-sig", "replace")
    except OSError as exc:
        raise ConfigError(f"--labels {path}: {exc.strerror}") from exc
    found = parse(text)
    if not found:
        raise ConfigError(f"--labels {path}: no labels in it; one on each line is the usual form")
    return found


def beside(model: Path) -> tuple[Path, tuple[str, ...]] | None:
    """The label file beside a model, and what it holds. None where there is none, or more than one might be it.

    The model's own name comes first (`model.txt`, `model_labels.txt`), then the usual names, then the only
    file with "label", "class" or "names" in its name.
    """
    try:
        files = {
            f.name.lower(): f
            for f in model.parent.iterdir()
            if f.suffix.lower() in (".txt", ".csv", ".names", ".pbtxt")
        }
    except OSError:
        return None
    stem = model.stem.lower()
    own = [f"{stem}{end}" for end in (".txt", ".labels.txt", "_labels.txt", "-labels.txt", "_label.txt", "_label.csv",
                                      "_labels.csv", ".names", ".pbtxt")]  # fmt: skip
    named = [files[n] for n in (*own, *_usual_for(files)) if n in files]
    if not named:
        likely = [f for n, f in files.items() if re.search(r"label|class|names", n)]
        named = likely if len(likely) == 1 else []
    for file in named:
        found = _readable(file)
        if found:
            return file, found
    return None


def _usual_for(files: dict[str, Path]) -> Sequence[str]:
    return [n for n in _USUAL if n in files]


def _readable(file: Path) -> tuple[str, ...]:
    try:
        if file.stat().st_size > MAX_BYTES:
            return ()
        found = parse(file.read_text("utf-8-sig", "replace"))
    except OSError:
        return ()
    # Long lines are prose (a README, a licence), not labels.
    return found if found and max(map(len, found)) <= 200 else ()


def align(labels: tuple[str, ...], classes: int) -> tuple[str, ...]:
    """Labels shifted to fit the model's classes (0: not known), where they differ by the background alone."""
    if not labels or not classes or len(labels) == classes:
        return labels
    first = labels[0].strip().lower()
    if len(labels) == classes + 1 and first in ("background", "__background__", "???", "unlabeled", "dummy"):
        return labels[1:]
    if len(labels) == classes - 1 and first not in ("background", "__background__"):
        return ("background", *labels)
    return labels

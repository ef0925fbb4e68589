"""Labels: the forms that people keep them in, where they lie, and the one rule that fits them to a model's classes.

`read` is for a file that the user names, `beside` for what lies beside a model, `align` for all of them: labels that
do not fit the classes are none, for a shifted name is worse than a number.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from edge.data import small_file
from edge.data.tensor import TensorSpec
from edge.errors import ConfigError
from edge.model import coco, label_tables, label_text
from edge.model.label_tables import TwiceError, once
from edge.model.label_text import UnclearError
from edge.model.manifest import Manifest

UNKNOWN = "???"
"""Stands where a numbered list leaves a class out."""
_BACKGROUND = ("background", "bg", UNKNOWN, "unlabeled", "dummy", "n/a")
_FILLERS = (UNKNOWN, "n/a", "N/A", "unknown", "-", "unused")
_IMAGENET = 1000
_SUFFIXES = (".txt", ".csv", ".names", ".pbtxt", ".yaml", ".yml", ".json")
_USUAL = (
    "labels.txt", "label.txt", "labelmap.txt", "classes.txt", "coco_classes.txt", "names.txt", "labels.csv",
    "data.yaml", "metadata.yaml", "class_indices.json", "labels.json", "classes.json", "metadata.json", "config.json",
)  # fmt: skip
_OWN = (
    ".txt", ".labels.txt", "_labels.txt", "-labels.txt", "_label.txt", "_label.csv", "_labels.csv", ".names", ".pbtxt",
    ".yaml", "_labels.json",
)  # fmt: skip
_KEYS = (
    "names", "id2label", "labels", "class_names", "classes", "class_labels", "label_names", "label", "categories",
    "label2id", "idx_to_class", "class_to_idx", "label_map",
)  # fmt: skip
_YAML_KEY = re.compile(rf"({'|'.join(_KEYS)})\s*:(?!\s*\d+$)(\s|$)")
_ASSIGNED = re.compile(r"\A\s*[A-Za-z_]\w*\s*=\s*(?=[\[({])")
"""`labels = ["cat", "dog"]`, of Python or TOML."""
_NUMBERED = re.compile(r"^(\d+)(\s*[,:;\t=]\s*|[.)]\s+|\s+)(\S.*?)$")
_LAST = re.compile(r"^(\D.*?)\s*[:=\s]\s*(\d+)$")
_SYNSET = re.compile(r"^n\d{8}[ ,\t]+")


class Reading(msgspec.Struct, frozen=True):
    """What a text says of labels. `doubt`: that another reading fits too, or why there are no names; else ""."""

    names: tuple[str, ...] = ()
    doubt: str = ""


def parse(text: str) -> tuple[str, ...]:
    """Labels in the order of the class index; () where the text holds none.

    Forms: one on each line, also numbered (`0 cat`, `0: cat`, `0,cat`, `cat: 0`; what the numbers leave out is "???");
    a CSV table with a header; JSON or Python: a list of names or of an id and a name each (`categories` of COCO), index
    to name, name to index (`class_indices.json`), or either below `names`, `id2label`, `label2id`, `labels`; YAML with
    `names:`; TOML, INI; a .pbtxt label map of TensorFlow; one line with commas. A byte order mark, empty lines and
    comments are ignored.
    Lines of ids such as `n01440764 tench` keep the name.
    """
    return read_text(text).names


def read_text(text: str) -> Reading:
    """`parse` with what is doubtful about it."""
    text = re.sub(r"\r+\n?", "\n", text.lstrip("\ufeff"))
    if "\0" in text:
        return Reading(doubt="there are zero bytes in it: it is no text, or not in UTF-8")
    try:
        text = label_text.without_comments(text)
        return _read(text) if text.strip() else Reading()
    except UnclearError as exc:
        return Reading(doubt=str(exc))


def _read(text: str) -> Reading:
    below = label_text.sections(text, _KEYS)
    if below is not None and not isinstance(below, str):
        return Reading(from_value(below))
    text = _ASSIGNED.sub("", below or text)
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if lines[0].startswith(("{", "[")) and (len(lines) == 1 or lines[-1].endswith(("}", "]"))):
        return Reading(from_value(_literal(text.strip())))
    if lines[0][0] in "('\"" and all(line == "(" or line.endswith(",") for line in lines[:-1]):
        value = _literal(f"({text})")  # a tuple, or what stands between brackets
        if isinstance(value, tuple):
            return Reading(from_value(value))
    if any(re.match(r"item\s*\{", line) for line in lines):
        return Reading(_fill(label_tables.from_pbtxt(text)))
    if any(_YAML_KEY.match(line) for line in lines):
        return Reading(from_value(label_tables.from_yaml(text, _KEYS)))
    if len(lines) == 1 and any(separator in lines[0] for separator in ",;"):
        return Reading(tuple(part.strip() for part in label_tables.cells(lines[0])))
    table = label_tables.from_csv(lines)
    return Reading(_fill(table)) if table is not None else _from_lines(lines)


def _from_lines(lines: Sequence[str]) -> Reading:
    label_text.refuse_comment(lines)
    numbered = [m for line in lines if (m := _NUMBERED.match(line))]
    last = [m for line in lines if (m := _LAST.match(line))]
    if len(numbered) == len(lines):
        return _numbered(lines, [(int(m[1]), m[2], label_tables.unquoted(m[3])) for m in numbered])
    if len(last) == len(lines) and sorted(int(m[2]) for m in last) == list(range(len(lines))):
        names = {int(m[2]): label_tables.unquoted(m[1]) for m in last}
        if len(set(names.values())) == len(names):
            return Reading(_fill(names))
    if all(_SYNSET.match(line) for line in lines):
        return Reading(tuple(_SYNSET.sub("", line) for line in lines))
    if all(line.startswith("- ") for line in lines):
        return Reading(tuple(label_tables.unquoted(line[2:]) for line in lines))
    if all(len(line) > 1 and line[0] == line[-1] == '"' for line in lines):
        return Reading(tuple(label_tables.unquoted(line) for line in lines))
    return Reading(tuple(lines))


def _numbered(lines: Sequence[str], entries: Sequence[tuple[int, str, str]]) -> Reading:
    """Lines that all begin with a number: their indexes, or a part of their names ("3 rooms", "1 room", "2 rooms").

    Behind one space a number may be either: it is an index where they count upwards and each name is another.
    """
    numbers, names = [number for number, _, _ in entries], [name for _, _, name in entries]
    told = all(separator != " " for _, separator, _ in entries)
    if not _counts(numbers):
        return Reading(tuple(lines))
    if len(set(numbers)) < len(numbers):
        twice = next(n for n in numbers if numbers.count(n) > 1)
        return Reading(tuple(lines), f"the number {twice} comes twice: numbers are taken for a part of the names")
    whole = numbers == list(range(len(numbers)))
    if told:
        enough = len(set(names)) > len(names) / 2
        return Reading(_fill(once(zip(numbers, names, strict=True)))) if enough else Reading(tuple(lines))
    if len(set(names)) == 1 < len(names):
        return Reading(tuple(lines))
    said = [name for name in names if name not in _FILLERS]
    unique = len(set(said)) == len(said)
    if not whole and (not unique or (numbers != sorted(numbers) and 0 not in numbers)):
        return Reading(tuple(lines), _either(lines, "a part of the names", f"'{numbers[0]}: {names[0]}'", "indexes"))
    doubt = "" if whole and unique else _either(lines, "indexes", f"'0: {lines[0]}'", "a part of the names")
    return Reading(_fill(once(zip(numbers, names, strict=True))), doubt)


def _either(lines: Sequence[str], taken: str, line: str, other: str) -> str:
    return (
        f"the numbers before the names ('{lines[0]}') may be indexes or a part of the names, and are taken for "
        f"{taken}; lines such as {line} make them {other}"
    )


def _counts(numbers: Sequence[int]) -> bool:
    """True where numbers are indexes, not a part of the names ("30 km/h", "50 km/h"): from 0 or 1 upwards, few holes.

    COCO's 80 names have indexes up to 90.
    """
    return min(numbers) <= 1 and max(numbers) < 2 * len(numbers) + 10


def _fill(pairs: Mapping[int, str]) -> tuple[str, ...]:
    if not pairs or min(pairs) < 0 or max(pairs) > 10 * len(pairs) + 100:
        return ()
    return tuple(pairs.get(i, UNKNOWN) for i in range(max(pairs) + 1))


def literal(text: str) -> object:
    """What JSON or the text of a Python value says; None where it is neither, or where a key comes twice."""
    try:
        return _literal(text)
    except TwiceError:
        return None


def _literal(text: str) -> object:
    import json  # for labels that are written so

    try:
        return json.loads(text, object_pairs_hook=once)
    except TwiceError:
        raise
    except (ValueError, RecursionError):
        pass
    try:
        tree = ast.parse(text, mode="eval")
        for node in ast.walk(tree):
            if isinstance(node, ast.Dict):
                once((key.value, None) for key in node.keys if isinstance(key, ast.Constant))
        return ast.literal_eval(tree)
    except TwiceError:
        raise
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def from_value(value: object) -> tuple[str, ...]:
    """Labels from a list of names, index to name, name to index, or a mapping that holds one of these under a key."""
    if isinstance(value, (list, tuple)):
        if value and all(isinstance(v, dict) for v in value):
            return _from_records(value)
        if value and all(isinstance(v, (list, tuple)) and len(v) == 2 for v in value):
            return _fill(label_tables.from_pairs(value))
        return tuple(str(v) for v in value) if all(isinstance(v, (str, int, float)) for v in value) else ()
    if not isinstance(value, dict):
        return ()
    nested = next((value[k] for k in _KEYS if isinstance(value.get(k), (list, tuple, dict))), None)
    if nested is not None:
        _refuse_contradiction(value)
        return from_value(nested)
    if value and all(type(v) is int for v in value.values()):
        # Name to index, as Keras and torchvision write it; for digits both sides are numbers, and the values are it.
        turned = once((int(v), str(k)) for k, v in value.items())
        return _fill(turned) if sorted(turned) in (list(range(len(value))), list(range(1, len(value) + 1))) else ()
    try:
        return _fill(once((int(k), _name(v)) for k, v in value.items()))
    except TwiceError:
        raise
    except (TypeError, ValueError):
        return ()


def _refuse_contradiction(content: Mapping[str, object]) -> None:
    """Raises TwiceError where the table by index and the table by name tell different things."""
    for by_index, by_name in (("id2label", "label2id"), ("idx_to_class", "class_to_idx")):
        names, turned = from_value(content.get(by_index)), from_value(content.get(by_name))
        for at, (name, other) in enumerate(zip(names, turned, strict=False)):
            if name != other:
                raise TwiceError(f"{by_index} says that {at} is {name!r}, {by_name} that it is {other!r}")


def _from_records(records: Sequence[Mapping[str, object]]) -> tuple[str, ...]:
    """Of a list of an id and a name each, as COCO's `categories`; without ids in their order."""
    names = [label_tables.name_of(record) for record in records]
    indexes = [label_tables.index_of(record) for record in records]
    if any(name is None for name in names):
        return ()
    if all(index is None for index in indexes):
        return tuple(name or "" for name in names)
    if any(index is None for index in indexes):
        return ()
    return _fill(once((index or 0, name or "") for index, name in zip(indexes, names, strict=True)))


def _name(value: object) -> str:
    """A name, or the last of an id and a name (Keras' `imagenet_class_index.json`), or the name of a record."""
    if isinstance(value, dict):
        value = label_tables.name_of(value)
    if isinstance(value, (list, tuple)) and value:
        value = value[-1]
    if not isinstance(value, (str, int, float)):
        raise TypeError
    return str(value)


def read(path: Path) -> tuple[str, ...]:
    """The labels of a file that the user names. Raises ConfigError where there are none."""
    try:
        text = label_text.decode(small_file.read(path))
    except OSError as exc:
        raise ConfigError(f"--labels {path}: {exc.strerror}") from exc
    found = read_text(text)
    if not found.names:
        reason = found.doubt or "no labels in it"
        raise ConfigError(f"--labels {path}: {reason}; one on each line is the usual form")
    return found.names


def named(source: Path | Sequence[str]) -> tuple[str, ...]:
    """What `--labels` says: the labels of a file, or the names themselves. Raises ConfigError."""
    if not isinstance(source, Path):
        return tuple(source)
    if not source.exists() and source.name == str(source):
        raise ConfigError(f"--labels {source}: there is no such file; or give the names with commas: cat,dog")
    return read(source)


def doubts(path: Path) -> list[str]:
    """What the user should hear of how a file of labels was read: nothing, or one warning."""
    doubt = read_text(label_text.decode(small_file.read(path))).doubt
    return [f"{path}: {doubt}"] if doubt else []


def beside(model: Path) -> tuple[Path, tuple[str, ...]] | None:
    """The label file beside a model, and what it holds; no names where `doubts` says why it is of no use. None where
    there is none, or more than one might be it.

    The model's own name comes first (`model.txt`, `model_labels.txt`), then the usual names, then the only
    file with "label", "class" or "names" in its name. A model in a folder `onnx` may have its `config.json` above,
    as the Hugging Face Hub lays it out.
    """
    try:
        files = {f.name.lower(): f for f in model.parent.iterdir() if f.suffix.lower() in _SUFFIXES}
    except OSError:
        return None
    named = [files[n] for n in (*(model.stem.lower() + end for end in _OWN), *_USUAL) if n in files]
    if not named:
        likely = [f for n, f in files.items() if re.search(r"label|class|names", n) and not n.endswith(".onnx.json")]
        named = likely if len(likely) == 1 else []
    above = model.parent.parent / "config.json"
    if model.parent.name == "onnx" and above.is_file():
        named.append(above)
    for file in named:
        found = _readable(file)
        if found.names or found.doubt:
            return file, found.names
    return None


def _readable(file: Path) -> Reading:
    try:
        found = read_text(label_text.decode(small_file.read(file)))
    except OSError:
        return Reading()
    names = found.names
    if not names:
        return found
    # A mapping of something else; long lines are prose (a README, a licence).
    if file.suffix.lower() in (".json", ".yaml", ".yml") and len(names) < 2:
        return Reading()
    return found if max(map(len, names)) <= 200 else Reading()


def align(labels: tuple[str, ...], classes: int, *, background: bool = False) -> tuple[str, ...]:
    """Labels that fit a model of `classes` (0: not known), or () where they do not.

    They may differ by the background alone: one name too many, and the first is "background"; one too few, and the
    model has a column for it, which is known of ImageNet's 1001 and where the caller says so (`background`: the first
    of `classes` is it). COCO's 80 names fit its 90 numbers, and those with a 0 before them: UNKNOWN fills the gaps.
    """
    if not labels or not classes or len(labels) == classes:
        return labels
    named = _is_background(labels[0])
    if len(labels) == classes + 1 and named:
        return labels[1:]
    known = tuple(name for name in labels if name != UNKNOWN)
    if labels[0] == UNKNOWN and len(known) == classes:
        return known  # ids of a data set, from 1 and with holes (COCO's 80 up to 90): the classes in their order
    if len(labels) == classes - 1 and not named and (background or len(labels) == _IMAGENET):
        return ("background", *labels)
    objects = without_background(labels)
    if classes in (coco.NUMBERS, coco.NUMBERS + 1) and coco.are_classes(objects):
        return (UNKNOWN,) * (classes - coco.NUMBERS) + coco.numbered(objects, UNKNOWN)
    return ()


def without_background(labels: tuple[str, ...]) -> tuple[str, ...]:
    """Labels of a model whose class 0 is an object: a first name that stands for the background goes."""
    return labels[1:] if labels and _is_background(labels[0]) else labels


def _is_background(name: str) -> bool:
    """`background`, `__background__`, `__background` of the ONNX zoo, `N/A` of DETR."""
    return name.strip().strip("_").lower() in _BACKGROUND


def require_fit(labels: tuple[str, ...], classes: int, *, background: bool = False) -> tuple[str, ...]:
    """`align` for labels that the user names. Raises ConfigError where they do not fit."""
    fitted = align(labels, classes, background=background)
    if labels and not fitted:
        raise ConfigError(
            f"--labels: {misfit(labels, classes)}; a wrong name would come without a warning: give a label for "
            "each class, in order"
        )
    return fitted


def misfit(labels: Sequence[str], classes: int) -> str:
    """That labels do not fit, in words."""
    return f"{len(labels)} labels for a model of {classes} classes"


def classes(manifest: Manifest, outputs: Sequence[TensorSpec]) -> int:
    """How many classes a model with a manifest tells apart; 0 where neither its labels nor its outputs say."""
    if manifest.labels or manifest.task != "classify":
        return len(manifest.labels)
    name = next((o.name for o in manifest.outputs if o.role == "scores"), None)
    scores = [s for s in outputs if s.name == name] if name else [s for s in outputs if s.dtype.startswith("float")]
    sizes = scores[0].shape[1:] if scores and scores[0].shape else ()
    known = [d for d in sizes if isinstance(d, int)]
    count = math.prod(known) if known and len(known) == len(sizes) else 0
    return count if count > 1 else 0

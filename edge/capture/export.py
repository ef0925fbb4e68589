"""What is kept, laid out for people who label: the files stay where they are, and are named from beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal, TypeAlias

import msgspec

from edge.capture import coco, label_studio
from edge.capture.about import About
from edge.capture.read import Folder, Kept
from edge.errors import ConfigError
from edge.storage import atomic

Layout: TypeAlias = Literal["jsonl", "coco", "label-studio"]


def write(path: Path, layout: Layout) -> Iterator[str]:
    """Writes it into the folder itself, whole or not at all; says what. Raises ConfigError where nothing fits, and
    OSError."""
    folder, about = Folder(path), Folder(path).about()
    if layout == "coco":
        count, name = _coco(folder, about), "coco.json"
    elif layout == "label-studio":
        name = "label-studio.json"
        count = _label_studio(folder, about)
    else:
        name = "samples.jsonl"
        with atomic.replacing(path / name, 0o600) as file:
            count = _lines(folder.samples(), file)
    if layout == "label-studio":
        yield f"{path / 'label-studio.xml'}: the labelling interface"
    left = f"; {folder.left_out} left out: damaged, or the file is gone" if folder.left_out else ""
    yield f"{path / name}: {count} samples{left}"


def _lines(samples: Iterable[Kept], file: BinaryIO) -> int:
    count = 0
    for sample in samples:
        about = msgspec.to_builtins(sample)
        said = {k: v for k, v in about.items() if v or (k == "row" and not sample.file)}
        file.write(msgspec.json.encode(said) + b"\n")
        count += 1
    return count


def _coco(folder: Folder, about: About) -> int:
    if about.task not in coco.TASKS:
        raise ConfigError(f"coco has no place for {about.task}; say --capture-export jsonl or label-studio")
    document = coco.document(about, folder.samples())
    if not document["images"]:
        raise ConfigError(f"{folder.path}: coco is for pictures, and none is kept; say jsonl or label-studio")
    with atomic.replacing(folder.path / "coco.json", 0o600) as file:
        file.write(msgspec.json.encode(document))
    return len(document["images"])


def _label_studio(folder: Folder, about: About) -> int:
    count, pictures, between = 0, False, b"[\n"
    seen: dict[str, None] = dict.fromkeys(about.labels)
    with atomic.replacing(folder.path / "label-studio.json", 0o600) as file:
        for sample in folder.samples():
            count += 1
            pictures = pictures or bool(sample.file)
            seen.update(dict.fromkeys(p["label"] for p in sample.predictions if isinstance(p.get("label"), str)))
            task = label_studio.task(about, sample, folder.path.absolute().name)
            file.write(between + msgspec.json.encode(task))
            between = b",\n"
        file.write(b"\n]\n" if count else b"[]\n")
    known = msgspec.structs.replace(about, labels=tuple(seen))
    with atomic.replacing(folder.path / "label-studio.xml", 0o600) as file:
        file.write(label_studio.interface(known, pictures=pictures).encode())
    return count

"""What is kept, read back: each sample once, though two rules may have kept it at two times."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from edge.capture.about import ANOMALY, About
from edge.capture.store import ABOUT, OURS


class Kept(msgspec.Struct, frozen=True):
    """A sample. `result` is as it was published; `trial` holds the other model's predictions, where these differ.
    `file` is "" for a row."""

    id: str
    reasons: tuple[str, ...]
    result: dict[str, Any]
    file: str = ""
    width: int = 0
    height: int = 0
    row: Any = None
    trial: dict[str, Any] | None = None

    @property
    def predictions(self) -> list[dict[str, Any]]:
        """Of the model that ran."""
        return list(self.result.get("predictions", ()))


def label_of(task: str, prediction: dict[str, Any]) -> str | None:
    """What a prediction calls what it tells of; None where it has no name."""
    if task == "anomaly":
        return ANOMALY[bool(prediction.get("is_anomaly"))]
    label = prediction.get("label")
    return label if isinstance(label, str) else None


def outlines_of(prediction: dict[str, Any]) -> list[list[Any]]:
    """Of an object, points x, y each: of its mask, or of its oriented box; none where it has only a box."""
    return prediction.get("polygons") or ([prediction["corners"]] if prediction.get("corners") else [])


class _Prediction(msgspec.Struct):
    """What a layout looks at in a prediction of any task, to be held against."""

    label: str | None = None
    score: float | None = None
    value: float | None = None
    text: str | None = None
    labels: list[str] = []
    is_anomaly: bool = False
    box: tuple[float, float, float, float] | None = None
    corners: list[tuple[float, float]] | None = None
    polygons: list[list[tuple[float, float]]] | None = None
    keypoints: list[tuple[float, float, float]] | None = None


class _Result(msgspec.Struct):
    predictions: list[_Prediction] = []
    model: dict[str, Any] = {}


class Folder:
    """May be written to meanwhile: what goes is left out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.left_out = 0
        """Lines that cannot be read, and samples whose file is gone; of the last reading."""

    def about(self) -> About:
        """Raises nothing: a folder that lacks it, or has a damaged one, says little."""
        try:
            return msgspec.json.decode((self.path / ABOUT).read_bytes(), type=About)
        except (OSError, msgspec.MsgspecError):
            return About()

    def samples(self) -> Iterator[Kept]:
        """The oldest first. Raises OSError."""
        self.left_out = 0
        times: dict[str, int] = {}
        for kept in self._lines():
            times[kept.id] = times.get(kept.id, 0) + 1
        twice: dict[str, Kept] = {}
        self.left_out = 0
        for kept in self._lines():
            left = times.get(kept.id, 1)
            one = _joined(twice[kept.id], kept) if kept.id in twice else kept
            if left > 1:
                times[kept.id], twice[kept.id] = left - 1, one
            else:
                twice.pop(kept.id, None)
                yield one

    def _lines(self) -> Iterator[Kept]:
        names = [match for path in self.path.iterdir() if (match := OURS.fullmatch(path.name)) is not None]
        for match in sorted((m for m in names if m[0] == f"{m['name']}.jsonl"), key=lambda m: int(m["number"])):
            try:
                lines = (self.path / match[0]).read_bytes().splitlines()
            except FileNotFoundError:
                continue
            except IsADirectoryError:
                self.left_out += 1
                continue
            for line in lines:
                if (kept := self._of(line)) is not None:
                    yield kept
                else:
                    self.left_out += 1

    def _of(self, line: bytes) -> Kept | None:
        try:
            kept = msgspec.json.decode(line, type=Kept)
            msgspec.convert(kept.result, _Result)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        # The name is looked at as if a stranger had written the line: it stays within the folder.
        named = not kept.file or (OURS.fullmatch(kept.file) is not None and (self.path / kept.file).is_file())
        return kept if named else None


def _joined(one: Kept, other: Kept) -> Kept:
    reasons = tuple(dict.fromkeys((*one.reasons, *other.reasons)))
    # Two segments of one sample hold two copies of its file: the newer stays, as long as there is one.
    return msgspec.structs.replace(other, reasons=reasons, trial=other.trial or one.trial)

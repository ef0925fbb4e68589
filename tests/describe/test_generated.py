"""Models of every kind by chance: size, classes, names of tensors, layout, labels, and what holds of all of them."""

from __future__ import annotations

import json
import shlex
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.guessing import FLOAT, build, opened

from edge.app import loading
from edge.app.assembly import make_pipeline
from edge.data.result import Result
from edge.data.sample import Sample

RNG = np.random.default_rng(0)
SIDES = st.sampled_from([64, 96, 128])
BACKGROUND = "background"


def shares(*shape: int) -> np.ndarray:
    powers = np.exp(RNG.normal(0, 2, shape))
    return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)


def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    return RNG.uniform(low, high, shape).astype(np.float32)


def scores(rows: int, classes: int) -> np.ndarray:
    """Of a model that sees three things in noise, and nothing of any class elsewhere."""
    made = uniform(rows, classes, high=0.02)
    for hit in range(3):
        made[(hit * 29 + 3) % rows, hit % classes] = 0.9 - hit / 10
    return made


def grid(width: int, height: int, strides=(8, 16, 32), each: int = 1) -> np.ndarray:
    """Centres and sizes of boxes that lie where their cells do."""
    levels = []
    for stride in strides:
        y, x = np.mgrid[: -(-height // stride), : -(-width // stride)]
        places = (np.stack((x.ravel(), y.ravel()), axis=1) + 0.5) * stride
        levels += [np.concatenate((places, np.full((len(places), 2), 2.0 * stride)), axis=1)] * each
    return np.concatenate(levels).astype(np.float32)


def v8(width, height, classes):
    boxes = grid(width, height)
    return {"o": np.concatenate((boxes, scores(len(boxes), classes)), axis=1).T[None].copy()}


def v5(width, height, classes):
    boxes = grid(width, height, each=3)
    rows = np.concatenate((boxes, scores(len(boxes), 1), uniform(len(boxes), classes)), axis=1)
    return {"o": rows[None]}


def rows_of_cells(width, height, classes):
    boxes = grid(width, height)
    return {"o": np.concatenate((boxes, scores(len(boxes), classes)), axis=1)[None]}


def obb(width, height, classes):
    boxes = grid(width, height)
    angles = uniform(len(boxes), 1, low=0.2, high=0.9)
    return {"o": np.concatenate((boxes, scores(len(boxes), classes), angles), axis=1).T[None].copy()}


def detr(width, height, classes):
    return {"logits": uniform(1, 40, classes, low=-8, high=2), "pred_boxes": uniform(1, 40, 4)}


def end_to_end(width, height, classes):
    corners = np.sort(uniform(60, 2, 2) * [width, height], axis=1).reshape(60, 4)
    kinds = RNG.integers(0, classes, (60, 1))
    return {"o": np.concatenate((corners, uniform(60, 1), kinds), axis=1).astype(np.float32)[None]}


def mmdetection(width, height, classes):
    corners = np.sort(uniform(20, 2, 2) * [width, height], axis=1).reshape(20, 4)
    dets = np.concatenate((corners, uniform(20, 1)), axis=1).astype(np.float32)
    return {"dets": dets[None], "labels": RNG.integers(0, classes, (1, 20))}


def classes_of(width, height, classes):
    return {"o": shares(1, classes)}


def logits_of(width, height, classes):
    return {"o": uniform(1, classes, low=-6, high=6)}


def map_of_classes(width, height, classes):
    return {"o": uniform(1, classes, height // 2, width // 2, low=-4, high=4)}


def steps_of_text(width, height, classes):
    return {"o": shares(1, 25, classes + 1)}


def queries_and_masks(width, height, classes):
    return {"a": uniform(1, 50, classes + 1, low=-4, high=4), "b": uniform(1, 50, height // 4, width // 4, low=-4)}


HEADS = (
    v8, v5, rows_of_cells, obb, detr, end_to_end, mmdetection, classes_of, logits_of, map_of_classes, steps_of_text,
    queries_and_masks,
)  # fmt: skip
COUNTLESS = (end_to_end, mmdetection)
"""They tell the class of each box by its number: how many there are is not seen."""
FORMS = {
    "labels.txt": lambda names: "\n".join(names),
    "m.txt": lambda names: "\n".join(f"{i}: {n}" for i, n in enumerate(names)),
    "config.json": lambda names: json.dumps({"id2label": {str(i): n for i, n in enumerate(names)}}),
    "classes.csv": lambda names: "id,name\n" + "\n".join(f"{i},{n}" for i, n in enumerate(names)),
}
LABELS = st.sampled_from(["none", "fit", "background too", "one less", "two more"])


def names_for(kind: str, classes: int) -> list[str]:
    names = [f"kind {chr(97 + i)}" for i in range(classes + 2)]
    given = {"fit": names[:classes], "one less": names[: classes - 1], "two more": names}
    return [BACKGROUND, *names[:classes]] if kind == "background too" else given.get(kind, [])


def check_predictions(result: Result, loaded: loading.Loaded, width: int, height: int) -> None:
    """Scores are shares, boxes lie in the picture, and a name is the one at its index."""
    labels = loaded.manifest.labels
    for one in result.predictions:
        score, box, index = (getattr(one, name, None) for name in ("score", "box", "index"))
        assert score is None or 0 <= score <= 1
        assert index is None or one.label == (labels[index] if index < len(labels) else str(index))
        if box is not None:
            assert 0 <= box[0] <= box[2] <= width
            assert 0 <= box[1] <= box[3] <= height


@given(
    head=st.sampled_from(HEADS), width=SIDES, height=SIDES, classes=st.integers(2, 9), kind=LABELS,
    form=st.sampled_from(sorted(FORMS)), name=st.sampled_from(["images", "x", "input_1"]), last=st.booleans(),
)  # fmt: skip
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_a_model_is_its_names_are_not_shifted_its_scores_are_shares_and_a_doubt_is_said(
    head, width, height, classes, kind, form, name, last
):
    names = names_for(kind, classes)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if names:
            (folder / form).write_text(FORMS[form](names))
        shape = [1, height, width, 3] if last else [1, 3, height, width]
        path = build(folder / "m.onnx", {name: (FLOAT, shape)}, head(width, height, classes))
        before = opened(path)
        found = before.manifest
        (result,) = make_pipeline(before, "d").process(Sample(np.zeros((50, 70, 3), np.uint8), "test", 0, 0))
        after = opened(path, *shlex.split(" ".join(before.guesses)))
    assert after.manifest == found

    assert isinstance(result, Result)
    check_predictions(result, before, 70, 50)
    said = " ".join(before.warnings)
    if found.task == "raw":
        assert (
            "told as they are" in said or "says which" in said or "--labels FILE" in said or "--task classify" in said
        )
    known = [n for n in found.labels if n not in (BACKGROUND, "face")]
    assert known in (names[-len(known) :], names[: len(known)]) if known else True
    if kind == "two more" and head not in COUNTLESS:
        assert not known
    if kind == "fit" and found.task in ("classify", "detect", "segment"):
        assert found.labels == tuple(names) or "not used" in said or "labels" in said

"""Heads without places in a picture: classes, numbers, an input given back, or what nobody knows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import msgspec
import numpy as np
from msgspec.structs import replace

from edge.data.tensor import STRING, Array, TensorSpec
from edge.data.vocabulary import Activation
from edge.describe import audio
from edge.describe.head import Head
from edge.describe.signature import Roles
from edge.model.manifest import Output, Task

_EMBEDDINGS = (64, 128, 192, 256, 384, 512, 640, 768, 1024, 1280, 1536, 2048)
_NAMED_FEATURES = re.compile(r"embed|pooler_output|hidden_state|feature", re.IGNORECASE)
_FEWEST_FEATURES = 16
_MOST_NUMBERS = 64
_FEWEST_TOGETHER, _RARE = 10, -3.0
"""So many classes of sound, and a mean logit below which each of them is rare (a sigmoid of 0.05)."""
_LOGITS_LEAST = 20
"""Scores before a softmax lie on both sides of 0, or not far above it."""


class Flat(msgspec.Struct, frozen=True):
    """What a flat head is found by: a run's outputs (real values), the inputs' roles, labels, the user's task, and
    the outputs of another input, asked where the first leave it open."""

    outputs: Mapping[str, Array]
    roles: Roles
    labels: int
    task: Task | None = None
    again: Callable[[], Mapping[str, Array]] = dict


def of_picture_or_sound(flat: Flat) -> Head:
    """Classes, a number, or raw with the reason as its warning."""
    outputs, task = flat.outputs, flat.task
    same = reconstruction(flat)
    if task == "anomaly" and same is not None:
        return Head("anomaly", "anomaly", (Output(name=same, role="reconstruction"),))
    vectors = {n: a for n, a in outputs.items() if a.dtype.kind == "f" and is_vector(a)}
    name = scores(vectors, flat.labels) or _yamnet(flat, vectors)
    more = len(outputs) - len(vectors)
    certain = name is not None and (
        is_distribution(vectors[name]) or vectors[name].size in (flat.labels, audio.YAMNET_CLASSES)
    )
    if task is None and (name is None or same is not None or more > 1 or (more and not certain)):
        shapes = ", ".join(f"{n} {list(a.shape)}" for n, a in outputs.items())
        way = "--task anomaly, where it gives its input back" if same is not None else "--task to say more"
        return Head("raw", "raw", warning=f"no decoder fits the outputs {shapes}: they are told as they are ({way})")
    if name is None:
        return Head(task or "raw", task or "raw")
    warning = ""
    if task is None:
        task, warning = _task_of(name, vectors[name], flat)
    left = [n for n in outputs if n != name] if task != "raw" else []
    if left and _yamnet(flat, vectors) is None:
        warning = "; ".join(
            filter(None, (warning, f"{name} is told alone, without {', '.join(left)} (--task raw: all)"))
        )
    size = vectors[name].size
    output = Output(name=name, role="value" if task == "regress" else "scores")
    classes = size if task == "classify" and size > 1 else 0
    return Head(task, task, (output,) if task != "raw" else (), classes=classes, warning=warning)


def _yamnet(flat: Flat, vectors: Mapping[str, Array]) -> str | None:
    """YAMNet's scores beside its embedding and its log mel."""
    names = [n for n, a in vectors.items() if a.size == audio.YAMNET_CLASSES]
    return names[0] if flat.roles.kind == "audio" and len(names) == 1 else None


def _task_of(name: str, values: Array, flat: Flat) -> tuple[Task, str]:
    labels = flat.labels
    if values.size == 1:
        return _task_of_one(name, values, flat)
    shares = values.min() >= 0 and values.max() <= 1.001
    size = values.size in _EMBEDDINGS and not shares and "logit" not in name.lower()
    if not labels and (size or (_NAMED_FEATURES.search(name) and not is_distribution(values))):
        return "raw", f"{values.size} values of {name} without labels: taken for an embedding (--task classify if not)"
    if not labels and _is_direction(values):
        return "raw", (
            f"{values.size} values of {name} whose squares add up to 1: taken for an embedding (--task classify if not)"
        )
    if values.size != labels and values.min() > _LOGITS_LEAST:
        return "raw", (
            f"{values.size} numbers from {values.min():.4g} to {values.max():.4g} for noise are taken for places or "
            "measures, not for scores (--task classify or --task regress if they are)"
        )
    if shares and not is_distribution(values) and values.size not in (labels, labels + 1):
        return "classify", (
            f"the {values.size} shares of {name} do not add up to 1: taken for as many classes that may come together "
            "(--task raw, where they are places or other numbers)"
        )
    return "classify", ""


def _task_of_one(name: str, values: Array, flat: Flat) -> tuple[Task, str]:
    """A chance where nothing that the model was asked left 0 to 1."""
    seen = [values]
    if flat.labels != 2 and values.min() >= 0 and values.max() <= 1:
        seen += [v for n, v in flat.again().items() if n == name]
    if flat.labels == 2 or all(v.min() >= 0 and v.max() <= 1 for v in seen):
        return "classify", ""
    other = next(v for v in seen if not 0 <= v.min() <= v.max() <= 1)
    return "regress", (
        f"the one number of {name} is told as it is ({other.item():.3g} for what it was asked): --task classify and "
        "--labels with two names, where it is a logit"
    )


def of_numbers(flat: Flat) -> Head:
    """Of a table, columns or arrays."""
    outputs, task = flat.outputs, flat.task
    if not outputs:
        return Head(task or "raw", task or "raw")
    count = _rows_at_once(flat)
    if count and task is None:
        return Head("raw", "raw", warning=(
            f"{count} rows go in at once and as many come out, which are told as they are: export it with a batch of 1 "
            "for an answer to each row"
        ))  # fmt: skip
    same = reconstruction(flat)
    if task == "anomaly" or (task is None and same is not None):
        output = Output(name=same, role="reconstruction") if same else Output(name=next(iter(outputs)), role="score")
        warning = "without --threshold no sample is called an anomaly: the score alone is told"
        return Head("anomaly", "anomaly", (output,), warning=warning)
    floats = {n: a for n, a in outputs.items() if a.dtype.kind == "f"}
    name = scores(floats, flat.labels)
    if name is None or (task is None and (flat.roles.states or len(floats) != 1) and not flat.labels):
        return Head(task or "raw", task or "raw")
    values = floats[name]
    if task is None:
        task = _number_task(flat, name, values)
    if task == "raw":
        return Head("raw", "raw")
    role = "scores" if task == "classify" else "value"
    warning = "" if flat.task or task != "regress" or values.size < 2 else (
        f"{values.size} numbers of {name} are told as they are (for noise {values.min():.3g} to {values.max():.3g}): "
        "--task classify, where they are scores of classes; --task regress, where they are not"
    )  # fmt: skip
    return Head(
        task, task, (Output(name=name, role=role),), classes=values.size if values.size > 1 else 0, warning=warning
    )


def _rows_at_once(flat: Flat) -> int:
    """The batch of a model of rows, [N, features] to [N, ...], where that is fixed and more than one; else 0."""
    shape = flat.roles.data[0].shape or () if len(flat.roles.data) == 1 and not flat.roles.states else ()
    count = shape[0] if len(shape) == 2 and isinstance(shape[0], int) else 0
    same = all(a.ndim and a.shape[0] == count for a in flat.outputs.values())
    return count if count > 1 and same else 0


def _number_task(flat: Flat, name: str, values: Array) -> Task:
    if flat.roles.kind not in ("table", "column") and values.ndim > 2:
        return "raw"
    probabilities = values.size > 1 and re.search("prob|softmax|logit", name, re.IGNORECASE) is not None
    matches = flat.labels > 1 and values.size in (flat.labels, 1)
    if is_distribution(values) or matches or probabilities:
        return "classify"
    return "regress" if values.size < _MOST_NUMBERS else "raw"


def named_head(
    outputs: Sequence[TensorSpec], task: Task | None, noise: Callable[[], Mapping[str, Array]] = dict
) -> Head | None:
    """Names that skl2onnx, onnxmltools and converters for Windows ML give: label and probabilities, label and scores,
    variable, classLabel and loss.

    `noise`: the outputs for some, asked where names leave it open.
    """
    names = {s.name.lower(): s for s in outputs}
    if task not in (None, "classify", "anomaly"):
        return None
    label = next((s for n, s in names.items() if n in ("label", "output_label", "class_label", "classlabel")), None)
    if label is not None:
        head = _labelled(label, names, outputs, task, noise)
        if head is not None:
            return head
    if "variable" in names and task is None:
        return Head("regress", "regress", (Output(name=names["variable"].name, role="value"),))
    return None


def _labelled(
    label: TensorSpec,
    names: Mapping[str, TensorSpec],
    outputs: Sequence[TensorSpec],
    task: Task | None,
    noise: Callable[[], Mapping[str, Array]],
) -> Head | None:
    label_output = Output(name=label.name, role="label")
    answers = (label.shape or ())[1:]
    if answers and isinstance(answers[0], int) and answers[0] > 1:
        return None if task else Head("raw", "raw", warning=(
            f"{answers[0]} labels for each row are told as they are: export a model for each of them to have classes"
        ))  # fmt: skip
    chances = next(
        (
            s
            for n, s in names.items()
            if re.match(r"^(output_)?(probabilit(y|ies)|probs?)$|^classlabelprobs$|^loss$", n)
        ),
        None,
    )
    rating = names.get("scores")
    if chances is not None and task != "anomaly":
        return Head("classify", "classify", (label_output, Output(name=chances.name, role="scores")))
    if rating is not None and task != "classify" and (rating.shape or ())[1:] in ((), (1,)):
        return Head("anomaly", "anomaly", (label_output, Output(name=rating.name, role="score")))
    if task == "anomaly":
        return None
    rest = [s for s in outputs if s is not label and s.dtype.startswith("float")]
    if len(rest) > 1 and (columns := _columns(label, rest)):
        scored = tuple(Output(name=s.name, role="scores") for s in rest)
        return Head(
            "classify",
            "classify",
            (replace(label_output, values=columns), *scored),
            classes=len(columns),
            labels=columns,
        )
    if len(rest) == 1 and not _are_distances(noise(), label, rest[0]):
        return Head("classify", "classify", (label_output, Output(name=rest[0].name, role="scores")))
    why = f"{rest[0].name} are distances, the nearest is told" if len(rest) == 1 else "the file has no scores for it"
    return Head("classify", "classify", (label_output,), warning=(
        f"{label.name} is told alone, with 1 for its score: {why} (--task raw: all as they are)"
    ))  # fmt: skip


def _columns(label: TensorSpec, scores: Sequence[TensorSpec]) -> tuple[str, ...]:
    """The classes whose scores are an output each (skl2onnx: `zipmap` "columns"); () where the names are others."""
    prefix = "s" if label.dtype == STRING else "i"
    alone = all(s.shape is not None and s.shape[1:] in ((), (1,)) for s in scores)
    classes = tuple(s.name.removeprefix(prefix) for s in scores if s.name.startswith(prefix))
    numbered = prefix == "s" or all(re.fullmatch(r"-?\d+", c) for c in classes)
    return classes if alone and numbered and len(classes) == len(scores) else ()


def _are_distances(outputs: Mapping[str, Array], label: TensorSpec, scores: TensorSpec) -> bool:
    """Clusters: the label is the lowest of the scores, not the highest."""
    own, values = outputs.get(label.name), outputs.get(scores.name)
    if own is None or values is None or own.size != 1 or own.dtype.kind not in "iu" or values.size < 2:
        return False
    return bool(values.argmin() == own.ravel()[0] and values.argmax() != own.ravel()[0] and values.min() >= 0)


def activation(
    values: Array, picture: Callable[[], Array | None], logits: Activation = "", *, sound: bool = False
) -> Activation:
    """What turns scores into probabilities, by what noise gives, and a picture where noise leaves it open. `logits`:
    what makes some of logits, where the file says that they are. `sound`: the scores are of sound."""
    if values.size == 0:
        return ""
    if logits and values.size > 1 and not is_distribution(values):
        return logits
    if values.size == 1:
        seen = [v for v in (values, picture()) if v is not None]
        return "" if all(v.min() >= 0 and v.max() <= 1 for v in seen) else "sigmoid"
    if values.min() < 0 or values.max() > 1.001:
        return "sigmoid" if sound and _come_together(values) else "softmax"
    if is_distribution(values):
        return ""
    # Independent scores between 0 and 1 (a sigmoid each) are probabilities too, unless a picture shows otherwise.
    again = picture()
    return "softmax" if again is not None and (again.min() < 0 or again.max() > 1.001) else ""


def _come_together(values: Array) -> bool:
    """Logits of a sigmoid each (BirdNET): of many classes nearly all are rare, so all lie far below 0.

    A softmax does not mind where its logits lie. Its gradient adds up to 0 over the classes, yet Adam lets their mean
    sink: below 0 by up to 3 of their spreads, measured for noise (10 to 1000 classes), where BirdNET's lie
    at 6. The logarithm of a softmax lies below 0, too; its powers add up to 1.
    """
    numbers = values.astype(np.float64)
    mean, spread = float(numbers.mean()), float(numbers.std())
    logarithms = abs(float(np.logaddexp.reduce(numbers, axis=None))) < 1e-3
    return numbers.size >= _FEWEST_TOGETHER and mean < min(_RARE, -4 * spread) and not logarithms


def doubts(name: str, values: Array, guessed: Activation, labels: int = 0) -> list[str]:
    """A warning for scores that are no probabilities and are made some: a softmax and a sigmoid each are both usual,
    and where there are no `labels` the numbers may be measures."""
    if not guessed or "logit" in name.lower():
        return []
    other = "sigmoid" if guessed == "softmax" else "softmax"
    measures = "" if labels or values.size == 1 else ", --task regress that they are measures (points, angles, ages)"
    return [
        f"the scores {name} are no probabilities (for noise {values.min():.3g} to {values.max():.3g}): "
        f"a {guessed} makes them some; --activation {other} or none says otherwise{measures}"
    ]


def is_vector(values: Array) -> bool:
    """One value a class: [C], [1, C] or [1, C, 1, 1]. [1, N, 1] is a list of N things of one number each."""
    return values.size == max(values.shape, default=1) and not (values.ndim == 3 and values.shape[1] > 1)


def is_distribution(values: Array) -> bool:
    """Scores of classes already turned into probabilities."""
    # What was 8 bits adds up to 1 less well, and two numbers of any model may come near it.
    allowed = 0.05 if np.array_equal(values * 256, np.rint(values * 256)) else 2e-3
    return values.size > 1 and bool(values.min() >= -1e-3 and abs(float(values.sum()) - 1) < allowed)


def _is_direction(values: Array) -> bool:
    """Brought to the length 1, as networks do whose answers are compared with others by their angle."""
    alone = values.min() < 0 or values.size >= _FEWEST_FEATURES
    length = float(np.linalg.norm(values.astype(np.float64)))
    return bool(alone and abs(length - 1) < 1e-4 and not is_distribution(values))


def scores(outputs: Mapping[str, Array], labels: int) -> str | None:
    """The output that holds the scores of classes: a distribution, as many as labels, or the only one."""
    by_count = [n for n, a in outputs.items() if labels and a.size in (labels, labels - 1, labels + 1) and a.size > 1]
    spread = [n for n, a in outputs.items() if is_distribution(a)]
    for candidates in ([n for n in spread if n in by_count], by_count, spread, list(outputs)):
        if len(candidates) == 1:
            return candidates[0]
    return None


def reconstruction(flat: Flat) -> str | None:
    """The output that gives the input back: an autoencoder's, of the shape of its one input and no small one."""
    if len(flat.roles.data) != 1 or len(flat.outputs) != 1 or flat.roles.states:
        return None
    ((name, values),) = flat.outputs.items()
    return name if values.shape == flat.roles.data[0].fixed() and values.size >= 8 else None

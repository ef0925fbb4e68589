"""What the exporters of neural networks share: from the tensors of a network to a manifest, rows and a reference.

Networks say less of themselves than estimators do. What the tensors leave open is taken from flags, from the
files beside the model (`beside`), from the rows, and at last guessed from shapes; a guess is a note in the report.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from msgspec import structs

from converter.artifact import Artifact, Reference
from converter.errors import REFUSES_ROWS, SampleFileError, rows_refused
from converter.graph import graph
from converter.networks import beside
from converter.networks.beside import Beside
from converter.options import Options, Target
from converter.rows import pictures
from converter.rows.rows import UNNAMED, Rows
from converter.rows.tensors import feed
from converter.source import Source
from edge.data.tensor import Array, Tensors, TensorSpec, numpy_dtype
from edge.model import labels as label_files
from edge.model.manifest import Feature, Input, Manifest, Output, Task

Layout = Literal["NCHW", "NHWC"]
Declared = tuple[str, tuple[int | str | None, ...]]
Squashed = Literal["softmax", "sigmoid", "none", ""]
Forward = Callable[[Tensors], Sequence[Array]]

GENERATED = 64
_SEED = 20261123
_PROBE = 64
# A flat input up to this width is a table whose columns have names; a wider one is an array.
MAX_FEATURES = 256


@dataclass(frozen=True, slots=True)
class Network:
    """A framework's network behind one door.

    `inputs` are as the network takes them, free dimensions as None or a symbol. `forward` takes arrays [rows, ...]
    by input name, any number of rows, and gives one array [rows, ...] for each of `outputs`. `vocabulary` bounds
    made-up integers; `squashed` is what the last layer applies, as its graph or its class says: never told by the
    values of some rows. "" where neither says it.
    """

    framework: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    forward: Forward
    layout: Layout = "NHWC"
    vocabulary: int = 2
    squashed: Squashed = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is known of a network before it is exported. Rename its tensors with `renamed`."""

    network: Network
    manifest: Manifest
    rows: Rows
    notes: tuple[str, ...] = ()
    answers: Mapping[str, str] = field(default_factory=dict)
    """The network's own output name to the manifest's."""

    @property
    def reference(self) -> Reference:
        """The network's answers by the manifest's output names."""
        inputs, network = self.manifest.inputs, self.network
        own = {i.name: spec for i, spec in zip(inputs, network.inputs, strict=True)}
        named = [self.answers.get(n, n) for n in network.outputs]

        def reference(rows: Rows) -> dict[str, Array]:
            tensors = {own[n].name: a.astype(numpy_dtype(own[n].dtype)) for n, a in feed(rows, inputs).items()}
            return dict(zip(named, (np.asarray(a) for a in network.forward(tensors)), strict=True))

        return reference

    def renamed(self, inputs: Mapping[str, str], outputs: Mapping[str, str], tensors: Mapping[str, Declared]) -> Plan:
        """The plan for a file whose tensors have other names (by the manifest's), dtypes and shapes."""
        changed: list[Input] = []
        for one in self.manifest.inputs:
            name = inputs.get(one.name, one.name)
            dtype, shape = tensors.get(name, (one.dtype, one.shape))
            key = one.key or (one.name if name != one.name else "")
            changed.append(structs.replace(one, name=name, dtype=dtype, shape=shape, key=key))
        names = {i.name: c.name for i, c in zip(self.manifest.inputs, changed, strict=True)}
        manifest = structs.replace(
            self.manifest, inputs=tuple(changed),
            outputs=tuple(_renamed(o, outputs.get(o.name, o.name)) for o in self.manifest.outputs),
        )  # fmt: skip
        answers = {own: outputs.get(n, n) for own, n in self.answers.items()}
        arrays = self.rows.arrays if self.rows.table else {names.get(n, n): a for n, a in self.rows.arrays.items()}
        return replace(self, manifest=manifest, answers=answers, rows=replace(self.rows, arrays=arrays))

    def declared_by(self, model: Any) -> Plan:
        """The plan with the shapes that an ONNX file declares for its inputs."""
        shapes = {i.name: tuple(graph.dims(i)) for i in model.graph.input}
        inputs = tuple(structs.replace(i, shape=shapes.get(i.name, i.shape)) for i in self.manifest.inputs)
        return replace(self, manifest=structs.replace(self.manifest, inputs=inputs))

    def artifact(self, target: Target, model: bytes, source: Source, *notes: str) -> Artifact:
        """The artifact of the exported file."""
        return Artifact(
            framework=self.network.framework, target=target, model=model, manifest=self.manifest,
            reference=self.reference, rows=self.rows, notes=(*self.notes, *notes), source_bytes=source.size,
        )  # fmt: skip


def _renamed(output: Output, name: str) -> Output:
    return output if name == output.name else structs.replace(output, name=name, key=output.key or output.name)


def plan(network: Network, rows: Rows | None, options: Options, source: Source) -> Plan:
    """Manifest, rows and reference of a network.

    Raises SampleFileError where the rows are not those that the network takes.
    """
    found = beside.read(source.path, labelled=bool(options.labels))
    notes = [*found.notes]
    inputs = tuple(_input(s, network, rows, options, found) for s in network.inputs)
    if any(i.kind == "image" and not i.mean and not i.std for i in inputs):
        notes.append(
            "no --mean and --std: the pixels of a picture go in as they are, 0 to 255; for a model that learnt from "
            "0 to 1 say --std 255"
        )
    specs = network.inputs
    given = rows if rows is not None else generate(inputs, network.vocabulary)
    given = pictures.prepared(given, inputs, specs)
    given = _named(given, inputs)
    plan = Plan(network, Manifest(name="", inputs=inputs), given)
    probe = given.take(range(min(len(given), _PROBE)))
    try:
        answers = plan.reference(probe)
    except REFUSES_ROWS as exc:
        raise rows_refused(exc) from exc
    if network.squashed == "":
        network = replace(network, squashed=_squashed_by_values(plan, answers))
    task, guessed = _task(answers, network, given, options, found)
    if guessed:
        notes.append(guessed)
    manifest, names = _described(plan.manifest, task, answers, network)
    manifest, given, more = _labelled(manifest, given, answers, options, found)
    return replace(plan, manifest=manifest, rows=given, notes=(*notes, *more), answers=names)


def _input(spec: TensorSpec, network: Network, rows: Rows | None, options: Options, found: Beside) -> Input:
    shape = spec.shape or ()
    plain = Input(name=spec.name, dtype=spec.dtype, shape=shape)
    layout = picture_layout(shape, options.layout or network.layout)
    if layout is not None and spec.dtype in ("float32", "float16", "uint8", "int8") and len(network.inputs) == 1:
        return _picture(plain, layout, options, found)
    flat = len(shape) == 2 and isinstance(shape[1], int) and shape[1] <= MAX_FEATURES
    if flat and len(network.inputs) == 1 and spec.dtype == "float32":
        return structs.replace(plain, kind="table", features=_features(int(shape[1] or 0), rows))
    return plain


def picture_layout(shape: Sequence[int | str | None], preferred: Layout) -> Layout | None:
    """Where the channels of a picture-shaped input are; None where it is no picture."""
    if len(shape) != 4:
        return None
    fits: list[Layout] = [n for n, at in (("NCHW", 1), ("NHWC", 3)) if shape[at] in (1, 3)]  # type: ignore[misc]
    if not fits:
        return None
    return preferred if preferred in fits else fits[0]


def _picture(plain: Input, layout: Layout, options: Options, found: Beside) -> Input:
    shape, said = plain.shape, found.pictures
    height, width = (shape[2], shape[3]) if layout == "NCHW" else (shape[1], shape[2])
    channels = shape[1] if layout == "NCHW" else shape[3]
    mean, std = (v[:1] if channels == 1 else v for v in (said.mean, said.std))
    fixed = (width, height) if isinstance(width, int) and isinstance(height, int) else None
    if fixed and options.input_size and options.input_size != fixed:
        raise SampleFileError(
            f"--input-size {options.input_size[0]}x{options.input_size[1]}: the model takes {fixed[0]}x{fixed[1]}"
        )
    return structs.replace(
        plain, kind="image", layout=layout, size=options.input_size or fixed or said.size,
        color="GRAY" if channels == 1 else options.color or said.color,
        resize=options.resize or said.resize or "stretch", pad=plain.pad if said.pad is None else said.pad,
        resample=said.resample, crop_rounding=said.crop_rounding,
        crop_fraction=said.crop_fraction if options.resize is None else 1.0,
        mean=options.mean or (() if options.std else mean),
        std=options.std or (() if options.mean else std),
    )  # fmt: skip


def _features(count: int, rows: Rows | None) -> tuple[Feature, ...]:
    names = rows.names if rows is not None and rows.table else ()
    if names and len(names) != count:
        raise SampleFileError(
            f"the sample has {len(names)} columns ({', '.join(names[:6])}), the model takes {count}; "
            "name the column that holds the answers with --expect"
        )
    if rows is not None:
        rows.require_one_reading(names)
    return tuple(Feature(name=n) for n in names or [f"x{i}" for i in range(count)])


def _named(rows: Rows, inputs: Sequence[Input]) -> Rows:
    """A single array under the input's name; a table only where the input is one."""
    if rows.table and inputs[0].kind != "table":
        if len(inputs) != 1 or len(inputs[0].shape) != 2:
            raise SampleFileError("the sample is a table; give arrays as .npy, or one for each input as .npz")
        stacked = np.stack([rows.numbers(n) for n in rows.names], axis=1)
        return replace(rows, arrays={inputs[0].name: stacked}, table=False)
    if not rows.table and len(inputs) == 1 and len(rows.arrays) == 1:
        return replace(rows, arrays={inputs[0].name: rows.array})
    return rows


def generate(inputs: Sequence[Input], vocabulary: int) -> Rows:
    """Made-up rows: pixels for pictures, whole numbers below `vocabulary`, else numbers around 0."""
    random = np.random.default_rng(_SEED)
    arrays: dict[str, Array] = {}
    for one in inputs:
        shape = (GENERATED, *(d if isinstance(d, int) else 16 for d in one.shape[1:]))
        if one.kind == "image":
            arrays[one.name] = _noise(one, shape, random)
        elif numpy_dtype(one.dtype).kind in "iu":
            arrays[one.name] = random.integers(max(2, vocabulary), size=shape).astype(one.dtype)
        else:
            arrays[one.name] = random.normal(size=shape).astype(one.dtype)
    return Rows(arrays if len(arrays) > 1 else {UNNAMED: next(iter(arrays.values()))}, source="generated")


def _noise(one: Input, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    if one.size is not None:
        width, height = one.size
        channels = shape[1] if one.layout == "NCHW" else shape[3]
        shape = (shape[0], channels, height, width) if one.layout == "NCHW" else (shape[0], height, width, channels)
    pixels = random.integers(256, size=shape).astype(np.float32)
    along = (1, -1, 1, 1) if one.layout == "NCHW" else (-1,)
    mean, std = (np.array(v, dtype=np.float32).reshape(along) for v in (one.mean or (0.0,), one.std or (1.0,)))
    return np.asarray((pixels - mean) / std).astype(one.dtype)


def _task(
    answers: Mapping[str, Array], network: Network, rows: Rows, options: Options, found: Beside
) -> tuple[Task, str]:
    """The task, and what has to be said where it is a guess."""
    if options.task is not None:
        return options.task, ""
    if len(answers) != 1:
        return "raw", f"{len(answers)} outputs: given as they are; --task says otherwise"
    (scores,) = answers.values()
    count = int(np.prod(scores.shape[1:]))
    if scores.dtype.kind != "f" or max(scores.shape[1:], default=1) != count:
        return "raw", ""
    expects = _expects_classes(rows.expected, max(2, count))
    if expects is not None:
        return ("classify", "") if expects else ("regress", "")
    labels = len(options.labels or found.labels)
    if network.squashed == "softmax" or labels == count > 1 or (count == 1 and labels == 2):
        return "classify", ""
    if count == 1:
        return ("classify", "") if network.squashed == "sigmoid" else ("regress", "")
    if network.squashed != "none" and _is_distribution(scores):
        return "classify", ""
    return "classify", f"taken for a classifier of {count} classes; --task regress or raw says otherwise"


def _expects_classes(expected: Array | None, count: int) -> bool | None:
    """Whether the true answers are classes; None where there are none."""
    if expected is None:
        return None
    try:
        numbers = expected.astype(np.float64)
    except ValueError:
        return True
    whole = numbers.ndim == 1 and bool(np.all(numbers == np.rint(numbers)))
    return whole and bool(numbers.min() >= 0 and numbers.max() < count)


def _is_distribution(scores: Array) -> bool:
    flat = scores.reshape(len(scores), -1).astype(np.float64)
    return bool(flat.shape[1] > 1 and np.all(flat >= 0) and np.allclose(flat.sum(axis=1), 1.0, atol=1e-3))


def _described(
    manifest: Manifest, task: Task, answers: Mapping[str, Array], network: Network
) -> tuple[Manifest, dict[str, str]]:
    """The manifest with task, outputs and activation, and the network's output names to the manifest's."""
    role = {"classify": "scores", "regress": "value", "anomaly": "score"}.get(task, "")
    first, scores = next(iter(answers.items()))
    alone = len(answers) == 1 and role
    names = {n: role if alone else n for n in network.outputs}
    outputs = tuple(
        Output(name=names[n], role=role if n == first else "", names=_value_names(task, a)) for n, a in answers.items()
    )
    activation: Literal["", "softmax", "sigmoid"] = ""
    if task == "classify":
        activation = _activation(scores, network.squashed)
    return structs.replace(manifest, task=task, outputs=outputs, activation=activation), names


def _value_names(task: Task, values: Array) -> tuple[str, ...]:
    if task != "regress":
        return ()
    count = int(np.prod(values.shape[1:]))
    return ("value",) if count == 1 else tuple(f"value{i}" for i in range(count))


def _activation(scores: Array, squashed: Squashed) -> Literal["", "softmax", "sigmoid"]:
    """What makes probabilities of the scores: nothing where the network did it already."""
    if squashed in ("softmax", "sigmoid") or (squashed == "" and _are_shares(scores)):
        return ""
    return "sigmoid" if int(np.prod(scores.shape[1:])) == 1 else "softmax"


def _are_shares(scores: Array) -> bool:
    return bool(np.all((scores >= 0) & (scores <= 1)))


def _squashed_by_values(plan: Plan, answers: Mapping[str, Array]) -> Squashed:
    """ "none" where an output leaves 0 to 1, also for very large inputs; else "": it may be squashed."""
    if not all(_are_shares(a) for a in answers.values()):
        return "none"
    if any(numpy_dtype(i.dtype).kind != "f" for i in plan.manifest.inputs):
        return ""
    for size in (1.0, 100.0, 1e4):
        rows = generate(plan.manifest.inputs, plan.network.vocabulary)
        wide = replace(rows, arrays={n: (a * size).astype(a.dtype) for n, a in rows.arrays.items()})
        try:
            outputs = plan.reference(_as_given(wide, plan))
        except REFUSES_ROWS:
            return ""
        if not all(_are_shares(a) for a in outputs.values()):
            return "none"
    return ""


def _as_given(rows: Rows, plan: Plan) -> Rows:
    """Made-up rows in the form that those of the plan have."""
    return _named(rows, plan.manifest.inputs) if not plan.rows.table else rows


def _labelled(
    manifest: Manifest, rows: Rows, answers: Mapping[str, Array], options: Options, found: Beside
) -> tuple[Manifest, Rows, list[str]]:
    """The manifest with labels, and the expected answers as labels where they are numbers of classes."""
    if manifest.task != "classify":
        return manifest, rows, []
    count = int(np.prod(next(iter(answers.values())).shape[1:]))
    classes = max(2, count)
    notes: list[str] = []
    labels = options.labels or label_files.align(found.labels, classes)
    if found.labels and not labels:
        notes.append(f"beside the model: {label_files.misfit(found.labels, classes)}: left out")
    if not labels and len(rows.classes) == classes:
        labels = rows.classes
        notes.append(f"labels are the names of the sample's folders, in order: {', '.join(labels[:6])}")
    if not labels and count == 1:
        labels = ("0", "1")
    # Labels given by flag are set by `identity.identify`, which checks that their number is right.
    manifest = manifest if options.labels else structs.replace(manifest, labels=labels)
    return manifest, _with_names(rows, labels), notes


def _with_names(rows: Rows, labels: Sequence[str]) -> Rows:
    """The rows with expected classes by name, where they were given by number."""
    if rows.expected is None or not labels:
        return rows
    try:
        numbers = rows.expected.astype(np.float64)
    except ValueError:
        return rows
    if any(str(v) in labels for v in rows.expected) or not _expects_classes(rows.expected, len(labels)):
        return rows
    named = np.array([labels[int(n)] for n in numbers], dtype=object)
    return replace(rows, expected=named)

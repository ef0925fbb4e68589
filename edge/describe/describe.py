"""A model of somebody else's: what it says of itself, what lies beside it, and what its signature suggests.

Layers, the first that knows wins: the user's word (`Hints`), TFLite Metadata, the metadata of Ultralytics and
other ONNX writers, a file of labels beside the model, names and shapes, one run on noise. What was guessed is
returned as flags that can be pasted back.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edge.data.tensor import Array, TensorSpec
from edge.describe import audio, heads, presets, signature
from edge.describe.heads import Head
from edge.describe.metadata import Notes, read_notes
from edge.describe.overrides import Hints as Hints
from edge.describe.presets import Convention
from edge.describe.signature import Roles
from edge.model import labels as label_files
from edge.model.manifest import Feature, Input, Manifest, Output, Task, Window
from edge.plugins.protocols import Engine

_LABELLED = ("classify", "detect", "segment", "keypoints")


@dataclass(frozen=True, slots=True)
class Foreign:
    """A manifest, the flags that say what was guessed, and what the user should hear."""

    manifest: Manifest
    guesses: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def describe(path: Path, engine: Engine, hints: Hints | None = None) -> Foreign:
    """The manifest of a model that brings none. Runs the engine at most once, on noise; raises nothing of its own."""
    return _Describer(path, engine, hints or Hints()).describe()


class _Describer:
    def __init__(self, path: Path, engine: Engine, hints: Hints) -> None:
        self._path, self._engine, self._hints = path, engine, hints
        self._notes: Notes = read_notes(path, engine.metadata)
        self._roles: Roles = signature.roles(
            engine.inputs,
            engine.outputs,
            sound=hints.sound or hints.sample_rate is not None,
            features=hints.frontend not in (None, "none"),
        )
        self._labels, self._labels_from = self._find_labels()
        self._guesses: list[str] = []
        self._warnings: list[str] = []
        self._run: dict[str, Array] | None = None

    def describe(self) -> Foreign:
        roles = self._roles
        if roles.kind == "image":
            manifest = self._picture(roles.data[0])
        elif roles.kind == "audio":
            manifest = self._sound(roles.data[0])
        else:
            manifest = self._numbers()
        manifest = self._with_labels(manifest)
        self._guesses.insert(0, f"--task {manifest.task}")
        if roles.states:
            pairs = ", ".join(f"{o} -> {i}" for i, o in roles.states.items())
            self._warnings.append(f"state fed back: {pairs}")
        return Foreign(manifest, tuple(self._guesses), tuple(self._warnings))

    # -- pictures ---------------------------------------------------------------------------------------------

    def _picture(self, spec: TensorSpec) -> Manifest:
        layout = self._hints.layout or signature.layout(spec) or "NHWC"
        size = self._hints.size or self._notes.size or signature.size(spec, layout)
        outputs = self._outputs(size)
        head = self._head(size, outputs)
        classes = head.classes or len(self._labels)
        style = self._notes.style or head.style
        convention = self._convention(spec, layout, style, classes)
        image = Input(
            name=spec.name,
            kind="image",
            dtype=spec.dtype,
            shape=spec.shape or (),
            layout=layout,
            color=convention.color,  # type: ignore[arg-type]
            size=size,
            resize=convention.resize,  # type: ignore[arg-type]
            pad=convention.pad,
            antialias=convention.antialias,
            mean=convention.mean,
            std=convention.std,
        )
        self._tell_picture(image, convention.sure)
        labels = self._fitting(head) or head.labels
        activation = self._picture_activation(head, outputs)
        return self._manifest(head, (image, *self._constants(size), *self._states()), labels, activation)

    def _picture_activation(self, head: Head, outputs: dict[str, Array]) -> str:
        if head.task == "classify":
            return self._activation(outputs.get(head.outputs[0].name) if head.outputs else None)
        if head.activation and self._hints.activation is None:
            self._guesses.append(f"--activation {head.activation}")
            return head.activation
        return self._hints.activation or ""

    def _convention(self, spec: TensorSpec, layout: str, style: str, classes: int) -> Convention:
        notes, hints = self._notes, self._hints
        found = presets.guess(
            spec,
            layout,
            style=style,
            producer=notes.producer,
            classes=classes,
            scales_itself=notes.scales_itself,
        )
        if notes.std or notes.mean:
            # A uint8 input takes pixels as they are: TFLite Metadata speaks of the float model it was made from.
            numbers = ((), ()) if spec.dtype == "uint8" else (notes.mean, notes.std)
            found = replace(found, mean=numbers[0], std=numbers[1], sure=True)
        changes = {
            k: v
            for k, v in (("color", hints.color), ("mean", hints.mean), ("std", hints.std), ("resize", hints.resize))
            if v is not None
        }
        return replace(found, **changes)  # type: ignore[arg-type]

    def _tell_picture(self, image: Input, sure: bool) -> None:
        self._guesses.append(f"--layout {image.layout} --color {image.color} --resize {image.resize}")
        if image.size is not None:
            self._guesses.append(f"--input-size {image.size[0]}x{image.size[1]}")
        if not sure and (image.mean or image.std):
            if image.mean:
                self._guesses.append("--mean " + ",".join(f"{v:g}" for v in image.mean))
            self._guesses.append("--std " + ",".join(f"{v:g}" for v in image.std))

    def _outputs(self, size: tuple[int, int]) -> dict[str, Array]:
        if self._run is None:
            self._run = signature.run_on_noise(self._engine, self._roles, size)
        return {n: a for n, a in self._run.items() if n not in self._roles.states.values()}

    def _head(self, size: tuple[int, int], outputs: dict[str, Array]) -> Head:
        hints, notes = self._hints, self._notes
        task = hints.task or notes.task
        if task not in (None, "detect", "keypoints", "segment"):
            return self._flat_head(outputs, task)
        if not outputs:
            self._warnings.append(
                "the model does not run on noise: its outputs are told as they are (--task to say more)"
            )
            return Head("raw", "raw")
        seen = heads.Seen(
            outputs,
            *size,
            labels=len(self._labels),
            detection_outputs=notes.detection_outputs,
            extras=notes.extras,
            keypoints=notes.keypoints,
            channels=signature.channels(self._roles.data[0]),
        )
        head = heads.find(seen)
        if head is None:
            return self._flat_head(outputs, task)
        if hints.decoder:
            head = replace(head, decoder=hints.decoder)
        self._guesses.append(f"--decoder {head.decoder}")
        return head

    def _flat_head(self, outputs: dict[str, Array], task: Task | None) -> Head:
        """A head without places in the picture: classes, a number, or what nobody knows."""
        same = signature.reconstruction(self._roles, outputs)
        if task == "anomaly" and same is not None:
            return Head("anomaly", "anomaly", (Output(name=same, role="reconstruction"),))
        vectors = {n: a for n, a in outputs.items() if a.dtype.kind == "f" and signature.is_vector(a)}
        name = signature.scores(vectors, len(self._labels))
        shapes = ", ".join(f"{n} {list(a.shape)}" for n, a in outputs.items())
        more = len(outputs) - len(vectors)
        certain = name is not None and (
            signature.is_distribution(vectors[name]) or vectors[name].size == len(self._labels)
        )
        if task is None and (name is None or same is not None or more > 1 or (more and not certain)):
            way = "--task anomaly, where it gives its input back" if same is not None else "--task to say more"
            self._warnings.append(f"no decoder fits the outputs {shapes}: they are told as they are ({way})")
            return Head("raw", "raw")
        if task is None and name is not None:
            task = self._task_of(vectors[name])
        wanted = (Output(name=name, role="value" if task == "regress" else "scores"),) if name else ()
        size = vectors[name].size if name else 0
        return Head(task or "raw", task or "raw", wanted, classes=size if task == "classify" and size > 1 else 0)

    def _task_of(self, values: Array) -> Task:
        if values.size == 1:
            return "classify" if values.min() >= 0 and values.max() <= 1 else "regress"
        embedding = values.size in (64, 128, 192, 256, 512) and not self._labels and values.min() < 0
        if embedding:
            self._warnings.append(
                f"{values.size} values without labels: taken for an embedding (--task classify if not)"
            )
        return "raw" if embedding else "classify"

    # -- sound ------------------------------------------------------------------------------------------------

    def _sound(self, spec: TensorSpec) -> Manifest:
        heard, hints = audio.hear(spec, self._roles.held), self._hints
        if hints.frontend not in (None, "none"):
            heard = audio.hear_features(heard)
        elif not heard.sure:
            self._warnings.append(audio.doubt(heard))
        heard = replace(
            heard,
            rate=hints.sample_rate or heard.rate,
            size=hints.window or heard.size,
            hop=hints.hop or hints.window or heard.hop,
            frontend=heard.frontend if hints.frontend is None else hints.frontend.replace("none", ""),
        )
        part = Input(
            name=spec.name,
            kind="audio",
            dtype=spec.dtype,
            shape=spec.shape or (),
            sample_rate=heard.rate,
            window=Window(size=heard.size, hop=heard.hop, context=heard.context),
            frontend=heard.frontend,
        )
        self._guesses.append(f"--sample-rate {heard.rate} --window {heard.size} --hop {heard.hop}")
        if heard.frontend:
            self._guesses.append(f"--frontend {heard.frontend}")
        outputs = self._outputs((0, 0))
        head = self._flat_head(outputs, self._hints.task)
        labels = self._fitting(head)
        if not labels and head.task == "classify" and head.classes < 2:
            labels = audio.labels(heard, self._roles.held, self._roles.constants)
        activation = self._activation(outputs.get(head.outputs[0].name)) if head.task == "classify" else ""
        return self._manifest(head, (part, *self._constants(None), *self._states()), labels, activation)

    # -- tables and arrays ------------------------------------------------------------------------------------

    def _numbers(self) -> Manifest:
        roles, engine = self._roles, self._engine
        kind = roles.kind
        window = signature.window(roles, self._hints.window, self._hints.hop)
        if window is not None:
            self._guesses.append(f"--window {window.size} --hop {window.hop}")
        parts = tuple(
            Input(
                name=s.name,
                window=window,
                kind="table" if kind == "table" else "column" if kind == "column" else "tensor",
                dtype=s.dtype,
                shape=s.shape or (),
                features=self._features(s, kind),
            )
            for s in roles.data
        )
        head = self._number_head()
        activation = ""
        if head.task == "classify" and engine.outputs:
            name = next((o.name for o in head.outputs if o.role == "scores"), "")
            activation = self._activation(self._outputs((0, 0)).get(name))
        labels = self._fitting(head)
        return self._manifest(head, (*parts, *self._constants(None), *self._states()), labels, activation)

    @staticmethod
    def _features(spec: TensorSpec, kind: str) -> tuple[Feature, ...]:
        if kind != "column":
            return ()
        return (Feature(name=spec.name, kind="text" if spec.dtype == "string" else "number"),)

    def _number_head(self) -> Head:
        task = self._hints.task or self._notes.task
        head = signature.named_head(self._engine.outputs, task)
        if head is not None:
            return head
        outputs = self._outputs((0, 0))
        if not outputs:
            return Head(task or "raw", task or "raw")
        same = signature.reconstruction(self._roles, outputs)
        if task == "anomaly" or (task is None and same is not None):
            wanted = (Output(name=same, role="reconstruction"),) if same else ()
            if not same:
                wanted = (Output(name=next(iter(outputs)), role="score"),)
            self._warnings.append("without --threshold no sample is called an anomaly: the score alone is told")
            return Head("anomaly", "anomaly", wanted)
        return self._number_task(outputs, task)

    def _number_task(self, outputs: dict[str, Array], task: Task | None) -> Head:
        floats = {n: a for n, a in outputs.items() if a.dtype.kind == "f"}
        name = signature.scores(floats, len(self._labels))
        if name is None or ((task is None and (self._roles.states or len(floats) != 1)) and not self._labels):
            return Head(task or "raw", task or "raw")
        values = floats[name]
        if task is None:
            sums_to_one = signature.is_distribution(values)
            said = "prob" in name.lower() or "softmax" in name.lower() or "logit" in name.lower()
            matches = bool(self._labels) and (values.size in (len(self._labels), 1) and len(self._labels) > 1)
            small = self._roles.kind in ("table", "column") or values.ndim <= 2
            if not small:
                return Head("raw", "raw")
            classes = sums_to_one or matches or (said and values.size > 1)
            task = "classify" if classes else "regress" if values.size < 64 else "raw"
        role = "scores" if task == "classify" else "value"
        return Head(task, task, (Output(name=name, role=role),), classes=values.size if values.size > 1 else 0)

    # -- what all share ---------------------------------------------------------------------------------------

    def _constants(self, size: tuple[int, int] | None) -> tuple[Input, ...]:
        by_name = {s.name: s for s in self._engine.inputs}
        return tuple(
            Input(name=n, kind="constant", dtype=by_name[n].dtype, shape=by_name[n].shape or (),
                  value=signature.constant(by_name[n], size))
            for n in self._roles.constants
        )  # fmt: skip

    def _states(self) -> tuple[Input, ...]:
        by_name = {s.name: s for s in self._engine.inputs}
        return tuple(
            Input(name=i, kind="tensor", dtype=by_name[i].dtype, shape=by_name[i].shape or (), state_from=o)
            for i, o in self._roles.states.items()
        )

    def _activation(self, values: Array | None) -> Literal["", "softmax", "sigmoid"]:
        if self._hints.activation is not None:
            return self._hints.activation  # type: ignore[return-value]
        if values is None or values.size == 0:
            return ""
        if values.size == 1:
            found: Literal["", "softmax", "sigmoid"] = "" if values.min() >= 0 and values.max() <= 1 else "sigmoid"
        else:
            # Independent scores between 0 and 1 (a sigmoid each) are probabilities too.
            found = "" if values.min() >= 0 and values.max() <= 1.001 else "softmax"
        if found:
            self._guesses.append(f"--activation {found}")
        return found

    def _find_labels(self) -> tuple[tuple[str, ...], str]:
        if self._hints.labels:
            return self._hints.labels, "user"
        if self._notes.labels:
            return self._notes.labels, "model"
        found = label_files.beside(self._path)
        return (found[1], str(found[0])) if found is not None else ((), "")

    def _fitting(self, head: Head) -> tuple[str, ...]:
        """The labels that fit the head's classes. Raises ConfigError where the user's do not."""
        background = head.background or head.options.get("background") == 0
        if self._labels_from == "user":
            return label_files.require_fit(self._labels, head.classes, background=background)
        fitted = label_files.align(self._labels, head.classes, background=background)
        if self._labels and not fitted and head.task in _LABELLED:
            where = self._labels_from if self._labels_from != "model" else "the file itself"
            self._warnings.append(f"{where}: {label_files.misfit(self._labels, head.classes)}: not used")
        return fitted

    def _with_labels(self, manifest: Manifest) -> Manifest:
        beside = self._labels_from not in ("", "user", "model")
        if manifest.task not in _LABELLED:
            return manifest
        if beside and manifest.labels:
            self._guesses.append(f"--labels {shlex.quote(self._labels_from)}")
        elif not manifest.labels:
            self._warnings.append("no labels found: classes are told by number (--labels FILE)")
        return manifest

    def _manifest(self, head: Head, inputs: tuple[Input, ...], labels: tuple[str, ...], activation: str) -> Manifest:
        if head.task not in _LABELLED:
            labels = ()
        return Manifest(
            name=self._path.stem,
            task=head.task,
            inputs=inputs,
            outputs=head.outputs,
            decoder=head.decoder if head.decoder != head.task else "",
            decoder_options=_plain(head.options),
            activation=activation,  # type: ignore[arg-type]
            labels=labels,
            threshold=self._notes.threshold if self._notes.threshold is not None else head.threshold,
            nms=head.nms,
            license=self._notes.license,
            description=self._notes.description,
        )


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    return {k: v.item() if isinstance(v, np.generic) else v for k, v in options.items()}

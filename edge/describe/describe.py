"""A model without a manifest: derives one from what the file says, what lies beside it, and what its outputs look like.

The first that knows wins: the user (`Overrides`), metadata in the file, files beside it, names, shapes, a run on noise
(and one on a picture where that leaves it open). What was guessed is returned as flags that can be pasted back, and
`Description.reasons` says of each field what it is known by.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
from msgspec.structs import replace

from edge.data.tensor import TensorSpec
from edge.data.vocabulary import Activation
from edge.describe import audio, flat, heads, onnx_graph, presets, probe, signature
from edge.describe.embedded import read_metadata
from edge.describe.head import REASONS, Evidence, Head, OutputProbe
from edge.describe.metadata import Metadata
from edge.describe.overrides import Overrides as Overrides
from edge.describe.presets import Preset
from edge.describe.signature import Roles
from edge.errors import ConfigError, ModelError
from edge.model import labels as label_files
from edge.model.manifest import Feature, Input, Manifest, Output, Task, Window
from edge.plugins.protocols import Engine

_LABELLED = ("classify", "detect", "segment", "keypoints", "text")
_PLACED = ("detect", "keypoints", "segment", "text")


class Description(msgspec.Struct, frozen=True):
    """A manifest, the flags that say what was guessed, what the user should hear, and why each field is what it is."""

    manifest: Manifest
    guesses: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    reasons: Mapping[str, str] = {}


def describe(path: Path, engine: Engine, overrides: Overrides | None = None) -> Description:
    """The manifest of a model that brings none. Runs the engine at most twice.

    Raises ModelError for a file that cannot be used, ConfigError where the user's word does not fit the model.
    """
    overrides, doubt = probe.with_layout(engine, overrides or Overrides())
    return _Describer(path, engine, overrides, doubt).describe()


class _Describer:
    def __init__(self, path: Path, engine: Engine, overrides: Overrides, doubt: str = "") -> None:
        self._path, self._engine, self._overrides = path, engine, overrides
        self._metadata: Metadata = read_metadata(path, engine.metadata)
        self._roles: Roles = signature.roles(
            engine.inputs,
            engine.outputs,
            sound=overrides.sound or overrides.sample_rate is not None or self._metadata.is_sound,
            features=overrides.frontend not in (None, "none"),
            pictures=overrides.layout,
            planes=overrides.pictures,
        )
        self._labels, self._labels_from = self._find_labels()
        self._guesses: list[str] = []
        self._warnings: list[str] = [*self._metadata.warnings, *([doubt] if doubt else [])]
        self._reasons: dict[str, str] = {}

    def describe(self) -> Description:
        self._refuse_batch()
        if self._roles.kind == "image":
            manifest = self._picture(self._roles.data[0])
        elif self._roles.kind == "audio":
            manifest = self._sound(self._roles.data[0])
        else:
            manifest = self._numbers()
        self._tell_labels(manifest)
        self._guesses.insert(0, f"--task {manifest.task}")
        if self._roles.states:
            pairs = ", ".join(f"{o} -> {i}" for i, o in self._roles.states.items())
            self._warnings.append(f"state fed back: {pairs}")
        return Description(manifest, tuple(self._guesses), tuple(self._warnings), self._reasons)

    def _refuse_batch(self) -> None:
        count = signature.fixed_batch(self._roles.data[0]) if len(self._roles.data) == 1 else 0
        if count and self._overrides.task != "raw":
            raise ModelError(
                f"{self._path.name}: it takes {count} pictures at once, its batch is fixed: export it with batch=1 or "
                "dynamic=True (--task raw takes arrays of the whole batch)"
            )

    # -- pictures ---------------------------------------------------------------------------------------------

    def _picture(self, spec: TensorSpec) -> Manifest:
        plane = signature.is_plane(spec)
        layout: signature.Layout = "NCHW" if plane else self._overrides.layout or signature.layout(spec) or "NHWC"
        prober, free = self._prober(spec, layout)
        head = self._head(prober, spec, layout)
        size: tuple[int, int] | None = prober.size
        if free:
            size = None if head.fits_pictures else head.size or prober.size
            self._warnings += presets.doubts(size)
        # A plane is what tutorials of Keras make of a picture: without a channel, from 0 to 1.
        grey = msgspec.structs.replace(spec, shape=(*(spec.shape or ()), 1)) if plane else spec
        if self._overrides.color == "GRAY":
            grey = signature.with_channel(grey, "NHWC" if plane else layout)
        preset = presets.find(
            grey,
            "NHWC" if plane else layout,
            family=head.preset,
            metadata=self._metadata,
            classes=head.classes or len(self._labels),
        )
        preset, told = presets.overridden(preset, self._overrides)
        self._warnings += told
        image = Input(
            name=spec.name,
            kind="image",
            dtype=spec.dtype,
            shape=spec.shape or (),
            layout=layout,
            color=preset.color,
            size=size,
            resize=preset.resize,
            pad=preset.pad,
            antialias=preset.antialias,
            resample=preset.resample,
            crop_fraction=preset.crop_fraction,
            crop_rounding=preset.crop_rounding,
            mean=preset.mean,
            std=preset.std,
        )
        self._tell_picture(image, preset)
        inputs = (image, *self._constants(size), *self._states())
        return self._manifest(head, inputs, self._fitting(head) or head.labels, self._activation(head, prober))

    def _prober(self, spec: TensorSpec, layout: signature.Layout) -> tuple[probe.Prober, bool]:
        """One that runs pictures of the user's size, the file's, or the usual one; and whether that is a guess."""
        sizes, free, why = presets.candidates(spec, layout, self._metadata)
        if self._overrides.size is not None:
            sizes, free = (self._overrides.size,), False
        self._reasons["inputs.size"] = why
        grey = self._overrides.color == "GRAY"
        probers = [probe.Prober(self._engine, self._roles, layout, size, grey=grey) for size in sizes]
        return next((p for p in probers if len(probers) > 1 and p.noise()), probers[0]), free

    def _tell_picture(self, image: Input, preset: Preset) -> None:
        self._reasons |= {"inputs.mean": preset.why, "inputs.std": preset.why, "inputs.resize": preset.why}
        self._guesses.append(f"--layout {image.layout} --color {image.color} --resize {image.resize}")
        if image.size is not None:
            self._guesses.append(f"--input-size {image.size[0]}x{image.size[1]}")
        if preset.sure:
            return
        for flag, numbers in (("--mean", image.mean), ("--std", image.std)):
            if numbers:
                self._guesses.append(f"{flag} " + ",".join(f"{v:g}" for v in numbers))
        order = "" if image.color == "GRAY" or self._metadata.color else ", --color BGR that blue comes first"
        self._warnings.append(
            f"the file does not say how pixels become numbers: {preset.in_words()} is a guess; "
            f"--mean and --std say otherwise{order}"
        )

    def _head(self, prober: probe.Prober, spec: TensorSpec, layout: signature.Layout) -> Head:
        outputs, task = prober.noise(), self._overrides.task or self._metadata.task
        if not outputs:
            if (named := flat.named_head(self._engine.outputs, task)) is not None:
                return named  # texts and mappings, which are no arrays
            self._warnings.append(
                "the model does not run on noise: its outputs are told as they are (--task to say more)"
            )
            return Head("raw", "raw")
        seen = OutputProbe(
            outputs,
            *prober.size,
            labels=len(self._labels),
            objects=len(label_files.without_background(self._labels)),
            channels=signature.channels(spec, layout),
            metadata=self._metadata,
            picture=prober.picture,
            layout=layout,
            inputs=tuple(s.name for s in self._engine.inputs),
            weights=lambda: onnx_graph.lengths(self._path),
        )
        choice = heads.find(seen, task=self._overrides.task, decoder=self._overrides.decoder)
        if choice.rivals and self._overrides.decoder is None and task not in ("classify", "regress"):
            return self._undecided(choice.rivals)
        head = choice.head or self._other_head(prober, task)
        if head.warning:
            self._warnings.append(head.warning)
        if head.decoder != head.task and head.task in _PLACED:
            self._guesses.append(f"--decoder {head.decoder}")
        if choice.head is not None:
            self._warnings += heads.unread(head, outputs)
        self._reasons["decoder"] = REASONS[head.evidence]
        return head

    def _undecided(self, rivals: tuple[Head, ...]) -> Head:
        ways = " or ".join(sorted({f"--decoder {h.decoder}" for h in rivals if h.decoder != "raw"}))
        overrides = [h.warning for h in rivals if h.warning]
        hint = f"{ways or '--decoder'} says which"
        self._warnings.append("; ".join(["two decoders fit the outputs, which are told as they are", *overrides, hint]))
        return Head("raw", "raw")

    def _other_head(self, prober: probe.Prober, task: Task | None) -> Head:
        if self._overrides.decoder:
            return Head(task or "detect", self._overrides.decoder)
        if self._overrides.task in _PLACED:
            shapes = ", ".join(f"{n} {list(a.shape)}" for n, a in prober.noise().items())
            raise ConfigError(
                f"--task {task}: no decoder is known to fit the outputs {shapes}; name one with --decoder"
            )
        if self._metadata.task == "raw" and self._overrides.task is None:
            preset = "" if self._metadata.family else "stretched" if self._metadata.kind == "depth" else "yolo"
            return Head("raw", "raw", evidence=Evidence.METADATA, preset=preset)  # pictures as Ultralytics takes them
        return self._flat(prober, None if task in _PLACED else task)

    def _flat(self, prober: probe.Prober, task: Task | None) -> Head:
        return flat.of_picture_or_sound(flat.Flat(prober.noise(), self._roles, len(self._labels), task, prober.picture))

    def _activation(self, head: Head, prober: probe.Prober) -> Activation:
        if self._overrides.activation is not None:
            return self._overrides.activation
        activation = head.activation
        if head.task == "classify" and head.decoder == "classify":
            name = next((o.name for o in head.outputs if o.role == "scores"), "")
            if (values := prober.noise().get(name)) is not None:
                logits = self._metadata.activation if "logit" in name.lower() else ""
                sound = self._roles.kind == "audio"
                activation = flat.activation(values, lambda: prober.picture().get(name), logits, sound=sound)
                self._warnings += flat.doubts(name, values, activation, len(self._labels))
        if activation:
            self._guesses.append(f"--activation {activation}")
        return activation

    # -- sound ------------------------------------------------------------------------------------------------

    def _sound(self, spec: TensorSpec) -> Manifest:
        heard = self._hearing(spec)
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
        prober = probe.Prober(self._engine, self._roles, None, (1, 1))
        task = self._overrides.task or ("raw" if self._metadata.standardises else None)
        head = self._flat(prober, task)
        self._warnings += filter(None, (head.warning, audio.STANDARDISED if self._metadata.standardises else ""))
        labels = self._fitting(head)
        if not labels and head.task == "classify" and head.classes < 2:
            labels = audio.labels(heard, self._roles.held, self._roles.constants)
        inputs = (part, *self._constants(None, heard.rate), *self._states())
        return self._manifest(head, inputs, labels, self._activation(head, prober))

    def _hearing(self, spec: TensorSpec) -> audio.Hearing:
        overrides, rate = self._overrides, self._overrides.sample_rate or self._metadata.sample_rate or None
        heard = audio.hear(spec, self._roles.held, rate)
        if overrides.frontend not in (None, "none"):
            heard = audio.hear_features(heard)
        elif not self._roles.constants:
            self._warnings += audio.doubts(heard)
        return replace(
            heard,
            rate=overrides.sample_rate or heard.rate,
            size=overrides.window or heard.size,
            hop=overrides.hop or overrides.window or heard.hop,
            frontend=heard.frontend if overrides.frontend is None else overrides.frontend.replace("none", ""),
        )

    # -- tables and arrays ------------------------------------------------------------------------------------

    def _numbers(self) -> Manifest:
        roles, overrides = self._roles, self._overrides
        window = signature.window(roles, overrides.window, overrides.hop)
        self._warnings += signature.doubts(roles)
        if window is not None:
            self._guesses.append(f"--window {window.size} --hop {window.hop}")
        scaled = roles.kind == "table"
        parts = tuple(
            Input(
                name=s.name,
                window=window,
                kind="table" if roles.kind == "table" else "column" if roles.kind == "column" else "tensor",
                dtype=s.dtype,
                shape=s.shape or (),
                features=self._features(s),
                key=self._key(s),
                mean=(overrides.mean or ()) if scaled else (),
                std=(overrides.std or ()) if scaled else (),
                scaling="standard" if scaled and (overrides.mean or overrides.std) else "",
            )
            for s in roles.data
        )
        prober = probe.Prober(self._engine, roles, None, (1, 1))
        task = overrides.task or self._metadata.task
        head = flat.named_head(self._engine.outputs, task, prober.noise)
        if head is None:
            head = flat.of_numbers(flat.Flat(prober.noise(), roles, len(self._labels), task))
        if head.warning:
            self._warnings.append(head.warning)
        inputs = (*parts, *self._constants(None), *self._states())
        return self._manifest(head, inputs, self._fitting(head) or head.labels, self._activation(head, prober))

    def _features(self, spec: TensorSpec) -> tuple[Feature, ...]:
        if self._roles.kind != "column":
            return ()
        return (Feature(name=self._key(spec) or spec.name, kind="text" if spec.dtype == "string" else "number"),)

    # -- what all share ---------------------------------------------------------------------------------------

    def _key(self, spec: TensorSpec) -> str:
        """What the signature of the file calls an input, where that is another name than the tensor's."""
        keys = dict(zip((s.name for s in self._engine.inputs), self._metadata.input_keys, strict=False))
        key = keys.get(spec.name, "")
        return "" if key == spec.name else key

    def _outputs(self, head: Head) -> tuple[Output, ...]:
        """The head's outputs under the names of the signature; of raw ones all that are shown."""
        names = [s.name for s in self._engine.outputs]
        keys = {n: k for n, k in zip(names, self._metadata.output_keys, strict=False) if k and k != n}
        shown = head.outputs
        if not shown and head.task in ("raw", "regress"):
            shown = tuple(Output(name=n) for n in names if n in keys)
        return tuple(msgspec.structs.replace(o, key=keys.get(o.name, o.key)) for o in shown)

    def _constants(self, size: tuple[int, int] | None, rate: int = audio.SPEECH_RATE) -> tuple[Input, ...]:
        by_name = {s.name: s for s in self._engine.inputs}
        return tuple(
            Input(name=n, kind="constant", dtype=by_name[n].dtype, shape=by_name[n].shape or (),
                  value=probe.constant(by_name[n], size, rate))
            for n in self._roles.constants
        )  # fmt: skip

    def _states(self) -> tuple[Input, ...]:
        by_name = {s.name: s for s in self._engine.inputs}
        return tuple(
            Input(name=i, kind="tensor", dtype=by_name[i].dtype, shape=by_name[i].shape or (), state_from=o)
            for i, o in self._roles.states.items()
        )

    def _find_labels(self) -> tuple[tuple[str, ...], str]:
        if self._overrides.labels:
            return self._overrides.labels, "user"
        if self._metadata.labels or self._metadata.characters:  # these its head has
            return self._metadata.labels, "model"
        found = label_files.beside(self._path)
        return (found[1], str(found[0])) if found is not None else ((), "")

    def _fitting(self, head: Head) -> tuple[str, ...]:
        """The labels that fit the head's classes. Raises ConfigError where the user's do not."""
        labels = label_files.without_background(self._labels) if head.objects_only else self._labels
        if self._labels_from == "user":
            return label_files.require_fit(labels, head.classes, background=head.background)
        fitted = label_files.align(labels, head.classes, background=head.background)
        if labels and not fitted and head.task in _LABELLED:
            where = self._labels_from if self._labels_from != "model" else "the file itself"
            self._warnings.append(f"{where}: {label_files.misfit(labels, head.classes)}: not used")
        return fitted

    def _tell_labels(self, manifest: Manifest) -> None:
        if manifest.task not in _LABELLED:
            return
        if self._labels_from not in ("", "user", "model"):
            self._warnings += label_files.doubts(Path(self._labels_from))
        if not manifest.labels and not any(o.role == "label" for o in manifest.outputs):
            self._warnings.append("no labels found: classes are told by number (--labels FILE)")
        elif self._labels_from not in ("", "user", "model"):
            self._guesses.append(f"--labels {shlex.quote(self._labels_from)}")
        if manifest.labels:
            self._reasons["labels"] = {"user": "--labels", "model": "the file itself"}.get(
                self._labels_from, self._labels_from or "the family"
            )

    def _manifest(
        self, head: Head, inputs: tuple[Input, ...], labels: tuple[str, ...], activation: Activation
    ) -> Manifest:
        self._reasons["task"] = REASONS[head.evidence] if self._overrides.task is None else "--task"
        return Manifest(
            name=self._path.stem,
            task=head.task,
            inputs=inputs,
            outputs=self._outputs(head),
            decoder=head.decoder if head.decoder != head.task else "",
            decoder_options={k: v.item() if isinstance(v, np.generic) else v for k, v in head.options.items()},
            activation=activation,
            labels=labels if head.task in _LABELLED else (),
            threshold=self._metadata.threshold if self._metadata.threshold is not None else head.threshold,
            nms=head.nms,
            license=self._metadata.license,
            description=self._metadata.description,
        )

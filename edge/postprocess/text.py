"""A line of text that was read letter by letter: [1, T, C], probabilities of a blank, first, and the characters (CTC).

Greedy, as PaddleOCR's CTCLabelDecode: the best of each step, repeats once, without blanks; the score is the mean of the
probabilities of what is left. The manifest's labels are the characters; a space follows them where the model has one
column more.
"""

from __future__ import annotations

import numpy as np

from edge.data.result import Text
from edge.data.sample import ModelInput
from edge.data.scores import Watch, activate
from edge.data.tensor import Array, Tensors, TensorSpec
from edge.describe.head import Evidence, Head, HeadInfo, OutputProbe
from edge.errors import ModelError, SampleError
from edge.model.manifest import Manifest, Output


class TextReader:
    """Reads one output of steps."""

    def __init__(self, manifest: Manifest, name: str) -> None:
        self._name = name
        self._characters = manifest.labels
        self._activation = manifest.activation
        self._threshold = manifest.threshold or 0.0
        self._watch = Watch(manifest.name)

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Text]:
        steps = np.asarray(outputs[self._name], dtype=np.float64)
        if steps.ndim != 3 or steps.shape[0] != 1:
            raise SampleError(f"the output {self._name!r} has the shape {list(steps.shape)}, which is no text")
        if not np.isfinite(steps).all():
            raise SampleError(f"the model's output {self._name!r} is not finite")
        text, score = self._read(activate(steps[0], self._activation))
        return [Text(text, score)] if text and score >= self._threshold else []

    def _read(self, steps: Array) -> tuple[str, float]:
        more = steps.shape[1] - 1 - len(self._characters)
        if more not in (0, 1):
            raise SampleError(
                f"{len(self._characters)} characters for a model of {steps.shape[1] - 1}: give the right --labels"
            )
        characters = (*self._characters, " ")
        best = steps.argmax(axis=1)
        kept = np.flatnonzero((best != 0) & np.concatenate(([True], best[1:] != best[:-1])))
        if not len(kept):
            return "", 0.0
        scores = self._watch(steps[kept, best[kept]])
        return "".join(characters[i - 1] for i in best[kept].tolist()), round(float(scores.mean()), 6)


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> TextReader:
    """Raises ModelError where there are no characters or no such output."""
    name = manifest.output_of("steps", [s.name for s in specs])
    if not manifest.labels:
        raise ModelError(f"{manifest.name}: a text needs its characters, in order: --labels FILE, one on each line")
    return TextReader(manifest, name)


def recognise(probe: OutputProbe) -> Head | None:
    """Steps with a column for each character of the metadata, and the blank; labels tell it too."""
    three = probe.ranked(3)
    if len(three) != 1 or len(probe.outputs) != 1:
        return None
    ((name, values),) = three.items()
    columns = values.shape[2]
    stated = columns - 1 - len(probe.metadata.characters) in (0, 1) and bool(probe.metadata.characters)
    spread = bool(np.allclose(values.sum(axis=2), 1, atol=0.02))
    like_text = spread and probe.height in (32, 48) and not probe.metadata.kind
    listed = probe.labels > 1 and columns - 1 - probe.labels in (0, 1)
    if not stated and like_text and not listed:
        return Head("raw", "raw", evidence=Evidence.NUMBERS, warning=(
            f"a text of {values.shape[1]} steps and {columns - 1} characters, it seems, that the file does not name: "
            "--labels FILE, one on each line"
        ))  # fmt: skip
    if not (stated or (listed and like_text)):
        return None
    outputs = (Output(name=name, role="steps"),)
    evidence = Evidence.METADATA if stated else Evidence.NUMBERS
    activation = "" if spread or (values.min() >= 0 and values.max() <= 1.001) else "softmax"
    return Head("text", "text", outputs, {}, evidence, "ocr", activation=activation, labels=probe.metadata.characters)  # type: ignore[arg-type]


HEAD = HeadInfo(
    edge_api=1, create=create, recognise=recognise, honours=frozenset({"labels", "threshold", "activation"})
)

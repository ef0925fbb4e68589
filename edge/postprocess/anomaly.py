"""Anomalies: a score, and which side of the threshold it is on.

Four forms, told by the role of the outputs: "reconstruction" (an autoencoder gives its input back: the score
is the mean squared difference), "score" (the model's own score, higher is stranger), and "score" beside a
"label" of 1 or -1 (scikit-learn: lower is stranger, so the sign is turned; without a threshold the label
decides). Option `lower_is_stranger` says so without a label. A score beside a "verdict" (anomalib: true or 1 is an
anomaly) is called one by the model itself, unless a threshold is given.
"""

from __future__ import annotations

import numpy as np

from edge.data.result import Anomaly
from edge.data.sample import ModelInput
from edge.data.tensor import Tensors, TensorSpec
from edge.describe.head import Evidence, Head, HeadInfo, OutputProbe
from edge.errors import ModelError, SampleError
from edge.model.manifest import Manifest, Output


class AnomalyScore:
    """Without a threshold and without a label nothing is called an anomaly: the score is told."""

    def __init__(self, manifest: Manifest, names: dict[str, str]) -> None:
        self._names = names
        self.compares = "reconstruction" in names
        self._threshold = manifest.threshold
        data = [i.name for i in manifest.inputs if i.kind != "constant" and not i.state_from]
        self._input = data[0] if data else None
        self._turned = bool(manifest.decoder_options.get("lower_is_stranger", "label" in names))

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Anomaly]:
        score = self._difference(outputs, model_input) if "reconstruction" in self._names else self._own(outputs)
        if not np.isfinite(score):
            raise SampleError("the model's anomaly score is not finite")
        strange = self._threshold is not None and score > self._threshold
        if self._threshold is None and "label" in self._names:
            strange = int(np.asarray(outputs[self._names["label"]]).ravel()[0]) == -1
        if self._threshold is None and "verdict" in self._names:
            strange = bool(np.asarray(outputs[self._names["verdict"]]).ravel()[0])
        return [Anomaly(score=score, is_anomaly=strange)]

    def _own(self, outputs: Tensors) -> float:
        values = np.asarray(outputs[self._names["score"]], dtype=np.float64)
        if values.size != 1:
            raise SampleError(
                f"the output {self._names['score']!r} has the shape {list(values.shape)}: neither a score nor the "
                "input given back"
            )
        score = float(values.ravel()[0])
        return -score if self._turned else score

    def _difference(self, outputs: Tensors, model_input: ModelInput) -> float:
        name = self._names["reconstruction"]
        given = model_input.tensors[self._input or next(iter(model_input.tensors))]
        back = np.asarray(outputs[name])
        if given.size != back.size:
            raise SampleError(f"the output {name!r} has {back.size} values for {given.size} of the input")
        apart = given.ravel().astype(np.float64) - back.ravel()
        return float(np.mean(apart * apart))


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> AnomalyScore:
    """Raises ModelError where no output can be a score."""
    known = {s.name: s for s in specs}
    names = {o.role: o.name for o in manifest.outputs if o.role in ("reconstruction", "score", "label", "verdict")}
    if not names:
        label = next((n for n in known if n.lower() in ("label", "output_label")), None)
        floats = [n for n, s in known.items() if n != label and s.dtype.startswith("float")]
        names = {**({"label": label} if label else {}), **({"score": floats[0]} if floats else {})}
    missing = [n for n in names.values() if n not in known]
    if missing or not {"reconstruction", "score"} & set(names):
        raise ModelError(
            f"{manifest.name}: no output of {', '.join(known)} is an anomaly score; name one in the manifest's outputs "
            "with the role score or reconstruction"
        )
    return AnomalyScore(manifest, names)


def recognise(probe: OutputProbe) -> Head | None:
    """anomalib: `pred_score`, `pred_label`; its maps and masks are left out."""
    score, verdict = probe.outputs.get("pred_score"), probe.outputs.get("pred_label")
    if score is None or score.size != 1:
        return None
    outputs: tuple[Output, ...] = (Output(name="pred_score", role="score"),)
    if verdict is not None and verdict.size == 1:
        outputs += (Output(name="pred_label", role="verdict"),)
    return Head("anomaly", "anomaly", outputs, {}, Evidence.NAMES, "stretched")


HEAD = HeadInfo(edge_api=1, create=create, recognise=recognise, honours=frozenset({"threshold"}))

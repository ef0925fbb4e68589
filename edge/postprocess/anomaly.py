"""Anomalies: a score, and which side of the threshold it is on.

Five forms, told by the role of the outputs: "reconstruction" (an autoencoder gives its input back: the score
is the mean squared difference), "score" (the model's own score, higher is stranger), "score" beside a
"label" of 1 or -1 (scikit-learn: lower is stranger, so the sign is turned; without a threshold the label
decides), and "map" (anomalib: a score for each pixel, the highest counts). Option `lower_is_stranger` says so without a
label. A score beside a "verdict" (anomalib: true or 1 is an anomaly) is called one by the model itself, unless a
threshold is given. Option `scale` (threshold, lowest, highest) turns a score into 0 to 1 as anomalib does, with its own
threshold at 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.data.result import Anomaly
from edge.data.sample import ModelInput
from edge.data.tensor import Tensors, TensorSpec
from edge.describe.head import Evidence, Head, HeadInfo, OutputProbe
from edge.describe.metadata import AnomalyScale
from edge.errors import ModelError, SampleError
from edge.model.manifest import Manifest, Output
from edge.plugins.columns import Columns

_ROLES = ("reconstruction", "score", "label", "verdict", "map")


class AnomalyScore:
    """Without a threshold, a label and a scale nothing is called an anomaly: the score is told."""

    def __init__(self, manifest: Manifest, names: dict[str, str]) -> None:
        self._names = names
        self.compares = "reconstruction" in names
        self._threshold = manifest.threshold
        data = [i.name for i in manifest.inputs if i.kind != "constant" and not i.state_from]
        self._input = data[0] if data else None
        self._turned = bool(manifest.decoder_options.get("lower_is_stranger", "label" in names))
        self._scale: Sequence[float] | None = manifest.decoder_options.get("scale")

    def __call__(self, outputs: Tensors, model_input: ModelInput) -> list[Anomaly]:
        score = self._difference(outputs, model_input) if "reconstruction" in self._names else self._own(outputs)
        if not np.isfinite(score):
            raise SampleError("the model's anomaly score is not finite")
        strange = self._threshold is not None and score > self._threshold
        if self._threshold is None and "label" in self._names:
            strange = int(np.asarray(outputs[self._names["label"]]).ravel()[0]) == -1
        if self._threshold is None and "verdict" in self._names:
            strange = bool(np.asarray(outputs[self._names["verdict"]]).ravel()[0])
        if self._scale is not None:
            middle, low, high = self._scale
            strange = score >= middle if self._threshold is None else strange
            score = min(1.0, max(0.0, (score - middle) / (high - low) + 0.5))
            strange = strange if self._threshold is None else score > self._threshold
        return [Anomaly(score=score, is_anomaly=strange)]

    def to_columns(self, outputs: Tensors, count: int) -> Columns | None:
        """`score` and `is_anomaly`; only of a model's own score, judged by a threshold or its label."""
        if self._scale is not None or set(self._names) - {"score", "label"} or "score" not in self._names:
            return None
        scores = np.asarray(outputs[self._names["score"]], dtype=np.float64).reshape(count, -1)
        if scores.shape[1] != 1 or not np.isfinite(scores).all():
            return None
        score = -scores[:, 0] if self._turned else scores[:, 0]
        strange = np.zeros(count, dtype=bool) if self._threshold is None else score > self._threshold
        if self._threshold is None and "label" in self._names:
            strange = np.asarray(outputs[self._names["label"]]).reshape(count, -1)[:, 0].astype(np.int64) == -1
        return Columns({"score": score, "is_anomaly": strange})

    def _own(self, outputs: Tensors) -> float:
        if "map" in self._names:
            return float(np.max(np.asarray(outputs[self._names["map"]], dtype=np.float64)))
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
    names = {o.role: o.name for o in manifest.outputs if o.role in _ROLES}
    if not names:
        label = next((n for n in known if n.lower() in ("label", "output_label")), None)
        floats = [n for n, s in known.items() if n != label and s.dtype.startswith("float")]
        names = {**({"label": label} if label else {}), **({"score": floats[0]} if floats else {})}
    missing = [n for n in names.values() if n not in known]
    if missing or not {"reconstruction", "score", "map"} & set(names):
        raise ModelError(
            f"{manifest.name}: no output of {', '.join(known)} is an anomaly score; name one in the manifest's outputs "
            "with the role score or reconstruction"
        )
    return AnomalyScore(manifest, names)


def recognise(probe: OutputProbe) -> Head | None:
    """anomalib 2: `pred_score`, `pred_label`, else `anomaly_map`. Before: one output, and `metadata.json` beside it."""
    scale, score, verdict = probe.metadata.anomaly, probe.outputs.get("pred_score"), probe.outputs.get("pred_label")
    if scale is not None and len(probe.outputs) == 1:
        return _scaled(probe, scale)
    outputs: tuple[Output, ...] = ()
    if score is not None and score.size == 1:
        outputs = (Output(name="pred_score", role="score"),)
    elif "anomaly_map" in probe.outputs:
        outputs = (Output(name="anomaly_map", role="map"),)
    if not outputs:
        return None
    warning = ""
    if verdict is not None and verdict.size == 1:
        outputs += (Output(name="pred_label", role="verdict"),)
    else:
        warning = "no output says what an anomaly is: without --threshold the score alone is told"
    # Its exports begin with the resizing of the training, without smoothing: another before it would blur pictures.
    return Head("anomaly", "anomaly", outputs, {}, Evidence.NAMES, "stretched", fits_pictures=True, warning=warning)


def _scaled(probe: OutputProbe, scale: AnomalyScale) -> Head:
    ((name, values),) = probe.outputs.items()
    output = Output(name=name, role="score" if values.size == 1 else "map")
    options = {"scale": [scale.threshold, scale.low, scale.high]}
    return Head("anomaly", "anomaly", (output,), options, Evidence.METADATA, scale.preset)


HEAD = HeadInfo(edge_api=1, create=create, recognise=recognise, honours=frozenset({"threshold"}))

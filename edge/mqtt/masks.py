"""`--mask`: the mask of each segmentation as a PNG on the topic `mask`, beside its result.

A grey PNG of the model's own resolution that covers the picture (of a `crop` the part that the model saw); the value
of a pixel is the index of its class, in 8 bits, or 16 where there are more than 256. The MQTT 5 user property `id`
names the result. Masks are for looking at: they wait in the session's memory while there is no connection, the newest
few, and are kept in no spool.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edge.data.result import Result
from edge.data.sample import ModelInput
from edge.data.tensor import Array, Tensors
from edge.mqtt.messages import Outgoing
from edge.preprocess.image.decode import opencv


class MaskPublisher:
    """Called by the infer thread."""

    def __init__(
        self, topic: str, classes: Callable[[Tensors, ModelInput], Array], publish: Callable[[Outgoing], None]
    ) -> None:
        """`classes` gives the class of each pixel, [H, W]; `publish` hands a message to the session."""
        self._topic, self._classes, self._publish = topic, classes, publish

    def watch(self, result: Result, outputs: Tensors, model_input: ModelInput) -> None:
        """Publishes the mask of a result."""
        png = to_png(self._classes(outputs, model_input))
        properties = {"schema": str(result.schema), "model": result.model.name, "seq": str(result.seq), "id": result.id}
        self._publish(Outgoing(self._topic, png, content_type="image/png", properties=properties))


def to_png(classes: Array) -> bytes:
    """The class of each pixel, [H, W], as a grey PNG."""
    dtype = np.uint8 if classes.max(initial=0) < 256 else np.uint16
    return bytes(opencv().imencode(".png", np.ascontiguousarray(classes.astype(dtype)))[1])

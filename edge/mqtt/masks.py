"""`--mask`: the mask of each segmentation as a PNG on the topic `mask`, beside its result.

A grey PNG of the model's own resolution that covers the picture (of a `crop` the part that the model saw); the value
of a pixel is the index of its class, in 8 bits, or 16 where there are more than 256. The MQTT 5 user property `id`
names the result. Masks are for looking at: they wait in memory while there is no connection, the newest few, and are
kept in no spool.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

import numpy as np

from edge.data.result import Result
from edge.data.sample import ModelInput
from edge.data.tensor import Array, Tensors
from edge.errors import SampleError, UnavailableError
from edge.mqtt.messages import Outgoing
from edge.preprocess.image.decode import opencv

log = logging.getLogger("edge.masks")

MAX_WAITING_BYTES = 4_000_000


class MaskPublisher:
    """`watch` is called by the infer thread, `flush` and `waiting` by the main one."""

    def __init__(
        self, topic: str, classes: Callable[[Tensors, ModelInput], Array], publish: Callable[[Outgoing], None]
    ) -> None:
        """`classes` gives the class of each pixel, [H, W]; `publish` raises UnavailableError."""
        self._topic, self._classes, self._publish = topic, classes, publish
        self._held: deque[Outgoing] = deque()
        self._bytes = 0
        self._lock = threading.Lock()

    def watch(self, result: Result, outputs: Tensors, model_input: ModelInput) -> None:
        """Publishes the mask of a result, or holds it until `flush`."""
        png = to_png(self._classes(outputs, model_input))
        properties = {"schema": str(result.schema), "model": result.model.name, "seq": str(result.seq), "id": result.id}
        with self._lock:
            self._held.append(Outgoing(self._topic, png, content_type="image/png", properties=properties))
            self._bytes += len(png)
            while self._bytes > MAX_WAITING_BYTES and len(self._held) > 1:
                self._bytes -= len(self._held.popleft().payload)
        self.flush()

    def flush(self) -> None:
        """Publishes what waits, as far as there is a connection."""
        with self._lock:
            while self._held:
                try:
                    self._publish(self._held[0])
                except UnavailableError:
                    return
                except SampleError as exc:
                    log.warning("mask not published", extra={"reason": str(exc)})
                self._bytes -= len(self._held.popleft().payload)

    def waiting(self) -> list[Outgoing]:
        """What still waits, to be sent before a clean end."""
        with self._lock:
            return list(self._held)


def to_png(classes: Array) -> bytes:
    """The class of each pixel, [H, W], as a grey PNG."""
    dtype = np.uint8 if classes.max(initial=0) < 256 else np.uint16
    return bytes(opencv().imencode(".png", np.ascontiguousarray(classes.astype(dtype)))[1])

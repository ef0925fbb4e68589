"""What comes before the infer thread where another one reads: the newest frame is kept, or the next picture prepared
while the model runs."""

from __future__ import annotations

from collections.abc import Callable

from edge.data.sample import Sample
from edge.runtime.frame_queue import Closed, FrameQueue
from edge.runtime.inference import Inference, Item
from edge.runtime.options import RunnerOptions
from edge.runtime.reader import Read, SourceReader, Unreadable

READ_WAIT_S = 0.5


class Capture:
    """Belongs to the capture thread."""

    def __init__(
        self,
        reader: SourceReader,
        frames: FrameQueue[Item],
        inference: Inference | None,
        options: RunnerOptions,
        *,
        came: Callable[[], None],
        left_out: Callable[[Sample], None],
    ) -> None:
        """`inference` prepares what comes next; None: it is queued as it is. `came` is told that something waits, or
        will not any more; `left_out` of each sample in which nothing moves."""
        self._reader = reader
        self._frames = frames
        self._inference = inference
        self._options = options
        self._came = came
        self._left_out = left_out
        self._suspected = False

    def run(self) -> None:
        """The thread: until the source has ended, or all is to end."""
        try:
            while True:
                self._options.beat("capture")
                for item in self._reader.get(READ_WAIT_S):
                    if (passed := self._gated(item)) is not None:
                        self._queue(passed)
        except Closed:
            return
        finally:
            self._frames.close()
            self._came()
            self._reader.close()

    def _gated(self, item: Read) -> Read | None:
        """None where nothing moves and no one asks: it is acknowledged, and counted."""
        if self._options.gate is None or isinstance(item, Unreadable):
            return item
        passed = self._options.gate(item)
        if passed is None and self._options.controls is not None and self._options.controls.asks:
            return item
        if passed is None:
            self._left_out(item)
        return passed

    def _queue(self, item: Item) -> None:
        """Prepares the item where it is the next one, and waits until there is room for it. Raises Closed."""
        if self._inference is not None and isinstance(item, Sample) and self._is_worth_preparing(item):
            self._options.guard.mark("capture", [item])
            (item,) = self._inference.pipeline.prepare([item])
            self._options.guard.mark("capture")
        while not self._frames.put(item, READ_WAIT_S):
            self._options.beat("capture")
            if self._reader.stopped:
                raise Closed
        self._came()

    def _is_worth_preparing(self, sample: Sample) -> bool:
        """The next one, unless it or the one before it is suspected, which is run beside no other. Of a live source a
        newer one takes the place of the one that waits."""
        guard = self._options.guard
        before, self._suspected = self._suspected, guard.suspects and guard.alone(sample)
        return (not self._reader.live or not self._frames.holds()) and not (before or self._suspected)

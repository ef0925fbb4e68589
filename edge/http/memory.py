"""Models whose memory is the engine's own (a variable in a .tflite file): there is one, parted by `reset` alone.

So each request begins with an empty one and leaves nothing behind, and its rows follow one another. Beside a flow,
whose samples stand in that memory, requests are refused; so are sequences, of which several would be under way.
"""

from __future__ import annotations

from typing import Any, NoReturn

from edge.data.tensor import Tensors
from edge.http.http_types import Refusal
from edge.http.options import Served
from edge.plugins.protocols import ResettableEngine


def begin(served: Served) -> None:
    """Empties the memory for a request. The one worker's that runs such a model. Raises Refusal: 501."""
    if served.source:
        raise Refusal(
            501, "the model keeps a memory of its own, which belongs to the samples of "
            f"{served.source}: a request would change what they give; start another edge-run for requests "
            "(--mqtt none --http PORT)"
        )  # fmt: skip
    if isinstance(served.engine, ResettableEngine):
        served.engine.reset()


def refuse_sequences() -> NoReturn:
    """Raises Refusal: 400."""
    raise Refusal(
        400, "the model keeps a memory of its own, of which there is one: sequences cannot be told apart; send what "
        "belongs together in one request, without sequence_id"
    )  # fmt: skip


class FreshEngine:
    """Such an engine, for tensors of requests: each run begins with an empty memory."""

    def __init__(self, served: Served) -> None:
        engine = served.engine
        self._served = served
        self.name, self.version, self.metadata = engine.name, engine.version, engine.metadata
        self.inputs, self.outputs = engine.inputs, engine.outputs

    def infer(self, tensors: Tensors) -> dict[str, Any]:
        """As `Engine`'s. Raises SampleError."""
        begin(self._served)
        return self._served.engine.infer(tensors)

    def close(self) -> None:
        """The engine belongs to who made it."""

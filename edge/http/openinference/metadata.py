"""What the Open Inference Protocol tells of server and model, beside inference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge.data.tensor import TensorSpec
from edge.http.catalog import Catalog
from edge.http.http_types import Refusal
from edge.http.openinference import tensors
from edge.http.options import Served

EXTENSIONS = ("binary_tensor_data", "classification", "model_configuration", "statistics")
ROWS_MOST = 1024
"""What a model with a free batch dimension tells as its largest batch where none is set; more are taken, too."""
PLATFORMS = {"onnxruntime": "onnx_onnxv1", "litert": "tensorflow_tflite"}


class Models:
    """A model, by the names that clients use for it."""

    def __init__(self, served: Served, max_batch: int, catalog: Catalog) -> None:
        self._served = served
        self._catalog = catalog
        self._max_batch = max_batch
        self.name = served.manifest.name
        self.version = served.manifest.version

    def check(self, name: str, version: str | None = None) -> None:
        """Raises Refusal (404) for another model or version."""
        if name != self.name:
            raise self._catalog.unknown(name)
        if version is not None and version != self.version:
            raise Refusal(404, f"there is no version {version[:80]!r} of {self.name!r}; it is version {self.version!r}")

    @property
    def every(self) -> list[str]:
        """The names of all models that are served."""
        return [one.name for one in self._catalog.all]

    def server(self) -> Mapping[str, Any]:
        """`GET /v2`."""
        own = ["sequence(string_id)"] if any(one.served.states for one in self._catalog.all) else []
        return {"name": "edge-run", "version": self._served.version, "extensions": [*EXTENSIONS, *own]}

    def metadata(self) -> Mapping[str, Any]:
        """`GET /v2/models/{m}`."""
        engine = self._served.engine
        manifest = self._served.manifest
        properties = {"task": manifest.task, "sha256": self._served.sha256}
        return {
            "name": self.name,
            "versions": [self.version],
            "platform": PLATFORMS.get(engine.name, engine.name),
            "inputs": [_tensor(s) for s in engine.inputs],
            "outputs": [_tensor(s) for s in engine.outputs],
            "properties": properties,
        }

    def configuration(self) -> Mapping[str, Any]:
        """`GET /v2/models/{m}/config`, in Triton's words: where `max_batch_size` is set, `dims` are of one sample."""
        engine = self._served.engine
        batched = bool(engine.inputs) and all(s.free_batch for s in (*engine.inputs, *engine.outputs))
        layouts = {i.name: i.layout for i in self._served.manifest.inputs if i.kind == "image"}
        inputs = [
            {
                **_config(s, batched=batched),
                "format": f"FORMAT_{layouts[s.name]}" if s.name in layouts else "FORMAT_NONE",
            }
            for s in engine.inputs
        ]
        return {
            "name": self.name,
            "platform": PLATFORMS.get(engine.name, engine.name),
            "backend": engine.name,
            "max_batch_size": (self._max_batch if self._max_batch > 1 else ROWS_MOST) if batched else 0,
            "input": inputs,
            "output": [_config(s, batched=batched) for s in engine.outputs],
        }

    def load(self, name: str, *, changed: bool) -> None:
        """Raises Refusal where there is more to do than nothing: it is loaded already."""
        self.check(name)
        if changed:
            raise Refusal(400, "a model is loaded here as its file is: start edge-run with another --model")

    def unload(self, name: str) -> None:
        """Raises Refusal."""
        self.check(name)
        raise Refusal(400, f"{name!r} is the model of this process, and is unloaded when it ends")

    def repository(self) -> list[Mapping[str, Any]]:
        """`POST /v2/repository/index`."""
        return self._catalog.repository()


def _tensor(spec: TensorSpec) -> Mapping[str, Any]:
    return {"name": spec.name, "datatype": tensors.datatype(spec), "shape": tensors.shape(spec)}


def _config(spec: TensorSpec, *, batched: bool) -> Mapping[str, Any]:
    kind = tensors.datatype(spec)
    return {
        "name": spec.name,
        "data_type": "TYPE_STRING" if kind == "BYTES" else f"TYPE_{kind}",
        "dims": tensors.shape(spec)[1:] if batched else tensors.shape(spec),
    }

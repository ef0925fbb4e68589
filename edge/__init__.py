"""edge-run: a trained model as a service on a Raspberry Pi.

`edge.load(path)` gives a model: `model.predict(x)` a `Result`, `model.infer({name: array})` tensors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edge.assembly import Model, load

__all__ = ["Model", "__version__", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Lazy: `import edge` alone, or `edge-run --version`, loads no engine.
    if name in ("Model", "load"):
        from edge import assembly

        return getattr(assembly, name)
    raise AttributeError(f"module 'edge' has no attribute {name!r}")

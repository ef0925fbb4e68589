"""edge-run: a trained model as a service on a Raspberry Pi.

`edge.load(path)` gives a model: `model.predict(x)` a `Result`, `model.infer({name: array})` tensors.
`edge.load(path, overrides=edge.Overrides(labels=("cat", "dog")))` says what the file does not.
"""

from __future__ import annotations

# Not typing's: to import it takes most of the time in which `edge-run` has no answer yet to a Ctrl-C.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from edge.app.assembly import Model, Overrides, load

__all__ = ["Model", "Overrides", "__version__", "load"]
__version__ = "0.2.0"


def __getattr__(name: str) -> object:
    # Lazy: `import edge` alone, or `edge-run --version`, loads no engine.
    if name in ("Model", "Overrides", "load"):
        from edge.app import assembly

        return getattr(assembly, name)
    raise AttributeError(f"module 'edge' has no attribute {name!r}")

"""The files that make up a model, for whatever carries it elsewhere."""

from __future__ import annotations

from edge.app.loading import Loaded
from edge.errors import ModelError
from edge.model import identity, manifest


def of(loaded: Loaded) -> dict[str, bytes]:
    """By name: the model, the files that hold weights of it, and what is known of it as its sidecar, so that nothing
    else that lies beside it is looked for again. Raises ModelError for a file that is gone."""
    path = loaded.path
    try:
        found = {name: (path.parent / name).read_bytes() for name in (path.name, *identity.external_files(path))}
    except OSError as exc:
        raise ModelError(f"{exc.filename}: {exc.strerror}; it was there before") from exc
    return {**found, f"{path.name}.json": manifest.encode(loaded.manifest)}

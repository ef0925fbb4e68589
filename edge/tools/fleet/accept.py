"""Which model files a fleet may get: one whose own manifest says what it is, and that agrees with its original."""

from __future__ import annotations

import tempfile
from pathlib import Path

from edge.app import assembly
from edge.errors import ModelError
from edge.model import golden, identity
from edge.model.manifest import Manifest
from edge.plugins.protocols import EngineOptions


def examined(file: Path, *, force: bool) -> Manifest:
    """The manifest of a file that a fleet may get; its golden samples are replayed here, too.

    Raises ModelError. `force` takes a file without a manifest, with failed parity or without golden samples; never one
    that does not load, or whose weights lie in other files.
    """
    try:
        others = identity.external_files(file)
    except OSError as exc:
        raise ModelError(f"{file}: {exc.strerror}") from exc
    if others:
        raise ModelError(f"{file.name}: its weights lie in other files ({', '.join(others)}): convert it into one")
    with tempfile.TemporaryDirectory(prefix="edge-fleet-") as folder:
        alone = Path(folder, file.name)  # as on a device: a sidecar does not go along
        alone.symlink_to(file.absolute())
        loaded = assembly.load_file(alone, EngineOptions(1, "cpu"))
    try:
        manifest = loaded.manifest
        if not force:
            _require(file, manifest, described=bool(loaded.reasons))
        golden.replay(loaded.engine, manifest, file=file.name)
        return manifest
    finally:
        loaded.engine.close()


def _require(file: Path, manifest: Manifest, *, described: bool) -> None:
    if described:
        sidecar = " (the one beside it does not go along)" if file.with_name(f"{file.name}.json").exists() else ""
        raise ModelError(
            f"{file.name}: it has no manifest in it{sidecar}, so what it is would be a guess on each device; "
            "edge-convert puts one in, --force adds it all the same"
        )
    parity = manifest.parity
    if parity is not None and (parity.forced or not parity.passed):
        raise ModelError(
            f"{file.name}: it does not agree with its original (it differs by {parity.max_difference:.3g}); "
            "convert it again, --force adds it all the same"
        )
    if not manifest.golden:
        raise ModelError(
            f"{file.name}: it has no golden samples, so no device can tell whether it runs it right; "
            "edge-convert --sample puts some in, --force adds it all the same"
        )

"""`--capture`: samples worth labelling are kept on the device, and `--capture-export` lays them out for labelling."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edge.app.core import Core, Draft
from edge.data.names import topic_part
from edge.data.vocabulary import OBJECTS, SCORED
from edge.errors import ConfigError, nearest
from edge.model.manifest import Manifest
from edge.pipeline.stages import Keep
from edge.settings.settings import Settings

if TYPE_CHECKING:
    from edge.app.drift import DriftPart
    from edge.trial.trial import Differs

log = logging.getLogger("edge.capture")

SUFFIX = ".capture"
"""Of the folders in the state folder."""
NAMED = (*OBJECTS, "classify", "segment", "anomaly")
KINDS = ("image", "table", "column", "tensor")


class Capture(msgspec.Struct, frozen=True):
    """What the other parts need of it, for any thread."""

    folder: Path
    keep: Keep
    differs: Differs | None
    counts: Callable[[], Mapping[str, Any]]


def make(core: Core, draft: Draft, watched: DriftPart | None) -> Capture | None:
    """None where nothing is to be kept. Raises ConfigError for rules that could never pick a sample."""
    settings = core.settings
    rules = settings.capture.rules
    if not rules:
        if settings.capture.to is not None:
            raise ConfigError("--capture-to: nothing is kept that could be sent; add --capture RULES")
        return None
    _require_use(core)
    from edge.capture.about import About
    from edge.capture.rules import TRIAL, Rules
    from edge.capture.store import Store
    from edge.capture.writer import Writer

    if (watched is None or not watched.watches) and ("drift", "") in rules:
        log.warning("the rule drift picks nothing: drift is not watched for this model")
    folder = settings.capture.folder or settings.delivery.state_dir / f"{core.stem}{SUFFIX}"
    manifest = core.loaded.manifest
    about = msgspec.json.encode(About(manifest.task, manifest.labels))
    store = Store(folder, settings.capture.most, core.clock, core.boot, about)
    chosen = Rules(rules, random.random, watched.suspects if watched is not None else lambda: False)
    writer = Writer(chosen, store, settings.capture.most, core.clock, core.metrics)
    draft.add("capture", writer.start, writer.close)
    counts = writer.counts
    if settings.capture.to is not None:
        from edge.capture import upload

        remote = upload.remote(settings.capture.to, settings.topics.device, manifest.name)
        uploader = upload.Uploader(folder, remote, core.metrics)
        draft.add("capture upload", uploader.start, uploader.close)
        log.info("kept samples are sent", extra={"to": str(remote)})

        def counts() -> Mapping[str, Any]:
            return {**writer.counts(), **uploader.counts()}

    return Capture(folder, writer.keep, writer.differs if TRIAL in rules else None, counts)


def _require_use(core: Core) -> None:
    settings, manifest, file = core.settings, core.loaded.manifest, core.loaded.path.name
    for part in manifest.inputs:
        if part.window is not None or part.kind not in (*KINDS, "constant"):
            what = "windows" if part.window is not None else part.kind
            raise ConfigError(f"--capture keeps pictures, rows and arrays, and {file} takes {what}; leave it out")
    kinds = [kind for kind, _ in settings.capture.rules]
    if "drift" in kinds and settings.drift.window is None:
        raise ConfigError("--capture drift: nothing watches for it; add --drift")
    if "trial-differs" in kinds and settings.drift.trial is None:
        raise ConfigError("--capture trial-differs: there is no second model; add --trial FILE")
    for kind, value in settings.capture.rules:
        if kind.startswith("score") and manifest.task not in SCORED:
            raise ConfigError(f"--capture {kind}{value:g}: {file} does {manifest.task}, which has no score")
        if kind.startswith("score") and manifest.task != "anomaly" and not 0 < float(value) < 1:
            text = "a rule picks every sample, or none, unless scores are margins: others go from 0 to 1"
            log.warning(text, extra={"rule": f"{kind}{value:g}"})
        if kind == "class":
            _require_class(manifest, file, str(value))


def _require_class(manifest: Manifest, file: str, name: str) -> None:
    if manifest.task not in NAMED:
        raise ConfigError(f"--capture class:{name}: {file} does {manifest.task}, which has no classes")
    from edge.capture.about import About

    known = About(manifest.task, manifest.labels).names
    if known and name not in known:
        raise ConfigError(f"--capture class:{name}: {file} has no class of this name{nearest(name, known)}")


def export(settings: Settings) -> Iterator[str]:
    """Lays out what is kept; says what was written. Raises ConfigError where nothing is, or it does not fit."""
    from edge.capture import export as layouts

    folder = settings.capture.folder or _only(settings)
    if not folder.is_dir():
        raise ConfigError(f"--capture-dir {folder}: there is no such folder; say the one that the service has")
    assert settings.capture.export is not None
    try:
        yield from layouts.write(folder, settings.capture.export)
    except OSError as exc:
        raise ConfigError(f"{exc.filename or folder}: {exc.strerror}; copy the folder to where you may write") from exc


def _only(settings: Settings) -> Path:
    """The one folder in the state folder, of `--name` and `--device` where they are said."""
    folder, topics = settings.delivery.state_dir, settings.topics
    device = topic_part(topics.device) if topics.device else "*"
    name = topic_part(topics.name) if topics.name else "*"
    found = sorted(folder.glob(f"{device}.{name}{SUFFIX}"))
    if len(found) != 1:
        there = ", ".join(path.name for path in found) or "none"
        raise ConfigError(f"{folder}: folders of kept samples there: {there}; say --capture-dir DIR")
    return found[0]

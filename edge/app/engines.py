"""Engines that several runs share: a model's file is loaded once for all that run it with the same options."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from msgspec.structs import replace

from edge.app import loading
from edge.engines import choose
from edge.plugins.protocols import Engine, EngineOptions, RememberingEngine
from edge.settings.settings import Settings

Key: TypeAlias = tuple[Path, EngineOptions, str]


class SharedEngines:
    """Of the thread that loads, one model after the other. An engine may be called from several threads, and keeps
    nothing from one to the next; one that does is each run's own."""

    def __init__(self, each: Sequence[Settings]) -> None:
        self._instances: dict[Key, int] = {}
        for one in each:
            options = loading.engine_options(one)
            key = _key(one.model.file, options, one.model.engine)
            self._instances[key] = self._instances.get(key, 0) + options.instances
        self._loaded: dict[Key, Engine] = {}

    def load(self, path: Path, options: EngineOptions, name: str = "auto") -> Engine:
        """As `choose.load`; as many instances as all runs of the file ask for together, so that none waits for another
        one. Raises ModelError, ConfigError."""
        key = _key(path, options, name)
        if key in self._loaded:
            return self._loaded[key]
        most = max(options.instances, self._instances.get(key, 0))
        engine = choose.load(path, replace(options, instances=most), name)
        if not (isinstance(engine, RememberingEngine) and engine.remembers):
            self._loaded[key] = engine
        return engine


def _key(path: Path, options: EngineOptions, name: str) -> Key:
    return path.resolve(), replace(options, instances=1), name

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import onnxmodels
from support.http import Site


@pytest.fixture
def serve() -> Iterator[Callable[..., Site]]:
    """Starts servers that end with the test."""
    made: list[Site] = []

    def start(model: Any, **options: Any) -> Site:
        made.append(Site(model, **options))
        return made[-1].start()

    yield start
    for site in made:
        site.stop()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for model files that several tests use."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def scores(models: Path) -> Iterator[Site]:
    """A server with a classifier of 64 features and 10 classes."""
    site = Site(onnxmodels.scores(models / "scores.onnx")).start()
    yield site
    site.stop()


@pytest.fixture(scope="module")
def numbers(models: Path) -> Iterator[Site]:
    """A server that answers what it is sent: rows of three floats."""
    site = Site(onnxmodels.identity(models / "numbers.onnx")).start()
    yield site
    site.stop()

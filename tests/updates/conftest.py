from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.tls import Papers
from support.updating import Fleet, RangeServer, write_model


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """Made once: keys, signatures and syncs take a while."""
    folder = tmp_path_factory.mktemp("made")
    Fleet(folder / "fleet").add(write_model(folder / "m1.onnx", "1"), "1")
    return folder


@pytest.fixture
def fleet(made: Path, tmp_path: Path) -> Fleet:
    """Version 1 of the model `m`, `m1.onnx`, for all devices of `stable`."""
    shutil.copy(made / "m1.onnx", tmp_path)
    return Fleet(shutil.copytree(made / "fleet", tmp_path / "fleet"))


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """The folder that a device keeps its updates in."""
    folder = tmp_path / "device"
    folder.mkdir()
    return folder


@pytest.fixture
def server(fleet: Fleet) -> Iterator[RangeServer]:
    with RangeServer(fleet.public) as server:
        yield server


@pytest.fixture(scope="session")
def papers(tmp_path_factory) -> Papers:
    return Papers(tmp_path_factory.mktemp("tls") / "papers")


@pytest.fixture
def tls_server(fleet: Fleet, papers: Papers) -> Iterator[RangeServer]:
    with RangeServer(fleet.public, papers=papers) as server:
        yield server

"""Networks inside of another library's class: refused with where the network is, or converted as it answers."""

from __future__ import annotations

import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

import converter
from converter.errors import UnsupportedError

ROWS = np.random.default_rng(3).normal(size=(40, 6)).astype(np.float32)


@pytest.fixture
def tabnet(torch: Any) -> Any:
    """A module with the ghost normalisation of pytorch-tabnet, which cuts the rows into chunks by their number."""

    class GBN(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.bn = torch.nn.BatchNorm1d(6)

        def forward(self, rows: Any) -> Any:
            chunks = rows.chunk(int(np.ceil(rows.shape[0] / 4)), 0)
            return torch.cat([self.bn(chunk) for chunk in chunks], dim=0)

    GBN.__module__ = "pytorch_tabnet.tab_network"
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(6, 6), GBN(), torch.nn.Linear(6, 2))
    network.train()(torch.from_numpy(ROWS))
    return network.eval()


def test_a_ghost_normalisation_takes_any_number_of_rows(tabnet: Any, torch: Any, tmp_path: Path) -> None:
    artifact = converter.convert(tabnet, sample=ROWS, task="raw")

    assert not any("one row at a time" in note for note in artifact.notes)
    session = ort.InferenceSession(artifact.save(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    for count in (1, 3, 7):
        rows = ROWS[:count]
        (got,) = session.run(None, {session.get_inputs()[0].name: rows})
        np.testing.assert_allclose(got, tabnet(torch.from_numpy(rows)).detach().numpy(), atol=1e-5)
    assert type(tabnet[1]).__name__ == "GBN"  # what the user holds stays as it is


def test_columns_that_are_looked_up_beside_measured_ones_leave_those_their_fractions(
    torch: Any, tmp_path: Path
) -> None:
    """pytorch-tabnet asks a tensor, column by column, which of them are categories."""

    class EmbeddingGenerator(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.skip_embedding = False
            self.embedding = torch.nn.Embedding(4, 2)
            self.continuous_idx = torch.tensor([True, False])

        def forward(self, rows: Any) -> Any:
            columns = [
                rows[:, i].float().view(-1, 1) if measured else self.embedding(rows[:, i].long())
                for i, measured in enumerate(self.continuous_idx)
            ]
            return torch.cat(columns, dim=1)

    EmbeddingGenerator.__module__ = "pytorch_tabnet.tab_network"
    network = torch.nn.Sequential(EmbeddingGenerator(), torch.nn.Linear(3, 2)).eval()
    rows = np.stack([ROWS[:, 0], np.arange(len(ROWS)) % 4], axis=1).astype(np.float32)

    path = converter.convert(network, sample=rows, task="raw").save(tmp_path / "m.onnx")

    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    for count in (1, 3, 7):
        (got,) = session.run(None, {session.get_inputs()[0].name: rows[:count]})
        np.testing.assert_allclose(got, network(torch.from_numpy(rows[:count])).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize(("package", "network"), [("skorch", "net.module_"), ("pytorch_tabnet", "model.network")])
def test_a_pickle_of_a_class_around_a_network_says_where_the_network_is(
    package: str, network: str, torch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Net:
        def __init__(self) -> None:
            self.inner = torch.nn.Linear(2, 2)

    Net.__module__, Net.__qualname__ = package, "Net"
    library = types.ModuleType(package)
    library.Net = Net  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, package, library)
    (tmp_path / "net.pkl").write_bytes(pickle.dumps(Net()))

    with pytest.raises(UnsupportedError, match=rf"holds {package}'s Net; convert the PyTorch network .*{network}"):
        converter.convert(tmp_path / "net.pkl", sample=ROWS, trust_pickle=True)

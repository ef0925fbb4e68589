from __future__ import annotations

import os
import zipfile

import numpy as np
import pytest

from edge.data.tensor import TensorSpec
from edge.errors import ConfigError, EndOfStream, SourceError
from edge.plugins.contexts import SourceContext
from edge.sources import arrays
from edge.sources.arrays import ArraySource
from edge.testing.fakes import FakeClock

CONTEXT = SourceContext(FakeClock(), input_specs=(TensorSpec("x", "float32", (1, 2)),))


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def rows(path):
    source = ArraySource(path, CONTEXT)
    source.open()
    found = []
    try:
        while True:
            found.append(source.read(0).payload)
    except EndOfStream:
        return found
    finally:
        source.close()


def test_rows_come_one_by_one(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(6.0).reshape(3, 2))
    assert [list(row) for row in rows(tmp_path / "a.npy")] == [[0, 1], [2, 3], [4, 5]]


def test_text_comes_as_text(tmp_path):
    np.save(tmp_path / "a.npy", np.array([["a", "b"], ["c", "d"]]))
    assert rows(tmp_path / "a.npy") == [["a", "b"], ["c", "d"]]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04\x95 a pickle",
        header("{'descr': ((((((\n"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (" + "(" * 3000 + "\n"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 2), }\n"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 2), }\n"),
        header("[]\n"),
    ],
)
def test_a_damaged_file_is_told_in_a_line(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(ConfigError, match=r"not a \.npy or \.npz file that can be read"):
        rows(tmp_path / "a.npy")


@pytest.mark.parametrize("dtype", ["c8", "M8[D]", [("a", "f4")]])
def test_values_that_no_model_takes_are_refused(tmp_path, dtype):
    np.save(tmp_path / "a.npy", np.zeros((2, 2), dtype))
    with pytest.raises(ConfigError, match="numbers, booleans and text are taken"):
        rows(tmp_path / "a.npy")


@pytest.mark.parametrize("members", [{}, {"note.txt": b"hello"}])
def test_an_archive_without_an_array_is_refused(tmp_path, members):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(ConfigError, match="it holds no array"):
        rows(tmp_path / "a.npz")


def test_an_archive_that_unpacks_to_more_than_memory_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "MAX_MEMBER", 1000)
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((500, 2)))
    with pytest.raises(ConfigError, match=r"x\.npy unpacks to .* save it as \.npy"):
        rows(tmp_path / "a.npz")


def test_a_pipe_is_refused_instead_of_waiting_for_its_writer(tmp_path):
    os.mkfifo(tmp_path / "a.npy")
    with pytest.raises(ConfigError, match="--source -"):
        rows(tmp_path / "a.npy")


def test_a_file_that_is_cut_short_while_it_is_read_ends_the_source_not_the_process(tmp_path):
    """A row of a map in memory that is behind the file's end: SIGBUS."""
    path = tmp_path / "a.npy"
    np.save(path, np.ones((100_000, 2), np.float32))
    source = ArraySource(path, CONTEXT)
    source.open()
    assert source.read(0).payload.tolist() == [1, 1]
    os.truncate(path, 200)
    with pytest.raises(SourceError, match=r"it ends in row \d+ of 100000"):
        all(source.read(0) for _ in range(100_000))
    source.close()


@pytest.mark.parametrize("dtype", [">f4", "?", "<U3", "f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_are_what_was_saved_and_may_be_written_to(tmp_path, dtype, order):
    saved = np.asarray([[1, 0], [0, 1], [1, 1]], order=order).astype(dtype)
    np.save(tmp_path / "a.npy", saved)
    found = rows(tmp_path / "a.npy")
    assert [np.asarray(row).tolist() for row in found] == saved.tolist()
    assert all(isinstance(row, list) or row.flags.writeable for row in found)

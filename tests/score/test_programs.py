"""`edge.score.Scorer` in a program: a table in, the rows of `edge-score` out."""

from __future__ import annotations

import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import edge.score
from edge.errors import ConfigError, SourceError


def test_a_table_gives_the_rows_of_edge_score(trees, score, tmp_path):
    archive = trees.write(tmp_path / "a.parquet")
    assert score(trees.path, archive, "-o", tmp_path / "out.parquet", "--columns", "id,note")[0] == 0
    scorer = edge.score.Scorer(trees.path, columns=["id", "note"])
    assert scorer(trees.table).equals(pq.read_table(tmp_path / "out.parquet"))
    assert scorer(trees.table.slice(0, 0)).num_rows == 0


def test_it_travels_to_another_process_as_what_it_was_made_of(trees):
    scorer = edge.score.Scorer(trees.path, columns=["id"])
    expected = scorer(trees.table)
    assert pickle.loads(pickle.dumps(scorer))(trees.table).equals(expected)


def test_a_table_of_other_columns_is_told(trees):
    with pytest.raises(SourceError, match="the table: no column 'width' for feature"):
        edge.score.Scorer(trees.path)(trees.table.drop_columns(["width"]))
    with pytest.raises(SourceError, match="no column 'no such' for --columns"):
        edge.score.Scorer(trees.path, columns=["no such"])(trees.table)
    with pytest.raises(ConfigError, match="two columns 'label'"):
        edge.score.Scorer(trees.path, columns=["label"])(trees.table.append_column("label", pa.nulls(600, pa.string())))

"""Each task has its columns, and what a device says in them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import get_args

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edge.data.result import Anomaly, Classification, Detection, Raw, Segmentation, Text
from edge.data.vocabulary import Task
from edge.score import output, schema

BOX = Detection(1, "cat", 0.5, (1.0, 2.0, 3.0, 4.0), keypoints=[(1.0, 2.0, 0.5)], polygons=[[(0.0, 1.0)]])
CASES = {
    "classify": ([Classification(1, "b", 0.9), Classification(0, "a", 0.1)], {"label": "b", "index": 1, "score": 0.9}),
    "anomaly": ([Anomaly(0.7, is_anomaly=True)], {"score": 0.7, "is_anomaly": True}),
    "detect": ([BOX], {"count": 1, "predictions": [BOX]}),
    "keypoints": ([BOX], {"count": 1, "predictions": [BOX]}),
    "segment": ([Segmentation(["sky"], [0.25])], {"labels": ["sky"], "areas": [0.25]}),
    "text": ([Text("hello", 0.75)], {"text": "hello", "score": 0.75}),
    "raw": ([Raw("y", [1], "int8", [2])], {"predictions": [{"name": "y", "shape": [1], "dtype": "int8", "data": [2]}]}),
}  # fmt: skip


def plain(value):
    """Without what is null, and JSON as what it says."""
    if isinstance(value, str) and value.startswith("["):
        return msgspec.json.decode(value)
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if v is not None}
    return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def test_every_task_has_a_case():
    assert {*CASES, "regress"} == set(get_args(Task))


@pytest.mark.parametrize("task", CASES)
def test_a_result_stands_in_the_columns_of_its_task(task):
    predictions, expected = CASES[task]
    columns = schema.of(SimpleNamespace(manifest=SimpleNamespace(task=task)))
    arrays = columns.of_rows([predictions, None])
    rows = pa.RecordBatch.from_arrays(arrays, [f.name for f in columns.fields]).to_pylist()
    assert plain(rows[0]) == plain(msgspec.to_builtins(expected))
    assert not any(v is not None for v in rows[1].values())


def test_parquet_keeps_a_dictionary_of_texts_alone_also_within_lists(tmp_path):
    fields = pa.schema(
        [
            ("label", pa.string()),
            ("score", pa.float64()),
            ("found", pa.list_(pa.struct([("name", pa.string()), ("n", pa.int32())]))),
        ]
    )
    with output.writing(tmp_path / "o.parquet", "parquet", fields) as writer:
        row = {"label": "a", "score": 0.5, "found": [{"name": "b", "n": 1}]}
        writer.write(pa.RecordBatch.from_pylist([row, row], schema=fields))

    group = pq.ParquetFile(tmp_path / "o.parquet").metadata.row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    assert [c.path_in_schema for c in columns if c.has_dictionary_page] == ["label", "found.list.element.name"]

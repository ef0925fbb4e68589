"""Proofs that a part keeps the promises of `edge.plugins.protocols`: run them on your own plug-in.

def test_my_spool_is_a_spool(tmp_path):
    check_spool(lambda max_bytes: MySpool(tmp_path / uuid4().hex, max_bytes))

Each raises AssertionError that says which promise is broken. Exporters and passes: `converter.testing`.
"""

from edge.testing.checks.columns import check_column_postprocessor, check_column_preprocessor
from edge.testing.checks.decoders import check_postprocessor
from edge.testing.checks.engines import check_engine
from edge.testing.checks.preprocessors import check_preprocessor
from edge.testing.checks.sinks import OtherSide, check_sink
from edge.testing.checks.sources import check_source
from edge.testing.checks.spools import check_spool

__all__ = [
    "OtherSide", "check_column_postprocessor", "check_column_preprocessor", "check_engine", "check_postprocessor",
    "check_preprocessor", "check_sink", "check_source", "check_spool",
]  # fmt: skip

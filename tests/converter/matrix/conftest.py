"""The matrix is heavy; its table is printed when the last test has run, and written where MATRIX names a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.matrix import CELLS, as_markdown

HERE = Path(__file__).parent

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.heavy)
            item.add_marker(pytest.mark.filterwarnings("ignore"))
            item.add_marker(pytest.mark.timeout(600))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not CELLS:
        return
    table = as_markdown(CELLS)
    terminalreporter.section("conversion matrix")
    terminalreporter.write(table)
    target = os.environ.get("MATRIX")
    if target:
        Path(target).write_text(table)

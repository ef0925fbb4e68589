"""The page: whole in itself, and true to the figures."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.tables import Split

import converter
from converter.artifact import Variant
from converter.cli import main
from converter.proof.parity import ParityError
from converter.report import charts, report
from converter.report.html import page

VOID = {"meta", "link", "br", "img"}


class Shape(HTMLParser):
    """Fails where tags do not close, and gathers the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        """Closed by itself."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def converted(forest: Any, wine: Split) -> converter.Artifact:
    truth = wine.true_names
    return converter.convert(forest, sample=wine.held, expect=truth, name="wine <1>")


def test_the_page_stands_alone_and_is_whole(converted: converter.Artifact) -> None:
    made = page(report.of(converted))

    Shape(made)
    assert not re.search(r"(src|href)=|url\(|@import|<script", made)
    assert "wine &lt;1&gt;" in made
    assert "prefers-color-scheme: dark" in made


def test_it_says_what_was_measured(converted: converter.Artifact) -> None:
    text = Shape(page(report.of(converted, "wine.onnx"))).text

    figures = converted.manifest.parity
    assert "passed: it answers as the original" in text
    assert f"{figures.accuracy_after:.2%}" in text
    assert "Confusion before" in text
    assert "Confusion after" in text
    assert "wine.onnx" in text


def test_a_failure_shows_its_reasons(forest: Any, wine: Split) -> None:
    with pytest.raises(ParityError) as failed:
        converter.convert(forest, sample=wine.held, tolerance=1e-12)

    text = Shape(page(report.of(failed.value.artifact))).text

    assert "failed: not written" in text
    assert "differ, by up to" in text


def test_made_up_rows_are_called_weaker(forest: Any) -> None:
    assert "made-up rows only" in Shape(page(report.of(converter.convert(forest)))).text


def test_the_variants_that_were_tried_are_listed(converted: converter.Artifact) -> None:
    tried = (
        Variant("none", 2000, 0.02, 1e-7, 1.0, 0.97, chosen=True),
        Variant("int8", passed=False, reason="3 of 59 rows get another class"),
    )

    text = Shape(page(report.of(replace(converted, variants=tried)))).text

    assert "float32 2.0 kB 20.0 µs 1e-07 100.00% 0.9700 chosen: the fastest that passes" in text
    assert "int8 3 of 59 rows get another class" in text


def test_the_command_writes_the_page_also_for_what_fails(forest: Any, wine: Split, tmp_path: Path) -> None:
    import skops.io

    skops.io.dump(forest, tmp_path / "wine.skops")
    np.save(tmp_path / "rows.npy", wine.held.to_numpy())
    common = [str(tmp_path / "wine.skops"), "-o", str(tmp_path / "wine.onnx"), "--sample", str(tmp_path / "rows.npy")]

    assert main([*common, "--report", str(tmp_path / "good.html")]) == 0
    assert main([*common, "--tolerance", "1e-12", "--report", str(tmp_path / "bad.html")]) == 3

    assert "passed" in (tmp_path / "good.html").read_text()
    assert "failed" in (tmp_path / "bad.html").read_text()


def test_rows_over_the_limit_have_another_colour() -> None:
    drawn = charts.histogram(np.array([1e-6] * 9 + [0.5]), 1e-3)

    assert drawn.count('class="bar"') == 1
    assert drawn.count('class="over"') == 1
    assert "9 rows" in drawn


@pytest.mark.parametrize("values", [[0.0, 0.0], [np.inf, 1e-5], [np.inf, np.inf], [1e-12]])
def test_odd_differences_are_drawn_too(values: list[float]) -> None:
    drawn = charts.histogram(np.array(values), 1e-3)

    assert drawn.endswith("</svg>")
    assert ("not finite" in drawn) == bool(np.isinf(values).any())
    assert "nan" not in drawn

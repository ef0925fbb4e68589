"""Laws of the house that `make check` cannot hold; it has the layers, types, private names, lists of parameters."""

from __future__ import annotations

import ast
import graphlib
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

import converter
import edge
from edge.mqtt.topics import ASKED, OUTPUTS

PACKAGES = [Path(package.__file__).parent for package in (edge, converter)]
FILES = {".".join(_.relative_to(p.parent).with_suffix("").parts): _ for p in PACKAGES for _ in sorted(p.rglob("*.py"))}
LONGEST = 400
BY_TEXT = {
    "edge.engines.onnxruntime": "_sess",  # a release that has it no more is asked the long way
    "edge.updates.reference_time": "_trusted_set",  # of the releases in TRIED
    "converter.exporters.sklearn.estimators": "_predictors",  # scikit-learn has no public name
    "converter.exporters.sklearn.imputers": "_fit_X",  # nor has it one for the rows that gaps are filled from
    "converter.exporters.sklearn.kernels": "_gamma",  # nor for what gamma="scale" came to
    "converter.exporters.torch.translations": "_cdist_forward",  # what torch.cdist becomes in a graph; no other name
    "converter.exporters.sklearn.neighbours": "_y",  # nor for this; without it equally far neighbours are refused
}
"""Private names of other libraries, each in one file."""


def nodes(pattern: str, room: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Each node of the syntax of each file of a room whose text has `pattern`: to parse all of them takes seconds."""
    for name, path in FILES.items():
        if name.startswith(room) and re.search(pattern, text := path.read_text()):
            yield from ((name, node) for node in ast.walk(ast.parse(text)))


def statements(block: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Those of a block and of the blocks inside of them, without the expressions, which are nine nodes of ten."""
    for one in block:
        yield one
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            yield from statements(getattr(one, part, ()))


def imports(name: str) -> set[str]:
    """The modules that one imports anywhere, also for types alone."""
    found = set()
    for node in statements(ast.parse(FILES[name].read_text()).body):
        if isinstance(node, ast.ImportFrom) and node.module:
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {full if full in modules() else node.module for full in inside}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {plain for plain in found if plain in modules()} - {name.removesuffix(".__init__")}


@cache
def modules() -> set[str]:
    return {name.removesuffix(".__init__") for name in FILES}


def test_no_files_import_each_other_in_a_circle():
    graph = {name.removesuffix(".__init__"): imports(name) for name in FILES}
    assert len(graph) > 500
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.name)
def test_no_file_is_long(package):
    lines = {path.relative_to(package).as_posix(): path.read_text().count("\n") for path in package.rglob("*.py")}
    assert {name: count for name, count in lines.items() if count > LONGEST} == {}


def test_settings_are_typed_and_none_is_any():
    names = {name for name, n in nodes("Any", "edge.settings") if isinstance(n, ast.Name) and n.id == "Any"}
    assert names == set()


def test_a_topic_is_named_in_one_file():
    ends = {f"/{name}" for name in (*OUTPUTS, *ASKED, "input")}
    every = nodes("|".join(ends))
    lasts = [(name, node.values[-1]) for name, node in every if isinstance(node, ast.JoinedStr) and node.values]
    named = {name for name, last in lasts if isinstance(last, ast.Constant) and last.value in ends}
    assert named == {"edge.homeassistant.build"}  # Home Assistant's own status; ours are attributes of `Topics`


def test_what_is_private_to_others_is_named_in_one_file_also_where_it_is_named_by_a_text():
    asked = {
        (name, call.args[1].value)
        for name, call in nodes("(get|has|set)attr")
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id in ("getattr", "hasattr", "setattr")
        if len(call.args) > 1 and isinstance(call.args[1], ast.Constant) and str(call.args[1].value).startswith("_")
    }
    ours = {(name, text) for name, text in asked if text.startswith("__") or text == "_fields"}  # Python's
    assert asked - ours == set(BY_TEXT.items())

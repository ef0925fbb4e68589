"""What the pages name is there: a link to a file, and each path of the code."""

from __future__ import annotations

import builtins
import importlib
import pkgutil
import re
import runpy
import tomllib
from contextlib import suppress
from functools import cache
from pathlib import Path

import msgspec
import pytest

import edge
import edge.cli
from edge.mqtt.topics import ASKED, OUTPUTS
from edge.settings import options
from edge.settings.settings import Settings

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REPOSITORY = PROJECT["urls"]["Repository"]
PAGES = sorted([ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").glob("*.md")])
ROOMS = (ROOT, ROOT / "edge", ROOT / "converter", ROOT / "edge" / "http", ROOT / "edge" / "mqtt", ROOT / "docs")
DEVELOPERS = ["ARCHITECTURE.md", "CONTRIBUTING.md", "GLOSSARY.md", "PLUGINS.md", "STABILITY.md"]
OTHERS = {
    *("--help", "--help-all"),
    *("--data-binary", "--http2", "--compress", "--h1"),  # curl, HTTPie, h2load
    *("--group-add", "--read-only", "--restart"),  # docker
    *("--no-deps", "--system-site-packages", "--no-install-recommends", "--strict"),  # pip, venv, apt-get, mkdocs
    *("--env-manager", "--master", "--block-signal"),  # mlflow, spark-submit, env
}
"""Flags of other people's commands."""


def code(page):
    """What stands between ticks on a page."""
    return re.findall(r"`([^`\n]+)`", page.read_text())


def is_there(name):
    """A module, or what one has."""
    with suppress(ModuleNotFoundError):
        importlib.import_module(name)
        return True
    module, _, attribute = name.rpartition(".")
    return bool(module) and is_there(module) and hasattr(importlib.import_module(module), attribute)


@cache
def flags():
    """Of all our commands."""
    names = [f"edge.cli.{module.name}" for module in pkgutil.iter_modules(edge.cli.__path__)]
    modules = [importlib.import_module(name) for name in (*names, "converter.cli", "converter.demo.__main__")]
    structs = {v for m in modules for v in vars(m).values() if isinstance(v, type) and issubclass(v, msgspec.Struct)}
    return {word for struct in structs | {Settings} for option in options.of(struct) for word in option.words}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_link_to_a_file_leads_to_one(page):
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", [*PAGES, ROOT / "mkdocs.yml"], ids=lambda p: p.name)
def test_where_the_source_is_published_is_said_in_pyproject_alone(page):
    owner = REPOSITORY.removeprefix("https://github.com/").split("/")[0]
    assert re.findall(rf"github\S*[/.]{owner}\S*|{owner}\.github\.io\S*", page.read_text()) == []


def test_the_wheel_that_the_pages_name_is_of_this_version():
    names = {name for page in PAGES for name in re.findall(r"edge_run-[\w.]+?-py3-none-any\.whl", page.read_text())}
    assert names == {f"edge_run-{edge.__version__}-py3-none-any.whl"}


def test_the_reference_of_settings_is_up_to_date():
    written = runpy.run_path(str(ROOT / "docs" / "tools" / "settings.py"))["page"]()
    assert (ROOT / "docs" / "settings.md").read_text() == written, "make settings"


def test_the_changes_are_by_release_dated_and_by_kind():
    text = (ROOT / "CHANGELOG.md").read_text()
    heads = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ \(\d{4}-\d\d-\d\d\)|Unreleased", head) for head in heads), heads
    assert edge.__version__ in " ".join(heads[:2])
    kinds = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert {kind for kind in kinds if not kind.startswith("Coming from ")} <= {"Added", "Changed", "Fixed"}


def test_every_page_is_in_the_menu_of_the_site():
    menu = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    assert sorted(p.name for p in (ROOT / "docs").glob("*.md")) == sorted(re.findall(r"[\w-]+\.md", menu))


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs" / "index.md"], ids=lambda p: p.name)
def test_every_page_for_users_is_named_where_people_begin(page):
    pages = {p.name for p in (ROOT / "docs").glob("*.md")} - {"index.md", "FINDINGS.md"}  # itself; for us alone
    assert sorted(pages - set(re.findall(r"([\w-]+\.md)\)", page.read_text()))) == []


def test_the_first_page_names_every_extra():
    named = set(re.findall(r"`([\w-]+)`", (ROOT / "docs" / "index.md").read_text().partition("## Extras")[2]))
    assert sorted(set(PROJECT["optional-dependencies"]) - named) == []


def test_the_page_of_findings_names_every_script_and_no_other():
    named = re.findall(r"`([\w-]+\.sh)`", (ROOT / "docs" / "FINDINGS.md").read_text())
    assert sorted(named) == sorted(p.name for p in (ROOT / "findings").glob("*.sh"))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_path_of_the_code_exists(page):
    top = "edge|converter|tests|docs|deploy|findings|requirements"
    paths = re.findall(rf"(?<![\w/.-])((?:{top})/[\w./-]*\w|(?:\w+/)*\w+\.py)\b", " ".join(code(page)))
    told = {p for p in paths if p.rpartition("/")[2] in (*ASKED, *OUTPUTS, "input") or "NAME" in p}  # topics
    names = {file.name for room in (ROOT / "edge", ROOT / "converter", ROOT / "tests") for file in room.rglob("*.py")}
    assert [p for p in paths if p not in told | names and not any((room / p).exists() for room in ROOMS)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_module_and_what_is_taken_from_it_exists(page):
    said = set(re.findall(r"(?<![\w./-])(?:edge|converter)(?:\.\w+)+(?![\w*]|\.\w)", " ".join(code(page))))
    groups = set(PROJECT["entry-points"])
    assert [name for name in sorted(said - groups) if not is_there(name)] == []


@pytest.mark.parametrize("page", DEVELOPERS)
def test_every_class_and_its_members_exist(page):
    named = re.findall(r"\b((?:[A-Z][a-z0-9]+){2,})(?:\.(\w+))?\b", " ".join(code(ROOT / "docs" / page)))
    text = "\n".join(p.read_text() for top in ("edge", "converter") for p in (ROOT / top).rglob("*.py"))
    text += "\n".join(p.read_text() for p in (ROOT / "docs" / "plugins-example").rglob("*.py"))
    named = [(name, member) for name, member in named if not hasattr(builtins, name)]
    assert [name for name, _ in named if not re.search(rf"\bclass {name}\b|^{name}\b", text, re.MULTILINE)] == []
    assert [m for _, m in named if m and not re.search(rf"\bdef {m}\b|^ +{m}:|\b{m} = ", text, re.MULTILINE)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_flag_is_one_of_a_command(page):
    said = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*[a-z0-9](?!\*)", page.read_text()))
    assert sorted(said - flags() - OTHERS) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_target_of_make_exists(page):
    there = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert sorted(set(re.findall(r"`make ([\w-]+)", page.read_text())) - there) == []


def test_the_drawing_names_every_room():
    rooms = {p.name for p in (ROOT / "edge").iterdir() if (p / "__init__.py").exists()}
    rooms |= {p.stem for p in (ROOT / "converter").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    rooms -= {"__init__"}
    table = (ROOT / "docs" / "ARCHITECTURE.md").read_text().partition("## Rooms")[2].partition("\n## ")[0]
    assert sorted(rooms - set(re.findall(r"`(\w+)`", table))) == []

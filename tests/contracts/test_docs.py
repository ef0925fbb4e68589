"""What the pages name is there: a link to a file, and each path of the code."""

from __future__ import annotations

import re
import runpy
import tomllib
from pathlib import Path

import pytest

import edge

ROOT = Path(__file__).parents[2]
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
PAGES = sorted([ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").glob("*.md")])
ROOMS = (ROOT, ROOT / "edge", ROOT / "converter", ROOT / "edge" / "http", ROOT / "edge" / "mqtt")


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
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = set(re.findall(r"`([\w-]+)`", (ROOT / "docs" / "index.md").read_text().partition("## Extras")[2]))
    assert sorted(set(project["optional-dependencies"]) - named) == []


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md", "STABILITY.md"])
def test_every_path_of_the_code_exists(page):
    text = (ROOT / "docs" / page).read_text()
    paths = re.findall(r"`((?:\w+/)+\w+(?:\.\w+)*|\w+\.py)`", text)
    assert paths
    assert [p for p in paths if not any((room / p).exists() for room in ROOMS)] == []


def test_the_drawing_names_every_room():
    rooms = {p.name for p in (ROOT / "edge").iterdir() if (p / "__init__.py").exists()}
    table = (ROOT / "docs" / "ARCHITECTURE.md").read_text().partition("## Rooms")[2].partition("\n## ")[0]
    assert sorted(rooms - set(re.findall(r"`(\w+)`", table))) == []

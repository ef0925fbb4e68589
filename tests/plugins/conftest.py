from __future__ import annotations

import textwrap

import pytest


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts a distribution onto the path: its modules by name, its entry points by group."""

    def install(distribution, modules, **groups):
        folder = tmp_path / distribution
        info = folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        sections = (
            f"[{group.replace('__', '.')}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
            for group, points in groups.items()
        )
        (info / "entry_points.txt").write_text("\n".join(sections))
        for name, text in modules.items():
            (folder / f"{name}.py").write_text(textwrap.dedent(text))
        monkeypatch.syspath_prepend(str(folder))

    return install

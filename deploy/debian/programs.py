"""Lays the commands of the wheel and the template unit of systemd into the tree of a package: programs.py TREE."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

from edge.tools.systemd import unit

SYSTEMD = 257
"""That of Debian trixie, which is the release that this package is for."""
SCRIPT = "#!/usr/bin/python3\nimport sys\n\nfrom {module} import {function}\n\nsys.exit({function}())\n"
CHANGES = {
    "# Written by edge-run service install.": "# Of the package edge-run.",
    "\nDescription=": "\nDocumentation=man:edge-run(1)\nDescription=",
}


def main() -> None:
    tree = Path(sys.argv[1])
    folder = tree / "usr/bin"
    folder.mkdir(parents=True)
    for point in metadata.distribution("edge-run").entry_points.select(group="console_scripts"):
        module, _, function = point.value.partition(":")
        program = folder / point.name
        program.write_text(SCRIPT.format(module=module, function=function))
        program.chmod(0o755)
    units = tree / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    text = unit.template(unit.Program(("/usr/bin/edge-run",)), SYSTEMD)
    for ours, packaged in CHANGES.items():
        assert ours in text, ours
        text = text.replace(ours, packaged)
    (units / "edge-run@.service").write_text(text)


if __name__ == "__main__":
    main()

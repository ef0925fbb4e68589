"""Scripts to begin with: each trains a small model and converts it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from converter.model_file import write_whole
from edge.errors import ConfigError

EXTRAS = {
    "sklearn": "convert-sklearn",
    "torch": "convert-torch",
    "keras": "convert-tensorflow",
    "xgboost": "convert-xgboost",
}
"""What each needs, as an extra of edge-run; the framework's module is called as the example."""
SCRIPT = "train_digits.py"
FOLDER = Path(__file__).parent / "scripts"


def write(name: str, folder: Path) -> list[str]:
    """Writes the script of a framework into a folder; returns what to type next. Raises ConfigError where a script of
    that name is there, OutputError where the folder takes none."""
    script = folder / SCRIPT
    if script.exists():
        raise ConfigError(f"--example {name}: {script} is there already; move it away, or go to another folder")
    write_whole(script, (FOLDER / f"digits_{name}.py").read_bytes())
    missing = importlib.util.find_spec(name) is None
    install = [f"  pip install 'edge-run[{EXTRAS[name]}]'"] if missing else []
    return [
        f"wrote {SCRIPT}; next:",
        *install,
        f"  python {SCRIPT}",
        "  edge-run digits.onnx --source rows.csv --mqtt none",
    ]

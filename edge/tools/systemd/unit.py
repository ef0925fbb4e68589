"""The text of the unit, of an instance's drop-in and of its configuration.

Written for systemd 252 (Debian bookworm), whose `systemd-analyze verify` warns of a key it does not know; what newer
ones add is written where they are there. `systemd.exec(5)` has the meaning of each.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from edge.errors import ConfigError

STEPS_SINCE = 254
"""RestartSteps and RestartMaxDelaySec."""
CONFIG = "edge-run.toml"


@dataclass(frozen=True, slots=True)
class Program:
    """`command` begins with an absolute path; `folders` are what it needs of places that are hidden from services."""

    command: tuple[str, ...]
    folders: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Needs:
    """What one instance needs beyond the template. `credentials` are (name, file, variable with its path or "")."""

    credentials: tuple[tuple[str, Path, str], ...] = ()
    devices: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()


def line(text: str) -> str:
    """What may stand in a unit file's line. Raises ConfigError for what would end the line, or go on in the next."""
    odd = next((c for c in text if unicodedata.category(c) in ("Cc", "Cs")), None)
    if odd is not None or text != text.strip() or text.endswith("\\"):
        what = f"the character {odd!r}" if odd else "a space or a backslash at an end"
        raise ConfigError(f"{text!r}: {what} cannot stand in a unit of systemd; rename the file")
    return text


def quoted(text: str) -> str:
    """One word of a command. A percent sign begins a specifier there, a dollar sign a variable. Raises ConfigError."""
    text = line(text).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"' if any(c in text for c in " \t;'\"\\") else text


def path_word(path: Path) -> str:
    """A path in a list of paths; a colon would part source and destination there. Raises ConfigError."""
    text = line(str(path)).replace("\\", "\\\\").replace("%", "%%").replace(":", "\\:").replace('"', '\\"')
    return f'"{text}"' if any(c in text for c in " '\"") else text


def template(program: Program, version: int) -> str:
    """`edge-run@.service`, for a systemd of this version. Raises ConfigError."""
    folders = f"BindReadOnlyPaths={' '.join(map(path_word, program.folders))}\n" if program.folders else ""
    text = resources.files("edge.tools.systemd").joinpath("edge-run@.service.template").read_text("utf-8")
    return text.format(
        command=" ".join(quoted(word) for word in program.command),
        config=CONFIG,
        restart=BACK_OFF if version >= STEPS_SINCE else STEADY,
        folders=folders,
    )


def drop_in(needs: Needs) -> str:
    """`10-edge-run.conf` of an instance. Raises ConfigError."""
    lines = ["# Written by edge-run service install. Changes of your own: systemctl edit, which adds a file beside it."]
    lines.append("[Service]")
    for name, file, variable in needs.credentials:
        lines.append(f"LoadCredential={name}:{line(str(file)).replace('%', '%%')}")
        if variable:
            lines.append(f"Environment={variable}=%d/{name}")
    if needs.folders:
        lines.append(f"BindReadOnlyPaths={' '.join(map(path_word, needs.folders))}")
    if needs.devices:
        # A device node belongs to a group of the system: private users and a private /dev would hide it.
        lines += ["PrivateDevices=no", "PrivateUsers=no"]
        lines += [f"DeviceAllow={line(device)} rw" for device in needs.devices]
    lines += [f"SupplementaryGroups={line(group)}" for group in needs.groups]
    return "\n".join(lines) + "\n"


def toml(settings: Sequence[tuple[str, object]], runs: Sequence[Sequence[tuple[str, object]]] = ()) -> str:
    """Keys and values as `--config` reads them. Raises ConfigError."""
    tables = ["", *("\n[[run]]\n" for _ in runs)]
    said = (settings, *runs)
    return "".join(
        head + "".join(f"{key} = {_value(value)}\n" for key, value in table)
        for head, table in zip(tables, said, strict=True)
    )


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(_value(v) for v in value)}]"
    text = str(value)
    odd = next((c for c in text if unicodedata.category(c) in ("Cc", "Cs")), None)
    if odd is not None:
        raise ConfigError(f"{text!r}: the character {odd!r} cannot stand in a service's configuration; rename it")
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in text) + '"'


BACK_OFF = "RestartSec=5\nRestartSteps=6\nRestartMaxDelaySec=5min"
STEADY = "RestartSec=20"

"""The text of the unit, of an instance's drop-in and of its configuration.

Written for systemd 252 (Debian bookworm), whose `systemd-analyze verify` warns of a key it does not know; what newer
ones add is written where they are there. `systemd.exec(5)` has the meaning of each.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
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
    return TEMPLATE.format(
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


def has_own(needs: Needs) -> bool:
    """False where the template says it all."""
    return bool(needs.credentials or needs.folders or needs.devices or needs.groups)


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

TEMPLATE = """\
# Written by edge-run service install. Changes of your own: systemctl edit edge-run@.service
[Unit]
Description=edge-run, the model %i
# A network is wanted, a broker is not: while it is away results wait in the spool.
Wants=network-online.target
After=network-online.target mosquitto.service
# It is tried again for as long as the board runs.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={command} --config %d/{config}
LoadCredential={config}:/etc/edge-run/%i/{config}
TimeoutStartSec=5min
TimeoutStopSec=1min
# Fed only while every thread makes progress.
WatchdogSec=1min
Restart=on-failure
{restart}
# 2: the configuration, 3: the model. Trying again mends neither.
RestartPreventExitStatus=2 3
StateDirectory=edge-run/%i
StateDirectoryMode=0700
# What was under way when the process died is marked there, in memory; a restart has to find it.
RuntimeDirectory=edge-run/%i
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=restart
WorkingDirectory=%S/edge-run/%i
# Two arenas of malloc instead of eight for each core: threads that allocate in turn keep less memory.
Environment=MALLOC_ARENA_MAX=2 PYTHONDONTWRITEBYTECODE=1
MemoryMax=75%
{folders}
DynamicUser=yes
UMask=0077
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=tmpfs
PrivateTmp=yes
PrivateDevices=yes
DevicePolicy=closed
PrivateUsers=yes
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @keyring
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""

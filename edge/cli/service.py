"""`edge-run service install|status|logs|remove`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, TextIO

from msgspec.structs import replace

from edge import __version__
from edge.app import start
from edge.errors import ConfigError
from edge.settings import layers
from edge.settings.settings import Settings
from edge.tools.doctor import packages
from edge.tools.doctor.host import Host
from edge.tools.systemd import install, plan
from edge.tools.systemd.systemctl import Systemd


class _Parser(argparse.ArgumentParser):
    """Raises ConfigError."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; edge-run service --help lists what there is")


def parser() -> argparse.ArgumentParser:
    """The arguments of `edge-run service`; `install` takes those of `edge-run` beside its own."""
    made = _Parser(
        prog="edge-run service",
        description="Have systemd run a model: started at boot, watched, restarted, hardened.",
        allow_abbrev=False,
    )
    commands = made.add_subparsers(dest="command", required=True, metavar="install|status|logs|remove")
    add = commands.add_parser(
        "install",
        help="write the unit from the flags, variables and --config in use, and start it",
        epilog="Every other flag is one of edge-run itself.",
        allow_abbrev=False,
    )
    add.add_argument("--instance", metavar="NAME", help="the service's name [the model's]")
    add.add_argument("--print", action="store_true", dest="show", help="print the files, write nothing")
    add.add_argument("--root", metavar="DIR", type=Path, help="write the files below DIR, start nothing")
    add.add_argument("--no-start", action="store_true", help="write the files, start nothing")
    commands.add_parser("status", help="how it is").add_argument("instance", nargs="?", help="else all of them")
    logs = commands.add_parser("logs", help="what it says")
    logs.add_argument("instance", nargs="?", help="else all of them")
    logs.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    logs.add_argument("-n", "--lines", default="50", metavar="N", help="the newest N lines [50]")
    gone = commands.add_parser("remove", help="stop it and remove its files")
    gone.add_argument("instance", nargs="?", help="else the only one")
    gone.add_argument("--purge", action="store_true", help="its state too: results that wait are lost")
    gone.add_argument("--root", metavar="DIR", type=Path, help="remove the files below DIR, stop nothing")
    return made


def run(
    argv: Sequence[str], environ: Mapping[str, str], out: TextIO | None = None, systemd: Systemd | None = None
) -> int:
    """Returns the exit code; `status` and `logs` have that of systemd's tool. Raises FatalError."""
    said, rest = parser().parse_known_args(list(argv))
    if rest and said.command != "install":
        raise ConfigError(f"unknown argument {rest[0]}; edge-run service {said.command} --help lists what there is")
    out = out or sys.stdout
    systemd = systemd or Systemd(path=environ.get("PATH"))
    if said.command == "install":
        return _install(said, layers.read(rest, environ, __version__), systemd, out)
    if said.command == "remove":
        return _remove(said, systemd, out)
    units = f"edge-run@{_installed(said.instance, systemd)}.service"
    if said.command == "status":
        return systemd.show("systemctl", "--no-pager", "--full", "status", units)
    more = "--follow" if said.follow else "--no-pager"
    return systemd.show("journalctl", more, "--lines", said.lines, "--unit", units)


def _installed(instance: str | None, systemd: Systemd) -> str:
    """The instance, or `*` for all of them. Raises ConfigError where there is none."""
    systemd.tool("systemctl")
    known = install.instances(systemd.root)
    if not known:
        raise ConfigError("edge-run service: none is installed; say edge-run service install --model ...")
    if instance is not None and instance not in known:
        raise ConfigError(f"edge-run service: there is no {instance}; installed: {', '.join(known)}")
    return instance or "*"


def _install(said: argparse.Namespace, settings: Settings, systemd: Systemd, out: TextIO) -> int:
    planned = plan.make(settings, plan.instance_name(settings, said.instance), systemd.root)
    if said.show:
        for path, text in install.texts(planned, systemd.version()).items():
            out.write(f"# {path}\n{text}\n")
        return 0
    if said.root is None:
        _ask_for_root("install", systemd)
        systemd.tool("systemctl")
    _try(settings)
    out.write(f"{planned.unit}\n")
    _tell(out, install.write(planned, systemd if said.root is None else Systemd(said.root, systemd.path)))
    _tell(out, [("state", str(install.state_of(planned.instance)))])
    if said.root is None:
        systemd.call("daemon-reload")
        if not said.no_start:
            systemd.call("enable", planned.unit)
            systemd.call("restart", planned.unit)
            _tell(out, [("started", f"now and at each boot: edge-run service logs {planned.instance} --follow")])
    return 0


def _try(settings: Settings) -> None:
    """A service that cannot start is not installed. Raises ModelError, ConfigError."""
    for row in packages.installed(settings, Host()):
        if row.verdict == "fail":
            raise ConfigError(f"{row.text}; {row.fix}")
    with tempfile.TemporaryDirectory() as folder:
        delivery = replace(settings.delivery, state_dir=Path(folder))
        start.load(replace(settings, delivery=delivery)).engine.close()


def _remove(said: argparse.Namespace, systemd: Systemd, out: TextIO) -> int:
    root = systemd.root if said.root is None else said.root
    instance = _only_one(said.instance, root)
    name = f"edge-run@{instance}.service"
    if said.root is None:
        _ask_for_root("remove", systemd)
        systemd.call("disable", "--now", name)
        if said.purge:
            systemd.call("clean", "--what=state", name)
    out.write(f"{name}\n")
    _tell(out, install.remove(name, instance, root))
    if said.root is None:
        systemd.call("daemon-reload")
        if not said.purge:
            _tell(out, [("kept", f"{install.state_of(instance)}: results that wait; --purge would have removed it")])
    return 0


def _only_one(said: str | None, root: Path) -> str:
    known = install.instances(root)
    if said is None and len(known) == 1:
        return known[0]
    if said in known:
        return str(said)
    which = f"there is no service {said}" if said else "which one?"
    raise ConfigError(f"edge-run service remove: {which}; installed: {', '.join(known) or 'none'}")


def _ask_for_root(command: str, systemd: Systemd) -> None:
    if systemd.root == Path("/") and os.geteuid() != 0:
        me = " ".join(plan.program().command)
        raise ConfigError(f"edge-run service {command} changes /etc; say sudo {me} service {command} ...")


def _tell(out: TextIO, lines: Iterable[tuple[str, str]]) -> None:
    for what, text in lines:
        out.write(f"  {what:8} {text}\n")
        out.flush()

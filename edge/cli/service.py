"""`edge-run service install|status|logs|remove`."""

# Not `from __future__ import annotations`: `options.of` reads the annotations.
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, TextIO

from msgspec import Struct
from msgspec.structs import replace

from edge import __version__
from edge.app import start
from edge.app.build import Opened
from edge.app.joined import require_apart
from edge.errors import ConfigError
from edge.settings import arguments, layers
from edge.settings.arguments import Program
from edge.settings.options import Flag
from edge.settings.parsers import one_of
from edge.settings.settings import Settings
from edge.tools.doctor import packages
from edge.tools.doctor.host import Host
from edge.tools.systemd import install, plan
from edge.tools.systemd.systemctl import Systemd
from edge.updates import release

Command = Literal["install", "status", "logs", "remove"]
COMMANDS: Mapping[Command, str] = {
    "install": "write the unit from flags, variables and --config, and start it",
    "status": "say how it is",
    "logs": "show what it says",
    "remove": "stop it and remove its files",
}


class ServiceArguments(Struct, frozen=True):
    command: Annotated[Command, Flag("what to do", one_of(COMMANDS), "COMMAND", positional=True)]


class InstallArguments(Struct, frozen=True):
    instance: Annotated[str | None, Flag("the service's name [the model's]", metavar="NAME")] = None
    show: Annotated[bool, Flag("print the files, write nothing", name="print")] = False
    root: Annotated[Path | None, Flag("write the files below DIR, start nothing", Path, "DIR")] = None
    no_start: Annotated[bool, Flag("write the files, start nothing")] = False


class StatusArguments(Struct, frozen=True):
    instance: Annotated[str | None, Flag("else all of them", metavar="NAME", positional=True)] = None


class LogsArguments(Struct, frozen=True):
    instance: Annotated[str | None, Flag("else all of them", metavar="NAME", positional=True)] = None
    follow: Annotated[bool, Flag("go on with what comes", short="-f")] = False
    lines: Annotated[str, Flag("the newest N lines", metavar="N", short="-n")] = "50"


class RemoveArguments(Struct, frozen=True):
    instance: Annotated[str | None, Flag("else the only one", metavar="NAME", positional=True)] = None
    purge: Annotated[bool, Flag("its state too: results that wait are lost")] = False
    root: Annotated[Path | None, Flag("remove the files below DIR, stop nothing", Path, "DIR")] = None


def run(
    argv: Sequence[str], environ: Mapping[str, str], out: TextIO | None = None, systemd: Systemd | None = None
) -> int:
    """Returns the exit code; `status` and `logs` have that of systemd's tool. Raises FatalError."""
    command = arguments.read(ServiceArguments, _program(), argv[:1]).command
    rest, program = argv[1:], _program(command)
    out = out or sys.stdout
    systemd = systemd or Systemd(path=environ.get("PATH"))
    if command == "install":
        own, others = arguments.split(InstallArguments, program, rest)
        return _install(own, layers.read(others, environ, __version__), systemd, out)
    if command == "remove":
        return _remove(arguments.read(RemoveArguments, program, rest), systemd, out)
    if command == "status":
        status = arguments.read(StatusArguments, program, rest)
        return systemd.show("systemctl", "--no-pager", "--full", "status", _units(status.instance, systemd))
    logs = arguments.read(LogsArguments, program, rest)
    more = "--follow" if logs.follow else "--no-pager"
    return systemd.show("journalctl", more, "--lines", logs.lines, "--unit", _units(logs.instance, systemd))


def _program(command: Command | None = None) -> Program:
    if command is None:
        return Program("edge-run service", "Have systemd run a model.", __version__, commands=tuple(COMMANDS.items()))
    more = "Every other flag is one of edge-run itself." if command == "install" else ""
    return Program(f"edge-run service {command}", f"To {COMMANDS[command]}.", __version__, more)


def _units(instance: str | None, systemd: Systemd) -> str:
    return f"edge-run@{_installed(instance, systemd)}.service"


def _installed(instance: str | None, systemd: Systemd) -> str:
    """The instance, or `*` for all of them. Raises ConfigError where there is none."""
    systemd.tool("systemctl")
    known = install.instances(systemd.root)
    if not known:
        raise ConfigError("edge-run service: none is installed; say edge-run service install --model ...")
    if instance is not None and instance not in known:
        raise ConfigError(f"edge-run service: there is no {instance}; installed: {', '.join(known)}")
    return instance or "*"


def _install(args: InstallArguments, settings: Settings, systemd: Systemd, out: TextIO) -> int:
    planned = plan.make(settings, plan.instance_name(settings, args.instance), systemd.root)
    if args.show:
        for path, text in install.texts(planned, systemd.version()).items():
            out.write(f"# {path}\n{text}\n")
        return 0
    if args.root is None:
        _ask_for_root("install", systemd)
        systemd.tool("systemctl")
    _try(settings)
    out.write(f"{planned.unit}\n")
    _tell(out, install.write(planned, systemd if args.root is None else Systemd(args.root, systemd.path)))
    _tell(out, [("state", str(install.state_of(planned.instance)))])
    if args.root is None:
        systemd.call("daemon-reload")
        if not args.no_start:
            systemd.call("enable", planned.unit)
            systemd.call("restart", planned.unit)
            _tell(out, [("started", f"now and at each boot: edge-run service logs {planned.instance} --follow")])
    return 0


def _try(settings: Settings) -> None:
    """A service that cannot start is not installed. Raises ModelError, ConfigError."""
    for row in packages.installed(settings, Host()):
        if row.verdict == "fail":
            raise ConfigError(f"{row.text}; {row.fix}")
    runs = []
    for one in settings.each:
        if release.followed(str(one.model.file)) is not None and not one.model.file.exists():
            continue  # it comes from the repository
        with tempfile.TemporaryDirectory() as folder:
            delivery = replace(one.delivery, state_dir=Path(folder))
            loaded = start.load(replace(one, delivery=delivery))
        loaded.engine.close()
        runs.append(Opened(one, loaded))
    require_apart(runs)


def _remove(args: RemoveArguments, systemd: Systemd, out: TextIO) -> int:
    root = systemd.root if args.root is None else args.root
    instance = _only_one(args.instance, root)
    name = f"edge-run@{instance}.service"
    if args.root is None:
        _ask_for_root("remove", systemd)
        systemd.call("disable", "--now", name)
        if systemd.show("systemctl", "is-failed", "--quiet", name) == 0:
            systemd.call("reset-failed", name)  # else nothing of it can be cleaned, and it is listed for ever
        if args.purge:
            systemd.call("clean", "--what=state", name)
    out.write(f"{name}\n")
    _tell(out, install.remove(name, instance, root))
    if args.root is None:
        systemd.call("daemon-reload")
        if not args.purge:
            _tell(out, [("kept", f"{install.state_of(instance)}: results that wait; --purge would have removed it")])
    return 0


def _only_one(instance: str | None, root: Path) -> str:
    known = install.instances(root)
    if instance is None and len(known) == 1:
        return known[0]
    if instance in known:
        return str(instance)
    which = f"there is no service {instance}" if instance else "which one?"
    raise ConfigError(f"edge-run service remove: {which}; installed: {', '.join(known) or 'none'}")


def _ask_for_root(command: str, systemd: Systemd) -> None:
    if systemd.root == Path("/") and os.geteuid() != 0:
        me = " ".join(plan.program().command)
        raise ConfigError(f"edge-run service {command} changes /etc; say sudo {me} service {command} ...")


def _tell(out: TextIO, lines: Iterable[tuple[str, str]]) -> None:
    for what, text in lines:
        out.write(f"  {what:8} {text}\n")
        out.flush()

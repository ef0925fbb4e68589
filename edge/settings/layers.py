"""Settings from flags, variables and a TOML file, in that order of precedence."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import msgspec
from msgspec.structs import replace

from edge.data.names import topic_part
from edge.errors import ConfigError
from edge.settings.settings import BY_KEY, OPTIONS, Option

GROUPS = {
    "model": "the model",
    "input": "inputs",
    "output": "results",
    "publishing": "what is worth publishing, and for whom",
    "http": "the local HTTP endpoint",
    "delivery": "delivery",
    "process": "the process",
}


class Settings(msgspec.Struct, frozen=True):
    """The value of every option by its key, with defaults; `given` are those somebody said."""

    values: Mapping[str, Any]
    given: frozenset[str]
    check: bool = False
    config: Path | None = None
    as_json: bool = False
    healthy: bool = False

    def __getattr__(self, key: str) -> Any:
        try:
            return self.values[key]
        except KeyError:
            raise AttributeError(key) from None

    def said(self, key: str) -> Any:
        """The value where somebody said one, else None: the manifest decides."""
        return self.values[key] if key in self.given else None


class _Parser(argparse.ArgumentParser):
    """Raises ConfigError, with the nearest flag where one is unknown."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


class _NarrowFormatter(argparse.HelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=80)


def nearest(name: str, known: Sequence[str]) -> str:
    """ "; did you mean ...?", or nothing."""
    import difflib  # for those who mistyped

    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def parser(version: str) -> argparse.ArgumentParser:
    """The command line of `edge-run`."""
    made = _Parser(
        prog="edge-run",
        description="Run a trained model and publish every result over MQTT.",
        epilog="Each flag is also a variable (EDGE_SPOOL_MAX) and a key of the --config file (spool-max). "
        "edge-run service --help: have systemd run it.",
        allow_abbrev=False,
        formatter_class=_NarrowFormatter,  # for --help's own flag; the usual one imports shutil for the width
    )
    made.formatter_class = argparse.HelpFormatter
    groups = {key: made.add_argument_group(title) for key, title in GROUPS.items()}
    for option in OPTIONS:
        names = ["-v", "--verbose"] if option.name == "verbose" else [f"--{option.name}"]
        if option.parse is None:
            groups[option.group].add_argument(*names, action="store_true", default=None, help=option.help)
        else:
            alone: dict[str, Any] = {} if option.alone is None else {"nargs": "?", "const": option.alone}
            groups[option.group].add_argument(
                *names,
                action="append" if option.many else "store",
                **alone,
                metavar=option.metavar or option.name.upper(),
                help=_help(option),
            )
    process = groups["process"]
    process.add_argument("--config", metavar="FILE", help="a TOML file with the same names")
    process.add_argument("--check", action="store_true", help="examine everything, print a table and end")
    process.add_argument("--json", action="store_true", help="--check as JSON")
    process.add_argument("--healthy", action="store_true", help="ask the services with this state folder: 0 or 1")
    process.add_argument("--version", action="version", version=f"edge-run {version}")
    return made


def _help(option: Option) -> str:
    text = option.help.replace("%", "%%")
    return text if option.default in (None, False) else f"{text} [{option.default}]"


def read(argv: Sequence[str], environ: Mapping[str, str], version: str) -> Settings:
    """Raises ConfigError that names the flag, variable or key, the value seen and the way out."""
    made = parser(version)
    known, unknown = made.parse_known_args(list(argv))
    if unknown:
        flags = [f"--{o.name}" for o in OPTIONS] + ["--config", "--check", "--json", "--healthy", "--version"]
        word = unknown[0].partition("=")[0]
        raise ConfigError(f"unknown argument {word}{nearest(word, flags)} (edge-run --help lists them)")
    if known.json and not known.check:
        raise ConfigError("--json is how --check prints; say --check --json")
    flags_said = {k: v for k, v in vars(known).items() if k in BY_KEY and v is not None}
    config = known.config or environ.get("EDGE_CONFIG")
    layers = [
        (_from_file(Path(config)) if config else {}),
        _from_environment(environ),
        {k: (f"--{BY_KEY[k].name}", v) for k, v in flags_said.items()},
    ]
    merged: dict[str, tuple[str, Any]] = {}
    for layer in layers:
        merged.update(layer)
    values = {o.key: o.default for o in OPTIONS}
    values.update({key: _value(BY_KEY[key], where, raw) for key, (where, raw) in merged.items()})
    values.update({o.key: tuple(values[o.key] or ()) for o in OPTIONS if o.many})
    path = Path(config) if config else None
    said = Settings(values, frozenset(merged), known.check, path, known.json, known.healthy)
    return _complete(said, environ)


def _from_environment(environ: Mapping[str, str]) -> dict[str, tuple[str, Any]]:
    return {o.key: (o.variable, environ[o.variable]) for o in OPTIONS if environ.get(o.variable)}


def _from_file(path: Path) -> dict[str, tuple[str, Any]]:
    import tomllib  # for those who have a file

    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"--config {path}: {exc.strerror}; check the path") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"--config {path}: not TOML: {exc}") from exc
    names = [o.name for o in OPTIONS]
    found: dict[str, tuple[str, Any]] = {}
    for name, raw in table.items():
        key = name.replace("-", "_")
        if key not in BY_KEY:
            raise ConfigError(f"{path.name}: unknown key {name!r}{nearest(name, names)}")
        found[key] = (f"{path.name}: {name}", raw)
    return found


def _value(option: Option, where: str, raw: Any) -> Any:
    if option.parse is None:
        return _switch(where, raw)
    if option.many:
        items = raw if isinstance(raw, list) else str(raw).split(",")
        return tuple(str(item) for item in items)
    if option.alone is not None and str(raw).lower() in ("true", "false"):
        return option.alone if str(raw).lower() == "true" else option.default
    if isinstance(raw, list):
        raw = ",".join(str(item) for item in raw)
    if isinstance(raw, (dict, bool)):
        raise ConfigError(f"{where} = {raw}: {option.help}")
    try:
        return option.parse(str(raw))
    except ValueError as exc:
        raise ConfigError(f"{where} {raw}: {exc}") from exc


def _switch(where: str, raw: Any) -> bool:
    if isinstance(raw, bool):
        return raw
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    try:
        return words[str(raw).lower()]
    except KeyError:
        raise ConfigError(f"{where} = {raw}: true or false belongs there") from None


def _complete(settings: Settings, environ: Mapping[str, str]) -> Settings:
    """What depends on the machine, and what does not go together."""
    values = dict(settings.values)
    values["state_dir"] = values["state_dir"] or default_state_dir(environ)
    if settings.healthy:
        return replace(settings, values=values)
    if values["model"] is None:
        raise ConfigError("no model: say edge-run --model model.onnx")
    values["device"] = topic_part(values["device"] or os.uname().nodename or "device")
    values["prefix"] = "/".join(topic_part(p) for p in str(values["prefix"]).split("/") if p) or "edge"
    if values["batch"] > 1 and values["home_assistant"] is not None:
        raise ConfigError(
            f"--batch {values['batch']} with --home-assistant: its templates read one result a message, not an array; "
            "leave one of the two out"
        )
    if values["mqtt"] == "none":
        if values["home_assistant"] is not None:
            raise ConfigError("--home-assistant: it listens on a broker, but --mqtt is none; name one with --mqtt URL")
        if values["source"] is None and values["http"] is None:
            raise ConfigError("--mqtt none without --source: nothing feeds the model; name a --source or --http PORT")
        if not values["sink"] and values["source"] is not None:
            values["sink"] = ("console",)
    return replace(settings, values=values)


def default_state_dir(environ: Mapping[str, str]) -> Path:
    """systemd's state folder, else the XDG one."""
    if environ.get("STATE_DIRECTORY"):
        return Path(environ["STATE_DIRECTORY"].split(":")[0])
    base = environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path(os.path.expanduser("~")) / ".local" / "state") / "edge-run"  # noqa: PTH111

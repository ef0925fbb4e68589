"""From the settings in use to what an instance needs. Reads files, changes nothing."""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from edge.data.names import topic_part
from edge.errors import ConfigError
from edge.http.auth import split_address
from edge.model import labels
from edge.model.manifest import ONNX_KEY, TFLITE_ENTRY
from edge.plugins import registry
from edge.plugins.declarations import SinkInfo
from edge.settings import options
from edge.settings.options import Option
from edge.settings.settings import Settings
from edge.sources import uri
from edge.tools.systemd.unit import Needs, Program
from edge.updates import release
from edge.updates.order import base_url

CONFIGS = Path("/etc/edge-run")
STATES = Path("/var/lib/edge-run")
CREDENTIALS = Path("/run/credentials")
"""Where systemd lays what a unit loads, in a folder of its name."""
HIDDEN = tuple(map(Path, ("/home", "/root", "/run/user", "/tmp", "/var/tmp")))  # noqa: S108 - not written to
"""What a service does not see: ProtectHome and PrivateTmp."""
SECRETS = ("mqtt_password_file", "mqtt_ca", "mqtt_cert", "mqtt_key", "http_token_file", "http_cert", "http_key",
           "updates_ca", "updates_cert", "updates_key")  # fmt: skip
"""Read by root for the service, so that their rights may stay as narrow as they are."""
FIRMWARE = Path("/dev/vcio")
"""Through it `vcgencmd` asks for under-voltage and throttling; the group video may."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`copies` and `secrets` are (from, to), the second below `folder`; `notes` are for the user; `runs`: what is
    said of each, where there are several."""

    instance: str
    config: tuple[tuple[str, object], ...]
    program: Program
    needs: Needs
    copies: tuple[tuple[Path, Path], ...] = ()
    secrets: tuple[tuple[Path, Path], ...] = ()
    notes: tuple[str, ...] = ()
    runs: tuple[tuple[tuple[str, object], ...], ...] = ()

    @property
    def folder(self) -> Path:
        return CONFIGS / self.instance

    @property
    def unit(self) -> str:
        return f"edge-run@{self.instance}.service"


@dataclass(slots=True)
class _Draft:
    """What `make` gathers."""

    folder: Path
    config: dict[str, object] = field(default_factory=dict)
    copies: list[tuple[Path, Path]] = field(default_factory=list)
    secrets: list[tuple[Path, Path]] = field(default_factory=list)
    credentials: list[tuple[str, Path, str]] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    stem: str = ""
    """What names of a run's own begin with, where there are several."""

    def place(self, file: Path) -> Path:
        """Where the service finds a file: where it is, or a copy of it."""
        if not hidden(file) and readable_by_all(file):
            return file
        copy, number = self.folder / file.name, 1
        while any(to == copy and other != file for other, to in self.copies):  # of another run, and called the same
            number += 1
            copy = self.folder / str(number) / file.name
        if (file, copy) not in self.copies:
            self.copies.append((file, copy))
        return copy


def instance_name(settings: Settings, wanted: str | None) -> str:
    """`--instance`, else the model's name, or the file's that names several. Raises ConfigError for what systemd cannot
    take."""
    followed = release.followed(str(settings.model.file))
    model = followed[0] if followed is not None else settings.model.file.stem
    if settings.runs and settings.process.config is not None:
        model = settings.process.config.stem
    name = wanted or topic_part(settings.topics.name or model)
    if name != topic_part(name):
        raise ConfigError(f"--instance {name}: letters, digits, - and _ belong there; say {topic_part(name)}")
    return name


def make(settings: Settings, instance: str, root: Path = Path("/")) -> Plan:
    """Raises ConfigError for settings that a service cannot have."""
    draft = _Draft(CONFIGS / instance)
    _take_all(draft, settings, [o for o in options.of(Settings) if o.of_process or not settings.runs])
    config, runs = tuple(draft.config.items()), []
    for number, one in enumerate(settings.runs, start=1):
        draft.config, draft.stem = {}, f"run-{number}-"
        _take_all(draft, one, [o for o in options.of(Settings) if not o.of_process])
        runs.append(tuple(draft.config.items()))
    for one in settings.each:
        _check_outputs(one)
    _check_port(settings)
    devices, groups = _devices(settings, root)
    return Plan(
        instance,
        config,
        program(),
        Needs(tuple(draft.credentials), devices, groups, tuple(draft.folders)),
        tuple(dict.fromkeys(draft.copies)),
        tuple(draft.secrets),
        tuple(dict.fromkeys(draft.notes)),
        tuple(runs),
    )


def _take_all(draft: _Draft, settings: Settings, among: Sequence[Option]) -> None:
    for option in among:
        if option.key in settings.given:
            _take(draft, option, options.get(settings, option))


def _take(draft: _Draft, option: Option, value: object) -> None:
    if option.key == "state_dir":
        draft.notes.append(f"--state-dir {value} is not used: the service's state is in {STATES / draft.folder.name}")
    elif isinstance(value, Path):
        _take_path(draft, option, value)
    elif option.key == "provider":
        draft.config[option.name] = _provider(draft, str(value))
    elif option.key == "updates":
        draft.config[option.name] = _repository(draft, str(value))
    elif option.key == "source":
        draft.config[option.name] = _source(draft, str(value))
    elif option.key == "sink" and isinstance(value, tuple):
        draft.config[option.name] = tuple(_sink(draft, number, said) for number, said in enumerate(value, start=1))
    else:
        draft.config[option.name] = value if isinstance(value, (bool, int, float, tuple)) else str(value)


def _take_path(draft: _Draft, option: Option, path: Path) -> None:
    if option.key in SECRETS:
        _credential(draft, option.name, f"--{option.name}", absolute(path), option.variable)
    elif option.key == "model":
        draft.config[option.name] = str(_model(draft, absolute(path)))
    elif option.key in ("then", "trial"):
        draft.config[option.name] = str(_placed_model(draft, absolute(path)))
    elif option.key == "save_frames":
        draft.config[option.name] = str(path)
    else:
        draft.config[option.name] = str(draft.place(absolute(path)))


def _credential(draft: _Draft, name: str, flag: str, file: Path, variable: str) -> None:
    if not file.is_file():
        raise ConfigError(f"{flag} {file}: there is no such file; check the path")
    where = file
    if hidden(file):
        where = draft.folder / name
        draft.secrets.append((file, where))
    draft.credentials.append((name, where, variable))


def _sink(draft: _Draft, number: int, said: str) -> str:
    """With the files that it names where the service finds them: it may read no others."""
    scheme = said.partition(":")[0]
    return _named_files(
        draft, f"{draft.stem}sink-{number}", f"--sink {scheme}:", registry.declared(SinkInfo, scheme).reads_files, said
    )


def _named_files(draft: _Draft, stem: str, flag: str, files: tuple[str, ...], said: str) -> str:
    """Options behind the # that name files, as credentials of the service."""
    url, mark, options_said = said.partition("#")
    if not files or not mark:
        return said
    pairs = []
    for name, value in parse_qsl(options_said, keep_blank_values=True):
        credential = f"{stem}-{name.replace('_', '-')}"
        if name in files and value:
            _credential(draft, credential, f"{flag} #{name}", absolute(Path(value)), "")
            pairs.append((name, str(CREDENTIALS / f"edge-run@{draft.folder.name}.service" / credential)))
        else:
            pairs.append((name, value))
    return f"{url}#{urlencode(pairs, safe='/@:')}"


def _model(draft: _Draft, model: Path) -> Path:
    if release.followed(model.name) is not None and not model.exists():
        return Path(model.name)  # it comes from the repository
    if not model.is_file():
        raise ConfigError(f"--model {model}: there is no such file; check the path")
    return _placed_model(draft, model)


def _placed_model(draft: _Draft, model: Path) -> Path:
    """With the files that belong to it."""
    placed = draft.place(model)
    if placed != model:
        draft.copies += [(f, placed.parent / f.name) for f in companions(model)]
    return placed


def companions(model: Path) -> list[Path]:
    """The files beside a model that belong to it: sidecar, external weights, and labels where the model has no manifest
    (a file with one does not look beside itself, and the labels there are of another model)."""
    files = [model.with_name(model.name + ".json")]
    beside = labels.beside(model)
    if beside is not None and not _has_manifest(model):
        files.append(beside[0])
    return [f for f in files if f.is_file()] + _external(model)


def _has_manifest(model: Path) -> bool:
    if not model.stat().st_size:
        return False
    with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return any(data.find(mark) >= 0 for mark in (ONNX_KEY.encode(), TFLITE_ENTRY.encode()))


def _external(model: Path) -> list[Path]:
    """Files that an ONNX model keeps its weights in: `location` entries of `TensorProto.external_data`."""
    if model.suffix != ".onnx" or not model.stat().st_size:
        return []
    files = [f for f in model.parent.iterdir() if f.is_file() and f != model and len(f.name.encode()) < 128]
    with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data.find(b"location\x12") < 0:
            return []
        # A string of protobuf: its length, in one byte below 128, and its bytes.
        return [f for f in files if data.find(b"location\x12" + bytes([len(f.name.encode())]) + f.name.encode()) >= 0]


def _provider(draft: _Draft, provider: str) -> str:
    """A delegate's library is a file like another; its options stand behind a question mark."""
    library, mark, options = provider.partition("?")
    if "/" not in library:
        return provider
    return f"{draft.place(absolute(Path(library)))}{mark}{options}"


def _source(draft: _Draft, text: str) -> str:
    if text == "-":
        raise ConfigError("--source -: a service has no standard input; name a file, a folder, a camera or mqtt:TOPIC")
    source = uri.parse(text)
    if not source.declared.reads_path:
        return _named_files(draft, f"{draft.stem}source", f"--source {source.name}:", source.declared.reads_files, text)
    path = absolute(Path(source.rest))
    folder = path if path.is_dir() else path.parent
    if hidden(path):
        draft.folders.append(folder)
        draft.notes.append(f"{folder} is shown to the service, read-only; its files must be readable by everybody")
    return f"{source.name}:{path}" if text.startswith(f"{source.name}:") else str(path)


def _repository(draft: _Draft, text: str) -> str:
    """A folder is shown to the service, wherever it lies."""
    url = urlsplit(base_url(text))
    folder = Path(unquote(url.path))
    if url.scheme == "file" and hidden(folder):
        draft.folders.append(folder)
        draft.notes.append(f"{folder} is shown to the service, read-only; its files must be readable by everybody")
    return text if url.scheme != "file" else folder.as_uri()


def _check_outputs(settings: Settings) -> None:
    sinks = [(name, Path(rest)) for name, _, rest in (sink.partition(":") for sink in settings.output.sinks)]
    outputs = [("--sink", f"{name}:", path) for name, path in sinks if registry.declared(SinkInfo, name).writes_path]
    if settings.output.save_frames is not None:
        outputs.append(("--save-frames", "", settings.output.save_frames))
    for flag, scheme, path in outputs:
        if path.is_absolute():
            raise ConfigError(
                f"{flag} {scheme}{path}: the service writes into its folder below {STATES} only; "
                f"say {flag} {scheme}{path.name}"
            )


def _check_port(settings: Settings) -> None:
    if settings.http.address is not None and 0 < split_address(settings.http.address)[1] < 1024:
        raise ConfigError(f"--http {settings.http.address}: the service has no right to ports below 1024; say 8080")


def _devices(settings: Settings, root: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    declared = [uri.parse(one.input.source).declared for one in settings.each if one.input.source]
    devices = tuple(dict.fromkeys(device for each in declared for device in each.devices))
    groups = tuple(dict.fromkeys(group for each in declared for group in each.groups))
    if (root / FIRMWARE.relative_to("/")).exists():
        return (*devices, str(FIRMWARE)), tuple(dict.fromkeys((*groups, "video")))
    return devices, groups


def program() -> Program:
    """This very program, of the virtual environment that it runs in."""
    prefix, base = Path(sys.prefix), Path(sys.base_prefix)
    script = prefix / "bin" / "edge-run"
    command = (str(script),) if script.exists() else (sys.executable, "-m", "edge.cli.run")
    folders = [f for f in dict.fromkeys((prefix, base)) if hidden(f)]
    return Program(command, tuple(f for f in folders if not any(f != o and f.is_relative_to(o) for o in folders)))


def absolute(path: Path) -> Path:
    """Links stay as they are: what they point to may be replaced."""
    return Path(os.path.abspath(path))  # noqa: PTH100


def hidden(path: Path) -> bool:
    """True for what a service does not see, also through a link."""
    return any(p.is_relative_to(h) for p in (path, path.resolve()) for h in HIDDEN)


def readable_by_all(file: Path) -> bool:
    """True where a user made for one service can read a file: its rights, and those of every folder above."""
    try:
        if not file.stat().st_mode & 0o004:
            return False
        return all(folder.stat().st_mode & 0o001 for folder in file.resolve().parents)
    except OSError:
        return False

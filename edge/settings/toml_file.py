"""The TOML file: settings by their names, tables for places, and a `[[run]]` for each of several runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec

from edge.data import small_file
from edge.errors import ConfigError, nearest
from edge.settings import options
from edge.settings.settings import Settings

Stated: TypeAlias = Mapping[str, tuple[str, object]]
"""By the option's key: where it was said, and what."""

PLACES = {"zones": ("zone", "polygon"), "lines": ("line", "points")}
"""Tables in the file that say what a flag says: `[zones.door]` with its `polygon`."""
JOIN = {"max-age": "join-max-age", "trigger": "join-trigger", "interval": "join-interval", "features": "join"}
"""What stands in the table `[join]`, and the flag that says it."""
RUN = "run"
RUNS_MOST = 64


class File(msgspec.Struct, frozen=True):
    """What a file says of all runs, and of each."""

    stated: Stated = {}
    runs: Sequence[Stated] = ()


def read(path: Path) -> File:
    """Raises ConfigError that names the key and the way out."""
    import tomllib  # only where there is a file

    try:
        table = tomllib.loads(small_file.text(path))
    except OSError as exc:
        raise ConfigError(f"--config {path}: {exc.strerror}; check the path") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"--config {path}: not UTF-8; save the file as UTF-8") from exc
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"--config {path}: not TOML: {exc}; {_way_out(str(exc))}") from exc
    tables = _tables(path.name, table.pop(RUN)) if RUN in table else []
    return File(
        _stated(path.name, table),
        [_stated(f"{path.name}: run {number}", one, of_run=True) for number, one in enumerate(tables, start=1)],
    )


def _way_out(reason: str) -> str:
    if "hex value" in reason or "escape" in reason:
        return r"a \ is taken as it stands between single quotes: 'C:\Users\me\model.onnx'"
    return 'each line says name = value, with text in quotes: model = "model.onnx"'


def _tables(where: str, raw: object) -> list[dict[str, object]]:
    tables = raw if isinstance(raw, list) else []
    if not tables or not all(isinstance(one, dict) for one in tables):
        raise ConfigError(f"{where}: run = {raw!r:.40}: each run is a table of its own, headed [[run]]")
    if len(tables) > RUNS_MOST:
        raise ConfigError(f"{where}: {len(tables)} runs; a process has {RUNS_MOST} at most, start another one")
    return tables


def _stated(where: str, table: Mapping[str, object], *, of_run: bool = False) -> Stated:
    known = {option.key: option for option in options.of(Settings) if not option.flag.only_flag}
    names = [option.name for option in known.values() if not (of_run and option.of_process)]
    tables = () if of_run else (RUN, *PLACES, "join")
    values: dict[str, tuple[str, object]] = {}
    for name, raw in table.items():
        if name in PLACES and isinstance(raw, dict):
            flag, points = PLACES[name]
            if flag in table:
                raise ConfigError(f"{where}: {flag} and a table {name}: say all of them in one of the two")
            values[flag] = (f"{where}: {name}", _places(f"{where}: {name}", raw, points))
            continue
        if name == "join" and isinstance(raw, dict):
            values.update(_join(where, raw, table))
            continue
        option = known.get(name.replace("-", "_"))
        if option is None:
            raise ConfigError(f"{where}: unknown key {name!r}{nearest(name, [*names, *tables])}")
        if of_run and option.of_process:
            raise ConfigError(
                f"{where}: {name!r} is of the whole process, which its runs share; say it once, above the first [[run]]"
            )
        values[option.key] = (f"{where}: {name}", raw)
    return values


def _join(
    file: str, said: Mapping[str, object], table: Mapping[str, object]
) -> Iterator[tuple[str, tuple[str, object]]]:
    """`[join]` as its flags say it. Raises ConfigError."""
    for name, raw in said.items():
        flag, where = JOIN.get(name.replace("_", "-")), f"{file}: join.{name}"
        if flag is None:
            raise ConfigError(f"{where}: unknown key{nearest(name, JOIN)}; known: {', '.join(JOIN)}")
        if name != "features" and flag in table:
            raise ConfigError(f"{where}: {flag} stands in the file, too; leave one of the two out")
        yield flag.replace("-", "_"), (where, _features(where, raw) if name == "features" else raw)
    if not said.get("features"):
        raise ConfigError(
            f"{file}: join: no features; add a table [join.features] with a topic for each of the model's"
        )


def _features(where: str, raw: object) -> list[str]:
    """As `--join` says them. Raises ConfigError."""
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: {raw!r}; a table of features and their topics belongs there")
    found: list[str] = []
    for name, of in raw.items():
        topic = of.get("topic") if isinstance(of, dict) else of
        path = of.get("path", "") if isinstance(of, dict) else ""
        more = sorted({*of} - {"topic", "path"}) if isinstance(of, dict) else []
        if not isinstance(topic, str) or not isinstance(path, str) or more or path[:1] not in ("", "$"):
            raise ConfigError(f'{where}.{name}: {of!r}; say "a/topic" or {{topic = "a/topic", path = "$.data.value"}}')
        found.append(f"{name}={topic} {path}" if path else f"{name}={topic}")
    return found


def _places(where: str, table: Mapping[str, object], points: str) -> list[str]:
    """As the flag says them. Raises ConfigError."""
    return [f"{name}={','.join(str(value) for value in _flat(where, name, of, points))}" for name, of in table.items()]


def _flat(where: str, name: str, of: object, points: str) -> list[object]:
    inner = of.get(points) if isinstance(of, dict) and len(of) == 1 else None
    lengths = {len(p) if isinstance(p, list) else 1 for p in inner} if isinstance(inner, list) else {0}
    if not isinstance(inner, list) or lengths not in ({1}, {2}):
        raise ConfigError(f"{where}.{name}: {of!r} has no {points} alone; say {points} = [[x, y], [x, y], ...]")
    return [value for point in inner for value in (point if isinstance(point, list) else [point])]

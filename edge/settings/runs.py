"""Several runs of one process: what their settings may say together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from msgspec.structs import replace

from edge.data.names import topic_part
from edge.errors import ConfigError
from edge.settings.settings import Settings
from edge.settings.toml_file import Stated

OF_ONE = ("model", "source", "name")
"""What tells runs apart: a flag or a variable would say it of all of them."""


def joined(whole: Settings, each: Sequence[Settings], louder: Stated) -> Settings:
    """The settings of the process. `louder`: what flags and variables say. Raises ConfigError."""
    for key in OF_ONE:
        if key in louder:
            where, raw = louder[key]
            raise ConfigError(f"{where} {raw} with [[run]] tables: each run has its own; say it in the file")
    _refuse_alone(whole)
    _require_apart(each)
    topics, delivery = each[0].topics, each[0].delivery
    return replace(
        whole,
        topics=replace(whole.topics, device=topics.device, prefix=topics.prefix),
        delivery=replace(whole.delivery, state_dir=delivery.state_dir),
        runs=tuple(each),
    )


def name(settings: Settings) -> str:
    """What a run is called before its model is loaded; the model's manifest may know a better name."""
    return topic_part(settings.topics.name or settings.model.file.stem)


def hears(settings: Settings) -> bool:
    """Whether its inputs come over MQTT."""
    source = settings.input.source
    return settings.mqtt.url != "none" if source is None else source.partition(":")[0] in ("mqtt", "sparkplug")


def connections(settings: Settings) -> str:
    """How many to the broker, and what each is for; "" for a run alone, or without a broker."""
    if len(settings.each) < 2 or settings.mqtt.url == "none":
        return ""
    fed = [name(one) for one in settings.each if hears(one)] if settings.mqtt.connections == "each" else []
    each = [f"one for the inputs of {one}" for one in fed]
    node = ["one for Sparkplug"] if any(one.words.format == "sparkplug" for one in settings.each) else []
    if not each and not node:
        return "one connection for all runs"
    return ", ".join([f"{1 + len(each) + len(node)} connections: one for all runs", *each, *node])


def _refuse_alone(whole: Settings) -> None:
    """What one model has for itself."""
    if whole.updates.uri is not None:
        raise ConfigError(
            f"--updates {whole.updates.uri} with [[run]] tables: a version is given up where its process dies, and of "
            "several runs none could tell whose model it was; give that model a process of its own (edge-run --config "
            "of its own)"
        )
    if whole.process.describe:
        raise ConfigError("--describe with [[run]] tables: it is of one model; say edge-run MODEL --describe")


def _require_apart(each: Sequence[Settings]) -> None:
    _once(each, lambda s: [topic_part(s.topics.name)] if s.topics.name else [], "are both called", "give each a name")
    _once(each, lambda s: [] if s.topics.name else [str(s.model.file.resolve())], "both run", "give each a name")
    _once(each, lambda s: ["-"] if s.input.source == "-" else [], "both read the source", "let one of them do it")
    _once(each, lambda s: [f"format {s.words.format}"] if s.words.format == "sparkplug" else [], "both say",
          "the device is one edge node of Sparkplug, with one connection of its own: give one of them a process and a "
          "device of its own")  # fmt: skip
    _once(each, _written, "both write into", "give each a file of its own")


def _once(each: Sequence[Settings], said: Callable[[Settings], Iterable[str]], what: str, way_out: str) -> None:
    said_by = [set(said(one)) for one in each]
    counted = Counter(value for values in said_by for value in values)
    for value, count in counted.items():
        if count > 1:
            first, second = [number for number, values in enumerate(said_by, start=1) if value in values][:2]
            raise ConfigError(f"runs {first} and {second} {what} {value}; {way_out}")


def _written(settings: Settings) -> list[str]:
    """Files and folders, one way however they are spelt."""
    sinks, capture = settings.output.sinks, settings.capture
    files = [Path(sink.removeprefix("file:").removeprefix("//")) for sink in sinks if sink.startswith("file:")]
    folders = [settings.output.save_frames, capture.folder if capture.rules else None]
    return [str(path.resolve()) for path in (*files, *folders) if path is not None]

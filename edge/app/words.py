"""`--topic`, `--payload` and `--format`: how the broker is told results, tried at the start on what a model gives."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edge.app.loading import Loaded
from edge.mqtt.topics import ASKED, OUTPUTS, Topics
from edge.settings.settings import Settings

if TYPE_CHECKING:
    from edge.wording.wording import Wording


def make(settings: Settings, loaded: Loaded, base: str) -> Wording | None:
    """None where results are told as they are; `base` is what the topics of this service begin with. Raises
    ConfigError."""
    said = settings.words
    if not are_used(settings) or said.format == "sparkplug":  # that is a sink's
        return None
    from edge.data.result import ModelRef
    from edge.postprocess import regress
    from edge.wording import examples
    from edge.wording.wording import Said, Wording

    manifest = loaded.manifest
    wording = Wording(
        Said(base, said.topic, said.payload, said.format),
        manifest.task,
        partial(_refused, base=base, heard=_heard(settings, base)),
    )
    values = regress.named(manifest, loaded.engine.outputs) if manifest.task == "regress" else ()
    model = ModelRef(manifest.name, manifest.version, loaded.sha256)
    wording.check(
        examples.results(manifest.task, tuple(manifest.labels), tuple(name for name, _ in values), base, model)
    )
    return wording


def are_used(settings: Settings) -> bool:
    """Whether results are told in other words than ours."""
    said = settings.words
    return said.topic is not None or said.payload is not None or said.format is not None


def check(settings: Settings, loaded: Loaded) -> None:
    """Raises ConfigError where a template does not fit the model."""
    topics = settings.topics
    make(settings, loaded, f"{topics.prefix}/{topics.device}/{loaded.manifest.name}")


def _heard(settings: Settings, base: str) -> tuple[str, ...]:
    """Filters of the topics that the source reads."""
    if settings.join.features:
        return tuple(feature.topic for feature in settings.join.features)
    source = settings.input.source or "mqtt:"
    return (source.removeprefix("mqtt:") or Topics(base).input,) if source.startswith("mqtt:") else ()


def _refused(topic: str, *, base: str, heard: tuple[str, ...]) -> str | None:
    """Why no result may go there. `heard`: filters of the topics that the source reads."""
    if topic in {f"{base}/{name}" for name in ("input", *ASKED, *OUTPUTS) if name != "result"}:
        return "it is this service's own, for something else"
    if not heard or topic == Topics(base).result:  # the source knows these, and leaves them out
        return None
    from edge.mqtt.connection import Connection  # brings paho, which the session loads in its own way

    for said in heard:
        plain = said.split("/", 2)[-1] if said.startswith("$share/") else said
        if Connection.matches(plain, topic):
            return f"--source mqtt:{plain} reads there, so each result would be an input"
    return None

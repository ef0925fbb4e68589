"""Settings from flags, variables and a TOML file, in that order of precedence."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from msgspec.structs import replace

from edge.data.names import topic_part
from edge.errors import ConfigError, nearest
from edge.settings import arguments, options, runs, toml_file
from edge.settings.arguments import Program
from edge.settings.options import UNSET
from edge.settings.settings import Settings
from edge.settings.stages import JoinSettings
from edge.settings.toml_file import Stated

NO_MODEL = "say edge-run model.onnx, or edge-run demo for a first try"
EXAMPLES = (
    ("edge-run demo", "train, convert, run, subscribe"),
    ("edge-run digits.onnx --source rows.csv --mqtt none", "rows of a file, results on the terminal"),
    ("edge-run digits.onnx --mqtt mqtt://broker.example", "inputs and results over MQTT"),
    ("edge-run yolo11n.onnx --source camera:0 --http 8080", "a camera, and a page to look at"),
    ("edge-run digits.onnx --check", "is everything in order?"),
)

COMMON = ("model", "source", "mqtt", "http", "device", "sink", "check", "describe", "labels", "threshold", "on-change",
          "config", "verbose")  # fmt: skip
"""The flags of a first hour, in the order of `--help`."""


def read(
    argv: Sequence[str], environ: Mapping[str, str], version: str, plugins: Callable[[str], str] = lambda group: ""
) -> Settings:
    """`plugins` lists a group of entry points for the help.

    Raises ConfigError that names the flag, variable or key, the value seen and the way out.
    """
    program = Program(
        "edge-run",
        "Run a trained model and publish every result over MQTT.",
        version,
        "Each is also a variable (EDGE_SPOOL_MAX) and a key of the --config file (spool-max). "
        "edge-run service --help: have systemd run it.",
        EXAMPLES,
        COMMON,
        plugins=plugins,
    )
    flags = arguments.parse(Settings, program, argv)
    config = flags.get("config") or environ.get("EDGE_CONFIG")
    by_key = {option.key: option for option in options.of(Settings)}
    file = toml_file.read(Path(str(config))) if config else toml_file.File()
    louder = {**_from_environment(environ), **{key: (f"--{by_key[key].name}", raw) for key, raw in flags.items()}}

    def settings(of_run: Stated) -> Settings:
        stated = {**file.stated, **of_run, **louder}
        values = {key: arguments.value(by_key[key], where, raw) for key, (where, raw) in stated.items()}
        if config:
            values["config"] = Path(str(config))
        given = frozenset(key for key in stated if not by_key[key].flag.only_flag)
        remarks = (*_misspelt(environ), *_shown(flags.get("mqtt")))
        return replace(options.build(Settings, values), given=given, remarks=remarks)

    if not file.runs:
        return _completed(settings({}), environ)
    each = [_of_run(number, settings(of_run), environ) for number, of_run in enumerate(file.runs, start=1)]
    return runs.joined(settings({}), each, louder)


def _of_run(number: int, settings: Settings, environ: Mapping[str, str]) -> Settings:
    try:
        return _completed(settings, environ, 'say model = "model.onnx" below its [[run]]')
    except ConfigError as exc:
        raise ConfigError(f"run {number}: {exc}") from exc


def _shown(mqtt: object) -> tuple[str, ...]:
    """A remark where the broker's address on the command line holds a secret: everybody on the machine can read it."""
    with contextlib.suppress(ValueError):  # no address: told where it is used
        address = urlsplit(str(mqtt or ""))
        if address.query or address.password:
            return (
                "others here can read the secret in --mqtt (ps): set EDGE_MQTT, or mqtt in the --config file "
                "(a password: --mqtt-password-file)",
            )
    return ()


def _misspelt(environ: Mapping[str, str]) -> tuple[str, ...]:
    """A remark for each variable that looks like ours and is none. It is no error: others may have an EDGE_ too."""
    known = [option.variable for option in options.of(Settings) if not option.flag.only_flag]
    unknown = sorted(name for name in environ if name.startswith("EDGE_") and name not in (*known, "EDGE_CONFIG"))
    return tuple(f"variable {name} means nothing here{nearest(name, known)}" for name in unknown)


def _from_environment(environ: Mapping[str, str]) -> Stated:
    return {
        option.key: (option.variable, environ[option.variable])
        for option in options.of(Settings)
        if environ.get(option.variable) and not option.flag.only_flag
    }


def _completed(settings: Settings, environ: Mapping[str, str], no_model: str = NO_MODEL) -> Settings:
    """With what depends on the machine. Raises ConfigError for what does not go together."""
    if settings.process.as_json and not settings.process.check:
        raise ConfigError("--json is how --check prints; say --check --json")
    if settings.delivery.state_dir == UNSET:
        settings = replace(settings, delivery=replace(settings.delivery, state_dir=default_state_dir(environ)))
    if settings.process.healthy or settings.drift.anew or settings.capture.export is not None:
        return settings
    if settings.model.file == UNSET:
        remarks = "".join(f"; {remark}" for remark in settings.remarks)
        raise ConfigError(f"no model: {no_model}{remarks}")
    _check_word(settings.model.file)
    if "@" in settings.model.file.name and settings.updates.uri is None and not settings.model.file.exists():
        raise ConfigError(f"--model {settings.model.file}: there is no such file; to fetch it say --updates URI, too")
    _check_home_assistant(settings)
    if settings.input.motion is None and "motion_keepalive" in settings.given:
        raise ConfigError("--motion-keepalive is about frames that are left out; add --motion")
    _check_join(settings)
    _check_tracking(settings)
    _check_words(settings)
    _check_cascade(settings)
    _check_commands(settings)
    if settings.updates.manual and settings.updates.uri is None:
        raise ConfigError("--updates-manual: an update of what? name the repository with --updates URI")
    if settings.updates.manual and settings.mqtt.url == "none":
        raise ConfigError(
            "--updates-manual is installed by a command on MQTT, but --mqtt is none; leave one of them out"
        )
    topics = settings.topics
    device = topic_part(topics.device or os.uname().nodename or "device")
    prefix = "/".join(topic_part(part) for part in topics.prefix.split("/") if part) or "edge"
    settings = replace(settings, topics=replace(topics, device=device, prefix=prefix))
    return _without_broker(settings) if settings.mqtt.url == "none" else settings


def _check_word(file: Path) -> None:
    """Raises ConfigError where what was taken for the model is a flag without its dashes: `edge-run help`."""
    word = str(file)
    if word.isalpha() and not file.exists():
        flags = {"help", *(option.name for option in options.of(Settings) if option.switch)}
        if word in flags:
            raise ConfigError(f"{word}: there is no such model file; did you mean edge-run --{word}?")


def _check_home_assistant(settings: Settings) -> None:
    if settings.publishing.home_assistant is None:
        return
    if settings.publishing.batch > 1:
        raise ConfigError(
            f"--batch {settings.publishing.batch} with --home-assistant: its templates read one result a message, "
            "not an array; leave one of the two out"
        )
    if settings.mqtt.url == "none":
        raise ConfigError("--home-assistant: it listens on a broker, but --mqtt is none; name one with --mqtt URL")


def _check_join(settings: Settings) -> None:
    said = settings.join
    if not said.features:
        if asked := next((o.name for o in options.of(type(said)) if o.key in settings.given), None):
            raise ConfigError(f"--{asked} is about topics that are joined; name them by --join NAME=TOPIC")
        return
    if settings.input.source is not None:
        raise ConfigError(
            f"--join with --source {settings.input.source}: both say where inputs come from; leave one of the two out"
        )
    if settings.mqtt.url == "none":
        raise ConfigError("--join: topics come over a broker, but --mqtt is none; name one with --mqtt URL")
    if settings.input.path is not None:
        raise ConfigError("--input-path with --join: each feature has a path of its own: NAME=TOPIC $.data.value")
    names = [feature.name for feature in said.features]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"--join {twice}=...: there are two of this name; a feature has one topic")
    if said.trigger is not None and said.trigger not in names:
        raise ConfigError(f"--join-trigger {said.trigger}: no feature of --join{nearest(said.trigger, names)}")
    if said.trigger is not None and said.interval:
        raise ConfigError("--join-trigger with --join-interval: both say when a row is made; leave one of the two out")
    _check_wildcards(said)


def _check_wildcards(said: JoinSettings) -> None:
    """Where topics have a +, it names the device, whose values belong together."""
    wild = {feature.topic.split("/").count("+") for feature in said.features} - {0}
    if len(wild) > 1:
        raise ConfigError(
            "--join: topics with different numbers of +; what they stand for tells which values belong together, so "
            "each topic has as many, or none"
        )
    trigger = next((feature for feature in said.features if feature.name == said.trigger), None)
    if wild and trigger is not None and "+" not in trigger.topic.split("/"):
        raise ConfigError(f"--join-trigger {trigger.name}: its topic has no +, so it would not tell for which device")


def _check_tracking(settings: Settings) -> None:
    said = settings.tracking
    if said.lost_s is None and (said.zones or said.lines or "anchor" in settings.given):
        raise ConfigError("--zone, --line and --anchor are about objects that are followed; add --track")
    for flag, named in (("--zone", said.zones), ("--line", said.lines)):
        names = [name for name, _ in named]
        if twice := next((n for n in names if names.count(n) > 1), None):
            raise ConfigError(f"{flag} {twice}=...: there are two of this name; each needs one of its own")


def _check_words(settings: Settings) -> None:
    words, publishing = settings.words, settings.publishing
    own = {"--topic": words.topic, "--payload": words.payload, "--format": words.format}
    said = [flag for flag, value in own.items() if value is not None]
    if (said or words.retain) and settings.mqtt.url == "none":
        raise ConfigError(
            f"{(said or ['--retain'])[0]} is for the broker, but --mqtt is none; name one with --mqtt URL"
        )
    if words.host is not None and words.format != "sparkplug":
        raise ConfigError("--sparkplug-host is the primary host of Sparkplug; add --format sparkplug")
    if words.format == "sparkplug" and (words.topic is not None or words.retain):
        flag = "--retain" if words.topic is None else "--topic"
        raise ConfigError(f"{flag} with --format sparkplug: its topics are given, none is retained; leave {flag} out")
    if words.payload is not None and words.format is not None:
        raise ConfigError(f"--payload with --format {words.format}: both say what a result looks like; leave one out")
    if said and publishing.batch > 1:
        raise ConfigError(f"{said[0]} with --batch {publishing.batch}: each result has words of its own; leave one out")
    if said and publishing.home_assistant is not None:
        raise ConfigError(f"{said[0]} with --home-assistant: its entities read results as they are; leave one out")
    if words.format == "cloudevents-binary" and (
        settings.mqtt.version == "3.1.1" or settings.mqtt.url.partition(":")[0] == "embedded"
    ):
        raise ConfigError(
            "--format cloudevents-binary: its attributes are user properties, which MQTT 3.1.1 (and the embedded "
            "broker) has not; say --format cloudevents"
        )


def _check_cascade(settings: Settings) -> None:
    said = settings.cascade
    for option in options.of(type(said)):
        if said.then is None and option.key in settings.given:
            raise ConfigError(f"--{option.name} is about what a second model is shown; name it by --then FILE")
    if said.gallery is None and "gallery_score" in settings.given:
        raise ConfigError("--gallery-score is about the vectors of a gallery; name it by --gallery FILE")


def _check_commands(settings: Settings) -> None:
    if settings.topics.commands and settings.mqtt.url == "none":
        raise ConfigError("--commands: they come over the broker, but --mqtt is none; name one with --mqtt URL")


def _without_broker(settings: Settings) -> Settings:
    asks = settings.process.describe or settings.process.check  # the check says it, and goes on with the other parts
    if settings.input.source is None and settings.http.address is None and not asks:
        raise ConfigError("--mqtt none without --source: nothing feeds the model; name a --source or --http PORT")
    if not settings.output.sinks and settings.input.source is not None:
        return replace(settings, output=replace(settings.output, sinks=("console",)))
    return settings


def default_state_dir(environ: Mapping[str, str]) -> Path:
    """systemd's state folder, else the XDG one."""
    if environ.get("STATE_DIRECTORY"):
        return Path(environ["STATE_DIRECTORY"].split(":")[0])
    base = environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path(os.path.expanduser("~")) / ".local" / "state") / "edge-run"  # noqa: PTH111

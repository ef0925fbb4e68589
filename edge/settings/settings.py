"""Every setting of `edge-run`: one frozen struct, a struct in it for each room. How a field is declared: `options.py`.

Each is a flag, an environment variable and a key of the TOML file by the same name. What the model's manifest decides
unless somebody says otherwise is None here.
"""

# Not `from __future__ import annotations`: `options.of` reads the annotations.
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Struct

from edge.data.names import DISCOVERY
from edge.data.vocabulary import COLORS, LAYOUTS, RESIZES, TASKS, Color, Layout, Resize, Task
from edge.settings import parsers
from edge.settings.options import UNSET, Flag, Room
from edge.settings.parsers import BATCH_MOST, THREADS_MOST, one_of, up_to
from edge.settings.stages import (
    CaptureSettings,
    CascadeSettings,
    DriftSettings,
    JoinSettings,
    TrackingSettings,
    WordsSettings,
)


class ModelSettings(Struct, frozen=True):
    """Which model runs on what. `tuned_for` is the goal of the profile that gave threads and provider."""

    file: Annotated[
        Path, Flag("the .onnx or .tflite file; --model may be left out", parsers.path, "FILE", name="model", word=True)
    ] = UNSET
    engine: Annotated[str, Flag("what runs the model: auto, ...", parsers.word, "NAME", plugins="edge.engines")] = (
        "auto"
    )
    threads: Annotated[int | None, Flag("threads for one inference", up_to(THREADS_MOST), "N")] = None
    provider: Annotated[str, Flag("execution provider, or the path of a TFLite delegate", metavar="NAME")] = "cpu"
    no_golden: Annotated[bool, Flag("do not replay the golden samples at start")] = False
    instances: Annotated[
        int | Literal["auto"],
        Flag("inputs that run side by side, each with --threads; auto: as many as there are cores for",
             parsers.instances, "N|auto"),
    ] = 1  # fmt: skip
    tuned_for: str | None = None


class ManifestSettings(Struct, frozen=True):
    """What `edge-run` and `edge-convert` may both be told of a model. None: as the manifest, or the model, says.

    `mean` and `std` as they were said: `edge.data.normalization` reads them.
    """

    task: Annotated[Task | None, Flag("what the outputs mean: " + ", ".join(TASKS), one_of(TASKS))] = None
    labels: Annotated[
        Path | tuple[str, ...] | None,
        Flag("names of the classes, in order: a file, or with commas between", parsers.labels, "FILE|A,B,C"),
    ] = None
    input_size: Annotated[
        tuple[int, int] | None,
        Flag("width and height of the model's picture; one number: both", parsers.picture_size, "WxH|N"),
    ] = None
    layout: Annotated[Layout | None, Flag("NHWC or NCHW", one_of(LAYOUTS))] = None
    color: Annotated[Color | None, Flag("RGB, BGR or GRAY", one_of(COLORS))] = None
    resize: Annotated[Resize | None, Flag("how a picture is fitted: " + ", ".join(RESIZES), one_of(RESIZES))] = None
    mean: Annotated[
        tuple[float, ...] | None,
        Flag("taken off each pixel value (0 to 255; or all as shares, 0 to 1); one number: for all channels",
             parsers.numbers, "R,G,B"),
    ] = None  # fmt: skip
    std: Annotated[
        tuple[float, ...] | None,
        Flag("divides each pixel value after --mean; in the same measure", parsers.numbers, "R,G,B"),
    ] = None


class DeviceManifestSettings(ManifestSettings, frozen=True):
    """What a device may be told of a model beside that."""

    threshold: Annotated[float | None, Flag("lowest score that is reported", parsers.real, "X")] = None
    top_k: Annotated[int | None, Flag("how many classes are reported; 0: all", parsers.count, "N")] = None
    decoder: Annotated[str | None, Flag("what reads the outputs: ...", metavar="NAME", plugins="edge.postprocess")] = (
        None
    )
    activation: Annotated[
        Literal["none", "softmax", "sigmoid"] | None,
        Flag("what makes probabilities of the scores", one_of(("none", "softmax", "sigmoid"))),
    ] = None
    nms: Annotated[float | None, Flag("overlap above which two boxes are one object", parsers.real, "X")] = None
    window: Annotated[
        int | None, Flag("rows, or audio samples, that the model takes at once", parsers.positive, "N")
    ] = None
    hop: Annotated[int | None, Flag("rows, or audio samples, from one window to the next", parsers.positive, "N")] = (
        None
    )
    sample_rate: Annotated[int | None, Flag("audio samples a second that the model takes", parsers.positive, "HZ")] = (
        None
    )
    frontend: Annotated[
        str | None,
        Flag("what makes features of sound: none, micro, log-mel or mfcc",
             one_of(("none", "micro", "log-mel", "mfcc"))),
    ] = None  # fmt: skip


class InputSettings(Struct, frozen=True):
    """Where samples come from."""

    source: Annotated[
        str | None,
        Flag("-, a file, a folder or glob; ...", metavar="URI", plugins="edge.sources"),
    ] = None
    max_temperature: Annotated[
        float | None,
        Flag("degrees Celsius of the processor from which fewer frames of a live source are looked at",
             parsers.celsius, "C"),
    ] = None  # fmt: skip
    motion: Annotated[
        float | None,
        Flag("leave out frames in which less than this share of the picture changes, 0.001 if no other is said",
             parsers.share, "SHARE", alone="0.001"),
    ] = None  # fmt: skip
    motion_keepalive: Annotated[
        float,
        Flag("with --motion: seconds after which a frame is inferred all the same; 0: never", parsers.seconds, "S"),
    ] = 30.0
    path: Annotated[
        str | None,
        Flag("where in the JSON of the source the input is, such as $.data.values or $.sensors[*].value",
             parsers.json_path, "PATH", name="input-path"),
    ] = None  # fmt: skip
    text_numbers: Annotated[bool, Flag('take numbers that are sent as text, "21.5", in rows')] = False
    watch: Annotated[bool, Flag("go on watching the folder")] = False
    ignore_unknown: Annotated[bool, Flag("leave out keys and columns that the model does not know")] = False
    ignore_retained: Annotated[bool, Flag("leave out MQTT inputs that the broker had retained: they are not new")] = (
        False
    )
    absent: Annotated[
        Literal["refuse", "missing"],
        Flag("a feature that a row does not name: refuse the row, or count it as missing",
             one_of(("refuse", "missing"))),
    ] = "refuse"  # fmt: skip
    max_input: Annotated[int, Flag("largest input, in bytes", parsers.size, "SIZE")] = 32_000_000


class MqttSettings(Struct, frozen=True):
    """The broker."""

    url: Annotated[str, Flag("mqtt://[user[:password]@]host[:port], mqtts://, ws://, wss://, embedded[:PORT] or none",
                             metavar="URL", name="mqtt")] = "mqtt://localhost:1883"  # fmt: skip
    password_file: Annotated[
        Path | None,
        Flag("a file that holds the broker's password", parsers.path, "FILE", name="mqtt-password-file"),
    ] = None
    ca: Annotated[
        Path | None, Flag("the CA that signed the broker's certificate", parsers.path, "FILE", name="mqtt-ca")
    ] = None
    cert: Annotated[Path | None, Flag("a client certificate", parsers.path, "FILE", name="mqtt-cert")] = None
    key: Annotated[Path | None, Flag("its key", parsers.path, "FILE", name="mqtt-key")] = None
    client_id: Annotated[
        str | None, Flag("instead of the one kept in the state folder", parsers.word, "ID", name="mqtt-client-id")
    ] = None
    version: Annotated[
        Literal["5", "3.1.1"] | None, Flag("5 or 3.1.1 only", one_of(("5", "3.1.1")), name="mqtt-version")
    ] = None
    connections: Annotated[Literal["one", "each"],
                           Flag("of several runs: one for all, or each that is fed over MQTT has one more for its "
                                "inputs", one_of(("one", "each")), name="mqtt-connections")] = "one"  # fmt: skip
    keepalive: Annotated[int, Flag("seconds after which a silent connection is asked", up_to(65535), "S")] = 30
    confirm_timeout: Annotated[
        float,
        Flag("seconds without a confirmation after which the broker counts as gone; 0: never", parsers.seconds, "S"),
    ] = 30.0


class TopicSettings(Struct, frozen=True):
    """What the topics are called. `device` is the host's name where the user says none."""

    device: Annotated[str, Flag("the device's name in topics", parsers.word, "NAME", of_process=True)] = ""
    name: Annotated[str | None, Flag("the model's name in topics", parsers.word, "NAME")] = None
    prefix: Annotated[str, Flag("what topics begin with", parsers.word, "TEXT", of_process=True)] = "edge"
    reply_topics: Annotated[
        tuple[str, ...],
        Flag("a filter of topics where askers may have the reply, such as clients/+/answers; without: all but those of "
             "the service, of others, of Home Assistant and of the broker", parsers.topic_filter, "FILTER", many=True),
    ] = ()  # fmt: skip
    commands: Annotated[bool, Flag("obey commands on the topic set: pause, threshold, classes, read and others")] = (
        False
    )
    stats_interval: Annotated[float, Flag("seconds between two messages on stats; 0: none", parsers.seconds, "S")] = (
        60.0
    )


class OutputSettings(Struct, frozen=True):
    """Where results go beside the broker."""

    sinks: Annotated[
        tuple[str, ...], Flag("a further sink: ...", metavar="URI", name="sink", many=True, plugins="edge.sinks")
    ] = ()
    save_frames: Annotated[
        Path | None, Flag("keep the pictures beside their results in this folder", parsers.path, "DIR")
    ] = None
    save_frames_max: Annotated[
        int, Flag("bytes that the kept pictures may take; the oldest go first", parsers.size, "SIZE")
    ] = 256_000_000
    annotate: Annotated[bool, Flag("draw boxes and labels on the kept pictures")] = False
    mask: Annotated[bool, Flag("publish the mask of each segmentation as a PNG on the topic mask")] = False


class PublishingSettings(Struct, frozen=True):
    """Which results are worth publishing, and for whom."""

    on_change: Annotated[bool, Flag("publish a result only where it tells something else than the last one")] = False
    deadband: Annotated[
        float | None, Flag("publish numbers only where they have moved by more than this", parsers.not_negative, "X")
    ] = None
    min_score: Annotated[float | None, Flag("publish only what has at least this score", parsers.real, "X")] = None
    min_interval: Annotated[
        float, Flag("seconds from one published result to the next; 0: all", parsers.seconds, "S")
    ] = 0.0
    batch: Annotated[
        int,
        Flag("results that wait anyway, at most so many in one message, a JSON array; 1: each alone, an object",
             up_to(BATCH_MOST), "N"),
    ] = 1  # fmt: skip
    home_assistant: Annotated[
        str | None,
        Flag("announce the device to Home Assistant; its discovery prefix, if it is not homeassistant",
             parsers.discovery_prefix, "PREFIX", alone=DISCOVERY),
    ] = None  # fmt: skip
    image_interval: Annotated[
        float, Flag("seconds between two pictures for Home Assistant; 0: none", parsers.seconds, "S")
    ] = 10.0


class HttpSettings(Struct, frozen=True):
    """The local endpoint; none where `address` is None."""

    address: Annotated[str | None, Flag("the local endpoint: [HOST:]PORT", metavar="[HOST:]PORT", name="http")] = None
    grpc: Annotated[
        str | None, Flag("the same for gRPC, beside --http: [HOST:]PORT", metavar="[HOST:]PORT", name="grpc")
    ] = None
    token_file: Annotated[
        Path | None,
        Flag("a file that holds the token which clients send; a must on any address but loopback",
             parsers.path, "FILE", name="http-token-file"),
    ] = None  # fmt: skip
    cert: Annotated[Path | None, Flag("a certificate, for HTTPS", parsers.path, "FILE", name="http-cert")] = None
    key: Annotated[Path | None, Flag("its key", parsers.path, "FILE", name="http-key")] = None
    names: Annotated[
        tuple[str, ...],
        Flag("a further host name that clients use for this device", metavar="NAME", name="http-name", many=True),
    ] = ()
    queue: Annotated[int, Flag("requests that may wait; more get a 503", parsers.count, "N", name="http-queue")] = 32
    max_body: Annotated[int, Flag("largest body of a request", parsers.size, "SIZE", name="http-max-body")] = 32_000_000
    share: Annotated[
        float,
        Flag("most of one core that requests get while the source has samples; 0 to 1",
             parsers.share, "X", name="http-share"),
    ] = 0.25  # fmt: skip
    max_batch: Annotated[
        int, Flag("requests run together, up to so many samples; 1: each alone", parsers.positive, "N")
    ] = 1
    max_wait_ms: Annotated[float, Flag("how long a request waits for others to join it", parsers.seconds, "MS")] = 2.0


class DeliverySettings(Struct, frozen=True):
    """What becomes of a result until the other side has it."""

    state_dir: Annotated[
        Path, Flag("where the spool and the client id are kept", parsers.path, "DIR", of_process=True)
    ] = UNSET
    spool: Annotated[str, Flag("what keeps results that wait: ...", parsers.word, "NAME", plugins="edge.spools")] = (
        "sqlite"
    )
    spool_max: Annotated[int, Flag("bytes of results that may wait on disk", parsers.size, "SIZE")] = 256_000_000
    spool_max_age: Annotated[
        float, Flag("seconds after which a waiting result is dropped; 0: never", parsers.seconds, "S")
    ] = 0.0
    durability: Annotated[
        Literal["none", "outage", "always"],
        Flag("what reaches the disk: none, outage or always", one_of(("none", "outage", "always"))),
    ] = "outage"
    replay_rate: Annotated[
        float | None,
        Flag("results a second sent from the spool beside new ones; 0: oldest first, at full speed. Without "
             "it as 0, but in turn with new ones where an earlier run left more than 16 MB", parsers.not_negative, "N"),
    ] = None  # fmt: skip
    grace: Annotated[
        float, Flag("seconds for sending what waits when the service is stopped", parsers.seconds, "S")
    ] = 5.0


class UpdateSettings(Struct, frozen=True):
    """Where a new model comes from, and what it must stand; none where `uri` is None."""

    uri: Annotated[
        str | None,
        Flag(
            "follow a signed repository: https://HOST/PATH, file:/FOLDER, or mqtt: for retained messages",
            metavar="URI",
            name="updates",
        ),
    ] = None
    root: Annotated[
        Path | None, Flag("its root.json, the root of trust; once", parsers.path, "FILE", name="updates-root")
    ] = None
    channel: Annotated[str, Flag("which channel", parsers.word, "NAME", name="updates-channel")] = "stable"
    interval: Annotated[
        float, Flag("seconds from one check to the next", parsers.above_zero, "S", name="updates-interval")
    ] = 3600.0
    manual: Annotated[
        bool, Flag("a new version waits until a person has it installed: Home Assistant's button, the command install",
                   name="updates-manual")
    ] = False  # fmt: skip
    ca: Annotated[
        Path | None, Flag("the CA that signed the server's certificate", parsers.path, "FILE", name="updates-ca")
    ] = None
    cert: Annotated[Path | None, Flag("a client certificate for it", parsers.path, "FILE", name="updates-cert")] = None
    key: Annotated[Path | None, Flag("its key", parsers.path, "FILE", name="updates-key")] = None
    latency: Annotated[
        float, Flag("how many times as long a new model may take", parsers.above_zero, "X", name="updates-latency")
    ] = 1.5
    memory: Annotated[
        int, Flag("bytes that have to stay free beside it", parsers.size, "SIZE", name="updates-memory")
    ] = 32_000_000
    skips: Annotated[
        float,
        Flag("share of the samples that a new model may skip beyond what the old one did", parsers.not_negative, "X",
             name="updates-skips"),
    ] = 0.02  # fmt: skip
    agreement: Annotated[
        float,
        Flag("share of the samples of its trial on which a new model has to agree with the one that runs; 0: any",
             parsers.share, "X", name="updates-agreement"),
    ] = 0.0  # fmt: skip
    watch_time: Annotated[
        float, Flag("seconds that a new model is watched, at least", parsers.seconds, "S", name="updates-watch-time")
    ] = 600.0
    watch_samples: Annotated[
        int, Flag("samples that it is watched for, at least", parsers.count, "N", name="updates-watch-samples")
    ] = 200
    watch_most: Annotated[
        float, Flag("seconds after which 20 samples are enough", parsers.seconds, "S", name="updates-watch-most")
    ] = 7 * 86400.0


class ProcessSettings(Struct, frozen=True):
    """What the process does, and what it says while it does it."""

    log_format: Annotated[Literal["text", "json"], Flag("text or json", one_of(("text", "json")))] = "text"
    verbose: Annotated[bool, Flag("say more", short="-v")] = False
    config: Annotated[Path | None, Flag("a TOML file with the same names", Path, "FILE", only_flag=True)] = None
    check: Annotated[bool, Flag("examine everything, print a table and end", only_flag=True)] = False
    describe: Annotated[
        bool, Flag("print what is known of the model and why, as a sidecar that can be edited, and end", only_flag=True)
    ] = False
    as_json: Annotated[bool, Flag("--check as JSON", name="json", only_flag=True)] = False
    healthy: Annotated[bool, Flag("ask the services with this state folder: 0 or 1", only_flag=True)] = False


class Settings(Struct, frozen=True):
    """What the user wants. `given` are the keys of the options that a flag, a variable or the file named; `remarks`
    are for the log. `runs`: where the file has `[[run]]` tables the settings of each, whole; what is of the process is
    the same in all of them, and `model` is none of this struct's own."""

    model: Annotated[ModelSettings, Room("the model")] = ModelSettings()
    manifest: Annotated[DeviceManifestSettings, Room("what the model takes and gives, where it says otherwise")] = (
        DeviceManifestSettings()
    )
    input: Annotated[InputSettings, Room("inputs")] = InputSettings()
    join: Annotated[JoinSettings, Room("topics joined into rows")] = JoinSettings()
    mqtt: Annotated[MqttSettings, Room("the broker", of_process=True)] = MqttSettings()
    topics: Annotated[TopicSettings, Room("topics")] = TopicSettings()
    output: Annotated[OutputSettings, Room("further results")] = OutputSettings()
    publishing: Annotated[PublishingSettings, Room("what is worth publishing, and for whom")] = PublishingSettings()
    words: Annotated[WordsSettings, Room("the house's own words")] = WordsSettings()
    http: Annotated[HttpSettings, Room("the local HTTP endpoint", of_process=True)] = HttpSettings()
    delivery: Annotated[DeliverySettings, Room("delivery")] = DeliverySettings()
    tracking: Annotated[TrackingSettings, Room("objects that are followed")] = TrackingSettings()
    cascade: Annotated[CascadeSettings, Room("a second model for objects")] = CascadeSettings()
    drift: Annotated[DriftSettings, Room("whether the model still fits")] = DriftSettings()
    capture: Annotated[CaptureSettings, Room("samples that are kept")] = CaptureSettings()
    updates: Annotated[UpdateSettings, Room("updates of the model", of_process=True)] = UpdateSettings()
    process: Annotated[ProcessSettings, Room("the process", of_process=True)] = ProcessSettings()
    given: frozenset[str] = frozenset()
    remarks: tuple[str, ...] = ()
    runs: tuple["Settings", ...] = ()

    @property
    def each(self) -> tuple["Settings", ...]:
        """The settings of each run: of the only one, too."""
        return self.runs or (self,)

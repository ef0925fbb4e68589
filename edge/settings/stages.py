"""What is looked at beside the way of a sample to its result: drift, a trial, samples to keep, objects, a second model;
topics that are joined into rows, and the words that results are told in.

Groups of `settings.py`, which is the whole.
"""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Struct

from edge.data.join import JoinedFeature
from edge.settings import parsers
from edge.settings.options import Flag
from edge.settings.parsers import one_of


class JoinSettings(Struct, frozen=True):
    """Topics that are joined into one row; none without `features`. Seconds."""

    features: Annotated[
        tuple[JoinedFeature, ...],
        Flag("a feature and the topic of its values; rows are made of the newest of all that are named so. + stands "
             "for the device; $.a behind the topic says where in its JSON", parsers.joined, "NAME=TOPIC [PATH]",
             name="join", many=True, between=";"),
    ] = ()  # fmt: skip
    max_age: Annotated[
        float, Flag("with --join: seconds after which a value is too old; 0: never", parsers.seconds, "S",
                    name="join-max-age")
    ] = 60.0  # fmt: skip
    trigger: Annotated[
        str | None,
        Flag("with --join: the feature whose values each make a row; without: those of all do", parsers.word, "NAME",
             name="join-trigger"),
    ] = None  # fmt: skip
    interval: Annotated[
        float, Flag("with --join: a row every so many seconds, in place of one for each value", parsers.seconds, "S",
                    name="join-interval")
    ] = 0.0  # fmt: skip


class DriftSettings(Struct, frozen=True):
    """Whether the model still fits. `window` in seconds; None: drift is not watched for."""

    window: Annotated[
        float | None,
        Flag("tell when rows or results look unlike those of before; judged in windows of so many seconds, if not "
             "of an hour", parsers.window_seconds, "SECONDS", name="drift", alone="3600"),
    ] = None  # fmt: skip
    anew: Annotated[
        bool,
        Flag("forget what was learnt of drift in this state folder, of all models or of --name; a service that runs "
             "begins anew; and end", name="drift-anew", only_flag=True),
    ] = False  # fmt: skip
    trial: Annotated[
        Path | None,
        Flag("a second model that runs on the same samples in what time is left over; told is only how it differs",
             parsers.path, "FILE"),
    ] = None  # fmt: skip
    trial_samples: Annotated[
        int,
        Flag("samples that both have to answer before the verdict of a trial; an update's ends then",
             parsers.positive, "N"),
    ] = 200  # fmt: skip
    trial_time: Annotated[
        float,
        Flag("seconds that the new model of an update is tried for at most, on live samples beside the one that runs, "
             "before the switch; 0: not at all", parsers.seconds, "S"),
    ] = 30.0  # fmt: skip


class CaptureSettings(Struct, frozen=True):
    """Samples that are kept for labelling; none without `rules`: kind and value of each. Bytes."""

    rules: Annotated[
        tuple[tuple[str, float | str], ...],
        Flag("keep samples worth labelling with their results, those that one of these picks, with commas between: "
             "score<X, score>X, class:NAME, random:SHARE, drift, trial-differs", parsers.capture_rules, "RULES",
             name="capture"),
    ] = ()  # fmt: skip
    folder: Annotated[
        Path | None,
        Flag("where they are kept; without: in the state folder", parsers.path, "DIR", name="capture-dir"),
    ] = None
    most: Annotated[
        int,
        Flag("bytes that they may take; the oldest of the least valuable go first", parsers.size, "SIZE",
             name="capture-max"),
    ] = 256_000_000  # fmt: skip
    collect: Annotated[
        bool,
        Flag("give out what is kept to those who ask for it on the topic collect (edge-fleet collect)",
             name="capture-collect"),
    ] = False  # fmt: skip
    to: Annotated[
        str | None,
        Flag("put each file that is kept on this server, too: https://host/path/{name}; {device} and {model} stand for "
             "theirs. #token_file=FILE, #query_file=FILE (a signed query) and #ca=FILE behind it", metavar="URL",
             name="capture-to"),
    ] = None  # fmt: skip
    export: Annotated[
        Literal["jsonl", "coco", "label-studio"] | None,
        Flag("write what is kept in this layout, beside it, and end: jsonl, coco or label-studio",
             one_of(("jsonl", "coco", "label-studio")), name="capture-export", only_flag=True),
    ] = None  # fmt: skip


class TrackingSettings(Struct, frozen=True):
    """Objects followed from frame to frame. `lost_s` in seconds; None: they are not. Zones and lines: name
    and points."""

    lost_s: Annotated[
        float | None,
        Flag("follow objects from frame to frame and give them a track_id; out of sight for so many seconds, if not "
             "1, they are forgotten", parsers.lost_seconds, "SECONDS", name="track", alone="1"),
    ] = None  # fmt: skip
    zones: Annotated[
        tuple[tuple[str, tuple[tuple[float, float], ...]], ...],
        Flag("with --track: tell who is in this polygon, in pixels of the frame or in shares of it (all 0 to 1)",
             parsers.zone, "NAME=X,Y,X,Y,X,Y", name="zone", many=True, between=";"),
    ] = ()  # fmt: skip
    lines: Annotated[
        tuple[tuple[str, tuple[tuple[float, float], ...]], ...],
        Flag("with --track: tell who crosses this line, and in which direction", parsers.line, "NAME=X,Y,X,Y",
             name="line", many=True, between=";"),
    ] = ()  # fmt: skip
    anchor: Annotated[
        Literal["bottom", "center"],
        Flag("the point of a box that is in a zone: the middle of its bottom edge, or its center",
             one_of(("bottom", "center"))),
    ] = "bottom"  # fmt: skip


class CascadeSettings(Struct, frozen=True):
    """A second model for the objects that the first one finds. `then` is None where there is none."""

    then: Annotated[
        Path | None,
        Flag("show each object to a second model, and tell with it what that says", parsers.path, "FILE"),
    ] = None  # fmt: skip
    labels: Annotated[
        tuple[str, ...], Flag("with --then: only objects of these classes", parsers.names, "A,B,C", name="then-labels")
    ] = ()
    margin: Annotated[
        float,
        Flag("with --then: show more than the box on each side, by this share of it",
             parsers.up_to_ten, "X", name="then-margin"),
    ] = 0.0  # fmt: skip
    least: Annotated[
        float,
        Flag("with --then: pass over objects whose shorter side has fewer pixels",
             parsers.not_negative, "PIXELS", name="then-min"),
    ] = 16.0  # fmt: skip
    most: Annotated[
        int,
        Flag("with --then: at most so many objects of a picture, the surest", parsers.positive, "N", name="then-most"),
    ] = 10
    gallery: Annotated[
        Path | None,
        Flag("with --then: vectors and their names (.npz); tells which is nearest to that of the object",
             parsers.path, "FILE"),
    ] = None  # fmt: skip
    gallery_score: Annotated[
        float, Flag("with --gallery: the cosine from which a vector has a name", parsers.cosine, "X")
    ] = 0.5


class WordsSettings(Struct, frozen=True):
    """How the broker is told results: in the contract's words, or the house's own."""

    topic: Annotated[
        str | None,
        Flag("publish results on this topic; {{ device }}, {{ top.label }} and others stand for what a result has",
             parsers.topic_template, "TEMPLATE"),
    ] = None  # fmt: skip
    payload: Annotated[
        str | None,
        Flag('what a result is published as: {"label": {{ top.label }}}; @FILE: as it stands in the file',
             parsers.template, "TEMPLATE|@FILE"),
    ] = None  # fmt: skip
    format: Annotated[
        Literal["cloudevents", "cloudevents-binary", "sparkplug"] | None,
        Flag("results and events as cloudevents (one JSON object) or cloudevents-binary (MQTT 5 user properties); "
             "results as sparkplug (B 3.0)", one_of(("cloudevents", "cloudevents-binary", "sparkplug"))),
    ] = None  # fmt: skip
    host: Annotated[
        str | None,
        Flag("with --format sparkplug: the id of the primary host; data are kept while it is not online",
             parsers.word, "ID", name="sparkplug-host"),
    ] = None  # fmt: skip
    retain: Annotated[bool, Flag("the broker retains the last result of each topic")] = False

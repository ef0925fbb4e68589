"""A repository into retained messages of a broker (`edge.updates.broker` says how they lie there).

What is there already is read and left alone, so a second go mends what a broker has lost and sends nothing else. All is
read again before the time stamp goes: a broker that takes messages without keeping them (an access list, a limit) is
found out, and devices go on with what was there. An index, retained too, names what lies there, so that what is no
longer needed goes: it is written before anything new, and cut down behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from tuf.api.exceptions import DownloadError, RepositoryError
from tuf.api.metadata import Metadata, Snapshot, Timestamp

from edge.errors import ConfigError, UnavailableError
from edge.mqtt.topics import UpdateTopics
from edge.tools.fleet.metadata import MetadataFolder, channels_of
from edge.tools.fleet.retained import read
from edge.updates.broker import PIECE, WINDOW, Connection, topic_of

TIMESTAMP = "metadata/timestamp.json"

One = TypeVar("One")


class Published(msgspec.Struct, frozen=True):
    """`messages` lie on the broker, `new` of them were sent, `gone` ones were removed. `length` in bytes."""

    messages: int
    length: int
    new: int
    gone: int


class Publisher:
    """Reads the repository, which needs no key."""

    def __init__(self, folder: Path, connection: Connection, prefix: str) -> None:
        self._public = folder / "public"
        self._metadata = MetadataFolder(self._public / "metadata", {})
        self._connection = connection
        self._prefix = prefix

    def publish(self, *, replace: bool = False) -> Published:
        """`replace`: also where another repository lies there, or a newer state of this one. Raises UnavailableError,
        ConfigError."""
        try:
            return self._publish(replace=replace)
        except DownloadError as exc:
            raise UnavailableError(str(exc)) from exc

    def _publish(self, *, replace: bool) -> Published:
        newest = (self._public / TIMESTAMP).read_bytes()
        wanted = dict(self._messages())
        broker, topics = self._connection, UpdateTopics(self._prefix)
        index, stamp = topic_of(self._prefix, "index"), topic_of(self._prefix, TIMESTAMP)
        broker.keep([(topic_of(self._prefix, "end"), b".")])
        if not replace:
            self._require_own()
        before = self._listed(broker.retained([index]).get(index, b"[]"))
        broker.keep([(index, msgspec.json.encode(sorted({*before, *wanted})))])
        lost = self._lost(wanted)
        self._send([(topic, wanted[topic]) for topic in lost])
        if missing := self._lost({topic: wanted[topic] for topic in lost}):
            raise UnavailableError(
                f"the broker confirmed {len(missing)} of {len(lost)} messages and does not keep them, first "
                f"{missing[0]}: its access list, or a limit (mosquitto: acl_file, message_size_limit); nothing new is "
                "offered"
            )
        if (self._public / TIMESTAMP).read_bytes() != newest:  # it names what was not sent
            raise UnavailableError("the repository was changed meanwhile: nothing new is offered yet; publish it again")
        broker.keep([(stamp, newest)])
        gone = sorted(set(before) - set(wanted))
        self._send([(topic, b"") for topic in gone])
        broker.keep([(index, msgspec.json.encode(sorted(wanted)))])
        version = b"%d" % self._metadata.timestamp().version
        self._send([(topics.announce(model), version) for model in self._metadata.models()])
        return Published(len(wanted), sum(map(len, wanted.values())), len(lost), len(gone))

    def _require_own(self) -> None:
        """Raises ConfigError where devices would be left with what they refuse."""
        root, stamp = (topic_of(self._prefix, path) for path in ("metadata/1.root.json", TIMESTAMP))
        found, own = self._connection.retained([root, stamp]), self._metadata.path("root", 1).read_bytes()
        if found.get(root, own) != own:
            raise ConfigError(
                f"{topic_of(self._prefix, '')}: the broker holds another repository there, whose devices would refuse "
                "this one: publish it below another --prefix, or say --replace"
            )
        there, here = _version(found.get(stamp, b"")), self._metadata.timestamp().version
        if there > here:
            raise ConfigError(
                f"{self._public}: the broker holds time stamp {there}, this folder {here}: devices go by the newer "
                "one, so publish from the folder that was changed last; or say --replace"
            )

    def _lost(self, wanted: Mapping[str, bytes]) -> list[str]:
        """What the broker does not hold as it is."""
        lost = []
        for topics in _few(list(wanted)):
            found = self._connection.retained(topics)
            lost += [topic for topic in topics if found.get(topic) != wanted[topic]]
        return lost

    def _send(self, messages: Sequence[tuple[str, bytes]]) -> None:
        for some in _few(messages):
            self._connection.keep(some)

    def _messages(self) -> Iterator[tuple[str, bytes]]:
        """All but the time stamp, in an order in which each is there before what names it."""
        for file in self._files():
            path, data = file.relative_to(self._public).as_posix(), file.read_bytes()
            if not path.startswith("targets/"):
                yield topic_of(self._prefix, path), data
                continue
            for number, at in enumerate(range(0, len(data), PIECE)):
                yield f"{topic_of(self._prefix, path)}/{number}", data[at : at + PIECE]

    def _files(self) -> Iterator[Path]:
        """What devices need: each root, what the time stamp names, and the models of its channels."""
        metadata = self._metadata
        named = metadata.path("snapshot", metadata.timestamp().snapshot_meta.version)
        snapshot = Metadata[Snapshot].from_file(str(named)).signed
        for version in range(1, metadata.latest("root") + 1):
            yield metadata.path("root", version)
        for model in metadata.models():
            for channel in channels_of(metadata.targets(model)).values():
                for one in channel.releases:
                    folder, _, name = one.file.rpartition("/")
                    yield self._public / "targets" / folder / f"{one.sha256}.{name}"
        for name, meta in snapshot.meta.items():
            yield metadata.path(name.removesuffix(".json"), meta.version)
        yield named

    def _listed(self, index: bytes) -> list[str]:
        """What an index names, if it is ours to remove; nothing where it is damaged: then what lies there stays."""
        ours = tuple(topic_of(self._prefix, folder) for folder in ("metadata/", "targets/"))
        return [
            topic
            for topic in read(index, list[str]) or ()
            if topic.startswith(ours) and not {"+", "#", "\0"} & set(topic)
        ]


def _version(stamp: bytes) -> int:
    """Of a time stamp; 0 where it is none."""
    try:
        return Metadata[Timestamp].from_bytes(stamp).signed.version
    except RepositoryError:
        return 0


def _few(of: Sequence[One]) -> Iterator[Sequence[One]]:
    return (of[at : at + WINDOW] for at in range(0, len(of), WINDOW))

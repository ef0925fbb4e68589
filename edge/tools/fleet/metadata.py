"""The signed metadata of a repository: a folder of versions, read and written one at a time.

Each file is written whole and synced, and no version is ever written over but the timestamp. What is written stays
valid at every moment, so that a command that is killed leaves a repository that devices trust:

- what a snapshot names is there before it, and the timestamp comes last;
- a snapshot names the newest version of every role, also of one that a killed command had written;
- whoever signs next is looked up in what the newest metadata trust, not in what a key's file is called.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Role, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization.json import JSONSerializer

from edge.errors import ConfigError
from edge.storage import atomic
from edge.updates import release
from edge.updates.release import Channel

Kind = TypeVar("Kind", Root, Targets, Snapshot, Timestamp)
MODEL_DAYS = 365


class MetadataFolder:
    """`days`: for how long what is signed for a role holds; a model's role has `MODEL_DAYS`."""

    def __init__(self, folder: Path, days: Mapping[str, int]) -> None:
        self.folder = folder
        self._days = days

    # --- read: each raises ConfigError where the file cannot be read ---------------------------------

    def root(self) -> Root:
        return _of(Root, self.newest("root"))

    def targets(self, role: str = "targets") -> Targets:
        return _of(Targets, self.newest(role))

    def snapshot(self) -> Snapshot:
        return _of(Snapshot, self.newest("snapshot"))

    def timestamp(self) -> Timestamp:
        return _of(Timestamp, self.newest("timestamp"))

    def newest(self, role: str) -> Root | Targets | Snapshot | Timestamp:
        path = self.path(role)
        try:
            signed = Metadata.from_file(str(path)).signed
        except (RepositoryError, OSError) as exc:
            way_out = "copy it back from where it is published, or from a backup"
            raise ConfigError(f"{path}: cannot be read: {exc}; {way_out}") from exc
        assert isinstance(signed, (Root, Targets, Snapshot, Timestamp))
        return signed

    def models(self) -> tuple[str, ...]:
        """The roles that are delegated, by name."""
        delegations = self.targets().delegations
        return tuple(sorted(delegations.roles or ())) if delegations is not None else ()

    def role(self, role: str) -> Role | None:
        """Whose signatures count for a role, a model's too; None where there is no such role."""
        root = self.root()
        if role in root.roles:
            return root.roles[role]
        return self.targets().get_delegated_role(role) if role in self.models() else None

    def trusted(self, role: str) -> frozenset[str]:
        """The ids of the keys that may sign for it; none where there is no such role."""
        found = self.role(role)
        return frozenset(found.keyids) if found is not None else frozenset()

    def path(self, role: str, version: int | None = None) -> Path:
        """Of the newest version, where none is said."""
        if role == "timestamp":
            return self.folder / "timestamp.json"
        return self.folder / f"{self.latest(role) if version is None else version}.{role}.json"

    def latest(self, role: str) -> int:
        """The version of a role's newest metadata; 0 where there are none."""
        if role == "timestamp":
            return self.newest(role).version if self.path(role).exists() else 0
        numbers = (p.name.partition(".") for p in self.folder.glob(f"*.{role}.json"))
        return max((int(number) for number, _, rest in numbers if rest == f"{role}.json"), default=0)

    # --- write: OSError ------------------------------------------------------------------------------

    def write(self, role: str, signed: Kind, signers: Sequence[CryptoSigner]) -> None:
        """The next version of a role, signed by each of `signers`."""
        days = self._days.get(role, MODEL_DAYS)
        signed.expires = datetime.datetime.now(datetime.UTC).replace(microsecond=0) + datetime.timedelta(days)
        signed.version = 1 + self.latest(role)
        metadata = Metadata(signed)
        for signer in signers:
            metadata.sign(signer, append=True)
        atomic.write(self.path(role, signed.version), metadata.to_bytes(JSONSerializer(compact=True)))

    def publish(self, snapshot_signers: Sequence[CryptoSigner], timestamp_signers: Sequence[CryptoSigner]) -> None:
        """A snapshot of what is newest, and the timestamp that names it: now devices see it."""
        snapshot = self.snapshot() if self.latest("snapshot") else Snapshot()
        timestamp = self.timestamp() if self.latest("timestamp") else Timestamp()
        snapshot.meta = {f"{role}.json": self._meta(role) for role in ("targets", *self.models())}
        self.write("snapshot", snapshot, snapshot_signers)
        timestamp.snapshot_meta = self._meta("snapshot")
        self.write("timestamp", timestamp, timestamp_signers)

    def _meta(self, role: str) -> MetaFile:
        """Version, length and hash: without the hash, two snapshots of one version could be mixed."""
        newest = self.newest(role)
        return MetaFile.from_data(newest.version, self.path(role).read_bytes(), ["sha256"])


def channels_of(targets: Targets) -> dict[str, Channel]:
    """What stands in the channels of a model, by their names. Raises ConfigError."""
    return {
        path.partition("/")[2].removesuffix(".channel"): release.decode(target.unrecognized_fields.get("custom", {}))
        for path, target in targets.targets.items()
        if path.endswith(".channel")
    }


def _of(kind: type[Kind], signed: object) -> Kind:
    assert isinstance(signed, kind)
    return signed

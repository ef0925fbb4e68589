"""A repository of The Update Framework, as `edge-fleet` makes and changes it.

    DIR/keys/NAME.pem      root, targets, snapshot, timestamp, and one for each model, encrypted; never to be published
    DIR/root.json          what devices are given once (`--updates-root`)
    DIR/public/metadata/   N.root.json (never removed: a device that was away for years needs each), timestamp.json, ...
    DIR/public/targets/    <model>/<sha256>.<version>.onnx

`public/` is what a web server, a bucket or a stick holds. A role is delegated for each model, so the key of one signs
nothing of another. The timestamp is written last: a device sees the state before or behind it, never between.
"""

from __future__ import annotations

import datetime
import fcntl
import functools
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import msgspec
from msgspec.structs import replace
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import DelegatedRole, Delegations, Root, TargetFile, Targets

from edge.errors import ConfigError, nearest
from edge.storage import atomic
from edge.storage.lock import make_folder
from edge.tools.fleet.keys import Keys, names
from edge.tools.fleet.metadata import MetadataFolder, channels_of
from edge.tools.fleet.rotation import Rotation
from edge.updates import release
from edge.updates.release import Channel, Release

TOP = ("root", "targets", "snapshot", "timestamp")
DAYS = {"root": 3650, "targets": 365, "snapshot": 90, "timestamp": 14}
"""For how long a role's metadata hold. The timestamp's is how long a fleet may be without `edge-fleet renew`."""


PATIENCE_S = 10.0
AGAIN_S = 0.05
P = ParamSpec("P")
T = TypeVar("T")
ORIGIN = "origin"
"""In the custom data of a file's target: where it comes from."""


class About(msgspec.Struct, frozen=True):
    """What is signed beside a version: `notes` for people, and where the file comes from."""

    notes: str = ""
    origin: dict[str, str] = {}


class KeyRow(msgspec.Struct, frozen=True):
    """Whose signature counts for a role: how the ids of its keys begin, until when what is signed now holds, and the
    file of the key, "" where none is here. `threshold`: so many of the keys have to sign."""

    role: str
    keys: list[str]
    until: str
    file: str
    threshold: int = 1


def alone(change: Callable[Concatenate[Repository, P], T]) -> Callable[Concatenate[Repository, P], T]:
    """A change of the repository: one process at a time reads what is there and writes what follows. Raises ConfigError
    where another one takes long, as one at whose terminal a passphrase is asked for."""

    @functools.wraps(change)
    def changed(self: Repository, /, *args: P.args, **more: P.kwargs) -> T:
        fd, end = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), time.monotonic() + PATIENCE_S
        try:
            while True:
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return change(self, *args, **more)
                except BlockingIOError as exc:
                    if time.monotonic() > end:
                        raise ConfigError(f"{self.folder}: another edge-fleet is changing it; try again") from exc
                    time.sleep(AGAIN_S)
        finally:
            os.close(fd)

    return changed


class Repository:
    """Every change ends with a new timestamp."""

    def __init__(self, folder: Path, keys: Keys, *, timestamp_days: int = DAYS["timestamp"]) -> None:
        self.folder = folder
        self.metadata = folder / "public" / "metadata"
        self.targets = folder / "public" / "targets"
        self._keys = keys
        self._signed = MetadataFolder(self.metadata, {**DAYS, "timestamp": timestamp_days})

    # --- what there is ------------------------------------------------------------------------------

    def require(self) -> None:
        """Raises ConfigError where there is no repository."""
        if not (self.metadata / "timestamp.json").exists():
            raise ConfigError(f"{self.folder}: no repository is there; edge-fleet init {self.folder} makes one")

    def models(self) -> tuple[str, ...]:
        """Every model by name. Raises ConfigError."""
        return self._signed.models()

    def channels(self, model: str) -> dict[str, Channel]:
        """What stands in the channels of a model, by their names. Raises ConfigError."""
        return channels_of(self._signed.targets(model))

    def held(self, model: str, channel: str) -> Channel:
        """What stands in a channel, nothing where there is none. Raises ConfigError."""
        return self.channels(model).get(channel, Channel()) if model in self.models() else Channel()

    def origins(self, model: str) -> dict[str, dict[str, str]]:
        """Where the files of a model come from, by the path of their targets. Raises ConfigError."""
        targets = self._signed.targets(model).targets if model in self.models() else {}
        return {path: origin for path, target in targets.items() if (origin := _origin(target))}

    def file_from(self, model: str, uri: str) -> Path | None:
        """The file that is published and came from this URI of the registry. Raises ConfigError."""
        path = next((p for p, origin in self.origins(model).items() if origin.get("registry") == uri), None)
        if path is None:
            return None
        sha256 = self._signed.targets(model).targets[path].hashes["sha256"]
        folder, _, name = path.rpartition("/")
        file = self.targets / folder / f"{sha256}.{name}"
        return file if file.is_file() else None

    def release_of(self, model: str, version: str, channel: str) -> Release | None:
        """A version in a channel, if it is there. Raises ConfigError."""
        return next((r for r in self.held(model, channel).releases if r.version == version), None)

    def expiries(self) -> Iterator[tuple[str, datetime.datetime]]:
        """Each role and when it runs out."""
        for role in (*TOP, *self.models()):
            yield role, self._signed.newest(role).expires

    def key_rows(self) -> list[KeyRow]:
        """Which key signs for what. Needs no passphrase. Raises ConfigError."""
        return [self._key_row(role) for role in (*TOP, *self.models())]

    def _key_row(self, role: str) -> KeyRow:
        trusted, found = self._signed.trusted(role), self._signed.role(role)
        here = [name for name in names(role, len(trusted)) if self._keys.has(name)]
        return KeyRow(
            role=role,
            keys=sorted(i[:12] for i in trusted),
            until=self._signed.newest(role).expires.isoformat(),
            file=", ".join(str(self._keys.path(name).relative_to(self.folder)) for name in here),
            threshold=found.threshold if found is not None else 1,
        )

    # --- changes ------------------------------------------------------------------------------------

    def init(self, root_keys: int = 1, root_threshold: int = 1) -> None:
        """Keys and metadata of an empty repository, whose root has so many keys, of which so many have to sign. Raises
        ConfigError where there is one."""
        if (self.metadata / "1.root.json").exists():
            raise ConfigError(f"{self.folder}: a repository is there already")
        root = Root(consistent_snapshot=True)
        of_root, others = names("root", root_keys), TOP[1:]
        made = self._keys.make(*of_root, *others)
        signers = dict(zip(others, made[root_keys:], strict=True))
        for role, signer in [*(("root", one) for one in made[:root_keys]), *signers.items()]:
            root.add_key(signer.public_key, role)
        root.roles["root"].threshold = root_threshold
        for folder in (self.metadata, self.targets):
            make_folder(folder)
        self._signed.write("root", root, made[:root_keys])
        self._signed.write("targets", Targets(), [signers["targets"]])
        self._signed.publish([signers["snapshot"]], [signers["timestamp"]])
        self._give_root()

    @alone
    def add(
        self,
        file: Path,
        model: str,
        version: str,
        channel: str,
        *,
        share: int | None = None,
        about: About | None = None,
    ) -> Release:
        """A model file as a new version in a channel, for no device where no share is said. What is there already keeps
        its share, its pause and its place. Raises ConfigError where the version is another file already."""
        targets = self._signed.targets(model) if model in self.models() else self._fresh(model)
        found = channels_of(targets).get(channel, Channel())
        target = TargetFile.from_file(f"{model}/{version}{file.suffix}", str(file))
        sha256 = target.hashes["sha256"]
        if _files(targets, model, version) - {sha256}:
            raise ConfigError(f"{model} {version} is another file already: give this one another --version")
        old = self.release_of(model, version, channel)
        new = old or Release(
            number=1 + max((r.number for c in channels_of(targets).values() for r in c.releases), default=0),
            version=version,
            file=target.path,
            sha256=sha256,
            length=target.length,
        )
        about = about or About()
        new = replace(new, notes=about.notes or new.notes)
        if share is not None:
            new = rollout(share)(new)
        self.require_keys(model)
        self._copy(file, self.targets / model / f"{sha256}.{version}{file.suffix}")
        if origin := about.origin or _origin(targets.targets.get(target.path)):
            target.unrecognized_fields["custom"] = {ORIGIN: origin}
        targets.targets[target.path] = target
        others = tuple(r for r in found.releases if r != old)
        self._put(targets, model, channel, Channel((*others, new), tuple(v for v in found.withdrawn if v != version)))
        return new

    @alone
    def change(self, model: str, channel: str, version: str | None, new: Callable[[Release], Release]) -> Release:
        """Changes a release, the newest where no version is said. Raises ConfigError where there is none."""
        targets = self._known(model)
        found = channels_of(targets).get(channel, Channel())
        old = self._one(model, channel, version)
        changed = new(old)
        releases = tuple(changed if r == old else r for r in found.releases)
        self._put(targets, model, channel, replace(found, releases=releases))
        return changed

    @alone
    def withdraw(self, model: str, channel: str, version: str | None, *, for_good: bool = True) -> Release:
        """Takes a release out of a channel: devices that run it go to what the channel holds beside it. `for_good`:
        until it is added again by name. Raises ConfigError where there is none."""
        targets = self._known(model)
        found = channels_of(targets).get(channel, Channel())
        old = self._one(model, channel, version)
        withdrawn = dict.fromkeys((*found.withdrawn, old.version) if for_good else found.withdrawn)
        self._put(targets, model, channel, Channel(tuple(r for r in found.releases if r != old), tuple(withdrawn)))
        return old

    @alone
    def renew(self) -> None:
        """Signs snapshot and timestamp anew, so that devices go on; for cron. Needs these two keys alone."""
        self._open_keys("snapshot", "timestamp")
        self._publish()

    @alone
    def rotate(self, roles: Sequence[str], *, lost: bool) -> list[str]:
        """New keys for these roles, in the place of the old ones, which are trusted no more; says what was done.
        `lost`: also where the old one is not here. Raises ConfigError; OSError, then it may be begun again."""
        told = Rotation(self._signed, self._keys).rotate(roles, lost=lost)
        self._give_root()
        return told

    # --- how ----------------------------------------------------------------------------------------

    def _known(self, model: str) -> Targets:
        """The role of a model. Raises ConfigError where there is none."""
        models = self.models()
        if model not in models:
            there = ", ".join(models) or "none, edge-fleet add puts one in"
            raise ConfigError(f"--name {model}: there is no such model{nearest(model, models)}; there is: {there}")
        return self._signed.targets(model)

    def _fresh(self, model: str) -> Targets:
        """The role of a model that is not there yet; nothing is written. Raises ConfigError."""
        if model in TOP:
            raise ConfigError(f"--name {model}: a role of the repository itself is called so; choose another name")
        return Targets()

    def _one(self, model: str, name: str, version: str | None) -> Release:
        """The release that is meant in a channel, the newest where no version is said. Raises ConfigError."""
        filled = {channel: c.releases for channel, c in self.channels(model).items() if c.releases}
        if name not in filled:
            there = ", ".join(sorted(filled)) or "no version at all, edge-fleet add puts one in"
            raise ConfigError(f"--channel {name}: {model} has nothing there{nearest(name, filled)}; there is: {there}")
        versions = [r.version for r in filled[name]]
        among = [r for r in filled[name] if version in (None, r.version)]
        if not among:
            meant = nearest(str(version), versions)
            raise ConfigError(
                f"--version {version}: {model} has no such version in the channel {name}{meant}; "
                f"there is: {', '.join(versions)}"
            )
        return max(among, key=lambda r: r.number)

    def _put(self, targets: Targets, model: str, name: str, channel: Channel) -> None:
        path = release.channel_target(model, name)
        target = TargetFile.from_data(path, b"")
        target.unrecognized_fields["custom"] = msgspec.to_builtins(channel)
        targets.targets[path] = target
        self.require_keys(model)
        known = model in self.models()
        if not self._keys.has(model):
            self._keys.make(model)
        self._signed.write(model, targets, [self._signer(model)])
        if not known:
            self._delegate(model)
        self._publish()

    def _delegate(self, model: str) -> None:
        """To the model's own role, whose metadata are written before: what is delegated to is there."""
        top = self._signed.targets()
        if top.delegations is None:
            top.delegations = Delegations({}, {})
        roles = top.delegations.roles
        assert roles is not None  # delegations by name, never by hash bins
        roles[model] = DelegatedRole(model, [], 1, terminating=True, paths=[f"{model}/*"])
        top.add_key(self._signer(model).public_key, model)
        self._signed.write("targets", top, [self._signer("targets")])

    def require_keys(self, model: str) -> None:
        """Opens each key that a change of this model needs. Before anything is written: a passphrase that is not the
        right one changes nothing, and locks no new key. Raises ConfigError."""
        known = model in self.models()
        own = (model,) if known or self._keys.has(model) else ()
        self._open_keys(*own, *(() if known else ("targets",)), "snapshot", "timestamp")

    def _open_keys(self, *roles: str) -> None:
        for role in roles:
            self._signer(role)

    def _signer(self, role: str) -> CryptoSigner:
        """Of the key that is trusted for a role. Raises ConfigError where that is not here."""
        return self._keys.signer(role, self._signed.trusted(role))

    def _publish(self) -> None:
        self._signed.publish([self._signer("snapshot")], [self._signer("timestamp")])
        self._give_root()

    def _give_root(self) -> None:
        """The newest root is what a new device is given: who stole a key of an older one cannot deceive it."""
        newest, given = self._signed.path("root").read_bytes(), self.folder / "root.json"
        if not given.exists() or given.read_bytes() != newest:
            atomic.write(given, newest)

    def _copy(self, file: Path, to: Path) -> None:
        make_folder(to.parent)
        with file.open("rb") as source, atomic.replacing(to) as target:
            shutil.copyfileobj(source, target)


def _origin(target: TargetFile | None) -> dict[str, str]:
    custom = target.unrecognized_fields.get("custom") if target is not None else None
    origin = custom.get(ORIGIN) if isinstance(custom, dict) else None
    return {str(key): str(value) for key, value in origin.items()} if isinstance(origin, dict) else {}


def _files(targets: Targets, model: str, version: str) -> set[str]:
    """The hashes of the files that were ever called so, whatever their suffix."""
    return {
        target.hashes["sha256"]
        for path, target in targets.targets.items()
        if path.rpartition(".")[0] == f"{model}/{version}" and not path.endswith(".channel")
    }


def pause(old: Release) -> Release:
    """No device begins it any more."""
    return replace(old, paused=True)


def rollout(share: int) -> Callable[[Release], Release]:
    """For so many ten-thousandths of the devices; a pause ends."""
    return lambda old: replace(old, share=share, paused=False)

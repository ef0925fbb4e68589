"""Signing keys: ed25519 alone, which a device verifies without compiled cryptography; encrypted where they lie.

    ROLE.pem           the key that signs for a role
    root/2.pem ...     further ones of root, where it has several (`edge-fleet init --root-keys`)
    ROLE.new.pem       one that is to take its place: `edge-fleet keys rotate` is under way, or was stopped
    retired/ROLE-*.pem those that signed before, trusted by no device that has seen a newer root

A rotation that was killed when the new key was trusted already is finished by the next command that signs with it.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Collection
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

from edge.data import small_file
from edge.errors import ConfigError
from edge.storage import atomic
from edge.storage.lock import make_folder

SHORTEST = 12
VARIABLE = "FLEET_PASSPHRASE"
"""Without EDGE_ in front: those are settings of edge-run."""

Passphrase = Callable[[], bytes]


class Keys:
    """The keys of a repository, a PEM file (PKCS 8) for each role. The passphrase is asked for once, when needed."""

    def __init__(self, folder: Path, passphrase: Passphrase) -> None:
        self._folder = folder
        self._ask = passphrase
        self._said: bytes | None = None

    def make(self, *roles: str) -> list[CryptoSigner]:
        """New keys, one for each role. Raises ConfigError where there is one already, then none is made; OSError."""
        for path in map(self.path, roles):
            if path.exists():
                raise ConfigError(f"{path} is there already: a key is never written over")
        return [self._write(self.path(role)) for role in roles]

    def _write(self, path: Path) -> CryptoSigner:
        key = Ed25519PrivateKey.generate()
        encrypted = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(self._passphrase()),
        )
        make_folder(path.parent)
        with atomic.replacing(path, 0o600) as file:
            file.write(encrypted)
        return CryptoSigner(key)

    def present(self, role: str, count: int, trusted: Collection[str]) -> list[CryptoSigner]:
        """Of the `count` keys of a role, those that are here and have an id of `trusted`. Raises ConfigError."""
        found = (self.find(name, trusted) for name in names(role, count))
        return [signer for signer in found if signer is not None]

    def has(self, role: str) -> bool:
        """Whether there is a key for a role, trusted or not."""
        return self.path(role).exists()

    def signer(self, role: str, trusted: Collection[str] = ()) -> CryptoSigner:
        """The key for a role, one with an id of `trusted`; any where it is empty. Raises ConfigError where that is not
        here, or the passphrase is not its own."""
        path = self.path(role)
        found = self.find(role, trusted)
        if found is not None:
            return found
        if not path.exists():
            raise ConfigError(f"{path}: No such file or directory; the key of {role} is needed for this")
        ids = ", ".join(sorted(i[:12] for i in trusted))
        raise ConfigError(
            f"{path}: it is not the key that the repository trusts for {role}, whose id begins with {ids}; "
            "put that one there, from your copy"
        )

    def find(self, role: str, trusted: Collection[str]) -> CryptoSigner | None:
        """As `signer`; None where it is not here. Raises ConfigError."""
        path, waits = self.path(role), self._new(role)
        found = self._load(role, path) if path.exists() else None
        if found is not None and (not trusted or _id(found) in trusted):
            return found
        new = self._load(role, waits) if waits.exists() else None
        if new is None or _id(new) not in trusted:
            return None
        self.settle(role)
        return new

    def renewed(self, role: str) -> CryptoSigner:
        """A new key beside the one that signs; nothing trusts it yet. One that waited there, and was never trusted, is
        thrown away: it may have been seen since. Raises ConfigError, OSError."""
        return self._write(self._new(role))

    def settle(self, role: str) -> None:
        """The new key takes the place of the old one, which is kept as retired. Raises ConfigError, OSError."""
        path = self.path(role)
        if path.exists():
            retired = self._folder / "retired" / f"{role}-{_id(self._load(role, path))[:12]}.pem"
            make_folder(retired.parent)
            with atomic.replacing(retired, 0o600) as file:
                file.write(path.read_bytes())
        self._new(role).replace(path)
        atomic.sync_folder(path.parent)

    def _load(self, role: str, path: Path) -> CryptoSigner:
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), self._passphrase())
        except OSError as exc:
            raise ConfigError(f"{path}: {exc.strerror}; the key of {role} is needed for this") from exc
        except (ValueError, TypeError) as exc:
            raise ConfigError(f"{path}: the passphrase is not the one of this key") from exc
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigError(f"{path}: an ed25519 key belongs there; devices verify no other")
        return CryptoSigner(key)

    def path(self, role: str) -> Path:
        """Where the key of a role lies."""
        return self._folder / f"{role}.pem"

    def _new(self, role: str) -> Path:
        return self._folder / f"{role}.new.pem"

    def _passphrase(self) -> bytes:
        if self._said is None:
            self._said = self._ask()
            if len(self._said) < SHORTEST:
                raise ConfigError(f"the passphrase has {len(self._said)} characters; at least {SHORTEST} protect a key")
        return self._said


def names(role: str, count: int) -> list[str]:
    """What the keys of a role are called, where it has so many."""
    return [role, *(f"{role}/{number}" for number in range(2, count + 1))]


def _id(signer: CryptoSigner) -> str:
    return signer.public_key.keyid


def passphrase(file: Path | None) -> Passphrase:
    """From a file, the variable, or a person at a terminal."""

    def ask() -> bytes:
        if file is not None:
            try:
                return small_file.read(file).strip()
            except OSError as exc:
                raise ConfigError(f"--passphrase-file {file}: {exc.strerror}") from exc
        if os.environ.get(VARIABLE):
            return os.environ[VARIABLE].encode()
        import getpass

        try:
            with warnings.catch_warnings(action="error", category=getpass.GetPassWarning):
                return getpass.getpass("passphrase of the keys: ").encode()
        # The warning: there is no terminal, so what is typed would be shown.
        except (EOFError, OSError, getpass.GetPassWarning) as exc:
            raise ConfigError(f"a passphrase is needed: --passphrase-file FILE, or the variable {VARIABLE}") from exc

    return ask

"""Signing keys: ed25519 alone, which a device verifies without compiled cryptography; encrypted where they lie."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

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
        for path in map(self._path, roles):
            if path.exists():
                raise ConfigError(f"{path} is there already: a key is never written over")
        return [self._make(role) for role in roles]

    def _make(self, role: str) -> CryptoSigner:
        key = Ed25519PrivateKey.generate()
        encrypted = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(self._passphrase()),
        )
        make_folder(self._folder)
        with atomic.replacing(self._path(role), 0o600) as file:
            file.write(encrypted)
        return CryptoSigner(key)

    def has(self, role: str) -> bool:
        return self._path(role).exists()

    def signer(self, role: str) -> CryptoSigner:
        """Raises ConfigError where the key is not here, or the passphrase is not its own."""
        path = self._path(role)
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), self._passphrase())
        except OSError as exc:
            raise ConfigError(f"{path}: {exc.strerror}; the key of {role} is needed for this") from exc
        except (ValueError, TypeError) as exc:
            raise ConfigError(f"{path}: the passphrase is not the one of this key") from exc
        if not isinstance(key, Ed25519PrivateKey):
            raise ConfigError(f"{path}: an ed25519 key belongs there; devices verify no other")
        return CryptoSigner(key)

    def _path(self, role: str) -> Path:
        return self._folder / f"{role}.pem"

    def _passphrase(self) -> bytes:
        if self._said is None:
            self._said = self._ask()
            if len(self._said) < SHORTEST:
                raise ConfigError(f"the passphrase has {len(self._said)} characters; at least {SHORTEST} protect a key")
        return self._said


def passphrase(file: Path | None) -> Passphrase:
    """From a file, the variable, or a person at a terminal."""

    def ask() -> bytes:
        if file is not None:
            try:
                return file.read_bytes().strip()
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

"""What `edge-bench --tune` found best for a model on this board, kept in the state folder for `edge-run`.

A file for each model, `profile-<its sha256>.json`. It counts only where the engine, its version and the processor are
those it was measured with: an SD card that went into another board, or an upgrade, asks for a new one. Losing it costs
speed, never a result: what cannot be used is told in one line and left out.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec.structs import replace

from edge.engines import choose
from edge.errors import FatalError, SpoolError
from edge.model import identity
from edge.plugins.protocols import EngineLibrary
from edge.settings.parsers import THREADS_MOST
from edge.settings.settings import Settings
from edge.storage import atomic
from edge.storage.lock import make_folder
from edge.telemetry import board

log = logging.getLogger("edge.app.profile")

Goal = Literal["latency", "throughput", "power"]
AGAIN = "edge-bench --tune makes a new one"


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """`engine` is its name and version, `processor` as `processor()` says it."""

    schema: Literal[1] = 1
    model: str
    engine: str
    processor: str
    goal: Goal
    threads: Annotated[int, msgspec.Meta(ge=1, le=THREADS_MOST)]
    provider: str


def processor(root: Path = Path("/")) -> str:
    """The board, or the processor where it is no board, and how many cores this process may use."""
    here = board.Board(root)
    name = here.text(board.MODEL)
    if not name:
        fields = (line.partition(":") for line in here.text("proc/cpuinfo").splitlines())
        name = next((value.strip() for key, _, value in fields if key.strip() == "model name"), here.model())
    return f"{name}, {board.cores()} cores"


def path_of(state_dir: Path, sha256: str) -> Path:
    """The file for a model."""
    return state_dir / f"profile-{sha256}.json"


def require_folder(state_dir: Path) -> None:
    """Makes the state folder, before anything is measured. Raises SpoolError where nothing can be written to it."""
    try:
        make_folder(state_dir)
    except OSError as exc:
        raise _unwritable(state_dir, exc.strerror) from exc
    if not os.access(state_dir, os.W_OK | os.X_OK):
        raise _unwritable(state_dir, "no right to write")


def write(state_dir: Path, profile: Profile) -> Path:
    """The whole file or the old one, whenever the power goes. Raises SpoolError."""
    path = path_of(state_dir, profile.model)
    try:
        atomic.write(path, msgspec.json.format(msgspec.json.encode(profile), indent=2) + b"\n")
    except OSError as exc:
        raise _unwritable(state_dir, exc.strerror) from exc
    return path


def _unwritable(state_dir: Path, reason: str | None) -> SpoolError:
    return SpoolError(f"{state_dir}: {reason}; --state-dir wants a folder that this user may write to")


def apply_all(settings: Settings) -> Settings:
    """As `apply`, to each run. Raises FatalError where the only one's model cannot be read."""
    if not settings.runs:
        return apply(settings)
    tuned = []
    for one in settings.runs:
        try:
            tuned.append(apply(one))
        except FatalError:  # told where it is loaded
            tuned.append(one)
    return replace(settings, runs=tuple(tuned))


def apply(settings: Settings) -> Settings:
    """The settings with the tuned threads and provider, and `model.tuned_for` the goal they were tuned for.

    Unchanged where somebody said either of the two (they were measured together), or where there is no profile.
    """
    if settings.given & {"threads", "provider"}:
        return settings
    path = _path(settings)
    if path is None:
        return settings
    try:
        profile = msgspec.json.decode(path.read_bytes(), type=Profile)
        reason = _foreign(profile, settings)
    except FatalError:
        return settings  # its engine is not there: to be told by who loads the model
    except ValueError as exc:
        reason = f"damaged: {exc}"
    except OSError as exc:
        reason = str(exc.strerror)
    if reason:
        log.warning("tuned profile is not used", extra={"path": str(path), "reason": reason, "fix": AGAIN})
        return settings
    tuned = {"threads": profile.threads, "provider": profile.provider}
    log.info("tuned profile", extra={"goal": profile.goal, **tuned})
    return replace(settings, model=replace(settings.model, **tuned, tuned_for=profile.goal))


def _path(settings: Settings) -> Path | None:
    """The model's file where there is one. Without any, nothing looks at the model, which may be large."""
    folder = Path(settings.delivery.state_dir)
    if not any(folder.glob("profile-*.json")):
        return None
    try:
        path = path_of(folder, identity.identity(settings.model.file))
    except (FatalError, OSError):
        return None  # the model is not there: to be told by who loads it
    return path if path.exists() else None


def _foreign(profile: Profile, settings: Settings) -> str:
    """Why it is not for this model, engine and board; "" where it is. Raises FatalError."""
    name, info = choose.find(settings.model.file, settings.model.engine)
    library = info.library()
    engine = f"{name} {library.version()}"
    pairs = (
        ("model", profile.model, identity.identity(settings.model.file)),
        ("engine", profile.engine, engine),
        ("processor", profile.processor, processor()),
    )
    for what, tuned_for, here in pairs:
        if tuned_for != here:
            return f"{what}: made for {tuned_for}, here is {here}"
    return "" if _is_there(profile.provider, library) else f"there is no provider {profile.provider!r} here"


def _is_there(provider: str, library: EngineLibrary) -> bool:
    if provider in library.providers():
        return True
    delegate = provider.partition("?")[0]
    if ".so" not in delegate:
        return False
    import ctypes  # for those who have a delegate; the engine loads it in the same way

    try:
        ctypes.CDLL(delegate)
    except OSError:
        return False
    return True

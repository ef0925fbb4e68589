"""The repository of `--updates`: whether it is there, and signed by whom the root of trust names."""

from __future__ import annotations

from edge.app import updating
from edge.errors import ConfigError, FatalError
from edge.remote.address import without_credentials
from edge.settings.settings import Settings
from edge.tools.doctor.row import Row, fail, failed, ok, warn
from edge.updates.order import Answer

ASK = "edge-fleet init made it, and edge-fleet add fills it: name its folder `public`, or where that is served"
TRUST = "--updates-root: the root.json of this repository; or --updates: the repository of this root"
LATER = "is it on, and is --updates right?"


def row(named: Settings, model: str, running: str) -> Row:
    """What a check would find. `named`: with the file that the user named; `model` and `running`: name and sha256 of
    the one that runs, "" where there is none yet."""
    try:
        answer = updating.looked(named, model, running)
    except FatalError as exc:
        return failed("updates", exc, "check --updates and --updates-root")
    except OSError as exc:
        return warn("updates", f"not looked at: {exc.strerror or exc}", "say another --state-dir, or make room")
    where = without_credentials(named.updates.uri or "")
    if answer.fault == "setup":
        return failed("updates", ConfigError(answer.reason), "check --updates and --updates-root")
    if answer.fault in ("missing", "refused"):
        fix = ASK if answer.fault == "missing" else TRUST
        return fail("updates", f"{where}: {answer.fault}: {answer.reason}", fix, ConfigError.exit_code)
    if answer.fault is not None:
        return warn("updates", f"{where}: {answer.reason}; the model that is there runs on", LATER)
    return _found(where, answer, running)


def _found(where: str, answer: Answer, running: str) -> Row:
    signed = f"{where}: signed as --updates-root says"
    if answer.release is None:
        text = f"{signed}; nothing is offered to this device"
        return ok("updates", text) if running else warn("updates", text, "edge-fleet rollout, with a larger --share")
    same = answer.release.sha256 == running
    text = f"{signed}; version {answer.release.version} is for this device{', and runs' if same else ''}"
    return ok("updates", text, version=answer.release.version)

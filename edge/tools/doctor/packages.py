"""Python, the wheels, and whether the engines load: tried in a child process, which may die of it."""

from __future__ import annotations

import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from edge.engines import NO_TELEMETRY
from edge.errors import BITS_32, ConfigError, ModelError
from edge.settings.settings import Settings
from edge.tools.doctor.host import Host
from edge.tools.doctor.row import Row, fail, ok, warn

IMPORT_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Wheel:
    """`module` is what it brings, imported where it holds machine code; `extra` of edge-run brings it ("": always
    there)."""

    distribution: str
    module: str
    extra: str = ""
    compiled: bool = True


WHEELS = (
    Wheel("numpy", "numpy"),
    Wheel("onnxruntime", "onnxruntime"),
    Wheel("paho-mqtt", "paho", compiled=False),
    Wheel("msgspec", "msgspec"),
    Wheel("ai-edge-litert", "ai_edge_litert.interpreter", "tflite"),
    Wheel("tflite-runtime", "tflite_runtime.interpreter", "tflite-runtime"),
    Wheel("opencv-python-headless", "cv2", "vision"),
    Wheel("simplejpeg", "simplejpeg", "vision"),
    Wheel("starlette", "starlette", "http", compiled=False),
    Wheel("amqtt", "amqtt", "broker", compiled=False),
    Wheel("tuf", "tuf", "updates", compiled=False),
)
BY_NAME = {w.distribution: w for w in WHEELS}


def python(host: Host) -> Row:
    """The interpreter, and whether it is a 64-bit one."""
    text = f"{platform.python_version()}, {host.machine}, {host.bits}-bit"
    if host.bits != 64:
        why = " on a 64-bit kernel" if host.machine == "aarch64" else ""
        return warn("python", f"{text}: a 32-bit Python{why}, and onnxruntime has no 32-bit wheels", BITS_32)
    return ok("python", text)


def found(distribution: str, host: Host) -> str | None:
    """Its version; "" where another package brings its module, as Debian's python3-opencv; None: it is not there."""
    version, wheel = host.version(distribution), BY_NAME.get(distribution)
    return "" if version is None and wheel is not None and host.importable(wheel.module) else version


def installed(settings: Settings, host: Host) -> Iterator[Row]:
    """The wheels that are there, and those that the settings ask for in vain."""
    versions = {w.distribution: v for w in WHEELS if (v := found(w.distribution, host)) is not None}
    missing = [(what, names) for what, names in needed(settings) if not any(n in versions for n in names)]
    for what, names in missing:
        yield _missing(what, names[0], host)
    old = versions.get("tflite-runtime")
    if old and int((versions.get("numpy") or "0").partition(".")[0]) >= 2:
        fix = "pip install 'numpy<2', or take its successor: pip install 'edge-run[tflite]'"
        text = f"tflite-runtime {old} was built for numpy 1, here is numpy {versions['numpy']}"
        yield warn("packages", text, fix)
    elif not missing:
        yield ok("packages", ", ".join(_told(n, v) for n, v in versions.items()), **versions)


def _told(distribution: str, version: str) -> str:
    return f"{distribution} {version}" if version else f"{BY_NAME[distribution].module.partition('.')[0]} (not pip's)"


def needed(settings: Settings) -> list[tuple[str, tuple[str, ...]]]:
    """What wants a wheel, and the wheels of which one will do."""
    suffixes = {one.model.file.suffix for one in settings.each}
    wanted: list[tuple[str, tuple[str, ...]]] = [("edge-run", ("numpy",)), ("edge-run", ("msgspec",))]
    if ".tflite" in suffixes:
        wanted.append(("a .tflite model", ("ai-edge-litert", "tflite-runtime")))
    if suffixes != {".tflite"}:
        wanted.append(("the model", ("onnxruntime",)))
    if settings.http.address is not None:
        wanted.append(("--http", ("starlette",)))
    if settings.mqtt.url.startswith("embedded"):
        wanted.append(("--mqtt embedded", ("amqtt",)))
    if settings.updates.uri is not None:
        wanted.append(("--updates", ("tuf",)))
    return wanted


def _missing(what: str, distribution: str, host: Host) -> Row:
    known = BY_NAME.get(distribution)
    fix = f"pip install {distribution}" if known is None else "pip install --force-reinstall edge-run"
    if known is not None and known.extra:
        fix = f"pip install 'edge-run[{known.extra}]'"
    if distribution == "onnxruntime" and host.bits != 64:
        fix = BITS_32
    return fail("packages", f"{what} needs {distribution}, which is not installed", fix, ConfigError.exit_code)


def source_packages(settings: Settings) -> tuple[str, ...]:
    """What the source needs, as it declares. Imports numpy."""
    from edge.sources import uri

    try:
        return uri.parse(settings.input.source).declared.packages if settings.input.source else ()
    except ConfigError:
        return ()  # a source that there is not is told by its own row


def engines(settings: Settings, host: Host, broken: set[str]) -> Iterator[Row]:
    """Imports what holds machine code, each in a child of its own; those that do not load go to `broken`."""
    must = {n for _, names in needed(settings) for n in names if len(names) == 1 or found(n, host) is not None}
    fine = []
    for wheel in WHEELS:
        version = found(wheel.distribution, host)
        if not wheel.compiled or version is None:
            continue
        end = import_in_child(wheel.module, host)
        if end is None:
            fine.append(wheel.distribution)
            if wheel.distribution == "numpy":  # only now its module may be imported here
                for one in settings.each:
                    wanted = source_packages(one)
                    must |= set(wanted)
                    if wanted and all(found(name, host) is None for name in wanted):
                        yield _missing(f"--source {(one.input.source or '').partition('//')[0]}", wanted[0], host)
            continue
        broken.add(wheel.distribution)
        text = f"{_told(wheel.distribution, version)} does not load: {end}"
        if wheel.distribution in must:
            code = ConfigError.exit_code if wheel.distribution == "numpy" else ModelError.exit_code
            yield fail("engines", text, way_out(wheel, end), code)
        else:
            yield warn("engines", f"{text} (these settings do not need it)", way_out(wheel, end))
    if not broken:
        yield ok("engines", f"{', '.join(fine)} load")


def import_in_child(module: str, host: Host) -> str | None:
    """How the import ended where it did not succeed: a signal's name, or the last line of the error."""
    command = [sys.executable, "-c", f"import faulthandler, {module}"]
    try:
        done = subprocess.run(
            command,
            env={**host.environ, **NO_TELEMETRY},
            capture_output=True,
            text=True,
            timeout=IMPORT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"not within {IMPORT_TIMEOUT_S} s"
    except OSError as exc:
        return f"no child process: {exc.strerror}"
    if done.returncode == 0:
        return None
    if done.returncode < 0:
        number = -done.returncode
        return f"{signal.strsignal(number) or 'signal'} ({signal.Signals(number).name})"
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


def way_out(wheel: Wheel, end: str) -> str:
    """What to do about an import that ended so."""
    if "SIGILL" in end:
        if wheel.distribution == "numpy":
            return "its algebra takes the processor for a newer one: try OPENBLAS_CORETYPE=ARMV8, or another version"
        return f"it is built for a newer processor: try another version, pip install '{wheel.distribution}!=VERSION'"
    if "GLIBC" in end or "CXXABI" in end:
        return "it is built for a newer system: Raspberry Pi OS bookworm or trixie"
    if "cannot open shared object file" in end:
        library = end.partition("ImportError: ")[2].partition(":")[0] or "the library"
        return f"sudo apt install the package that holds {library} (apt-file search {library})"
    extra = f"[{wheel.extra}]" if wheel.extra else ""
    return f"pip install --force-reinstall --no-cache-dir 'edge-run{extra}'"

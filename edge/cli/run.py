"""`edge-run`: the front door. Little is imported before `main`: until then a signal ends the process as it ends any."""

from __future__ import annotations

import gc
import os
import signal
import sys

from edge import __version__
from edge.cli import plugins
from edge.errors import ConfigError, FatalError
from edge.runtime import ending

TYPE_CHECKING = False  # not typing's: it takes longer to import than all of this
if TYPE_CHECKING:
    from edge.settings.settings import Settings


def main() -> None:
    """Exit codes: 0 done, 1 bug, 2 usage, 3 model, 4 state folder, 5 source; 130 after a second Ctrl-C."""
    ending.listen(_leave)  # until the service has handlers of its own: nothing was taken yet
    # A service that begins anew (`edge.app.updating`) has them wait until here.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ending.ALL)
    _open_standard_streams()
    try:
        code = run(sys.argv[1:])
    except Exception:  # noqa: BLE001 - a bug; to be told before the exit, which may have to be a hard one
        import traceback

        traceback.print_exc()
        code = 1
    import threading

    if any(not t.daemon and t is not threading.main_thread() for t in threading.enumerate()):
        # One that hangs in a driver or a full pipe: the interpreter would wait for it for ever.
        os._exit(code)
    sys.exit(code)


def _open_standard_streams() -> None:
    """What the caller closed (`>&-`) goes to /dev/null, else the next file, perhaps the spool, would be number 1."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            fd = os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
            setattr(sys, name, os.fdopen(fd, "r" if name == "stdin" else "w", encoding="utf-8"))


def _leave(number: int, frame: object) -> None:
    # Not sys.exit: that is an exception, and a library whose import it interrupts may turn it into one of its own.
    os._exit(0)


def run(argv: list[str]) -> int:
    """`edge-run` with these arguments; returns the exit code."""
    if argv[:1] == ["service"]:
        return _service(argv[1:])
    if argv[:1] == ["demo"]:
        # The runtime knows nothing of the converter: the demo is a program of its own.
        os.execv(sys.executable, [sys.executable, "-m", "converter.demo", *argv[1:]])  # noqa: S606
    # What is imported stays: to look for garbage among it costs a tenth of the imports. `start` has it looked for
    # again, once the service is made; whatever does not come so far ends soon.
    gc.disable()
    from edge.settings import layers

    try:
        settings = layers.read(argv, os.environ, __version__, plugins)
    except ConfigError as exc:
        return _fail(exc)
    if settings.process.healthy:
        from edge.app import health

        return health.examine(settings.delivery.state_dir)
    # numpy's OpenBLAS starts a thread for each further core, which spins for a twentieth of a second while the start
    # has use for that core. Nothing here multiplies matrices that would be worth a thread.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Whatever imports OpenCV first: what it has to say of a picture is ours to report.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    from edge.telemetry import logs

    logs.set_up(settings.process.log_format, verbose=settings.process.verbose)
    logs.warn(settings.remarks)
    try:
        return _do(settings)
    except FatalError as exc:
        return _fail(exc)


def _do(settings: Settings) -> int:
    """What the settings ask for: to examine, to describe or to run. Raises FatalError."""
    from edge.cli.ending import printing

    if settings.drift.anew:
        from edge.app import drift

        return printing(lambda: print("\n".join(drift.forget(settings))) or 0)
    if settings.capture.export is not None:
        from edge.app import capture

        return printing(lambda: print("\n".join(capture.export(settings))) or 0)
    if settings.updates.uri is not None:
        from edge.app import updating

        if not (settings.process.check or settings.process.describe):
            updating.run(settings)
            return 0
        if settings.process.describe:
            settings = updating.current(settings)
    if settings.process.check:
        from edge.tools import doctor

        return printing(lambda: int(doctor.examine(settings, as_json=settings.process.as_json)))
    if settings.process.describe:
        from edge.app import sidecar

        return printing(lambda: sidecar.show(settings))
    # Asked first: the import would cost a plain start a millisecond.
    if any(settings.delivery.state_dir.glob("profile-*.json")):
        from edge.app import profile

        settings = profile.apply_all(settings)
    from edge.app import start

    start.app(settings).run()
    return 0


def _service(argv: list[str]) -> int:
    from edge.cli import service
    from edge.cli.ending import printing

    try:
        return printing(lambda: service.run(argv, os.environ))
    except FatalError as exc:
        return _fail(exc)


def _fail(exc: FatalError) -> int:
    from edge.cli.ending import failed

    return failed("edge-run", exc, exc.exit_code)


if __name__ == "__main__":
    main()

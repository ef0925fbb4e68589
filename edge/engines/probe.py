"""A model tried in a child process first, because a hostile or damaged file can kill its engine.

An engine is C++ that trusts the file: a wrong offset is a segmentation fault, an absurd shape is an abort, and
no `except` sees either. So the first load of a file happens in a child made by `fork`: it has the engine in
memory already, costs milliseconds where a fresh interpreter costs a second on a small board, and may die.
What survived is remembered by the file's content, so later starts pay for a hash only.

The child calls into the engine and leaves by `_exit`: it takes no Python lock, runs no handler and never
returns here. It may ask for no more memory than the board has, so that it fails before the system's
out-of-memory killer looks for a victim.
"""

from __future__ import annotations

import faulthandler
import os
import resource
import select
import signal
import warnings
from collections.abc import Callable
from pathlib import Path

from edge.errors import EdgeError, ModelError
from edge.model.identity import sha256

TIMEOUT_S = 120.0


def require_survival(
    path: Path, engine: str, cache_dir: Path | None, run: Callable[[], object], *, again: bool = False
) -> None:
    """Runs `run` (load the file, infer once) in a child process. Raises ModelError where the child died.

    What `run` raises is not the matter here: the caller does the same again and raises it itself. `engine` is
    its name and version: a verdict does not outlive them. Without `cache_dir` nothing is remembered. `again`:
    also where it is known to survive.
    """
    mark = None if cache_dir is None else _mark(path, engine, cache_dir)
    if mark is not None and not again and mark.exists():
        return
    try:
        end = run_in_child(run)
    except OSError as exc:
        raise ModelError(
            f"{path.name}: there is no child process to try it in first ({exc.strerror}): too many processes or too "
            "little memory; start it again when there is room"
        ) from exc
    if end is not None:
        raise ModelError(
            f"{path.name}: it kills its engine ({engine}: {end}, seen in a child process); "
            "the file is damaged or asks for too much: copy or convert it again"
        )
    if mark is not None:
        _remember(mark)


def has_survived(path: Path, engine: str, cache_dir: Path) -> bool:
    """True where `require_survival` will not try the file again. Raises OSError."""
    return _mark(path, engine, cache_dir).exists()


def _mark(path: Path, engine: str, cache_dir: Path) -> Path:
    return cache_dir / "survived" / f"{engine}-{sha256(path)}"


def _remember(mark: Path) -> None:
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    except OSError:
        return  # a state folder that cannot be written is told by the spool; here it costs a trial at each start


def run_in_child(run: Callable[[], object]) -> str | None:
    """How the child died, or None where it did not."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns of fork beside threads: what they hold may stay locked. The child needs nothing of
        # theirs: it takes no Python lock, and the C library's allocator is made ready for a fork by itself.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _be_the_child(run, writing)
    os.close(writing)
    try:
        # The pipe closes when the child ends, however it ends.
        ended = bool(select.select([reading], [], [], TIMEOUT_S)[0])
        if not ended:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    finally:
        os.close(reading)
    if not ended:
        return f"still busy after {TIMEOUT_S:.0f} s"
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return None
    return signal.strsignal(-code) or f"signal {-code}" if code < 0 else f"exit code {code}"


def _be_the_child(run: Callable[[], object], writing: int) -> None:
    code = 0
    try:
        faulthandler.disable()  # this death is expected
        # The engine's C++ writes to stderr; the parent says the same in its own words.
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        os.set_inheritable(writing, False)
        _limit_memory()
        run()
    except MemoryError:
        code = 70
    except (EdgeError, OSError, ValueError, RuntimeError, TypeError):
        code = 0  # an error that can be told: the parent will meet it too
    except BaseException:  # noqa: BLE001 - nothing may travel up from here: there are two of us
        code = 0
    finally:
        os._exit(code)


def _limit_memory() -> None:
    page = os.sysconf("SC_PAGE_SIZE")
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * page
    limit = mapped + os.sysconf("SC_PHYS_PAGES") * page
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

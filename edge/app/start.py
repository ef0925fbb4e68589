"""From settings to an `App` that is ready to run: the one place where the start does two things at once.

A start is mostly imports, and imports take turns: each holds the interpreter's lock. What does not hold it goes on
meanwhile, on another core:

    main thread   numpy, the engine's library |  all other imports   | build
    beside it     the model file's hash       |  the model is loaded, its golden samples run

So the engine's library is imported first, alone. A file that was never seen is tried in a child process, which is
forked; that, and the loading behind it, waits for nobody and nobody imports meanwhile: a library that is half loaded
in one thread would stay locked in the child for ever.

Errors come in the order in which they would come one after the other.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from edge.engines import graph_cache
from edge.errors import FatalError
from edge.settings.settings import Settings

if TYPE_CHECKING:
    from edge.app.loading import Loaded
    from edge.app.service import App
    from edge.app.update_agent import UpdateAgent

T = TypeVar("T")


class _Beside(Generic[T]):
    """`work`, begun at once in a thread of its own."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._found: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="start", daemon=False)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._found.append(self._work())
        except BaseException as exc:  # noqa: BLE001 - raised again by who waits
            self._error = exc

    def wait(self) -> None:
        """Until it has ended, however long a model takes; a signal ends the process."""
        self._thread.join()

    def result(self) -> T:
        """What `work` gave; raises what it raised."""
        self.wait()
        if self._error is not None:
            raise self._error
        return self._found[0]


def app(settings: Settings, updates: UpdateAgent | None = None) -> App:
    """All parts of the process, the model loaded. Raises FatalError."""
    gc.disable()  # what is imported stays: to look for garbage among it costs a twelfth of the start
    try:
        opened, replayed = _load_beside(settings)
        from edge.app.build import build

        _import_opencv(settings)
        return build(settings, _checked(settings, opened, replayed), updates)
    finally:
        gc.freeze()
        gc.enable()


def load(settings: Settings) -> Loaded:
    """The model alone, its golden samples replayed. Raises ModelError, ConfigError."""
    return _checked(settings, *_load_beside(settings))


def _load_beside(settings: Settings) -> tuple[_Beside[Loaded], _Beside[None]]:
    read = _Beside(lambda: graph_cache.read_ahead(settings.model.file, settings.delivery.state_dir))
    from edge.app import loading

    tried = _is_tried(settings, read)
    opened = _Beside(lambda: loading.open_model(settings))
    if not tried:
        opened.wait()
    return opened, _Beside(lambda: loading.replay(opened.result(), settings))


def _is_tried(settings: Settings, read: _Beside[None]) -> bool:
    """Imports the engine's library; False where loading the file will fork a child, or nobody knows."""
    from edge.app import loading
    from edge.engines import choose

    with contextlib.suppress(FatalError, OSError):  # told by who loads the model
        _, info = choose.find(settings.model.file, settings.model.engine)
        library = info.library()
        read.wait()
        return library.loads_at_once(settings.model.file, loading.engine_options(settings))
    return False


def _import_opencv(settings: Settings) -> None:
    """Where pictures come for sure. Where it is missing, whoever needs it tells."""
    from edge.app import loading

    if loading.source_gives(settings) == "pictures":
        with contextlib.suppress(ImportError):
            importlib.import_module("cv2")


def _checked(settings: Settings, opened: _Beside[Loaded], replayed: _Beside[None]) -> Loaded:
    from edge.app import fits

    loaded = opened.result()
    fits.check(settings, loaded)
    replayed.result()
    return loaded

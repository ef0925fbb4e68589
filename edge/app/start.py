"""From settings to an `App` that is ready to run: the one place where the start does two things at once.

A start is mostly imports, and imports take turns: each holds the interpreter's lock. What does not hold it goes on
meanwhile, on another core:

    main thread   numpy, the engine's library |  all other imports   | build
    beside it     the model file's hash       |  the model is loaded, its golden samples run

So nothing above imports numpy, and the engine's library is imported before the rest, alone. A file that was never seen
is tried in a child process, which is forked; that, and the loading behind it, waits for nobody and nobody imports
meanwhile: a library that is half loaded in one thread would stay locked in the child for ever.

Errors come in the order in which they would come one after the other.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

from edge.engines import graph_cache
from edge.errors import FatalError
from edge.settings.settings import Settings

if TYPE_CHECKING:
    from edge.app.engines import SharedEngines
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


_Loading: TypeAlias = "tuple[Settings, _Beside[Loaded], _Beside[None]]"


def app(settings: Settings, updates: UpdateAgent | None = None) -> App:
    """All parts of the process, its models loaded. Raises FatalError: of several runs only where none can begin."""
    gc.disable()  # what is imported stays: to look for garbage among it costs a twelfth of the start
    try:
        each = settings.each
        engines = _shared(each) if len(each) > 1 else None
        begun = _load_beside(each[0], engines)  # the first, while the rest is being imported
        from edge.app.build import Opened, build_all

        for one in each:
            _import_opencv(one)
        opened = [Opened(each[0], _loaded(begun, alone=len(each) == 1))]
        opened += [Opened(one, _loaded(_load_beside(one, engines), alone=False)) for one in each[1:]]
        return build_all(settings, opened, updates)
    finally:
        gc.freeze()
        gc.enable()


def _shared(each: Sequence[Settings]) -> SharedEngines:
    from edge.app.engines import SharedEngines

    return SharedEngines(each)


def _loaded(begun: _Loading, *, alone: bool) -> Loaded | Exception:
    """Of several runs the one whose model cannot be loaded is told of, and the others go on."""
    try:
        return _checked(*begun)
    except Exception as exc:  # also a bug, of a plug-in
        if alone:
            raise
        return exc


def load(settings: Settings) -> Loaded:
    """The model alone, its golden samples replayed. Raises ModelError, ConfigError."""
    return _checked(*_load_beside(settings))


def _load_beside(settings: Settings, engines: SharedEngines | None = None) -> _Loading:
    read = _Beside(lambda: graph_cache.read_ahead(settings.model.file, settings.delivery.state_dir))
    from edge.app import loading
    from edge.engines import choose

    load = choose.load if engines is None else engines.load

    tried = _is_tried(settings, read)
    opened = _Beside(lambda: loading.open_model(settings, load=load))
    if not tried:
        opened.wait()
    return settings, opened, _Beside(lambda: loading.replay(opened.result(), settings))


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

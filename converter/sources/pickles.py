"""What a pickle would import, found without running anything of it.

`pickletools` alone cannot read a joblib file (raw array bytes stand between the opcodes), nor tell what
STACK_GLOBAL takes from the stack. So the file goes through Python's own pickle machine with every global
replaced by an inert class: nothing is imported, nothing called but these stubs. `pickletools.genops` gives
the answer again for a plain pickle, and what only it sees is added.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import pickletools
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from converter.errors import UnrecognisedError
from edge.errors import one_line

MAX_BYTES = 4 * 2**30
_COMPRESSED: tuple[tuple[bytes, Any], ...] = (
    (b"\x1f\x8b", gzip.decompress),
    (b"BZh", bz2.decompress),
    (b"\xfd7zXZ", lzma.decompress),
    (b"\x5d\x00\x00", lzma.decompress),
    (b"\x78\x01", zlib.decompress),
    (b"\x78\x5e", zlib.decompress),
    (b"\x78\x9c", zlib.decompress),
    (b"\x78\xda", zlib.decompress),
)
_DAMAGED = (
    pickle.UnpicklingError, EOFError, AttributeError, TypeError, ValueError, IndexError, KeyError, ImportError,
    OverflowError, MemoryError, AssertionError, RecursionError, UnicodeDecodeError, struct.error,
)  # fmt: skip


class Inert:
    """Stands for whatever a pickle names: takes everything, does nothing."""

    of = ""
    """The global that it stands for."""

    def __new__(cls, *args: Any, **_: Any) -> Inert:
        instance = super().__new__(cls)
        instance.args = args
        return instance

    def __init__(self, *_: Any, **__: Any) -> None:
        self.args: tuple[Any, ...]
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None: ...
    def append(self, item: Any) -> None: ...
    def extend(self, items: Any) -> None: ...
    def add(self, item: Any) -> None: ...
    def __call__(self, *args: Any) -> Inert:
        return Inert(*args)


class _Class(Inert):
    """Stands for the function of cloudpickle that makes a class of its code: the class that it gives is inert."""

    def __new__(cls, *_: Any) -> Any:
        return type("Made", (Inert,), {})


_Unpickler: Any = pickle._Unpickler  # noqa: SLF001 - as old as Python 3, and the C one cannot be stepped into


class _Machine(_Unpickler):  # type: ignore[misc]
    """Python's unpickler in Python, so that joblib's arrays can be stepped over."""

    dispatch = _Unpickler.dispatch.copy()

    def __init__(self, file: BinaryIO, names: dict[str, None]) -> None:
        super().__init__(file)
        self._stream = file
        self._found = names

    def find_class(self, module: str, name: str) -> type[Inert]:
        full = f"{module}.{name}"
        self._found.setdefault(full)
        if full == "cloudpickle.cloudpickle._make_skeleton_class":
            return _Class
        return type(name.rpartition(".")[2] or "Inert", (Inert,), {"of": full})

    def get_extension(self, code: int) -> None:
        self._found.setdefault(f"copyreg extension {code}")
        self.append(Inert())

    def persistent_load(self, pid: Any) -> Any:
        # PyTorch before its zip archives wrote the classes of modules so: ("module", class, file, source).
        if isinstance(pid, tuple) and len(pid) == 4 and pid[0] == "module":
            return pid[1]
        return Inert(pid)

    def load_build(self) -> None:
        super().load_build()
        instance = self.stack[-1]
        if (
            isinstance(instance, Inert)
            and instance.of.endswith("NumpyArrayWrapper")
            and isinstance(instance.state, dict)
        ):
            self._skip_array(instance.state)

    dispatch[pickle.BUILD[0]] = load_build

    def _skip_array(self, state: dict[str, Any]) -> None:
        dtype = _dtype(state.get("dtype"))
        if dtype.hasobject:
            _Machine(self._stream, self._found).load()
            return
        if state.get("numpy_array_alignment_bytes") is not None:
            self._stream.seek(self._stream.read(1)[0], io.SEEK_CUR)
        count = 1
        for length in state["shape"]:
            count *= int(length) if not isinstance(length, Inert) else _scalar(length)
        self._stream.seek(count * dtype.itemsize, io.SEEK_CUR)


def _dtype(stub: Any) -> np.dtype[Any]:
    """The dtype that a stub of numpy.dtype stands for: its text code, or the fields in its state."""
    code = stub.args[0]
    state = stub.state
    if isinstance(state, tuple) and len(state) > 5 and isinstance(state[3], tuple):
        return np.dtype([("object", object)]) if "O" in str(code) else np.dtype((np.void, int(state[5])))
    return np.dtype(code) if isinstance(code, str) else np.dtype(object)


def _scalar(stub: Inert) -> int:
    return int.from_bytes(stub.args[1], "little")


def decompress(data: bytes) -> bytes:
    """The bytes of a pickle that joblib or a person compressed. Raises UnrecognisedError."""
    for magic, inflate in _COMPRESSED:
        if data.startswith(magic):
            try:
                return bytes(inflate(data))
            except (OSError, EOFError, zlib.error, lzma.LZMAError) as exc:
                raise UnrecognisedError(f"a compressed file that cannot be read: {exc}; copy it again") from exc
    return data


def is_compressed(head: bytes) -> bool:
    """True where the bytes begin as a compressed file that `decompress` reads."""
    return any(head.startswith(magic) for magic, _ in _COMPRESSED)


def is_pickle(data: bytes) -> bool:
    """True where the bytes begin as a pickle of protocol 2 to 5 does."""
    return len(data) > 2 and data[0] == 0x80 and 2 <= data[1] <= 5


def list_globals(path: Path) -> tuple[str, ...]:
    """Every class and function the pickle at `path` would import, in order, none of them imported.

    Raises UnrecognisedError where it is not a whole pickle.
    """
    return globals_in(decompress(path.read_bytes()), path.name)


def globals_in(data: bytes, name: str, *, count: int = 1) -> tuple[str, ...]:
    """The same for `count` pickles, one after the other, in the bytes of a file that messages call `name`."""
    names: dict[str, None] = {}
    stream = io.BytesIO(data)
    try:
        for _ in range(count):
            _Machine(stream, names).load()
    except _DAMAGED as exc:
        raise UnrecognisedError(f"{name}: not a whole pickle ({one_line(exc)}); copy it again") from exc
    if count == 1 and "joblib.numpy_pickle.NumpyArrayWrapper" not in names:
        for operation, argument, _ in pickletools.genops(data[: stream.tell()]):
            if operation.name in ("GLOBAL", "INST"):
                names.setdefault(str(argument).replace(" ", "."))
    return tuple(names)

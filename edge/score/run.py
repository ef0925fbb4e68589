"""A run on disk: which parts are there, and what they hold.

    OUT/part-00000.parquet      one file a part, there when it is whole
    OUT/_parts/00000.json       its key and summary, written before it; without the other it says nothing
    OUT/_run.json               which model, options and versions made all of them, and the summary
    OUT/_lock                   one process at a time

Where OUT is to be one file, this folder is `OUT.parts` until all parts are there; then they are joined into OUT, the
run's words stand in `OUT.run.json`, and the folder goes. A part is taken for done where its file and its key are there:
after a kill or a power cut at any moment none is lost, doubled or half. Readers of a folder of Parquet pass over names
that begin with `_` or `.`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import pyarrow as pa

from edge.errors import ConfigError, SpoolError, first_line
from edge.score import output
from edge.score.output import FORMATS, Format, PartFormat
from edge.score.summary import Summary
from edge.storage import atomic
from edge.storage.lock import FileLock

SCHEMA = 1


class Made(msgspec.Struct, frozen=True):
    """By what results were made: parts of one output all are by the same."""

    model: str
    version: str
    sha256: str
    engine: str
    options: dict[str, str] = {}


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What `_run.json` says. `drift`: the stability index of each feature. `keys`: of the parts, in order."""

    schema: int = SCHEMA
    state: str
    made: Made
    edge_run: str
    archive: tuple[str, ...]
    keys: tuple[str, ...]
    summary: Summary | None = None
    drift: dict[str, float] = {}


class _Done(msgspec.Struct, frozen=True):
    key: str
    summary: Summary


class Run:
    """Of one output. `number` is a part's place in the archive."""

    def __init__(self, out: Path, form: Format | None) -> None:
        """`form`: of a folder; a file says it by its suffix. Raises ConfigError."""
        named: dict[str, Format] = {f".{name}": name for name in FORMATS}
        own = named.get(out.suffix.lower())
        if own is not None and form not in (None, own):
            raise ConfigError(f"-o {out} and --format {form}: say one of the two")
        if own is None and out.suffix and not out.is_dir():
            raise ConfigError(f"-o {out}: {', '.join(named)} are written, or a folder (a name without a suffix)")
        self.single = own is not None
        self.form: Format = own or form or "parquet"
        self.part_form: PartFormat = "arrow" if own == "parquet" else self.form
        self.out = out
        self.folder = out.with_name(out.name + ".parts") if self.single else out
        self._lock = FileLock(self.folder / "_lock")
        self._new = False

    def begin(self, begun: Record, *, resume: bool) -> list[int]:
        """The parts that are still to be made. Raises ConfigError where something is there that is not to be gone on
        with, SpoolError where the folder cannot be used."""
        if self.single and self.out.exists() and self._already(begun, resume=resume):
            return []
        there = self._read(self.folder / "_run.json")
        if there is None and self.folder.is_dir() and any(p.name != "_lock" for p in self.folder.iterdir()):
            raise ConfigError(f"-o {self.out}: {self.folder} holds files that no run has made; choose another -o")
        if there is not None and not resume:
            self._take_lock()  # where the run goes on, nobody is to remove it
            self._lock.release()
            state = "is done" if there.state == "done" else "was stopped"
            raise ConfigError(
                f"-o {self.out}: a run is there, it {state}; --resume goes on with it, or remove {self.folder}"
            )
        if there is not None:
            self._require_same(there.made, begun.made)
        self._take_lock()
        self._new = there is None
        try:
            (self.folder / "_parts").mkdir(exist_ok=True)
            left = self._left(begun.keys)
            atomic.write(self.folder / "_run.json", _json(begun))
        except OSError as exc:
            raise _unusable(self.folder, exc) from exc
        return left

    def _already(self, begun: Record, *, resume: bool) -> bool:
        """True where the file is whole, and of this very run. Raises ConfigError where it is of something else."""
        there = self._read(self._beside)
        if there is not None and resume and there.keys == begun.keys:
            self._require_same(there.made, begun.made)
            shutil.rmtree(self.folder, ignore_errors=True)  # where the process ended while it was removed
            return True
        if self.folder.exists():
            return False
        if there is not None and resume:
            raise ConfigError(f"-o {self.out}: the archive has changed since it was made; choose another name")
        raise ConfigError(f"-o {self.out}: it exists; remove it or choose another name")

    def _require_same(self, there: Made, made: Made) -> None:
        """A run that is gone on with in another way would be neither."""
        a, b = msgspec.to_builtins(there), msgspec.to_builtins(made)
        a, b = {**a, **a.pop("options")}, {**b, **b.pop("options")}
        what = next((name for name in sorted({*a, *b}) if a.get(name) != b.get(name)), None)
        if what is not None:
            old, new = str(a.get(what, ""))[:16], str(b.get(what, ""))[:16]
            raise ConfigError(
                f"-o {self.out}: its parts were made with another {what} ({old}, now {new}); choose another -o"
            )

    def _take_lock(self) -> None:
        try:
            holder = self._lock.acquire(str(os.getpid()))
        except OSError as exc:
            raise _unusable(self.folder, exc) from exc
        if holder is not None:
            raise SpoolError(
                f"-o {self.out}: process {holder or 'unknown'} writes there; wait for it, or choose another -o"
            )

    def _left(self, keys: Sequence[str]) -> list[int]:
        """Removes what is of another archive: a part whose key is not what it was."""
        for path in self.folder.glob("part-*"):
            number = path.stem.removeprefix("part-")
            if not number.isdigit() or int(number) >= len(keys) or self._key(int(number)) != keys[int(number)]:
                path.unlink()
        for path in self.folder.glob(".part-*.partial"):
            path.unlink()  # of a process that was killed: the lock is ours
        return [n for n in range(len(keys)) if not self.path(n).exists()]

    def path(self, number: int) -> Path:
        """Where the results of a part belong."""
        return self.folder / f"part-{number:05d}.{self.part_form}"

    def mark(self, number: int, key: str, summary: Summary) -> None:
        """Before its file takes its name. Raises SpoolError."""
        try:
            atomic.write(self._sidecar(number), msgspec.json.encode(_Done(key, summary)))
        except OSError as exc:
            raise _unusable(self.folder, exc) from exc

    def summary(self, parts: int) -> Summary:
        """Of so many parts, those that are done."""
        whole = Summary()
        for number in range(parts):
            done = self._done(number) if self.path(number).exists() else None
            if done is not None:
                whole.merge(done.summary)
        return whole

    def finish(self, record: Record, schema: pa.Schema) -> None:
        """All parts are there: what the run found is written down, and one file made of them where it is to be one.
        Raises SpoolError."""
        try:
            if self.single:
                paths = [self.path(n) for n in range(len(record.keys))]
                atomic.write(self._beside, _json(record))
                output.join(paths, self.out, self.form, schema)
                self.close()
                shutil.rmtree(self.folder)
            else:
                atomic.write(self.folder / "_run.json", _json(record))
        except OSError as exc:
            raise _unusable(self.folder, exc) from exc

    def finished(self) -> Record | None:
        """What an earlier run has said of a file that was done."""
        return self._read(self._beside)

    def close(self) -> None:
        """Lets others in. Where it began and made no part nothing stays: it would be taken for a run to go on with."""
        if self._new and not any(self.folder.glob("part-*")):
            with suppress(OSError):
                for name in ("_run.json", "_lock"):
                    (self.folder / name).unlink(missing_ok=True)
                (self.folder / "_parts").rmdir()
                self.folder.rmdir()
        self._lock.release()

    @property
    def _beside(self) -> Path:
        return self.out.with_name(self.out.name + ".run.json")

    def _sidecar(self, number: int) -> Path:
        return self.folder / "_parts" / f"{number:05d}.json"

    def _key(self, number: int) -> str:
        done = self._done(number)
        return "" if done is None else done.key

    def _done(self, number: int) -> _Done | None:
        try:
            return msgspec.json.decode(self._sidecar(number).read_bytes(), type=_Done)
        except (OSError, msgspec.MsgspecError):
            return None

    @staticmethod
    def _read(path: Path) -> Record | None:
        try:
            return msgspec.json.decode(path.read_bytes(), type=Record)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as exc:
            raise ConfigError(f"{path}: no record of a run: {first_line(exc)}; choose another -o") from exc


def _json(record: Record) -> bytes:
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def _unusable(folder: Path, exc: OSError) -> SpoolError:
    return SpoolError(f"{folder}: {exc.strerror}; make room or choose another -o, then --resume")


def options_of(values: Mapping[str, object]) -> dict[str, str]:
    """Options as a record compares them."""
    return {name: str(value) for name, value in sorted(values.items()) if value not in (None, (), "")}

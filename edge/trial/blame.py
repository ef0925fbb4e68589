"""Whether the process died while the trial was at work: the trial may be given up without loss, an input may not.

The mark is the one that inputs have (`edge.storage.crash_marks`), in a file of its own; what it names is the model on
trial. A death at which it is marked counts against the trial, and against no input of the running model that was under
way beside it: were that one the culprit, it would be marked alone at the next death. At the second death the trial is
given up, whatever ran well in between: an input that kills may be one in thousands.
"""

from __future__ import annotations

import logging
from pathlib import Path

from edge.storage.crash_marks import CrashMarks, Slot, digest_of

log = logging.getLogger("edge.trial")

DEATHS = 2
"""So many give it up: without the trial nothing is lost."""


def died_at_work(state_dir: Path, stem: str, volatile: Path | None = None) -> bool:
    """Whether a trial of this service was at work when the process died, for one that looks before there is a trial.
    False where nothing can be known."""
    try:
        return CrashMarks(state_dir, f"{stem}.trial", volatile).left()
    except OSError:
        return False


def take_over(state_dir: Path, stem: str, volatile: Path | None = None) -> bool:
    """The same, and that death is counted, for who may have a trial later in this life."""
    marks = CrashMarks(state_dir, f"{stem}.trial", volatile)
    try:
        died = marks.open() > 0
    except OSError:
        return False
    marks.close()
    return died


class TrialMarks:
    """`open` and `close` in the main thread, `begin` and `end` in the trial's."""

    def __init__(self, state_dir: Path, stem: str, model: Path, sha256: str, volatile: Path | None = None) -> None:
        """`stem` names the service; `model`, a file with this hash, is on trial. `volatile` as of `CrashMarks`."""
        self._marks = CrashMarks(state_dir, f"{stem}.trial", volatile)
        self._model = model
        self._digest = digest_of(sha256.encode())
        self._slot: Slot | None = None
        self.died = False
        """Whether the trial was at work when the process died last."""

    def open(self) -> str:
        """Takes over what an earlier life left: why the trial is given up, "" where it is not. Where no memory can be
        had it goes on without marks, and says so."""
        file = self._model.name
        try:
            self.died = self._marks.open() > 0
        except OSError as exc:
            reason = "another process holds the marks" if isinstance(exc, BlockingIOError) else str(exc)
            text = "the trial is not marked: an input that kills the process in it will do so again"
            log.warning(text, extra={"model": file, "reason": reason})
            return ""
        if self._marks.convicted(self._digest, DEATHS):
            return (
                f"the process died twice while {file} was at work: it is given up "
                f"(to have it tried again, delete {self._marks.kept})"
            )
        if self.died:
            log.warning("the process died while the trial was at work", extra={"model": file, "given up at": DEATHS})
        self._slot = self._marks.slot()
        return ""

    def begin(self) -> None:
        """From now on the trial is to blame."""
        if self._slot is not None:
            self._slot.mark(self._digest)

    def end(self) -> None:
        """It did no harm."""
        if self._slot is not None:
            self._slot.mark()

    def close(self) -> None:
        """A clean end, the trial's thread with it."""
        self._slot = None
        self._marks.close()

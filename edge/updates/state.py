"""Where a device stands with an update: values, and the only ways from one to the next. Pure; `store.py` keeps them.

    idle -> downloading -> verifying -> proving -> trial -> switching -> watching -> confirmed
                 |             |           |         |                      |
                 '-------------'-----------'---------'-> idle (later)       '-> rolled-back (that version never again),
                                                                                or idle (another one is offered)

A trial is left out where nothing comes that it could be tried on (`proving` -> `switching`); what fails a gate before
the switch is `rolled-back`, too.

The rule is that of boot loaders with two slots: what may go wrong is written down before it is tried. A model that is
not proven by a watch is started once (`begin`); if the process ends otherwise than in order, the next start is on the
confirmed model. Such a version is proven and tried again, `TRIES` times in all, since a power cut is no fault of a
model; then it is refused for good.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec.structs import replace

Phase = Literal[
    "idle", "downloading", "verifying", "proving", "trial", "switching", "watching", "confirmed", "rolled-back"
]  # fmt: skip
TRIES = 3
REFUSED_MOST = 64
"""So many versions are remembered as refused; the oldest is forgotten."""


class Slot(msgspec.Struct, frozen=True):
    """A model of an update: its file is `models/<sha256><suffix>` in the folder of the updates."""

    sha256: str
    version: str
    suffix: str = ".onnx"

    @property
    def file(self) -> str:
        return f"{self.sha256}{self.suffix}"


class Baseline(msgspec.Struct, frozen=True):
    """What the model before did: the share of samples that it skipped, and milliseconds for an inference."""

    skipped: float
    infer_ms: float


class Watched(msgspec.Struct, frozen=True):
    """What the candidate has done in lives of the process that ended in order, as `gates.Seen`, and for how long."""

    seconds: float
    results: int
    skipped: int
    infer_ms: float
    timed: int


class State(msgspec.Struct, frozen=True, kw_only=True):
    """`confirmed` None: the file that `--model` names. `since`: seconds since 1970.

    `clean`: the process that watched ended in order. `tries` are those of the candidate. `name` is what the topics
    are called by, whatever a new model calls itself.
    """

    schema: Literal[1] = 1
    phase: Phase = "idle"
    confirmed: Slot | None = None
    candidate: Slot | None = None
    tries: int = 0
    tried: str = ""
    """The sha256 that `tries` belongs to: it outlives the candidate."""
    refused: tuple[str, ...] = ()
    reason: str = ""
    since: float = 0.0
    clean: bool = False
    baseline: Baseline | None = None
    watched: Watched | None = None
    before: str = ""
    """The version that ran before the switch, while the new one is watched."""
    name: str = ""
    gone_back_from: str = ""
    """The version that was refused last."""

    @property
    def running(self) -> Slot | None:
        """The model that runs in this phase."""
        return self.candidate if self.phase == "watching" else self.confirmed


class WrongStepError(Exception):
    """A step that does not lead on from this phase: a bug."""


def _step(state: State, among: tuple[Phase, ...], phase: Phase, now: float, reason: str = "") -> State:
    if state.phase not in among:
        raise WrongStepError(f"{phase} does not follow {state.phase}")
    return replace(state, phase=phase, since=now, reason=reason)


_SETTLED: tuple[Phase, ...] = ("idle", "confirmed", "rolled-back")
UNPROVEN: tuple[Phase, ...] = ("downloading", "verifying", "proving", "trial")
"""While the confirmed model runs and another one is on its way."""


def found(state: State, slot: Slot, now: float) -> State:
    """A version that this device is to run, and does not."""
    new = replace(_step(state, _SETTLED, "downloading", now), candidate=slot)
    return new if state.tried == slot.sha256 else replace(new, tried=slot.sha256, tries=0)


def downloaded(state: State, now: float) -> State:
    """All bytes are there, and synced."""
    return _step(state, ("downloading",), "verifying", now)


def proves(state: State, now: float) -> State:
    """It is to be loaded for the first time, in a process of its own: a try."""
    return replace(_step(state, ("verifying",), "proving", now), tries=state.tries + 1)


def noted(state: State, note: str) -> State:
    """What a gate could not look at: the reason of all that follows, until the watch is over."""
    return replace(state, reason=note)


def on_trial(state: State, now: float) -> State:
    """It runs on live samples beside the confirmed model, and nothing of it is published: part of the same try."""
    return _step(state, ("proving",), "trial", now, state.reason)


def switches(state: State, before: str, baseline: Baseline | None, now: float) -> State:
    """It has passed every gate. `before` is the version that runs, `baseline` what it did."""
    new = _step(state, ("proving", "trial"), "switching", now, state.reason)
    return replace(new, before=before, baseline=baseline, clean=False)


def adopts(state: State, now: float) -> State:
    """It has passed every gate, and there is no other model: the first one."""
    new = _step(state, ("proving",), "confirmed", now)
    return replace(new, confirmed=state.candidate, candidate=None, tries=0, tried="")


def begin(state: State, now: float, *, excused: bool = False) -> State:
    """What a start makes of it; `running` of the answer is the model to load, once that is on disk. `excused`: if the
    process died, something else is to blame."""
    if state.phase == "switching":
        return replace(_step(state, ("switching",), "watching", now, state.reason), clean=False)
    if state.phase == "watching" and (state.clean or excused):
        return replace(state, clean=False)
    if state.phase == "watching":
        return _back(state, "the process did not end in order while the model was watched", now)
    if state.phase in UNPROVEN:
        return later(state, "interrupted", now)
    return state


def ended(state: State, watched: Watched | None = None) -> State:
    """The process ends in order: if it watches, the next one goes on with that, and with what was seen (`watched`); if
    a model is being proven or tried, that was no try of it."""
    if state.phase in ("proving", "trial"):
        return replace(state, tries=max(0, state.tries - 1))
    return replace(state, clean=True, watched=watched or state.watched) if state.phase == "watching" else state


def confirms(state: State, now: float, reason: str = "") -> State:
    """The watch has seen enough, and nothing wrong. `reason`: what is to be known of that."""
    new = _step(state, ("watching",), "confirmed", now, reason)
    return _no_candidate(replace(new, confirmed=state.candidate))


def gives_way(state: State, reason: str, now: float) -> State:
    """Nothing is wrong with the version that is watched, but the channel holds another one for this device: back on the
    confirmed model, from which every step begins."""
    return _no_candidate(_step(state, ("watching",), "idle", now, reason))


def _no_candidate(state: State) -> State:
    return replace(state, candidate=None, tries=0, tried="", baseline=None, watched=None, clean=False)


def later(state: State, reason: str, now: float, *, untried: bool = False) -> State:
    """Nothing is wrong with the version: it is tried again at a later check, unless its tries are used up. `untried`:
    this was none."""
    if untried:
        state = replace(state, tries=max(0, state.tries - 1))
    if state.tries >= TRIES:
        return refuse(state, f"{reason}; tried {state.tries} times", now)
    new = _step(state, UNPROVEN, "idle", now, reason)
    return replace(new, candidate=None)


def refuse(state: State, reason: str, now: float) -> State:
    """A gate or the watch says no: back on the confirmed model, and never that version again."""
    bad, version = (state.candidate.sha256, state.candidate.version) if state.candidate is not None else ("", "")
    new = _step(state, (*UNPROVEN, "switching", "watching"), "rolled-back", now, reason)
    return replace(
        _no_candidate(new),
        gone_back_from=version,
        refused=(*(sha for sha in state.refused if sha != bad), bad)[-REFUSED_MOST:],
    )


def _back(state: State, reason: str, now: float) -> State:
    if state.tries >= TRIES:
        return refuse(state, f"{reason}, {state.tries} times", now)
    new = _step(state, ("watching",), "idle", now, f"{reason}; it is tried again ({state.tries} of {TRIES})")
    return replace(new, candidate=None, baseline=None, watched=None)

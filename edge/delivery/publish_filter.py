"""What is worth publishing: `--on-change`, `--deadband`, `--min-score`, `--min-interval`. Pure; time is passed in.

A result is asked three questions, in this order; what a no holds back is counted by its reason:

    score      is it sure enough? In detection, objects below --min-score are left out, and a result with none left is
               held back. Elsewhere the best score decides.
    unchanged  is it news, beside what was published last? `news.py` says what that means for each task.
    interval   is it time? Each MQTT topic has its own; one sensor does not silence another.

Nothing that matters is held back for ever. When the interval is over, the newest state is published, if it still is
news. Where changes are asked for, and for an anomaly in any case, a state that came and went within the interval is
told late rather than never: first it, the newest after another interval. And --min-score lets through what ends
something: the first result without objects, or without the anomaly, after one with them.

At the end of the source what waits for its interval is published at once. The input of a result that is held back
counts as safe: a killed process may lose what waits for an interval, never a result that was let through.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from edge.data.result import Result
from edge.data.streams import stream_of
from edge.data.units import SECOND_NS
from edge.data.vocabulary import OBJECTS, SCORED
from edge.delivery.news import NUMBERS, alarm, differ
from edge.errors import ConfigError

TRACKS_MOST = 1024
"""Topics that are told apart; one more takes the place of the one not heard of for the longest time."""
REASONS = ("score", "unchanged", "interval")


class PublishRules(msgspec.Struct, frozen=True):
    """`deadband` in the unit of the numbers, `min_score` in that of the scores; None: no such rule."""

    on_change: bool = False
    min_interval_s: float = 0.0
    min_score: float | None = None
    deadband: float | None = None

    @property
    def changes(self) -> bool:
        """True where what is no news is held back."""
        return self.on_change or self.deadband is not None

    @property
    def any(self) -> bool:
        """True where something may be held back."""
        return self.changes or self.min_interval_s > 0 or self.min_score is not None

    def check(self, task: str) -> None:
        """Raises ConfigError for a rule that says nothing of this task's results."""
        if self.min_score is not None and task not in SCORED:
            raise ConfigError(f"--min-score {self.min_score:g}: a result of task {task} has no score; leave it out")
        if self.deadband is not None and task not in NUMBERS:
            raise ConfigError(
                f"--deadband {self.deadband:g}: it is for numbers, and the model's task is {task}; say --on-change"
            )


class _Track(msgspec.Struct):
    """What was published last, when the next may be, and what waits for it: the newest, behind it at most one more."""

    published: Result | None = None
    next_ns: int = 0
    waiting: list[Result] = msgspec.field(default_factory=list)


class PublishFilter:
    """Used by one thread. `held(reason)` is told of each result that will never be published."""

    def __init__(self, rules: PublishRules, held: Callable[[str], None] = lambda _: None) -> None:
        self._rules = rules
        self._held = held
        self._interval_ns = int(rules.min_interval_s * SECOND_NS)
        self._tracks: OrderedDict[str, _Track] = OrderedDict()
        self._ousted: list[Result] = []

    def admit(self, result: Result, now_ns: int) -> Result | None:
        """The result as it is published now; None: it is held back, for ever or until it is `due`."""
        track = self._track(result.source)
        sure = self._sure(result, track)
        if sure is None:
            self._held("score")
        elif now_ns < track.next_ns or track.waiting:
            self._wait(track, sure)
        elif not self._is_news(sure, track.published):
            self._held("unchanged")
        else:
            return self._publish(track, sure, now_ns)
        return None

    def insist(self, result: Result, now_ns: int) -> list[Result]:
        """What is published now where a result was asked for: whatever waits of its track, and last itself."""
        track = self._track(result.source)
        waiting, track.waiting = track.waiting, []
        return [*waiting, self._publish(track, result, now_ns)]

    def due(self, now_ns: int) -> list[Result]:
        """What was held back and is published now, its interval being over."""
        results, self._ousted = self._ousted, []
        for track in self._tracks.values():
            if track.waiting and now_ns >= track.next_ns:
                results.append(self._publish(track, track.waiting.pop(0), now_ns))
        return results

    def due_in_s(self, now_ns: int, most_s: float) -> float:
        """Seconds until `due` has something to say, at most `most_s`."""
        times = [now_ns] if self._ousted else [t.next_ns for t in self._tracks.values() if t.waiting]
        return min([most_s, *(max(0, time - now_ns) / SECOND_NS for time in times)])

    def rest(self) -> list[Result]:
        """At the end: all that waits, oldest first, whether its interval is over or not."""
        results, self._ousted = self._ousted, []
        for track in self._tracks.values():
            results += track.waiting
            track.waiting = []
        return sorted(results, key=lambda r: r.seq)

    def _track(self, source: str) -> _Track:
        name = stream_of(source)
        track = self._tracks.setdefault(name, _Track())
        self._tracks.move_to_end(name)
        if len(self._tracks) > TRACKS_MOST:
            self._ousted += self._tracks.popitem(last=False)[1].waiting
        return track

    def _publish(self, track: _Track, result: Result, now_ns: int) -> Result:
        track.published = result
        track.next_ns = now_ns + self._interval_ns
        return result

    def _wait(self, track: _Track, result: Result) -> None:
        waiting = track.waiting
        if len(waiting) == 2:
            waiting.pop()
            self._held("interval")
        if self._rules.changes:
            if not self._is_news(result, waiting[0] if waiting else track.published):
                self._held("unchanged")
                return
        elif waiting and (alarm(result) or not alarm(waiting[0])):
            waiting.pop()
            self._held("interval")
        waiting.append(result)

    def _is_news(self, result: Result, before: Result | None) -> bool:
        return before is None or not self._rules.changes or differ(before, result, self._rules.deadband)

    def _sure(self, result: Result, track: _Track) -> Result | None:
        """The result as far as it is sure, or None."""
        least = self._rules.min_score
        if least is None:
            return result
        before = track.waiting[-1] if track.waiting else track.published
        if result.task in OBJECTS:
            kept = [p for p in result.predictions if p.score >= least]
            # Nothing is news only after something, or as the first word where changes are asked for.
            if not kept and not (before.predictions if before is not None else self._rules.changes):
                return None
            return result if len(kept) == len(result.predictions) else msgspec.structs.replace(result, predictions=kept)
        if before is not None and alarm(before) and not alarm(result):
            return result
        return result if max((p.score for p in result.predictions), default=-math.inf) >= least else None

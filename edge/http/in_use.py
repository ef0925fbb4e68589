"""Whether requests still need the models that were served when they began. The event loop's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class InUse:
    """What is served until other models take their place."""

    def __init__(self) -> None:
        self._asked = 0
        self._let_go: Callable[[], None] | None = None

    def ask(self) -> Callable[[], None]:
        """A request begins; what is returned is to be called, once or more, when it needs the model no longer."""
        self._asked += 1
        ended = False

        def end() -> None:
            nonlocal ended
            if not ended:
                ended = True
                self._asked -= 1
                self._look()

        return end

    def retire(self, let_go: Callable[[], None]) -> None:
        """No request begins here any more; `let_go` is called after the last one."""
        self._let_go = let_go
        self._look()

    def _look(self) -> None:
        if self._let_go is not None and not self._asked:
            let_go, self._let_go = self._let_go, None
            let_go()


def retire(every: Sequence[InUse], let_go: Callable[[], None]) -> None:
    """`let_go` is called after the last request of all of them."""
    held = len(every)

    def one_left() -> None:
        nonlocal held
        held -= 1
        if not held:
            let_go()

    for one in every:
        one.retire(one_left)

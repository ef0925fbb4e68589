"""The topics of one service, each named in this file only."""

from __future__ import annotations

import msgspec

OUTPUTS = (
    "result", "error", "answer", "event", "status", "info", "stats", "mask", "image", "update", "drift", "trial",
    "settings", "captured",
)  # fmt: skip
"""Last parts of the topics on which a service publishes."""

ASKED = ("set", "collect")
"""Last parts of those on which it is asked for something that is no input."""


class _Below:
    """A topic below the base, called as the attribute is; of the class itself its last part."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, topics: Topics | None, owner: type) -> str:
        return self._name if topics is None else f"{topics.base}/{self._name}"


class Topics(msgspec.Struct, frozen=True):
    """Below `base`: prefix, device and model. `set` is subscribed to with `--commands`, `collect` with
    `--capture-collect`."""

    base: str

    input = _Below()
    result = _Below()
    error = _Below()
    event = _Below()
    set = _Below()
    collect = _Below()
    captured = _Below()
    answer = _Below()
    settings = _Below()
    status = _Below()
    info = _Below()
    stats = _Below()
    update = _Below()
    mask = _Below()
    image = _Below()
    drift = _Below()
    trial = _Below()

    @property
    def all(self) -> str:
        """A filter of all of them."""
        return f"{self.base}/#"


class UpdateTopics(msgspec.Struct, frozen=True):
    """What a fleet's publisher says, to all devices."""

    prefix: str

    @property
    def base(self) -> str:
        """No device is called so."""
        return f"{self.prefix}/_updates"

    def announce(self, model: str) -> str:
        """There may be something new of a model: look."""
        return f"{self.base}/{model}/announce"

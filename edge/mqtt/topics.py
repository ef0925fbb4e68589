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


class Topics(msgspec.Struct, frozen=True):
    """Below `base`: prefix, device and model."""

    base: str

    @property
    def input(self) -> str:
        return f"{self.base}/input"

    @property
    def result(self) -> str:
        return f"{self.base}/result"

    @property
    def error(self) -> str:
        return f"{self.base}/error"

    @property
    def event(self) -> str:
        return f"{self.base}/event"

    @property
    def set(self) -> str:
        """What is subscribed to with `--commands`."""
        return f"{self.base}/set"

    @property
    def collect(self) -> str:
        """What is subscribed to with `--capture-collect`."""
        return f"{self.base}/collect"

    @property
    def captured(self) -> str:
        return f"{self.base}/captured"

    @property
    def answer(self) -> str:
        return f"{self.base}/answer"

    @property
    def settings(self) -> str:
        return f"{self.base}/settings"

    @property
    def status(self) -> str:
        return f"{self.base}/status"

    @property
    def info(self) -> str:
        return f"{self.base}/info"

    @property
    def stats(self) -> str:
        return f"{self.base}/stats"

    @property
    def update(self) -> str:
        return f"{self.base}/update"

    @property
    def mask(self) -> str:
        return f"{self.base}/mask"

    @property
    def image(self) -> str:
        return f"{self.base}/image"

    @property
    def drift(self) -> str:
        return f"{self.base}/drift"

    @property
    def trial(self) -> str:
        return f"{self.base}/trial"

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

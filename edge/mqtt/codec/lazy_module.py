"""A module that is loaded when somebody uses it, not when somebody imports it.

paho imports urllib.request, which it uses where a proxy is set and PySocks is installed, and which brings http, email
and tempfile: half of paho's import, a twentieth of the start. And ssl, which a connection without TLS needs for no more
than the names of errors that it will never see. `importlib.util.LazyLoader` does not help: an import of
what is loaded already asks such a module for its `__spec__`, and that loads it.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


class _Later(ModuleType):
    """Stands for the module until the first question."""

    def __getattr__(self, attribute: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        found = getattr(importlib.import_module(self.__name__), attribute)
        setattr(self, attribute, found)  # who imported this one asks it again and again
        return found


def put_off(full: str) -> None:
    """Has this module loaded at its first use; nothing where it is loaded already."""
    if full in sys.modules:
        return
    sys.modules[full] = later = _Later(full)
    package, _, name = full.rpartition(".")
    if package:
        setattr(importlib.import_module(package), name, later)

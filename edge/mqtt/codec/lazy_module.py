"""A module that is loaded when somebody uses it, not when somebody imports it.

paho imports urllib.request, which it uses where a proxy is set and PySocks is installed, and which brings http, email
and tempfile: half of paho's import, a twentieth of the start. `importlib.util.LazyLoader` does not help: an import of
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
        return getattr(importlib.import_module(self.__name__), attribute)


def put_off(package: str, name: str) -> None:
    """Has `package.name` loaded at its first use; nothing where it is loaded already."""
    full = f"{package}.{name}"
    if full not in sys.modules:
        parent = importlib.import_module(package)
        sys.modules[full] = later = _Later(full)
        setattr(parent, name, later)

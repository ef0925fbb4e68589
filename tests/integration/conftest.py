"""Devices in the field, with a broker and a repository each."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
from support.field import Field


@pytest.fixture
def field(tmp_path) -> Iterator[Callable[..., Field]]:
    with contextlib.ExitStack() as stack:

        def make(**first) -> Field:
            made = Field(tmp_path, **first)
            stack.callback(made.end)
            return made

        yield make

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest
from conftest import need

from edge.tools.fleet import retained


@pytest.fixture
def asked_once(monkeypatch) -> Callable[[], None]:
    """What devices have retained is asked for once, for each question waits two seconds for more to come; to be called
    where they have said something else since."""
    answers = functools.cache(retained.listen)
    monkeypatch.setattr(retained, "listen", answers)
    return answers.cache_clear


@pytest.fixture(scope="session")
def mosquitto_is_here() -> None:
    """For tests that start and end a broker themselves."""
    need("mosquitto", "mosquitto")

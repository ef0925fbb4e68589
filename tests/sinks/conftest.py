from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.delivering import Delivery
from support.stores import STORES


@pytest.fixture
def deliver(tmp_path) -> Iterator[Callable[..., Delivery]]:
    made: list[Delivery] = []

    def make(uri: str, **more: Any) -> Delivery:
        made.append(Delivery(uri, tmp_path, **more))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture(params=STORES)
def store(request, store_server) -> Any:
    """Each store in turn."""
    return store_server(request.param)

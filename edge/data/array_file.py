"""The errors of `.npy` and `.npz` files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from edge.errors import EdgeError


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """Around what numpy reads of such a file. Raises ValueError where it is damaged; OSError and errors of ours pass.

    A damaged header runs through Python's parser, which raises whatever it raises.
    """
    try:
        yield
    except (OSError, ValueError, EdgeError):
        raise
    except Exception as exc:
        raise ValueError(str(exc)) from exc

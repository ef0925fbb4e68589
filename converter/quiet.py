"""Deep-learning libraries write banners, progress and warnings of their own; ours is the only voice on the terminal."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences what a library prints (also from C++, so the file descriptors themselves), warns and logs.

    Process-wide while it lasts. Exceptions pass through.
    """
    # TensorFlow reads these once, at its import; after that they change nothing.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        level = logging.root.manager.disable
        stack.callback(logging.disable, level)
        logging.disable(logging.CRITICAL)
        for number, stream in ((1, sys.stdout), (2, sys.stderr)):
            stack.enter_context(_nowhere(number, stream))
        # In a notebook, or under a test runner, Python's own streams are not those descriptors.
        nothing = _nothing()
        stack.enter_context(contextlib.redirect_stdout(nothing))
        stack.enter_context(contextlib.redirect_stderr(nothing))
        yield


@functools.cache
def _nothing() -> TextIO:
    """Where silenced text goes. Never closed: a library that sets up its log while it is silenced keeps the stream."""
    return Path(os.devnull).open("w", encoding="utf-8")


@contextlib.contextmanager
def _nowhere(number: int, stream: object) -> Iterator[None]:
    _flush(stream)
    kept = os.dup(number)
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, number)
        yield
    finally:
        _flush(stream)
        os.dup2(kept, number)
        os.close(kept)
        os.close(nothing)


def _flush(stream: object) -> None:
    flush = getattr(stream, "flush", None)
    if flush is not None:
        with contextlib.suppress(ValueError, OSError):  # closed, or a pipe that nobody reads
            flush()

"""Progress is for a person at a terminal, and survives that libraries are silenced."""

from __future__ import annotations

import os
import pty
import select

import pytest

from converter.quiet import quiet
from edge.progress import steps, track


def test_nothing_is_written_where_nobody_watches(capfd: pytest.CaptureFixture[str]) -> None:
    assert list(track("abc", "letters")) == ["a", "b", "c"]

    assert capfd.readouterr() == ("", "")


def test_a_terminal_sees_the_bar_while_libraries_are_silenced() -> None:
    ours, theirs = pty.openpty()
    kept = os.dup(2)
    os.dup2(theirs, 2)
    try:
        with steps(2, "trying") as step, quiet():
            step("fp16 of \x1b]0;a\x07\udcff.onnx")
            os.write(2, b"chatter of a library")
            step("int8")
    finally:
        os.dup2(kept, 2)
        os.close(kept)
    seen = ""
    while not seen.endswith("\r\x1b[K"):  # a terminal gives what it has so far; this is the bar being taken away
        assert select.select([ours], [], [], 10)[0], f"nothing more than {seen!r}"
        seen += os.read(ours, 4096).decode()
    os.close(ours)
    os.close(theirs)

    assert "trying" in seen
    assert "1/2 int8" in seen
    assert r"fp16 of \u001b]0;a\u0007\udcff.onnx" in seen, "a terminal obeys no file's name"
    assert "chatter" not in seen


def test_what_a_library_prints_is_lost_and_what_it_raises_is_not(capfd: pytest.CaptureFixture[str]) -> None:
    def library() -> None:
        print("chatter")
        os.write(2, b"chatter")
        raise ValueError("told")

    with pytest.raises(ValueError, match="told"), quiet():
        library()

    assert capfd.readouterr() == ("", "")

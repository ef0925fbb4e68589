"""What a library says on stderr when all is well is held back, and nothing else of what comes there."""

from __future__ import annotations

import os

import pytest

from edge.engines.chatter import held_back


@pytest.mark.parametrize(
    ("said", "passed_on"),
    [
        (b"INFO: made\nWARNING: the sky falls\n", "WARNING: the sky falls\n"),
        (b"Schema error: twice\n\n\nSchema error: twice\n\nan error\n\nand more\n", "an error\n\nand more\n"),
    ],
)
def test_lines_that_begin_as_told_are_held_back_with_the_empty_ones_behind_them(capfd, said, passed_on):
    with held_back(b"INFO:", b"Schema error:"):
        os.write(2, said)
    assert capfd.readouterr().err == passed_on


def test_it_is_passed_on_where_the_library_fails_too(capfd):
    def load():
        with held_back(b"INFO:"):
            os.write(2, b"what is wrong\n")
            raise ValueError("no model")

    with pytest.raises(ValueError, match="no model"):
        load()
    assert capfd.readouterr().err == "what is wrong\n"

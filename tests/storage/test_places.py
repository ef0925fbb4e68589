"""What an input of a file is known by is the same in the next life, and another where the input is another."""

from __future__ import annotations

import os

from edge.storage.places import Places


def test_a_line_is_known_by_its_place_and_by_what_stands_there(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("1\n")
    first = Places(file)
    file.write_text("1\n2\n")
    second = Places(file)

    assert first.digest(1, b"1") == second.digest(1, b"1")
    assert len({first.digest(1, b"1"), first.digest(2, b"1"), first.digest(1, b"2")}) == 3


def test_a_file_that_was_changed_is_another_one(tmp_path):
    file = tmp_path / "rows.npy"
    file.write_bytes(b"1")
    first, same = opened(file), opened(file)
    os.utime(file, ns=(1, 1))

    assert first.digest(1) == same.digest(1) != opened(file).digest(1)
    assert Places(tmp_path / "other.npy").digest(1) != Places(file).digest(1)


def opened(file):
    places = Places(file)
    places.open()
    return places

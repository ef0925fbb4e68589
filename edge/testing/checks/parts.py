"""What holds for a part of any kind."""

from __future__ import annotations

from edge.plugins import capabilities


def assert_whole(seam: type, part: object) -> None:
    """No method is missing, no capability half there, no name a misspelt one. Raises AssertionError."""
    fault = capabilities.fault_of(seam, part)
    assert not fault, fault

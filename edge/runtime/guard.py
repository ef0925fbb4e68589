"""What stands around each sample that runs."""

from __future__ import annotations

from collections.abc import Sequence

from edge.data.sample import Sample


class Guard:
    """Lets every sample through. `CrashGuard` leaves out those that kill the process."""

    suspects = False
    """Whether there is any input that is not to be run as all others are."""

    def verdict(self, sample: Sample) -> str | None:
        """Why it is not to be run; None where it may be."""

    def alone(self, sample: Sample) -> bool:
        """Whether it is to be run beside no other: were the process to die, it would be known by what."""
        return False

    def piece(self, sample: Sample, position: tuple[int, int]) -> Sample:
        """A piece of a long batch as a sample of its own: what is beside it in the batch is not to blame."""
        return sample

    def mark(self, thread: str, samples: Sequence[Sample] = ()) -> None:
        """These and no others are under way in this thread, until the next call, or until it dies of an error."""

    def acquit(self, samples: Sequence[Sample]) -> None:
        """They have run to the end, and the process lives."""

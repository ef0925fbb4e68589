"""The time that `tuf` judges expiry by, on a device whose clock may be wrong.

`tuf.ngclient` takes the system's clock, and has no public way to be told another time. So one private name of it is
used here and nowhere else, for the releases that it was tried with; with any other release the system's clock counts.
That costs nothing but this: a clock that stands in 1970 lets old metadata pass, as the answer's `freshness` says
anyway.
"""

from __future__ import annotations

import datetime
import logging
from importlib.metadata import version

from tuf.ngclient import Updater

log = logging.getLogger("edge.updates")

TRIED = ("7.0.",)


def set_reference_time(updater: Updater, seconds: float) -> bool:
    """Before `refresh`: metadata count as of so many seconds since 1970. False where this release is not known."""
    if not version("tuf").startswith(TRIED):
        log.info("tuf is a release that was not tried here: the system's clock counts", extra={"tuf": version("tuf")})
        return False
    trusted = getattr(updater, "_trusted_set")  # noqa: B009 - see above
    trusted.reference_time = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return True

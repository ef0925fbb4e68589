"""What is signed beside a model: in which channel it is, and for how many devices. A device only reads it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

WHOLE = 10_000
"""All devices of a channel, in ten-thousandths: what is signed holds no fractions."""

_FOLLOWED = re.compile(r"([A-Za-z0-9_.+-]+)@([A-Za-z0-9_.+-]+)")


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """A version in a channel. `number` grows with each `add`; `file` is the target's path; `share` in ten-thousandths.

    `paused`: no device begins it; those that run it go on.
    """

    number: Annotated[int, Meta(ge=1)]
    version: str
    file: str
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    length: Annotated[int, Meta(ge=1)]
    share: Annotated[int, Meta(ge=0, le=WHOLE)] = 0
    paused: bool = False
    notes: str = ""


class Channel(msgspec.Struct, frozen=True):
    """The custom data of the target that stands for a channel. `withdrawn`: versions that a person took out, which
    `edge-fleet follow` does not put in again."""

    releases: tuple[Release, ...] = ()
    withdrawn: tuple[str, ...] = ()


def channel_target(model: str, channel: str) -> str:
    """The path of the target that stands for a channel. It lies in the model's role, so that role signs it."""
    return f"{model}/{channel}.channel"


def followed(model: str) -> tuple[str, str] | None:
    """Name and channel of `--model digits@stable`: no file, but the model of that name."""
    match = _FOLLOWED.fullmatch(model)
    return (match[1], match[2]) if match is not None else None


def decode(custom: object) -> Channel:
    """What was signed for a channel. Raises ValueError for what this edge-run does not understand."""
    try:
        return msgspec.convert(custom, Channel)
    except msgspec.ValidationError as exc:
        raise ValueError(str(exc)) from exc


def place(device: str, version: str) -> int:
    """Where a device stands in the row of all, 0 to 9999: below the share it takes the version.

    Another row for each version: it is not always the same devices that try first.
    """
    return int.from_bytes(hashlib.sha256(f"{device}\0{version}".encode()).digest()[:8]) % WHOLE


def choose(releases: Sequence[Release], device: str, running: str, refused: Collection[str]) -> Release | None:
    """The release that a device is to run: the newest that it is in and has not refused; None where there is none.

    `running` is the sha256 of the model that it runs: lowering the share or a pause takes nothing away from it.
    """
    for release in sorted(releases, key=lambda r: r.number, reverse=True):
        if release.sha256 in refused:
            continue
        if release.sha256 == running:
            return release
        if not release.paused and place(device, release.version) < release.share:
            return release
    return None

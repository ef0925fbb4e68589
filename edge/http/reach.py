"""The address under which another device, such as a phone, finds this one."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

from edge.remote.address import is_loopback

ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
"""Addresses that are kept for documentation: what would be sent there leaves by the network that others are on."""


def host_for_others(host: str, names: Sequence[str] = ()) -> str | None:
    """What stands in the URL that others open: the first of `names`, the address that is listened on, or this
    machine's where it listens on all; None where only this machine reaches it."""
    if is_loopback(host):
        return None
    if names:
        return names[0]
    try:
        everywhere = ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return host
    return _own_address() if everywhere else host


def _own_address() -> str:
    """Of the network that leads elsewhere; no packet is sent. Without one, the name that mDNS tells others."""
    for family, address in ELSEWHERE:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((address, 9))
            except OSError:
                continue
            return str(probe.getsockname()[0])
    return f"{socket.gethostname().partition('.')[0]}.local"


def url_of(host: str, port: int, *, tls: bool) -> str:
    """Of a host name or an address, without a slash at its end."""
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{shown}:{port}"

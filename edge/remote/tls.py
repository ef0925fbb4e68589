"""TLS to another system."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.errors import ConfigError

if TYPE_CHECKING:
    import ssl

    from edge.remote.address import Address


def trusting(ca: str) -> ssl.SSLContext:
    """`ca` is a file of certificates to trust, "" for the system's. Raises OSError."""
    import ssl  # brings OpenSSL

    context = ssl.create_default_context(cafile=ca or None)
    if ca:
        # Python 3.13 asks for extensions that a CA made by hand (as mosquitto's manual shows) does not write.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def tls_context(address: Address, ca: str) -> ssl.SSLContext:
    """`ca` is a file of certificates to trust, "" for the system's. Raises ConfigError."""
    try:
        return trusting(ca)
    except OSError as exc:
        raise ConfigError(f"{address.flag} {address}: {ca}: {exc}; check the path of #ca") from exc


def other_scheme(exc: Exception, *, encrypted: bool) -> str:
    """Where a server ends a connection without TLS before it has answered: the likely way out, behind the reason."""
    if not encrypted and isinstance(exc, ConnectionError) and not isinstance(exc, ConnectionRefusedError):
        return "; if TLS is spoken there, say https://"
    return ""

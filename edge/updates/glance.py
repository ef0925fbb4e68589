"""`python -I -S glance.py BASE ROOT KEPT [CA CERT KEY]`: whether a repository says what it said at the last check.

It does where the time stamp is the one that was verified then, byte for byte (KEPT), and no newer root
(`ROOT.root.json`) is there. Anything else, whatever it is, is for `tuf` to look at (`trust.py`). So most checks do
without that library, and without all others: nothing but the standard library is imported here, and little of that,
no `pathlib` either. It is run by its path.
"""

import sys

TIMEOUT_S = 20.0
PIECE = 64 * 1024
AGENT = "edge-run"


def same(base: str, root: str, kept: str, ca: str = "", cert: str = "", key: str = "") -> bool:
    """Raises OSError, ValueError, and http.client's HTTPException for what is answered wrongly, or not at all."""
    with open(kept, "rb") as file:  # noqa: PTH123 - see above
        known = file.read()
    names = (f"metadata/{root}.root.json", "metadata/timestamp.json")
    read = _file if base.startswith("file:") else _Web(base, ca, cert, key).read
    return read(base, names[0], PIECE) is None and read(base, names[1], len(known)) == known


def _file(base: str, name: str, most: int) -> bytes | None:
    from urllib.parse import unquote, urlsplit

    try:
        with open(unquote(urlsplit(base).path) + name, "rb") as file:  # noqa: PTH123 - see above
            return file.read(most + 1)
    except FileNotFoundError:
        return None


class _Web:
    """One connection."""

    def __init__(self, base: str, ca: str, cert: str, key: str) -> None:
        from http.client import HTTPConnection, HTTPSConnection
        from urllib.parse import urlsplit

        parts = urlsplit(base)
        if parts.username is not None or parts.hostname is None:
            raise ValueError(base)
        self._path = parts.path
        if parts.scheme == "http":
            self._connection = HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_S)
            return
        import ssl

        context = ssl.create_default_context(cafile=ca or None)
        if ca:  # as `edge.remote.tls.trusting`
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if cert:
            context.load_cert_chain(cert, key or None)
        self._connection = HTTPSConnection(parts.hostname, parts.port, timeout=TIMEOUT_S, context=context)

    def read(self, base: str, name: str, most: int) -> bytes | None:
        """None where it is not there."""
        headers = {"User-Agent": AGENT, "Accept-Encoding": "identity"}
        self._connection.request("GET", self._path + name, headers=headers)
        response = self._connection.getresponse()
        body = response.read(most + 1)
        if not response.isclosed():  # more than is asked for: the next request has a connection of its own
            self._connection.close()
        if response.status in (403, 404):
            return None
        if response.status != 200:
            raise ValueError(response.status)
        return body


def main() -> None:
    """Exit 0 and a word on standard output, `same` or `other`."""
    from http.client import HTTPException

    try:
        answer = "same" if same(*sys.argv[1:]) else "other"
    except (OSError, ValueError, HTTPException):
        answer = "other"
    sys.stdout.write(answer)


if __name__ == "__main__":
    main()

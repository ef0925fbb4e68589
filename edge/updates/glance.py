"""`python -I -S glance.py BASE ROOT KEPT [CA CERT KEY]`: whether a repository says what it said at the last check.

It does where the time stamp is the one that was verified then, byte for byte (KEPT), and no newer root
(`ROOT.root.json`) is there. Anything else, whatever it is, is for `tuf` to look at (`trust.py`). So most checks do
without that library, and without all others: nothing but the standard library is imported here, and little of that,
no `pathlib` and no `http.client` either, whose readers of mail are a fifth of the process. It is run by its path.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from io import BufferedRWPair

TIMEOUT_S = 20.0
PIECE = 64 * 1024
HEAD_MOST = 100
AGENT = "edge-run"
NOT_THERE = (403, 404)


def same(base: str, root: str, kept: str, ca: str = "", cert: str = "", key: str = "") -> bool:
    """Raises OSError, and ValueError for what is answered wrongly."""
    with open(kept, "rb") as file:  # noqa: PTH123 - see above
        known = file.read()
    read = _file if base.startswith("file:") else _Web(base, ca, cert, key).read
    return read(base, "metadata/timestamp.json", len(known)) == known and (
        read(base, f"metadata/{root}.root.json", PIECE) is None
    )


def _file(base: str, name: str, most: int) -> bytes | None:
    folder = base.removeprefix("file:").replace("///", "/", 1)
    if "%" in folder:
        from urllib.parse import unquote  # which most folders do without

        folder = unquote(folder)
    try:
        with open(folder + name, "rb") as file:  # noqa: PTH123 - see above
            return file.read(most + 1)
    except FileNotFoundError:
        return None


class _Web:
    """One connection, as long as the server keeps it."""

    def __init__(self, base: str, ca: str, cert: str, key: str) -> None:
        scheme, _, rest = base.partition("://")
        self._at, _, self._path = rest.partition("/")
        host, port = self._at, ""
        if not host.endswith("]"):
            host, _, port = host.rpartition(":") if ":" in host else (host, "", "")
        if not host or "@" in host or scheme not in ("http", "https"):
            raise ValueError(base)
        self._host = host.strip("[]")
        self._port = int(port) if port else 443 if scheme == "https" else 80
        self._context = None
        self._file: BufferedRWPair | None = None
        if scheme == "https":
            import ssl

            self._context = ssl.create_default_context(cafile=ca or None)
            if ca:  # as `edge.remote.tls.trusting`
                self._context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            if cert:
                self._context.load_cert_chain(cert, key or None)

    def _connected(self) -> BufferedRWPair:
        import socket

        connection = socket.create_connection((self._host, self._port), TIMEOUT_S)
        if self._context is not None:
            connection = self._context.wrap_socket(connection, server_hostname=self._host)
        file = connection.makefile("rwb")
        connection.close()  # with the file
        return file

    def read(self, base: str, name: str, most: int) -> bytes | None:
        """None where it is not there."""
        file, self._file = self._file or self._connected(), None
        lines = (f"GET /{self._path}{name} HTTP/1.1", f"Host: {self._at}", f"User-Agent: {AGENT}",
                 "Accept-Encoding: identity", "", "")  # fmt: skip
        file.write("\r\n".join(lines).encode("ascii"))
        file.flush()
        version, status, fields = _head(file)
        length = int(fields.get(b"content-length", b"-1"))
        if status in NOT_THERE:  # with whatever it says of that
            return None
        if status != 200 or length < 0 or b"transfer-encoding" in fields:
            raise ValueError(status)
        wanted = min(length, most + 1)
        body = file.read(wanted)
        if len(body) < wanted:
            raise ValueError(length)
        if len(body) == length and version == b"HTTP/1.1" and fields.get(b"connection", b"").lower() != b"close":
            self._file = file
        return body


def _head(file: BufferedRWPair) -> tuple[bytes, int, dict[bytes, bytes]]:
    """HTTP's version, the status, and the fields by their names in small letters."""
    version, _, rest = _line(file).partition(b" ")
    if not version.startswith(b"HTTP/1."):
        raise ValueError(version)
    fields: dict[bytes, bytes] = {}
    for _ in range(HEAD_MOST):
        line = _line(file)
        if not line:
            return version, int(rest[:3]), fields
        name, _, value = line.partition(b":")
        fields[name.strip().lower()] = value.strip()
    raise ValueError(HEAD_MOST)


def _line(file: BufferedRWPair) -> bytes:
    line = file.readline(PIECE)
    if not line.endswith(b"\n"):
        raise ValueError(line[:100])
    return line.rstrip(b"\r\n")


def main() -> None:
    """Exit 0 and a word on standard output, `same` or `other`."""
    try:
        answer = "same" if same(*sys.argv[1:]) else "other"
    except (OSError, ValueError):
        answer = "other"
    sys.stdout.write(answer)


if __name__ == "__main__":
    main()

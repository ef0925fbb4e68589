"""Basic and digest login (RFC 7617, RFC 7616), by what the standard library has of it.

A password is sent only where the server asks, and by digest where the server takes that.
"""

from __future__ import annotations

import base64
import hashlib
import re
import urllib.request
from collections.abc import Callable, Mapping, Sequence

from edge.errors import ConfigError

ALGORITHMS = {"SHA-256": hashlib.sha256, "MD5": hashlib.md5, "SHA": hashlib.sha1}
"""The best first."""
_CHALLENGE = re.compile(r"(?:^|,)\s*(Digest|Basic)(?=\s|$)", re.IGNORECASE)


class _Digest(urllib.request.HTTPDigestAuthHandler):
    """The library's, with SHA-256 and with names beyond ASCII."""

    def get_algorithm_impls(self, algorithm: str) -> tuple[Callable[[str], str], Callable[[str, str], str]]:
        make = ALGORITHMS[algorithm]

        def hashed(text: str) -> str:
            return make(text.encode()).hexdigest()

        return hashed, lambda secret, data: hashed(f"{secret}:{data}")


class Login:
    """Of one user at one server. Belongs to one thread."""

    def __init__(self, base: str, username: str, password: str) -> None:
        """`base` is the server, `http://host:port`. Raises ConfigError."""
        if re.search(r'["\\\x00-\x1f\x7f]', username):
            raise ConfigError(f"--source {base}: a user's name without quotes, \\ and control characters belongs there")
        self._base, self._username, self._password = base, username, password
        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        passwords.add_password(None, base, username, password)
        self._digest = _Digest(passwords)
        self._challenge: Mapping[str, str] = {}
        self._basic = self._stale = self._worked = False

    def header(self, target: str) -> str:
        """The value of `Authorization` for a GET; "" until the server has asked."""
        if self._challenge:
            request = urllib.request.Request(f"{self._base}{target}")  # noqa: S310 - never opened
            return f"Digest {self._digest.get_authorization(request, self._challenge)}"
        if self._basic:
            return f"Basic {base64.b64encode(f'{self._username}:{self._password}'.encode()).decode()}"
        return ""

    def accepted(self) -> None:
        """The server took the login. Where it asks again, its nonce has grown old, whether it says so or not."""
        self._worked, self._stale = True, False

    def challenged(self, said: Sequence[str], *, answered: bool) -> str:
        """The server asks for a login: "" where `header` has an answer to it, else why there is none. `answered`: the
        request had one already."""
        challenges = [challenge for line in said for challenge in _challenges(line)]
        digests = [d for kind, d in challenges if kind == "digest" and _is_known(d)]
        if not self._username:
            return "the server asks for a login: user@ before the host and #password_file=FILE"
        renewable = [d for d in digests if self._worked or d.get("stale", "").lower() == "true"]
        if answered and (self._basic or not renewable):
            return f"the server refuses the user {self._username!r} or the password; check both"
        if answered and self._stale:
            return "the server calls each login too old"
        self._stale, self._worked = answered, False
        if digests:
            known = list(ALGORITHMS)
            best = min(digests, key=lambda d: known.index(d.get("algorithm", "MD5").upper()))
            self._challenge = {**best, "algorithm": best.get("algorithm", "MD5").upper()}
            if "qop" in best:
                self._challenge = {**self._challenge, "qop": "auth"}
            return ""
        self._challenge, self._basic = {}, any(kind == "basic" for kind, _ in challenges)
        if self._basic:
            return ""
        asked = next((d for kind, d in challenges if kind == "digest"), {})
        if way := ", ".join(f"{name}={asked[name][:50]}" for name in ("algorithm", "qop") if name in asked):
            return f"the server asks for digest by {way}; what there is is MD5 and SHA-256 with qop=auth"
        return "the server asks for a login of another kind than basic or digest"


def _challenges(line: str) -> list[tuple[str, Mapping[str, str]]]:
    """Kind and parameters of each challenge in a header; one that cannot be read is left out."""
    found = list(_CHALLENGE.finditer(line))
    ends = [f.start() for f in found[1:]] + [len(line)] * bool(found)
    challenges: list[tuple[str, Mapping[str, str]]] = []
    for one, end in zip(found, ends, strict=True):
        try:
            pairs = urllib.request.parse_keqv_list(urllib.request.parse_http_list(line[one.end() : end].strip()))
        except (ValueError, IndexError):
            continue
        challenges.append((one[1].lower(), {name.lower(): value for name, value in pairs.items()}))
    return challenges


def _is_known(digest: Mapping[str, str]) -> bool:
    ways = [way.strip().lower() for way in digest.get("qop", "auth").split(",")]
    return (
        {"realm", "nonce"} <= digest.keys() and "auth" in ways and digest.get("algorithm", "MD5").upper() in ALGORITHMS
    )

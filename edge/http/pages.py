"""The pages: one HTML file each, style and script inside, no build step and nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

from edge.http.auth import PAGE_HEADERS, csp
from edge.http.http_types import Response

HTML = b"text/html; charset=utf-8"


class Page:
    """A page as it is sent, with the policy that lets its own style and script run and no others."""

    def __init__(self, name: str, *scripts: str) -> None:
        """`scripts` go before the page's own, of the same name."""
        folder = resources.files("edge.http") / "static"
        style = "\n".join((folder / file).read_text(encoding="utf-8") for file in ("base.css", f"{name}.css"))
        script = "\n".join(
            (folder / file).read_text(encoding="utf-8") for file in ("session.js", *scripts, f"{name}.js")
        )
        html = (folder / f"{name}.html").read_text(encoding="utf-8")
        html = html.replace("<style></style>", f"<style>{style}</style>")
        html = html.replace("<script></script>", f"<script>{script}</script>")
        self._body = html.encode()
        policy = csp([_hash(script)], [_hash(style)])
        self._headers = ((b"content-security-policy", policy), *PAGE_HEADERS)

    def response(self, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Response:
        """Also for a 401: the page holds no data, and asks for the token."""
        return Response(self._body, status=status, kind=HTML, headers=(*self._headers, *headers))


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

#!/usr/bin/env bash
# httptools 0.9.0 (llhttp): a POST that offers to change the protocol gets no body from the parser.
#
# One would expect: RFC 9110 7.8 lets a server ignore an offer in Upgrade, and the body of the request still belongs to
# it. `curl --http2` and the JDK's HTTP client send such an offer with every plain POST, with a body of Content-Length.
# What happens: at the end of the head the parser calls the message complete and raises HttpParserUpgrade with the place
# where it stopped. Fed with what follows, it does not go on: the body is the caller's to cut out, by the length.
# Why it matters: a server on this parser that ignores the offer answers real clients as if they had sent nothing. The
# way out is to read the head again without the offer.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet httptools==0.9.0
"$folder/venv/bin/python" - <<'PYTHON'
import httptools

BODY = b'{"x": 1}'


class Heard:
    def __init__(self):
        self.body, self.complete = b"", 0

    def on_body(self, data):
        self.body += data

    def on_message_complete(self):
        self.complete += 1


def post(*more):
    lines = [b"POST /predict HTTP/1.1", b"Host: a", b"Content-Length: %d" % len(BODY), *more]
    return b"\r\n".join(lines) + b"\r\n\r\n" + BODY


def heard(request):
    seen, left = Heard(), None
    parser = httptools.HttpRequestParser(seen)
    try:
        parser.feed_data(request)
    except httptools.HttpParserUpgrade as offer:
        left = request[offer.args[0]:]
    return seen.body, seen.complete, left


plain = heard(post())
offered = heard(post(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"))
print("httptools", httptools.__version__)
print("plain POST:          body %r, complete %d" % plain[:2])
print("POST with an offer:  body %r, complete %d, left unread %r" % offered)
assert plain == (BODY, 1, None)
assert offered == (b"", 1, BODY), "it has changed"
PYTHON

"""A receiver of webhooks as a process of its own: `python receiver.py PORT FILE`.

It keeps what came in an SQLite file, one row for each `id`, with the headers of the request. A result that holds the
word "poison" is answered with 422 and its request is not kept; a file beside FILE, `FILE.say`, holds an answer for all
requests: a status, and headers in JSON. `FILE.asked` has a line of JSON for each request.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Receiver

    def do_GET(self):
        self._asked(b"")
        self._answer(*self._said(405))

    do_HEAD = do_GET

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._asked(body)
        status, headers = self._said(200)
        if status == 200 and b"poison" in body:
            status = 422
        if status == 200:
            self.server.keep(self.path, dict(self.headers.items()), body)
        self._answer(status, headers)

    def _asked(self, body):
        said = {"method": self.command, "path": self.path, "headers": dict(self.headers.items()), "body": body.decode()}
        with self.server.asked.open("a") as file:
            file.write(json.dumps(said) + "\n")

    def _said(self, default):
        try:
            said = json.loads(self.server.say.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return default, {}
        return said["status"], said["headers"]

    def _answer(self, status, headers):
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *args):
        """The test looks at what was kept."""


class Receiver(HTTPServer):
    def __init__(self, port: int, file: Path) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.asked = file.with_name(file.name + ".asked")
        self.say = file.with_name(file.name + ".say")
        self.db = sqlite3.connect(file, isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=OFF")
        self.db.execute("CREATE TABLE IF NOT EXISTS kept(id TEXT PRIMARY KEY, payload BLOB, path TEXT, headers TEXT)")

    def keep(self, path: str, headers: dict[str, str], body: bytes) -> None:
        results = json.loads(body)
        single = not isinstance(results, list)
        self.db.execute("BEGIN")
        for result in [results] if single else results:
            payload = body if single else json.dumps(result, separators=(",", ":")).encode()
            told = json.dumps({**headers, "body": body.decode()})
            row = (result.get("id", headers["Idempotency-Key"]), payload, path, told)
            self.db.execute("INSERT OR IGNORE INTO kept VALUES (?, ?, ?, ?)", row)
        self.db.execute("COMMIT")


if __name__ == "__main__":
    Receiver(int(sys.argv[1]), Path(sys.argv[2])).serve_forever()

"""Certificates, made on the spot."""

from __future__ import annotations

import subprocess
from pathlib import Path


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of localhost and its key, as PEM files."""
    cert, key = folder / "made-cert.pem", folder / "made-key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


class Papers:
    """A CA and what it signed: `broker`, a server's certificate for localhost, and `client`; and `other`, a CA that
    signed nothing of it. Each is a pair of files, NAME.pem and NAME.key."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.ca, self.other = folder / "ca.pem", folder / "other.pem"
        for ca in ("ca", "other"):
            self._openssl(
                f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test-{ca} -keyout {ca}.key -out {ca}.pem"
            )
        (folder / "san").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        for name, more in (("broker", "-extfile san"), ("client", "")):
            self._openssl(f"req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr")
            self._openssl(
                f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 {more} -out {name}.pem"
            )

    def pair(self, name: str) -> tuple[Path, Path]:
        """Certificate and key."""
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def _openssl(self, args: str) -> None:
        subprocess.run(["openssl", *args.split()], cwd=self.folder, check=True, capture_output=True)

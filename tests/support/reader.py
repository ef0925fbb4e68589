"""A reader who types a page from top to bottom: every command of it, in its order, in one folder.

What a test cannot have is stood in for by small programs in front of the PATH (pip, apt, scp, ssh, root) and by other
addresses in what is typed: the broker, the camera and the port of HTTP.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from support.processes import BINARIES, PATIENCE_S, Client, free_port, listens, until

import edge

ROOT = Path(__file__).parents[2]
WHEEL = f"edge_run-{edge.__version__}-py3-none-any.whl"
BLOCK = re.compile(r"^(#+ [^\n]*)$|((?:^<!-- [^\n]* -->\n)?)^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
GOES_ON = "# leave it running"
SKIPPED = ("<!-- not run: ", "<!-- test: ")
"""Stand above a block that cannot be typed here, with the reason, or that a test of its own runs."""
OF_A_MACHINE = ("  shows  ", "  started  ")
"""What the installation of a service says of the Raspberry Pi's own Python and systemd."""


class Typed(NamedTuple):
    """A line, the heading that it stands under, and what the page says comes of it (of a `console` block)."""

    heading: str
    line: str
    shown: tuple[str, ...] = ()


def commands(page: Path) -> list[Typed]:
    """What is typed: each line of a `sh` block, each `$` of a `console` block, and the writing of each block that
    begins with the name of its file (`# runs.toml`)."""
    heading, found = "", []
    for title, mark, kind, text in (block.groups(default="") for block in BLOCK.finditer(page.read_text())):
        if title:
            heading = title.strip("# ")
        elif not mark.startswith(SKIPPED):
            found += [Typed(heading, *what) for what in _typed(kind, text)]
    return found


def _typed(kind: str, text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    lines = text.replace("\\\n", " ")
    if named := re.match(r"# ([\w.-]+\.toml)\b", text):
        yield f"cat > {named[1]} <<'END'\n{text}END", ()
    elif kind == "sh":
        yield from ((line, ()) for line in lines.splitlines() if line.strip())
    elif kind == "console":
        for one in re.split(r"^\$ ", lines, flags=re.MULTILINE)[1:]:
            line, *shown = one.splitlines()
            yield line, tuple(text for text in shown if text.strip())


def masked(text: str) -> str:
    """Without what differs from one run to the next: numbers, and how wide columns are for them."""
    return re.sub(r"\s+", " ", re.sub(r"\d[\d.,]*", "0", text))


def errors_of(out: Path) -> Path:
    """Beside the output: in one file a line of the log may stand in the middle of a result."""
    return out.with_name(f"{out.name}.errors")


def text_of(out: Path) -> str:
    return "".join(file.read_bytes().decode(errors="replace") for file in (out, errors_of(out)))


class Reader:
    """Types commands. What goes on (a service, a subscriber) stays until the next heading."""

    def __init__(self, folder: Path, broker: int, camera: str = "") -> None:
        self.cwd, self.home, self.root = folder, folder / "pi", folder / "root"
        self.port = free_port()
        self.heading = ""
        self.outputs: dict[str, str] = {}
        self._behind: list[tuple[subprocess.Popen[bytes], Path]] = []
        self._broker = broker
        self._client = Client(broker, "edge/+/+/status")
        self._elsewhere = {
            r"\b8080\b": str(self.port),
            r"--mqtt embedded\b": f"--mqtt embedded:{free_port()}",
            r"\bmqtt://(\w+@)?(?:broker\.example|localhost)\b": rf"mqtt://\g<1>127.0.0.1:{broker}",
            r"-h broker\.example\b": "-h 127.0.0.1",
            r"\b(camera:0|picamera:|rtsp://[\w.]+\.example/\w+|http://(?:\w+@)?[\w.]+\.example/[\w.]+)": camera,
        }
        self._tools = folder / "tools"
        for made in (self.home, self.root, self._tools):
            made.mkdir(parents=True)
        (folder / "docs").symlink_to(ROOT / "docs")
        self._stand_in()

    def _stand_in(self) -> None:
        scripts = {
            "pip": f'echo "$@" >> "$HOME/installed"; [ "$1" != wheel ] || touch {WHEEL}',
            "scp": 'for last; do :; done; cp "${@:1:$#-1}" "$HOME/"',
            "ssh": "true",
            "apt": "true",
            "sudo": f'case "$1" in *edge-run) exec "$@" --root {self.root};; *) exec "$@";; esac',
            "python3": f'mkdir -p "$3/bin" && ln -s {BINARIES}/edge-* {self._tools}/pip "$3/bin/"',
            **{
                name: f'exec stdbuf -oL /usr/bin/{name} -d -p {self._broker} "$@"'
                for name in ("mosquitto_sub", "mosquitto_pub")
            },
        }
        for name, text in scripts.items():
            (self._tools / name).write_text(f"#!/bin/bash\n{text}\n")
            (self._tools / name).chmod(0o755)

    def _start(self, line: str, out: Path) -> subprocess.Popen[bytes]:
        env = {k: v for k, v in os.environ.items() if not k.startswith("EDGE_")}
        env |= {"HOME": str(self.home), "XDG_STATE_HOME": str(self.home / "state"), "CI": ""}
        env |= {"PATH": f"{self._tools}:{BINARIES}:{env['PATH']}", "EDGE_MQTT": f"mqtt://127.0.0.1:{self._broker}"}
        with out.open("wb") as file, errors_of(out).open("wb") as errors:
            return subprocess.Popen(["bash", "-c", line], cwd=self.cwd, env=env, stdout=file, stderr=errors)

    def type(self, heading: str, line: str, shown_by_page: Sequence[str] = ()) -> None:
        """Runs one line to its end, or until it is up where it goes on."""
        if heading != self.heading:
            self.stop()
            self.heading = heading
        shown = re.split(r"\s{2,}#", line)[0]
        if shown.startswith("cd "):
            self.cwd /= shown[3:]
            return
        self._client.forget()
        out = self.cwd / f".out{len(self.outputs)}"
        goes_on = GOES_ON in line or " --http " in shown
        process = self._start(("exec " if goes_on else "") + self._with_stand_ins(shown), out)
        if goes_on:
            self._behind.append((process, out))
            self._until_up(shown, process, out)
        else:
            assert process.wait(PATIENCE_S * 10) == 0, f"{line}\n{text_of(out)}"
        for text in shown_by_page:
            if not text.startswith(OF_A_MACHINE):
                until(lambda text=text: self._came(text, out), text)
        self.outputs[shown] = text_of(out)
        if shown.startswith("ssh "):
            self.cwd = self.home

    def _with_stand_ins(self, line: str) -> str:
        for there, here in self._elsewhere.items():
            line = re.sub(there, here, line)
        return line

    def _until_up(self, shown: str, process: subprocess.Popen[bytes], out: Path) -> None:
        def up() -> bool:
            assert process.poll() is None, f"{shown}\n{text_of(out)}"
            if " --http " in shown:
                return listens(self.port)
            return "Subscribed (mid" in text_of(out)

        if "edge-run" in shown and " --http " not in shown:
            self._client.wait_until(lambda: any(payload == b"online" for _, payload, _ in self._client.messages))
        else:
            until(up, f"{shown} is up")

    def _came(self, shown: str, out: Path) -> bool:
        """Whether a line of a page, in which `...` stands for anything, came of a command or of what goes on."""
        pattern = ".*".join(re.escape(masked(part)) for part in shown.split("..."))
        texts = [
            text_of(file).replace(str(self.cwd), "/home/pi") for file in (out, *(file for _, file in self._behind))
        ]
        return any(re.search(pattern, masked(text)) for text in texts)

    def heard(self, text: str) -> None:
        """Waits until something that goes on has printed a text."""
        until(lambda: any(text in text_of(out) for _, out in self._behind), text)

    def stop(self) -> None:
        for process, _ in reversed(self._behind):
            process.terminate()
            process.wait(PATIENCE_S)
        self._behind.clear()

    def close(self) -> None:
        self.stop()
        self._client.close()

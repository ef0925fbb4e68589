"""Makes docs/pictures from real runs: `make pictures`. Needs chromium, chromedriver and mosquitto.

demo.svg is `edge-run demo` on a terminal, line by line as it came, in a shorter time; live-page.png is the live page of
`edge-run digits.onnx`, which the demo has made, after some rows; drift.png is the card of the live page for the stream
of docs/DRIFT.md that drifts on purpose, once the alarm is there.
"""

from __future__ import annotations

import html
import io
import os
import pty
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

PICTURES = Path(__file__).parents[1] / "pictures"
DRIFT = Path(__file__).parents[1] / "DRIFT.md"
BINARIES = Path(sys.executable).parent
COLUMNS = 104
LINE, CHARACTER, MARGIN = 18, 7.8, 14
LONGEST_PAUSE_S = 0.6
PATIENCE_S = 180.0
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

Line = tuple[float, str]


def record(command: str, folder: Path) -> list[Line]:
    """What a command prints on a terminal: seconds since its start, and the line."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "PATH": f"{BINARIES}:{os.environ['PATH']}", "COLUMNS": str(COLUMNS), "TERM": "dumb"}
    env |= {"XDG_STATE_HOME": str(folder / "state")}
    process = subprocess.Popen(["bash", "-c", command], cwd=folder, env=env, stdout=theirs, stderr=theirs)
    os.close(theirs)
    began, lines, rest = time.monotonic(), [], ""
    while True:
        try:
            chunk = os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
        if not chunk:
            break
        *whole, rest = (rest + chunk.decode()).replace("\r\n", "\n").split("\n")
        lines += [(time.monotonic() - began, ESCAPES.sub("", line.rpartition("\r")[2])) for line in whole]
    if process.wait():
        raise SystemExit(f"{command} ended with {process.returncode}: " + "\n".join(line for _, line in lines))
    return [(0.0, f"$ {command}"), *lines]


def svg(lines: list[Line]) -> str:
    """A terminal in which the lines come one after the other; pauses are shortened. Without animation all are there."""
    width, height = round(COLUMNS * CHARACTER + 2 * MARGIN), len(lines) * LINE + 2 * MARGIN
    shown, before, at = [], 0.0, 0.4
    for number, (when, text) in enumerate(lines):
        at += min(when - before, LONGEST_PAUSE_S)
        before = when
        colour = "c" if text.startswith("$") else "h" if re.match(r"\d\. ", text) else "l" if text[2:3] == ":" else "t"
        cut = text if len(text) <= COLUMNS else text[: COLUMNS - 1] + "…"
        where = f'x="{MARGIN}" y="{MARGIN + (number + 1) * LINE - 5}" style="animation-delay:{at:.2f}s"'
        shown.append(f'<text class="{colour}" {where}>{html.escape(cut)}</text>')
    style = (
        "text{font:13px ui-monospace,Menlo,Consolas,monospace;white-space:pre;animation:a .01s both}"
        ".t{fill:#d7dde5}.c{fill:#8fd18f}.h{fill:#fff;font-weight:600}.l{fill:#8b97a8}@keyframes a{from{opacity:0}}"
        "@media(prefers-reduced-motion){text{animation:none}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="edge-run demo on a terminal"><style>{style}</style>'
        f'<rect width="100%" height="100%" rx="8" fill="#161b22"/>' + "\n".join(shown) + "</svg>\n"
    )


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    """Until something listens. Raises SystemExit."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit(f"nothing listens on {port}")


def photograph(folder: Path) -> bytes:
    """The live page after some rows, as a PNG."""
    broker, page = free_port(), free_port()
    mosquitto = subprocess.Popen([shutil.which("mosquitto") or "/usr/sbin/mosquitto", "-p", str(broker)],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    wait_for(broker)
    flags = ["--device", "pi", "--mqtt", f"mqtt://127.0.0.1:{broker}", "--http", str(page)]
    state = ["--state-dir", str(folder / "state" / "page")]
    service = subprocess.Popen([BINARIES / "edge-run", "digits.onnx", *flags, *state], cwd=folder)
    try:
        wait_for(page)
        return _screenshot(page, broker, folder)
    finally:
        for process in (service, mosquitto):
            process.terminate()
            process.wait()


def photograph_drift(folder: Path) -> bytes:
    """The card of the live page where a sensor has drifted, as a PNG."""
    commands = re.search(r"<!-- test: drift -->\n```sh\n(.*?)```", DRIFT.read_text(), re.DOTALL)
    page = free_port()
    if commands is None:
        raise SystemExit(f"{DRIFT}: there is no demo of drift")
    script = commands[1].replace("--drift 1\n", f"--drift 1 --http {page}\n")
    env = {**os.environ, "PATH": f"{BINARIES}:{os.environ['PATH']}", "XDG_STATE_HOME": str(folder / "state")}
    demo = subprocess.Popen(["bash", "-ec", script], cwd=folder, env=env)
    driver = _browser()
    try:
        wait_for(page)
        driver.set_window_size(1240, 900)
        driver.get(f"http://127.0.0.1:{page}/")
        state = driver.find_element(By.ID, "drift-state")
        end = time.monotonic() + PATIENCE_S
        while "Drifted" not in state.text:
            if time.monotonic() > end:
                raise SystemExit("no drift was told")
            time.sleep(0.1)
        return bytes(driver.find_element(By.ID, "drift-card").screenshot_as_png)
    finally:
        driver.quit()
        demo.wait()  # the stream ends by itself


def _browser() -> webdriver.Chrome:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--window-size=1000,760",
    ):
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))


def _screenshot(page: int, broker: int, folder: Path) -> bytes:
    driver = _browser()
    try:
        driver.get(f"http://127.0.0.1:{page}/")
        rows = (folder / "rows.jsonl").read_text().splitlines()[:40]
        for row in rows:
            topic = ["-p", str(broker), "-t", "edge/pi/digits/input", "-q", "1", "-m", row]
            subprocess.run(["mosquitto_pub", *topic], check=True)
        end = time.monotonic() + PATIENCE_S
        while f"#{len(rows)}" not in driver.find_element(By.TAG_NAME, "body").text and time.monotonic() < end:
            time.sleep(0.2)
        time.sleep(2)  # the page asks for its counters once a second
        return bytes(driver.get_screenshot_as_png())
    finally:
        driver.quit()


def main() -> None:
    """Writes all of them."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="edge-run-pictures-") as name:
        lines = record("edge-run demo", Path(name))
        (PICTURES / "demo.svg").write_text(svg(lines))
        drift = Path(name) / "drift"
        drift.mkdir()
        for file, png in (
            ("live-page.png", photograph(Path(name) / "edge-demo")),
            ("drift.png", photograph_drift(drift)),
        ):
            picture = Image.open(io.BytesIO(png)).convert("RGB")
            picture.quantize(64, dither=Image.Dither.NONE).save(PICTURES / file, optimize=True)
    for file in sorted(PICTURES.iterdir()):
        sys.stdout.write(f"{file} {file.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()

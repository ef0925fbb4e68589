"""Makes docs/pictures from real runs: `make pictures`. Needs chromium, chromedriver and mosquitto.

demo.svg is `edge-run demo` on a terminal, line by line as it came, in a shorter time; live-page.png is the live page of
`edge-run digits.onnx`, which the demo has made, after some rows; drift.png is the card of the live page for the stream
of docs/DRIFT.md that drifts on purpose, once the alarm is there; runs.png is the page of several runs, one of which has
tracked people on a drawn street (`street.py`), and zones.png the card in which zones are drawn.
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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import street
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from converter.demo.__main__ import free_port

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


def wait_for(port: int) -> None:
    """Until something listens. Raises SystemExit."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit(f"nothing listens on {port}")


@contextmanager
def serving(folder: Path, flags: Sequence[str]) -> Iterator[tuple[int, int]]:
    """`edge-run` with these flags, in which {broker} and {page} stand for ports; gives both."""
    broker, page = free_port(), free_port()
    mosquitto = subprocess.Popen([shutil.which("mosquitto") or "/usr/sbin/mosquitto", "-p", str(broker)],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    wait_for(broker)
    words = [flag.format(broker=broker, page=page) for flag in flags]
    service = subprocess.Popen([BINARIES / "edge-run", *words, "--state-dir", folder / "state" / "page"], cwd=folder)
    try:
        wait_for(page)
        yield broker, page
    finally:
        for process in (service, mosquitto):
            process.terminate()
            process.wait()


def photograph(folder: Path) -> bytes:
    """The live page after some rows, as a PNG."""
    flags = ["digits.onnx", "--device", "pi", "--mqtt", "mqtt://127.0.0.1:{broker}", "--http", "{page}"]
    with serving(folder, flags) as (broker, page), opened(page) as driver:
        for row in (folder / "rows.jsonl").read_text().splitlines()[:40]:
            publish(broker, "digits", "-m", row)
        until_shown(driver, "no. 40")
        time.sleep(2)  # the page asks for its counters once a second
        return bytes(driver.get_screenshot_as_png())


def photograph_runs(folder: Path) -> tuple[bytes, bytes]:
    """The page of several runs with zones in force, and the card in which a line is drawn, as PNGs."""
    street.write(folder)
    zone = [[round(x / street.WIDTH, 3), round(y / street.HEIGHT, 3)] for x, y in street.ZONE]
    tables = [f'[[run]]\nname = "{name}"\nmodel = "street.onnx"\nlabels = "street.txt"' for name in ("door", "yard")]
    tables[0] += f"\ntrack = 600\n[run.zones.door]\npolygon = {zone}"
    (folder / "runs.toml").write_text("\n".join([*tables, '[[run]]\nmodel = "digits.onnx"', ""]))
    flags = ["--config", "runs.toml", "--device", "pi", "--mqtt", "mqtt://127.0.0.1:{broker}", "--http", "{page}"]
    with serving(folder, flags) as (broker, page), opened(page) as driver:
        for number in range(1, 4):
            publish(broker, "door", "-f", "street.jpg", folder=folder)
            until_shown(driver, f"no. {number}")
        time.sleep(2)
        runs = bytes(driver.get_screenshot_as_png())
        with opened(page, height=1100) as tall:
            until_shown(tall, "no. 3")
            tall.find_element(By.ID, "draw").click()
            tall.find_element(By.CSS_SELECTOR, "input[value=line]").click()
            tall.execute_script("arguments[0].forEach(setCorner)", street.LINE)
            tall.find_element(By.ID, "places-name").send_keys("pavement")
            return runs, bytes(tall.find_element(By.ID, "places-card").screenshot_as_png)


def photograph_drift(folder: Path) -> bytes:
    """The card of the live page where a sensor has drifted, as a PNG."""
    commands = re.search(r"<!-- test: drift -->\n```sh\n(.*?)```", DRIFT.read_text(), re.DOTALL)
    page = free_port()
    if commands is None:
        raise SystemExit(f"{DRIFT}: there is no demo of drift")
    script = commands[1].replace("--drift 1\n", f"--drift 1 --http {page}\n")
    env = {**os.environ, "PATH": f"{BINARIES}:{os.environ['PATH']}", "XDG_STATE_HOME": str(folder / "state")}
    demo = subprocess.Popen(["bash", "-ec", script], cwd=folder, env=env)
    try:
        wait_for(page)
        with opened(page, 1240, 900) as driver:
            until_shown(driver, "Drifted")
            return bytes(driver.find_element(By.ID, "drift-card").screenshot_as_png)
    finally:
        demo.wait()  # the stream ends by itself


def publish(broker: int, run: str, *message: str, folder: Path | None = None) -> None:
    """An input of a run."""
    topic = ["-p", str(broker), "-t", f"edge/pi/{run}/input", "-q", "1"]
    subprocess.run(["mosquitto_pub", *topic, *message], check=True, cwd=folder)


def until_shown(driver: webdriver.Chrome, text: str) -> None:
    """Raises SystemExit where the page does not come to show it."""
    end = time.monotonic() + PATIENCE_S
    while text not in driver.find_element(By.TAG_NAME, "body").text:
        if time.monotonic() > end:
            raise SystemExit(f"the page never showed {text}")
        time.sleep(0.1)


@contextmanager
def opened(page: int, width: int = 1000, height: int = 900) -> Iterator[webdriver.Chrome]:
    """A browser that shows the live page."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        f"--window-size={width},{height}",
    ):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        driver.get(f"http://127.0.0.1:{page}/")
        yield driver
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
        page, (runs, zones) = photograph(Path(name) / "edge-demo"), photograph_runs(Path(name) / "edge-demo")
        for file, png in (
            ("live-page.png", page), ("runs.png", runs), ("zones.png", zones), ("drift.png", photograph_drift(drift)),
        ):  # fmt: skip
            picture = Image.open(io.BytesIO(png)).convert("RGB")
            picture.quantize(256, dither=Image.Dither.NONE).save(PICTURES / file, optimize=True)
    for file in sorted(PICTURES.iterdir()):
        sys.stdout.write(f"{file} {file.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()

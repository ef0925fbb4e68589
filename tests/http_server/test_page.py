"""The live page in a real browser: Debian's Chromium."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from msgspec import structs
from support import onnxmodels
from support.drifting import ROWS, Device, moved
from support.drifting import of as drift_reference
from support.drifting import sample as drift_sample
from support.http import Site, talk
from support.processes import until

from edge.app import assembly
from edge.model import manifest
from edge.model.golden import pack
from edge.settings import layers

selenium = pytest.importorskip("selenium.webdriver")

from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::ResourceWarning")]

ROW = [float(i % 17) for i in range(64)]
AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    if shutil.which("chromedriver") is None or shutil.which("chromium") is None:
        text = "chromium is not installed: apt-get install chromium chromium-driver"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
    options = selenium.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = selenium.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium) -> Iterator[Any]:
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    chromium.get("about:blank")  # the page of the test before asks its server, which is gone, no more
    chromium.get_log("browser")
    yield chromium
    # Chromium logs what a test provokes, and that the server may end a moment before the page.
    expected = ("status of 400", "status of 401", "ERR_CONNECTION_REFUSED")
    complaints = [e["message"] for e in chromium.get_log("browser") if not any(x in e["message"] for x in expected)]
    assert not complaints


def text(browser, name):
    return browser.find_element(By.ID, name).text


def shows(browser, name, wanted):
    until(lambda: wanted in text(browser, name), f"{wanted!r} in #{name}")


@pytest.fixture
def digits(serve, models):
    return serve(onnxmodels.scores(models / "digits.onnx"), stats=lambda: STATS, temperature=lambda: 48.2)


STATS = {
    "results": 12, "skipped": 1, "dropped": {},
    "lanes": {"mqtt": {"connected": 1.0, "depth": 3, "spool_bytes": 2100, "spool_dropped": {}, "confirmed": 9,
                       "reconnects": 1}},
}  # fmt: skip


def test_results_show_as_they_come(browser, digits):
    browser.get(digits.server.url)
    shows(browser, "link", "Live")

    best = digits.post("/predict", ROW).json["predictions"][0]

    shows(browser, "headline", best["label"])
    shows(browser, "results", best["label"])
    assert len(browser.find_elements(By.CSS_SELECTOR, "#bars li")) == 5


@pytest.mark.parametrize(
    ("result", "headline", "bar"),
    [
        ({"task": "text", "predictions": [{"text": "AB 12", "score": 0.9}]}, "AB 12", "AB 12"),
        ({"task": "keypoints", "predictions": []}, "Nothing found", None),
        ({"task": "detect", "predictions": [{"label": "car", "score": 0.9, "box": [0, 0, 9, 9], "then": {
            "task": "text", "predictions": [{"text": "AB 12", "score": 0.9}]}}]}, "car", "car · AB 12"),
        ({"task": "detect", "predictions": [{"label": "face", "score": 0.9, "box": [0, 0, 9, 9], "then": {
            "task": "regress", "predictions": [{"name": "age", "value": 31.0}]}}]}, "face", "face · age 31"),
    ],
)  # fmt: skip
def test_what_was_read_and_what_a_second_model_says_have_words(browser, digits, result, headline, bar):
    browser.get(digits.server.url)
    said = browser.execute_script("return [headline(arguments[0])[0], (bars(arguments[0])[0] || {}).name]", result)
    assert said == [headline, bar]


def test_how_many_objects_are_not_listed_is_said(browser, digits):
    browser.get(digits.server.url)
    found = [{"label": label, "score": 0.5, "box": [0, 0, 9, 9]} for label in "aabcdefg"]
    result = {"task": "detect", "predictions": found}
    browser.execute_script("fillBars(document.getElementById('bars'), arguments[0])", result)

    assert browser.find_elements(By.CSS_SELECTOR, "#bars li")[-1].get_property("textContent") == "and 2 more"
    assert browser.execute_script("return headline(arguments[0])", result) == ["2 × a, b, c, d", "and 3 more kinds"]


@pytest.mark.parametrize(("latency_ms", "shown"), [(0, "0.00"), (0.004, "0.004"), (0.5, "0.50"), (12.34, "12.3")])
def test_a_model_of_microseconds_does_not_seem_to_take_no_time(browser, digits, latency_ms, shown):
    browser.get(digits.server.url)
    assert browser.execute_script("return ms(arguments[0])", latency_ms) == shown


def test_the_figures_tell_broker_spool_and_temperature(browser, digits):
    browser.get(digits.server.url)

    shows(browser, "f-broker", "Connected")
    shows(browser, "f-spool", "3")
    shows(browser, "f-temperature", "48")
    shows(browser, "n-spool", "2.1 kB on disk")


def test_a_camera_that_is_away_is_said_and_so_is_a_broker(browser, serve, models):
    away = {**STATS, "lanes": {"mqtt": {**STATS["lanes"]["mqtt"], "connected": 0.0}}}
    site = serve(onnxmodels.scores(models / "away.onnx"), source="camera:0", stats=lambda: away)
    browser.get(site.server.url)

    shows(browser, "n-rate", "not there: camera:0")
    shows(browser, "hint", "camera:0 is not there. It is tried again and again; the log says why.")
    shows(browser, "f-broker", "Away")
    site.metrics.set("source_up", 1)
    shows(browser, "n-rate", "from camera:0")


def test_a_server_that_is_away_is_said_and_found_again(browser, models):
    site = Site(onnxmodels.scores(models / "gone.onnx")).start()
    browser.get(site.server.url)
    shows(browser, "link", "Live")
    port = site.address[1]
    site.stop()
    shows(browser, "link", "Reconnecting")

    again = Site(onnxmodels.scores(models / "gone.onnx"), port=port).start()
    shows(browser, "link", "Live")
    again.post("/predict", ROW)
    shows(browser, "headline", "%")
    again.stop()


def test_a_row_can_be_tried_with_the_keyboard_alone(browser, digits):
    browser.get(digits.server.url)
    shows(browser, "link", "Live")
    field = browser.find_element(By.ID, "row")
    field.clear()
    field.send_keys(str(ROW), Keys.TAB)
    browser.switch_to.active_element.send_keys(Keys.ENTER)

    shows(browser, "answer", "ms")
    field.clear()
    field.send_keys("[1, 2]")
    browser.find_element(By.ID, "ask").send_keys(Keys.ENTER)
    shows(browser, "answer", "2 values; the model takes 64 features")


def test_a_row_that_is_being_typed_is_left_alone(browser, digits):
    digits.post("/predict", ROW)
    browser.get(digits.server.url)
    field = browser.find_element(By.ID, "row")
    until(lambda: field.get_property("value").startswith("[0,1,2"), "the newest row, to be tried")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(Keys.DELETE)

    browser.execute_async_script("poll().then(arguments[0])")
    assert field.get_property("value") == ""
    browser.find_element(By.ID, "ask").click()  # it has the focus no more
    browser.execute_async_script("poll().then(arguments[0])")
    assert field.get_property("value") == ""


@pytest.fixture
def saved(browser, tmp_path) -> Iterator[Path]:
    """The folder where the browser saves files."""
    folder = tmp_path / "saved"
    folder.mkdir()
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    yield folder
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "default"})


def save(browser, folder: Path, name: str) -> Path:
    browser.find_element(By.ID, "save").click()
    shows(browser, "shared", f"Saved as {name}")
    until((folder / name).exists, f"the file {name}")
    return folder / name


def test_the_newest_row_is_saved_with_its_result(browser, digits, saved):
    browser.get(digits.server.url)
    result = digits.post("/predict", ROW).json
    shows(browser, "when", f"no. {result['seq']}")

    file = save(browser, saved, f"digits-{result['seq']}.json")
    assert json.loads(file.read_text()) == {"input": ROW, "result": result}


def test_of_a_row_that_shows_in_part_the_saved_file_says_so(browser, serve, models, saved):
    site = serve(onnxmodels.scores(models / "wide.onnx", features=300))
    browser.get(site.server.url)
    result = site.post("/predict", [1.0] * 300).json
    shows(browser, "when", f"no. {result['seq']}")

    told = json.loads(save(browser, saved, f"wide-{result['seq']}.json").read_text())
    assert told["input"] == [1] * 200
    assert told["input_is_cut"] == "the first of 300"


def test_the_newest_picture_is_saved_with_its_boxes(browser, serve, models, saved):
    site = serve(onnxmodels.one_box(models / "page_box.onnx"))
    browser.get(site.server.url)
    result = site.post("/predict", cv2.imencode(".png", np.full((240, 320, 3), 150, np.uint8))[1].tobytes()).json
    until(lambda: browser.find_element(By.ID, "save").is_displayed(), "the newest picture")

    pixels = cv2.imread(str(save(browser, saved, f"page_box-{result['seq']}.jpg"))).astype(int)
    assert pixels.shape == (240, 320, 3)
    left, top, right, bottom = map(int, result["predictions"][0]["box"])
    edges = [pixels[bottom, (left + right) // 2], pixels[(top + bottom) // 2, right]]
    assert all(np.ptp(edge) > 50 for edge in edges)  # coloured
    assert np.ptp(pixels[(top + bottom) // 2, (left + right) // 2]) < 10


@pytest.mark.parametrize("clipboard", ["the browser's", "the old one, by http"])
def test_the_newest_row_is_copied_with_its_result(browser, digits, clipboard):
    browser.get(digits.server.url)
    if clipboard != "the browser's":
        browser.execute_script("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    result = digits.post("/predict", ROW).json
    shows(browser, "when", f"no. {result['seq']}")
    browser.find_element(By.ID, "copy").click()
    shows(browser, "shared", "Copied")

    field = browser.find_element(By.ID, "row")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(Keys.CONTROL, "v")
    until(lambda: field.get_property("value").startswith("{"), "what was copied")
    assert json.loads(field.get_property("value")) == {"input": ROW, "result": result}


SHARING = """
navigator.canShare = () => true;
navigator.share = async ({ text, files = [] }) => {
  window.told = { text, files: files.map((f) => [f.name, f.type, f.size]) };
};
"""


@pytest.fixture
def sharing(browser) -> Iterator[None]:
    """A browser that shares with other apps, as phones do."""
    script = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": SHARING})
    yield
    browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


@pytest.mark.usefixtures("sharing")
def test_on_a_phone_the_newest_row_is_shared(browser, digits):
    browser.get(digits.server.url)
    result = digits.post("/predict", ROW).json
    shows(browser, "when", f"no. {result['seq']}")
    assert not browser.find_element(By.ID, "save").is_displayed()
    browser.find_element(By.ID, "share").click()

    until(lambda: browser.execute_script("return window.told"), "what was shared")
    told = browser.execute_script("return window.told")
    sentence, _, row = told["text"].partition("\n")
    assert sentence.startswith(result["predictions"][0]["label"])
    assert json.loads(row) == {"input": ROW, "result": result}
    assert told["files"] == []


@pytest.mark.usefixtures("sharing")
def test_on_a_phone_the_newest_picture_is_shared(browser, serve, models):
    site = serve(onnxmodels.one_box(models / "page_box.onnx"))
    browser.get(site.server.url)
    result = site.post("/predict", cv2.imencode(".png", np.full((240, 320, 3), 150, np.uint8))[1].tobytes()).json
    until(lambda: browser.find_element(By.ID, "share").is_displayed(), "the newest picture")
    browser.find_element(By.ID, "share").click()

    until(lambda: browser.execute_script("return window.told"), "what was shared")
    told = browser.execute_script("return window.told")
    assert told["text"].startswith(result["predictions"][0]["label"])
    [(name, kind, size)] = told["files"]
    assert (name, kind) == (f"page_box-{result['seq']}.jpg", "image/jpeg")
    assert size > 1000


@pytest.fixture
def named(serve, models):
    """A model whose two features have names, with a golden sample."""
    loaded = assembly.load_file(onnxmodels.scores(models / "named.onnx", classes=2, features=2))
    features = tuple(manifest.Feature(name=n) for n in ("width", "height"))
    part = structs.replace(loaded.manifest.inputs[0], kind="table", features=features)
    golden = manifest.Golden(inputs={"x": pack(np.array([[5.1, -1.4]], np.float32))}, outputs={})
    return serve(structs.replace(loaded, manifest=structs.replace(loaded.manifest, inputs=(part,), golden=(golden,))))


def test_a_row_by_names_is_tried_in_a_field_for_each(browser, named):
    browser.get(named.server.url)
    until(lambda: len(browser.find_elements(By.CSS_SELECTOR, "#fields input")) == 2, "two fields")
    fields = browser.find_elements(By.CSS_SELECTOR, "#fields input")
    assert [f.accessible_name for f in fields] == ["width", "height"]
    assert [f.get_property("value") for f in fields] == ["5.1", "-1.4"]
    fields[1].clear()
    fields[1].send_keys("2.5", Keys.ENTER)

    shows(browser, "answer", "%")
    browser.find_element(By.ID, "as-json").click()
    assert json.loads(browser.find_element(By.ID, "row").get_property("value")) == {"width": 5.1, "height": 2.5}
    browser.find_element(By.ID, "as-json").click()
    fields = browser.find_elements(By.CSS_SELECTOR, "#fields input")
    assert [f.get_property("value") for f in fields] == ["5.1", "2.5"]


def test_the_row_that_shows_is_the_one_of_the_result_that_shows(browser, named):
    browser.get(named.server.url)
    shows(browser, "link", "Live")
    with contextlib.closing(named.connect()) as connection:
        for number in range(40):
            last = talk(connection, "POST", "/predict", {"width": number, "height": 1.0}).json
            if number % 10 == 0:
                until(lambda: "no. " in text(browser, "when"), "a result")
                shown = browser.execute_script(PAIR)
                assert shown["row"] == shown["number"] - 1

    shows(browser, "when", f"no. {last['seq']}")
    assert browser.execute_script(PAIR) == {"number": 40, "row": 39}


# Read at one moment: the number of the result, and the first value of the row, which is one less.
PAIR = """
const number = Number(document.getElementById("when").textContent.match(/no. ([0-9]+)/)[1]);
return { number, row: Number(document.querySelector("#values dd").textContent) };
"""


def test_results_that_are_told_again_after_a_break_show_once(browser, digits):
    digits.post("/predict", ROW)
    browser.get(digits.server.url)
    until(lambda: len(browser.find_elements(By.CSS_SELECTOR, "#results tr")) == 1, "the result")

    browser.execute_script("listen()")
    digits.post("/predict", ROW)

    until(lambda: len(browser.find_elements(By.CSS_SELECTOR, "#results tr")) == 2, "the next one")


def test_the_charts_say_in_numbers_what_they_draw(browser, digits):
    browser.get(digits.server.url)
    shows(browser, "latency-none", "second result")
    digits.post("/predict", ROW)
    digits.post("/predict", [0.0] * 64)

    shows(browser, "score-count", "2 results")
    assert text(browser, "score-scale").split() == ["1", "0.5", "0"]
    assert "median" in text(browser, "latency-range")
    assert not browser.find_element(By.ID, "latency-none").is_displayed()


def test_the_first_tab_stop_skips_to_the_content(browser, digits):
    browser.get(digits.server.url)
    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)

    assert browser.switch_to.active_element.get_attribute("href").endswith("#main")


def test_a_picture_can_be_tried_and_its_boxes_are_drawn(browser, serve, models, tmp_path):
    site = serve(onnxmodels.one_box(models / "page_box.onnx"))
    picture = tmp_path / "grey.png"
    picture.write_bytes(cv2.imencode(".png", np.full((240, 320, 3), 150, np.uint8))[1].tobytes())
    browser.get(site.server.url)
    until(lambda: browser.find_element(By.ID, "try-picture").is_displayed(), "the form for pictures")
    browser.find_element(By.ID, "file").send_keys(str(picture))
    browser.find_element(By.ID, "ask").click()

    until(lambda: len(browser.find_elements(By.CSS_SELECTOR, "#my-boxes rect")) == 2, "a box and its tag")
    until(lambda: len(browser.find_elements(By.CSS_SELECTOR, "#boxes rect")) == 2, "the same on the newest picture")
    box = browser.find_element(By.CSS_SELECTOR, "#boxes rect")
    assert [box.get_attribute(a) for a in ("x", "y", "width", "height")] == ["80", "60", "160", "120"]


def test_a_page_that_is_opened_after_a_refused_picture_shows_the_newest_result(browser, digits):
    best = digits.post("/predict", ROW).json["predictions"][0]
    digits.post("/predict", cv2.imencode(".png", np.zeros((8, 8), np.uint8))[1].tobytes())

    browser.get(digits.server.url)

    shows(browser, "headline", best["label"])
    assert not browser.find_element(By.ID, "now-picture").is_displayed()


def test_pause_stops_what_moves(browser, digits):
    browser.get(digits.server.url)
    shows(browser, "link", "Live")
    browser.find_element(By.ID, "pause").click()
    digits.post("/predict", ROW)
    digits.post("/predict", ROW)

    assert text(browser, "link") == "Paused"
    assert text(browser, "results") == ""
    assert browser.find_element(By.ID, "pause").get_attribute("aria-pressed") == "true"


def test_with_a_token_the_page_asks_for_it_once_a_browser(browser, serve, models):
    site = serve(onnxmodels.scores(models / "locked.onnx"), token="open-sesame-1234")
    browser.get(site.server.url)
    until(lambda: browser.find_element(By.ID, "login").is_displayed(), "the question")
    browser.find_element(By.ID, "token").send_keys("wrong", Keys.ENTER)
    shows(browser, "login-error", "not this device's token")
    browser.find_element(By.ID, "token").clear()
    browser.find_element(By.ID, "token").send_keys("open-sesame-1234", Keys.ENTER)

    shows(browser, "link", "Live")
    assert not browser.find_element(By.ID, "login").is_displayed()
    browser.get(f"{site.server.url}/docs")
    shows(browser, "groups", "/v2/models/{model}/infer")
    browser.switch_to.new_window("tab")
    browser.get(site.server.url)
    shows(browser, "link", "Live")
    browser.execute_script("localStorage.clear()")
    browser.close()
    browser.switch_to.window(browser.window_handles[0])


def test_the_api_page_shows_a_curl_line_for_every_way(browser, digits):
    browser.get(f"{digits.server.url}/docs")
    shows(browser, "groups", "/predict")
    ways = browser.find_elements(By.CSS_SELECTOR, "details")
    assert "/predict" in ways[0].text
    ways[0].find_element(By.TAG_NAME, "summary").click()

    assert "curl" in ways[0].find_element(By.TAG_NAME, "pre").text
    assert len(ways) > 20


@pytest.mark.usefixtures("curl_is_here")
def test_the_curl_lines_of_the_api_page_work_as_they_are(browser, named):
    browser.get(f"{named.server.url}/docs")
    shows(browser, "groups", "/predict")
    lines = [browser.execute_script("return arguments[0].textContent", e)
             for e in browser.find_elements(By.CSS_SELECTOR, "pre")]  # fmt: skip
    lines = [line for line in lines if not line.endswith(("/events", "/load", "/unload", "/live/picture"))]
    lines = [line for line in lines if ":classify" not in line and ":regress" not in line]  # for one task each

    assert len(lines) > 20
    for line in lines:
        done = subprocess.run([*shlex.split(line), "-sS", "--fail-with-body"], capture_output=True, check=False)
        assert done.returncode == 0, (line, done.stdout)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 900)])
def test_it_fits_the_screen_and_its_text_can_be_read(browser, digits, width, height, dark):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    browser.get(digits.server.url)
    shows(browser, "link", "Live")
    digits.post("/predict", ROW)
    until(lambda: text(browser, "headline") != "", "a result")

    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script(CONTRASTS) == []
    small = [e.get_attribute("id") for e in browser.find_elements(By.TAG_NAME, "button")
             if e.is_displayed() and e.size["height"] < 40]  # fmt: skip
    assert small == []


def test_beside_the_list_of_runs_a_phone_shows_the_device_on_one_line(browser, digits):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    )
    browser.get(digits.server.url)
    shows(browser, "link", "Live")
    browser.execute_script("const runs = arguments[0]; runs.hidden = false; runs.add(new Option('the door'))",
                           browser.find_element(By.ID, "runs"))  # fmt: skip
    assert browser.find_element(By.ID, "device").size["height"] < 24
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390


def test_a_screen_reader_finds_landmarks_names_and_live_regions(browser, digits):
    browser.get(digits.server.url)
    shows(browser, "link", "Live")
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    seen = [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes if not n["ignored"]]
    roles = {role for role, _ in seen}

    assert {"banner", "main", "contentinfo", "region", "table", "status"} <= roles
    assert [role for role, name in seen if role in ("button", "textbox", "link", "image", "region") and not name] == []
    assert browser.find_element(By.CSS_SELECTOR, "[aria-live=polite]")
    assert browser.execute_script("return document.documentElement.lang") == "en"


# The WCAG contrast of every text that shows, where it is below AA.
CONTRASTS = """
const rgb = (c) => c.match(/[0-9.]+/g).map(Number);
const channel = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
const light = (c) => {
  const [r, g, b] = rgb(c).map((v) => channel(v / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const below = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode.parentElement;
  const text = walker.currentNode.textContent.trim();
  if (!text || !node.offsetParent || node.closest("svg, .visually-hidden, .skip, script, style")) continue;
  let behind = node;
  while (behind !== document.body && (rgb(getComputedStyle(behind).backgroundColor)[3] ?? 1) === 0) {
    behind = behind.parentElement;
  }
  const style = getComputedStyle(node);
  const [a, b] = [light(style.color), light(getComputedStyle(behind).backgroundColor)];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const size = parseFloat(style.fontSize);
  const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
  if (ratio < (large ? 3 : 4.5)) below.push(`${node.tagName}#${node.id} ${ratio.toFixed(2)} ${text.slice(0, 30)}`);
}
return below;
"""


@pytest.fixture
def axe() -> str:
    if not AXE.exists():
        text = "axe-core is not installed: npm install --no-save --no-package-lock axe-core@4"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
    return AXE.read_text()


def violations(browser, url, axe, scheme, ready):
    """What axe finds on the page once it is `ready`."""
    media = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    try:
        browser.get(url)
        until(lambda: browser.execute_script("return document.readyState") == "complete", "the page")
        ready()
        browser.execute_cdp_cmd("Runtime.evaluate", {"expression": axe})  # the page's own policy lets no script in
        return browser.execute_async_script(
            "const done = arguments[0]; axe.run(document, { resultTypes: ['violations'] }).then("
            "(r) => done(r.violations.map((v) => [v.id, v.nodes.map((n) => n.html)])), (e) => done([String(e)]));"
        )
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/docs"])
def test_axe_finds_nothing_that_keeps_anybody_out(browser, digits, axe, path, scheme):
    assert digits.ask("POST", "/predict", ROW).status == 200
    assert violations(browser, digits.server.url.rstrip("/") + path, axe, scheme, lambda: None) == []


@pytest.mark.parametrize(("locale", "shown"), [("en-GB", "1,234"), ("de-DE", "1.234"), ("fr-FR", "1\u202f234")])
def test_numbers_are_written_as_the_browsers_language_does(browser, serve, models, locale, shown):
    site = serve(onnxmodels.scores(models / "digits.onnx"), stats=lambda: {**STATS, "results": 1234})
    browser.execute_cdp_cmd("Emulation.setLocaleOverride", {"locale": locale})
    try:
        browser.get(site.server.url)
        shows(browser, "f-results", shown)
    finally:
        browser.execute_cdp_cmd("Emulation.setLocaleOverride", {})


# --- drift ----------------------------------------------------------------------------------------------


@pytest.fixture
def drifting(tmp_path):
    """A device whose temperature has moved by one deviation after thirty hours."""
    device = Device(tmp_path, drift_reference(drift_sample(), door=["open"] * 9_000 + ["shut"] * 11_000))
    door = ["open", "shut"] * (ROWS // 2)
    device.hours(30, door=door)
    device.hours(2, moved(1.0), door=door)
    return device


def test_drift_shows_then_and_now_as_two_curves_the_oddest_first(browser, serve, models, drifting):
    site = serve(onnxmodels.scores(models / "digits.onnx"), stats=lambda: STATS, drift=drifting.watch.pictured)
    browser.get(site.server.url)

    shows(browser, "drift-state", "Drifted")
    figures = browser.find_elements(By.CSS_SELECTOR, "#drift-features li")
    assert [f.find_element(By.TAG_NAME, "h3").text for f in figures] == [
        "temperature", "pressure", "flow", "door", "class (predicted)",
    ]  # fmt: skip
    assert "moved up" in figures[0].text
    chart = figures[0].find_element(By.TAG_NAME, "svg")
    assert len(chart.find_elements(By.CSS_SELECTOR, "polygon.then, polyline.now")) == 2
    assert chart.get_attribute("aria-label").startswith("temperature: Median then ")
    assert len(figures[3].find_elements(By.CSS_SELECTOR, "rect.then")) == 3
    assert "Smallest shift that this device sees within two windows" in text(browser, "drift-says")


def test_a_device_that_still_learns_says_how_far_it_is(browser, serve, models, tmp_path):
    device = Device(tmp_path)
    device.hours(5)
    site = serve(onnxmodels.scores(models / "digits.onnx"), stats=lambda: STATS, drift=device.watch.pictured)
    browser.get(site.server.url)

    shows(browser, "drift-state", "Learning")
    assert text(browser, "drift-says").startswith("5 of 24 windows learnt")


def test_a_service_that_does_not_watch_shows_nothing_of_drift(browser, digits):
    browser.get(digits.server.url)
    shows(browser, "f-broker", "Connected")

    assert not browser.find_element(By.ID, "drift-card").is_displayed()
    assert digits.get("/live/drift").json == {"report": None, "features": []}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_the_curves_either(browser, serve, models, drifting, axe, scheme):
    site = serve(onnxmodels.scores(models / "digits.onnx"), stats=lambda: STATS, drift=drifting.watch.pictured)
    assert violations(browser, site.server.url, axe, scheme, lambda: shows(browser, "drift-state", "Drifted")) == []


# --- zones ----------------------------------------------------------------------------------------------

WIDTH, HEIGHT = 320, 240
TRACKING = {
    "lost_s": 1.0,
    "zones": {"door": [[0.0, 0.5], [0.5, 0.5], [0.5, 1.0]]},
    "lines": {"gate": [[10, 20], [200, 20]]},
}


@pytest.fixture
def detector(browser, serve, models):
    """A page with a picture, in which zones can be drawn; also what it is started with."""

    def opened(beside: str = "", **more) -> str:
        site = serve(onnxmodels.one_box(models / "page_box.onnx"), **more)
        if beside:
            site.server.fail(beside, "its model is not there")
        browser.get(site.server.url)
        site.post("/predict", cv2.imencode(".png", np.full((HEIGHT, WIDTH, 3), 150, np.uint8))[1].tobytes())
        until(lambda: browser.find_element(By.ID, "draw").is_displayed(), "the newest picture")
        return site.server.url

    return opened


def begin(browser):
    browser.find_element(By.ID, "draw").click()
    until(lambda: browser.find_element(By.ID, "places-picture").size["height"] > 20, "the picture to draw on")


def at(browser, x: float, y: float) -> tuple[int, int]:
    """Pixels of the window for a point of the picture in shares."""
    script = """const m = document.getElementById("places-pad").getScreenCTM();
        const p = new DOMPoint(arguments[0], arguments[1]).matrixTransform(m); return [p.x, p.y];"""
    browser.execute_script("document.getElementById('places-pad').scrollIntoView({block: 'center'})")
    px, py = browser.execute_script(script, x * WIDTH, y * HEIGHT)
    return round(px), round(py)


def press(browser, kind: str, x: float, y: float) -> None:
    px, py = at(browser, x, y)
    if kind == "finger":
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": px, "y": py}]})
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        return
    for what in ("mousePressed", "mouseReleased"):
        event = {"type": what, "x": px, "y": py, "button": "left", "clickCount": 1}
        browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)


def add(browser, name: str) -> None:
    browser.find_element(By.ID, "places-name").send_keys(name + Keys.ENTER)


def drawn(browser) -> dict[str, Any]:
    return tomllib.loads(browser.find_element(By.ID, "places-toml").get_property("value"))


@pytest.mark.parametrize("kind", ["mouse", "finger"])
def test_a_zone_and_a_line_are_drawn_and_are_the_settings_that_edge_run_reads(browser, detector, tmp_path, kind):
    touch = {"enabled": kind == "finger"}
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", touch)
    try:
        detector()
        begin(browser)
        for number, corner in enumerate([(0.25, 0.25), (0.75, 0.25), (0.75, 0.75)]):
            press(browser, kind, *corner)
            until(lambda n=number: len(browser.find_elements(By.CSS_SELECTOR, ".corner")) == n + 1, "a corner")
        add(browser, "door")
        browser.find_element(By.CSS_SELECTOR, "input[value=line]").click()
        for corner in [(0.0, 0.5), (0.9, 0.5)]:
            press(browser, kind, *corner)
        until(lambda: len(browser.find_elements(By.CSS_SELECTOR, ".corner")) == 2, "two ends")
        add(browser, "gate")
    finally:
        browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
    file = tmp_path / "edge.toml"
    file.write_text(browser.find_element(By.ID, "places-toml").get_property("value"))
    said = layers.read(["m.onnx", "--config", str(file)], {}, "0").tracking
    assert said.lost_s == 1.0
    ((zone, corners),), ((line, ends),) = said.zones, said.lines
    assert (zone, line) == ("door", "gate")
    assert np.allclose(corners, [(0.25, 0.25), (0.75, 0.25), (0.75, 0.75)], atol=0.02)
    assert np.allclose(ends, [(0.0, 0.5), (0.9, 0.5)], atol=0.02)


def test_a_corner_can_be_moved(browser, detector):
    detector()
    begin(browser)
    for corner in [(0.2, 0.2), (0.8, 0.2), (0.8, 0.8)]:
        press(browser, "mouse", *corner)
    (x, y), (to_x, to_y) = at(browser, 0.8, 0.8), at(browser, 0.5, 0.9)
    for what, px, py in (("mousePressed", x, y), ("mouseMoved", to_x, to_y), ("mouseReleased", to_x, to_y)):
        event = {"type": what, "x": px, "y": py, "button": "left", "clickCount": 1}
        browser.execute_cdp_cmd("Input.dispatchMouseEvent", event)
    press(browser, "mouse", 0.2, 0.9)
    add(browser, "door")
    corners = drawn(browser)["zones"]["door"]["polygon"]
    assert np.allclose(corners, [(0.2, 0.2), (0.8, 0.2), (0.5, 0.9), (0.2, 0.9)], atol=0.02)


def test_the_keyboard_draws_too_and_takes_back(browser, detector):
    detector()
    begin(browser)
    pad = browser.switch_to.active_element
    assert pad.get_attribute("id") == "places-pad"
    pad.send_keys(Keys.ENTER, *[Keys.ARROW_RIGHT] * 5, Keys.ENTER, *[Keys.ARROW_DOWN] * 5, Keys.ENTER, "x", Keys.ENTER)
    pad.send_keys(Keys.BACKSPACE)
    add(browser, "door")
    assert drawn(browser)["zones"]["door"]["polygon"] == [[0.5, 0.5], [0.6, 0.5], [0.6, 0.6333]]


def test_what_is_no_zone_is_said_and_not_added(browser, detector):
    detector()
    begin(browser)
    for corner in [(0.1, 0.1), (0.9, 0.9), (0.9, 0.1), (0.1, 0.9)]:
        press(browser, "mouse", *corner)
    add(browser, "door")
    shows(browser, "places-said", "Its edges cross")
    assert "zones" not in drawn(browser)


def test_edges_that_cross_only_as_the_file_has_them_are_said(browser, detector):
    detector()
    begin(browser)
    browser.execute_script("[[197, 194], [221, 122], [248, 103], [215, 140], [155, 122]].forEach(setCorner)")
    add(browser, "door")
    shows(browser, "places-said", "Its edges cross")
    assert "zones" not in drawn(browser)


def test_zones_in_force_are_on_the_picture_and_can_be_taken_away(browser, detector):
    detector(info={"tracking": TRACKING})
    until(lambda: len(browser.find_elements(By.CSS_SELECTOR, "#boxes text.place")) == 2, "zones on the newest picture")
    begin(browser)
    assert drawn(browser) == {
        "zones": {"door": {"polygon": TRACKING["zones"]["door"]}},
        "lines": {"gate": {"points": [[0.0313, 0.0833], [0.625, 0.0833]]}},
    }
    browser.find_element(By.CSS_SELECTOR, "[aria-label='Remove zone door']").click()
    assert "zones" not in drawn(browser)


def test_of_several_runs_the_file_gets_zones_of_the_run_that_shows(browser, detector, tmp_path):
    detector(beside="yard")
    begin(browser)
    browser.execute_script("[[32, 24], [288, 24], [288, 216]].forEach(setCorner)")
    add(browser, "door")
    said = browser.find_element(By.ID, "places-toml").get_property("value")
    file = tmp_path / "runs.toml"
    file.write_text(f'[[run]]\nname = "page_box"\nmodel = "m.onnx"\n{said}\n[[run]]\nname = "yard"\nmodel = "y.onnx"\n')
    own, other = (run.tracking for run in layers.read(["--config", str(file)], {}, "0").each)
    assert said.startswith("# below the [[run]] of page_box\n")
    assert [name for name, _ in own.zones] == ["door"]
    assert (own.lost_s, other.zones, other.lost_s) == (1.0, (), None)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_while_zones_are_drawn(browser, detector, axe, scheme):
    url = detector(info={"tracking": TRACKING})

    def ready() -> None:
        until(lambda: browser.find_element(By.ID, "draw").is_displayed(), "the newest picture")
        begin(browser)

    assert violations(browser, url, axe, scheme, ready) == []

"""`edge-fleet status` as a page, again and again, and what it says of signatures that run out."""

from __future__ import annotations

import datetime
import itertools
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support.processes import PATIENCE_S, Client, Mosquitto
from support.updating import PASSPHRASE, Fleet, write_model

from edge.cli import fleet as command
from edge.tools.fleet import page, status
from edge.tools.fleet.repository import DAYS
from edge.tools.fleet.status import Heard, Offered

NOW = datetime.datetime(2026, 11, 30, 12, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
OFFERED = [Offered("m", "stable", "1", "a" * 64, 10_000, False), Offered("m", "stable", "2", "b" * 64, 500, True)]


class Page(HTMLParser):
    """What a browser would show, and the tags that it would make."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.tags, self.rows, self._cell = "", set[str](), list[list[str]](), False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        self._cell = self._cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._cell:
            self.rows[-1][-1] += data


@pytest.fixture
def fleet(tmp_path, monkeypatch) -> Fleet:
    monkeypatch.setenv("FLEET_PASSPHRASE", PASSPHRASE.decode())
    fleet = Fleet(tmp_path / "fleet")
    fleet.add(write_model(tmp_path / "m1.onnx", "1"), "1")
    return fleet


def test_a_page_tells_what_is_offered_what_runs_and_who_went_back_and_why():
    heard = [Heard(f"d{n}", "m", "idle", "1") for n in range(3)]
    heard.append(Heard("d4", "m", "rolled-back", "1", "2", "it takes 30 ms", "2026-11-30T05:57:52.1Z"))
    shown = Page(page.page("plant", OFFERED, heard, {"timestamp": NOW + 10 * DAY}, NOW))

    assert ["m", "stable", "2", "5 %, paused", "b" * 12, ""] in shown.rows
    assert ["1", "idle", "3", "75.0%"] in shown.rows
    assert ["1", "rolled-back from 2", "1", "25.0%"] in shown.rows
    assert ["d4", "m", "rolled-back from 2", "2026-11-30 05:57:52", "it takes 30 ms"] in shown.rows
    assert ["timestamp", "2026-12-10", "10 days left"] in shown.rows
    assert "4 devices and models were heard" in shown.text


def test_what_devices_say_is_text_in_a_page_and_nothing_is_fetched_or_run():
    hostile = "<script>alert(1)</script><img src=x onerror=alert(1)>\x1b[2J"
    text = page.page(hostile, OFFERED, [Heard(hostile, hostile, hostile, hostile, hostile, hostile)], {}, NOW)
    shown = Page(text)

    assert shown.tags.isdisjoint({"script", "img", "link", "iframe"})
    assert "\x1b" not in text
    assert "<script>alert(1)</script>" in shown.text


def test_a_page_of_many_devices_lists_so_many_and_counts_all(monkeypatch):
    monkeypatch.setattr(page, "DEVICES_MOST", 5)
    shown = Page(page.page("f", OFFERED, [Heard(f"d{n}", "m", "idle", "1") for n in range(8)], {}, NOW))

    assert "3 more are not listed" in shown.text
    assert ["1", "idle", "8", "100.0%"] in shown.rows


@pytest.mark.usefixtures("mosquitto_is_here")
def test_a_page_of_what_a_broker_has_is_written_whole(fleet, tmp_path, capsys):
    broker = Mosquitto(tmp_path / "broker").start()
    device = Client(broker.port)
    device.client.publish("edge/d7/m/status", "online", 1, retain=True).wait_for_publish(PATIENCE_S)
    told = '{"state":"confirmed","running":{"version":"1"}}'
    device.client.publish("edge/d8/m/status", "offline", 1, retain=True).wait_for_publish(PATIENCE_S)
    device.client.publish("edge/d8/m/update", told, 1, retain=True).wait_for_publish(PATIENCE_S)
    device.client.publish("edge/d7/m/update", told, 1, retain=True).wait_for_publish(PATIENCE_S)
    try:
        code = command.run(["status", str(fleet.folder), "--mqtt", broker.url, "--html", str(tmp_path / "s.html")])
    finally:
        device.close()
        broker.end()

    assert (code, capsys.readouterr().out) == (0, f"{tmp_path / 's.html'} was written\n")
    shown = Page((tmp_path / "s.html").read_text())
    assert ["d7", "m", "confirmed", "", "1"] in shown.rows
    assert "2 devices and models were heard, 1 of them offline." in shown.text


def test_who_is_offline_is_counted_for_what_such_a_device_said_is_old():
    heard = [Heard("d1", "m", "idle", "1"), Heard("d2", "m", "idle", "1", online=False)]

    assert "2 heard, 1 of them offline" in list(status.lines(OFFERED, heard))
    assert "1 heard" in list(status.lines(OFFERED, heard[:1]))


@pytest.mark.long  # two rounds of a second each, at a broker that comes and goes
@pytest.mark.usefixtures("mosquitto_is_here")
def test_it_tells_again_until_it_is_ended_and_a_broker_that_is_away_is_told_once_and_ends_nothing(fleet, tmp_path):
    broker = Mosquitto(tmp_path / "broker")  # not there yet
    words = ["status", str(fleet.folder), "--mqtt", broker.url, "--every", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "edge.cli.fleet", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert "It is asked again." in process.stderr.readline()
    broker.start()
    told = list(itertools.islice((line for line in process.stdout if "0 heard" in line), 2))
    broker.end()
    again = process.stderr.readline()
    process.terminate()
    _, more = process.communicate(timeout=PATIENCE_S)

    assert told == ["0 heard\n"] * 2
    assert "It is asked again." in again
    assert again not in more
    assert (process.returncode, more.splitlines()[-1]) == (143, "edge-fleet: interrupted")


def test_a_page_that_cannot_be_written_names_the_file(fleet, tmp_path, capsys):
    assert command.run(["status", str(fleet.folder), "--html", str(tmp_path / "none" / "s.html")]) == 2
    assert "s.html: No such file or directory; name a file in a folder that is there" in capsys.readouterr().err


def test_json_beside_a_page_is_refused(fleet, capsys):
    assert command.run(["status", str(fleet.folder), "--json", "--html", "s.html"]) == 2
    assert "--json and --html" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("role", "days", "said"),
    [
        ("timestamp", 10, "the time stamp runs out on 2026-12-10: 10 days left"),
        ("timestamp", 3, "the time stamp runs out on 2026-12-03: 3 days left; edge-fleet renew"),
        ("timestamp", -1, "the time stamp ran out on 2026-11-29: devices take nothing new; edge-fleet renew"),
        ("targets", 30, "what is signed for targets runs out on 2026-12-30: 30 days left; "
                        "edge-fleet keys rotate DIR targets"),
        ("targets", 90, None),
    ],
)  # fmt: skip
def test_what_runs_out_soon_is_said_with_the_way_out(role, days, said):
    assert list(status.endings({role: NOW + days * DAY}, NOW)) == ([said] if said else [])


def test_renew_says_what_it_does_not_sign_anew_and_runs_out(fleet, monkeypatch, capsys):
    """Nothing else would: all is well until every device refuses what has run out."""
    assert command.run(["renew", str(fleet.folder)]) == 0
    assert capsys.readouterr().err == ""

    monkeypatch.setitem(DAYS, "targets", 30)
    assert command.run(["keys", "rotate", str(fleet.folder), "targets"]) == 0
    capsys.readouterr()
    assert command.run(["renew", str(fleet.folder)]) == 0
    assert "what is signed for targets runs out on" in capsys.readouterr().err


def test_a_withdrawal_says_what_devices_do_then(fleet, tmp_path, capsys):
    fleet.add(write_model(tmp_path / "m2.onnx", "2"), "2")
    folder = str(fleet.folder)
    assert command.run(["withdraw", folder]) == 0
    beside = capsys.readouterr().out
    assert command.run(["withdraw", folder]) == 0

    assert "devices that run it go to what is there beside it, 1 (for 100 % of the devices)" in beside
    assert "nothing else there is rolled out, so devices that run it stay with it" in capsys.readouterr().out


@pytest.mark.usefixtures("mosquitto_is_here")
def test_a_port_that_is_taken_is_named(fleet, capsys):
    broker = Mosquitto(Path(fleet.folder) / "broker").start()
    try:
        code = command.run(["serve", str(fleet.folder), "--port", str(broker.port)])
    finally:
        broker.end()

    assert code == 2
    assert f"--port {broker.port}: Address already in use" in capsys.readouterr().err

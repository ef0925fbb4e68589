"""Two services with one name, alive at the same time: each says so."""

from __future__ import annotations

import pytest
from support.processes import until

TOLD = "another service publishes on our topics"


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_the_same_device_twice_is_told_by_both(edge_run, flowers, broker, client, tmp_path, version):
    """On one machine the second would not start, so they call the broker by two names."""
    heard = client(broker.port, "edge/pi/flowers/#")
    one, other = (
        edge_run(
            *("--model", flowers.path, "--mqtt", broker.url.replace("127.0.0.1", host), "--device", "pi"),
            *("--mqtt-version", version, "--state-dir", tmp_path / host),
        )
        for host in ("127.0.0.1", "localhost")
    )
    one.wait_until_said(TOLD)
    other.wait_until_said(TOLD)
    until(lambda: any("twin" in info for info in heard.of("info")), "info says so")


def test_a_life_after_another_is_no_twin(edge_run, flowers, broker, client, tmp_path):
    heard = client(broker.port, "edge/pi/flowers/stats")
    arguments = ("--model", flowers.path, "--mqtt", broker.url, "--device", "pi", "--state-dir", tmp_path / "state")
    for _ in range(2):
        process = edge_run(*arguments, "--stats-interval", "0.2")
        heard.wait_for("stats", 4)
        process.process.kill()
        process.process.wait(150)
        heard.messages.clear()
    assert TOLD not in process.said()

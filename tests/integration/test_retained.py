"""Inputs that mosquitto retains, over several starts."""

from __future__ import annotations

import pytest

STATUS = "edge/pi/flowers/status"


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_a_retained_input_is_inferred_once_over_all_starts(edge_run, flowers, broker, client, tmp_path, version):
    listener = client(broker.port, "edge/pi/flowers/#")
    row = flowers.rows[0]
    listener.publish("rows/kept", {"id": "kept", **row}, retain=True)
    for life in (1, 2, 3):
        process = edge_run(
            *("--model", flowers.path, "--mqtt", broker.url, "--device", "pi", "--mqtt-version", version),
            *("--mqtt-client-id", "the-one", "--state-dir", tmp_path / "state", "--source", "mqtt:rows/+"),
        )
        listener.wait_until(lambda n=life: [m[:2] for m in listener.messages].count((STATUS, b"online")) == n)
        listener.publish("rows/live", {"id": life, **row})  # behind what is retained
        listener.wait_for("result", 1 + life)
        assert process.stop() == 0

    assert [(r["input_id"], r.get("retained", False)) for r in listener.of("result")] == [
        *[("kept", True), (1, False), (2, False), (3, False)]
    ]
    files = [file.name.partition("-")[0] for file in (tmp_path / "state").glob("retained-*")]
    assert files == (["retained"] if version == "3.1.1" else [])

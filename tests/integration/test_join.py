"""`[join]` of `edge-run` as a process, at a real mosquitto: states as Home Assistant's statestream sends them."""

from __future__ import annotations


def test_states_of_several_topics_become_rows_and_a_bad_one_costs_no_other(edge_run, flowers, broker, client, tmp_path):
    row = flowers.rows[0]
    names = list(row)
    topics = {name: f"homes/+/statestream/sensor/{n}/state" for n, name in enumerate(names)}
    config = tmp_path / "edge.toml"
    said = [f'"{name}" = "{topic}"' for name, topic in topics.items()]
    config.write_text("\n".join(["[join]", f'trigger = "{names[-1]}"', "[join.features]", *said]))
    listener = client(broker.port, "edge/pi/flowers/#")
    edge_run("--model", flowers.path, "--mqtt", broker.url, "--device", "pi", "--config", config)
    listener.wait_for_text("edge/pi/flowers/status", b"online")

    def send(device: str, values) -> None:
        for topic, value in zip(topics.values(), values, strict=True):
            listener.publish(topic.replace("+", device), str(value))

    send("bed1", row.values())
    send("bed2", [*list(row.values())[:-1], "unavailable"])
    send("bed3", row.values())
    results = listener.wait_for("result", 2)
    assert [r["source"].split("/")[1] for r in results] == ["bed1", "bed3"]
    assert [r["predictions"][0]["label"] for r in results] == [flowers.answers[0]] * 2
    assert "'unavailable'; a number belongs there" in listener.wait_for("error", 1)[0]["reason"]


def test_after_a_kill_states_that_the_broker_retains_make_a_row_though_none_of_them_changes(
    edge_run, flowers, broker, client
):
    row = flowers.rows[0]
    topics = {name: f"states/{n}" for n, name in enumerate(row)}
    listener = client(broker.port, "edge/pi/flowers/#")
    for name, topic in topics.items():
        listener.publish(topic, str(row[name]), retain=True)
    joined = [part for name, topic in topics.items() for part in ("--join", f"{name}={topic}")]
    for life in range(2):
        process = edge_run("--model", flowers.path, "--mqtt", broker.url, "--device", "pi", *joined)
        assert listener.wait_for("result", life + 1)[life]["predictions"][0]["label"] == flowers.answers[0]
        process.process.kill()
        listener.wait_for_text("edge/pi/flowers/status", b"offline")

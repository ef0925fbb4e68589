"""`edge-run` as a process, with a real mosquitto."""

from __future__ import annotations

import json
import signal
from collections import Counter
from importlib import resources

import jsonschema
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from support.processes import PATIENCE_S, until

from edge.mqtt.codec.client import RECEIVE_MAXIMUM

INPUT = "edge/pi/flowers/input"
STATUS = "edge/pi/flowers/status"


@pytest.fixture
def service(edge_run, flowers, broker, client):
    """A service that is online, and a client that hears it."""
    listener = client(broker.port, "edge/pi/flowers/#")
    process = edge_run("--model", flowers.path, "--mqtt", broker.url, "--device", "pi")
    listener.wait_for_text(STATUS, b"online")
    return process, listener


def test_a_row_on_the_input_topic_gives_the_answer_of_the_framework_that_trained(service, flowers):
    _, listener = service
    for i in (0, 60, 120):
        listener.publish(INPUT, {"id": i, **flowers.rows[i]})
    results = listener.wait_for("result", 3)
    best = [r["predictions"][0] for r in results]
    assert [b["label"] for b in best] == [flowers.answers[i] for i in (0, 60, 120)]
    assert [b["score"] for b in best] == pytest.approx([flowers.probabilities[i] for i in (0, 60, 120)], abs=1e-5)
    assert [r["input_id"] for r in results] == [0, 60, 120]


def test_a_result_is_valid_by_the_schema_that_ships(service, flowers):
    _, listener = service
    listener.publish(INPUT, flowers.rows[0])
    (result,) = listener.wait_for("result")
    schema = json.loads(resources.files("edge.data").joinpath("result.schema.json").read_text())
    jsonschema.validate(result, schema)
    assert result["id"].startswith("pi/flowers/")


def test_a_result_carries_its_content_type_and_properties(service, flowers):
    _, listener = service
    listener.publish(INPUT, flowers.rows[0])
    listener.wait_for("result")
    properties = next(p for t, _, p in listener.messages if t.endswith("/result"))
    assert properties.ContentType == "application/json"
    assert dict(properties.UserProperty) == {"schema": "1", "model": "flowers", "seq": "1"}


def test_a_batch_gives_a_result_each(service, flowers):
    _, listener = service
    listener.publish(INPUT, flowers.rows[:20])
    results = listener.wait_for("result", 20)
    assert [r["predictions"][0]["label"] for r in results] == flowers.answers[:20]
    assert [r["seq"] for r in results] == list(range(1, 21))


@pytest.mark.usefixtures("service")
def test_an_asker_gets_the_answer_on_its_own_topic(flowers, client, broker):
    asker = client(broker.port, "asker/7")
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic = "asker/7"
    properties.CorrelationData = b"\x00question"
    asker.publish(INPUT, flowers.rows[0], properties)
    asker.wait_for("7")
    _, payload, got = asker.messages[0]
    assert json.loads(payload)["predictions"][0]["label"] == flowers.answers[0]
    assert got.CorrelationData == b"\x00question"


def test_with_reply_topics_an_asker_gets_an_answer_on_these_alone(edge_run, flowers, broker, client):
    listener = client(broker.port, "edge/pi/flowers/#")
    edge_run("--model", flowers.path, "--mqtt", broker.url, "--device", "pi", "--reply-topics", "clients/+/answers")
    listener.wait_for_text(STATUS, b"online")
    asker = client(broker.port, "clients/#")
    for topic in ("clients/7/elsewhere", "clients/7/answers"):
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = topic
        asker.publish(INPUT, flowers.rows[0], properties)

    asker.wait_for("answers")
    assert [topic for topic, _, _ in asker.messages] == ["clients/7/answers"]
    assert len(listener.wait_for("result", 2)) == 2
    (error,) = listener.wait_for("error")
    assert "'clients/7/elsewhere': --reply-topics allows clients/+/answers" in error["reason"]


def test_status_goes_offline_before_a_clean_end(service):
    process, listener = service
    assert process.stop() == 0
    listener.wait_for_text(STATUS, b"offline")


def test_status_goes_offline_by_the_will_when_the_process_is_killed(service):
    process, listener = service
    process.stop(signal.SIGKILL)
    listener.wait_for_text(STATUS, b"offline")


def test_info_is_retained_and_tells_what_runs(service, client, broker):
    late = client(broker.port, "edge/pi/flowers/info")
    (info,) = late.wait_for("info")
    assert info["model"]["name"] == "flowers"
    assert info["model"]["features"] == ["sepal_length", "sepal_width", "petal_length", "petal_width"]
    assert info["engine"]["name"] == "onnxruntime"


def test_stats_count_what_happened(edge_run, flowers, broker, client):
    listener = client(broker.port, "edge/pi/flowers/#")
    edge_run("--model", flowers.path, "--mqtt", broker.url, "--device", "pi", "--stats-interval", "0.5")
    listener.wait_for_text(STATUS, b"online")
    listener.publish(INPUT, flowers.rows[0])
    listener.publish(INPUT, [1, 2])

    def counted():
        return [(s["results"], s["skipped"], s["safe"], s["lanes"]["mqtt"]["depth"]) for s in listener.of("stats")[-1:]]

    until(lambda: counted() == [(1, 1, 2, 0)], "a result and a skipped input, both safe, and nothing waits")


def test_it_speaks_mqtt_3_when_told(edge_run, flowers, broker, client):
    listener = client(broker.port, "edge/pi/flowers/#")
    process = edge_run("--model", flowers.path, "--mqtt", broker.url, "--device", "pi", "--mqtt-version", "3.1.1")
    listener.wait_for_text(STATUS, b"online")
    process.wait_until_said("MQTT 3.1.1")
    listener.publish(INPUT, flowers.rows[0])
    assert listener.wait_for("result")[0]["predictions"][0]["label"] == flowers.answers[0]


def test_it_falls_back_to_mqtt_3_where_the_broker_has_no_mqtt_5(edge_run, flowers):
    from edge.mqtt.embedded import EmbeddedBroker

    old = EmbeddedBroker()  # amqtt speaks 3.1.1 only
    old.start()
    try:
        process = edge_run(
            *("--model", flowers.path, "--mqtt", f"mqtt://127.0.0.1:{old.port}", "--source", "synthetic:3"),
        )
        process.process.communicate(timeout=150)
        assert process.process.returncode == 0
        assert "MQTT 3.1.1" in process.said()
    finally:
        old.stop()


def test_it_starts_while_the_broker_is_away_and_delivers_when_it_comes(edge_run, flowers, broker, client):
    broker.end()
    process = edge_run(
        *("--model", flowers.path, "--mqtt", broker.url, "--device", "pi", "--source", "synthetic:100"),
    )
    process.wait_until_said("source ended")
    assert process.process.poll() is None
    broker.start()
    listener = client(broker.port, "edge/pi/flowers/#")
    assert process.process.wait(150) == 0
    assert len({r["id"] for r in listener.of("result")}) <= 100


def test_results_of_an_outage_come_with_their_own_times_and_say_so(edge_run, flowers, broker, client):
    listener = client(broker.port, "edge/pi/flowers/#", name="keeper")
    process = edge_run(*("--model", flowers.path, "--mqtt", broker.url, "--device", "pi", "--source", "-"), stdin=-1)
    listener.wait_for_text(STATUS, b"online")
    process.process.stdin.write(json.dumps(flowers.rows[0]).encode() + b"\n")
    process.process.stdin.flush()
    listener.wait_for("result", 1)
    broker.end()
    process.wait_until_said("no broker")
    for row in flowers.rows[1:100]:
        process.process.stdin.write(json.dumps(row).encode() + b"\n")
    process.process.stdin.close()
    process.wait_until_said("source ended")
    broker.start()
    until(lambda: len({r["id"] for r in listener.of("result")}) >= 100, "a hundred ids")
    assert process.process.wait(PATIENCE_S) == 0
    # The first may come twice: the broker can end between taking it and saying so.
    results = list({r["id"]: r for r in reversed(listener.of("result"))}.values())[::-1]
    assert [r["seq"] for r in results] == list(range(1, 101))
    assert "replayed" not in results[0]
    assert all(r["replayed"] for r in results[1:])
    assert [r["time"] for r in results] == sorted(r["time"] for r in results)


def test_a_thousand_inputs_over_a_broker_that_restarts_give_a_thousand_ids(edge_run, flowers, broker, client):
    listener = client(broker.port, "edge/pi/flowers/#", name="keeper")
    edge_run("--model", flowers.path, "--mqtt", broker.url, "--device", "pi")
    listener.wait_for_text(STATUS, b"online")
    publisher = client(broker.port, name="publisher")
    sent = []
    for i in range(1000):
        sent.append(publisher.client.publish(INPUT, json.dumps({"id": i, **flowers.rows[i % 150]}), 1))
        if i == 500:
            # What the broker has taken and not acknowledged comes a second time, from the publisher. So does what we
            # have acknowledged, where the broker did not come to read it: no more than it sends unacknowledged.
            in_flight = {n for n, info in enumerate(sent) if not info.is_published()}
            broker.end(signal.SIGTERM)
            broker.start()
    until(lambda: len({r["input_id"] for r in listener.of("result")}) == 1000, "an answer to each")
    results = {r["id"]: r for r in listener.of("result")}
    answers = Counter(r["input_id"] for r in results.values())
    assert set(answers) == set(range(1000))
    assert len({n for n, count in answers.items() if count > 1} - in_flight) <= RECEIVE_MAXIMUM
    assert all(r["predictions"][0]["label"] == flowers.answers[r["input_id"] % 150] for r in results.values())


def test_two_devices_never_share_a_client_id(edge_run, flowers, broker, tmp_path, client):
    listener = client(broker.port, "edge/+/flowers/status")
    for device in ("a", "b"):
        edge_run(
            *("--model", flowers.path, "--mqtt", broker.url, "--device", device),
            *("--state-dir", str(tmp_path / device)),
        )
    listener.wait_for_text("edge/a/flowers/status", b"online")
    listener.wait_for_text("edge/b/flowers/status", b"online")
    ids = {(tmp_path / d / "instance.json").read_text() for d in ("a", "b")}
    assert len(ids) == 2
    assert not any(p == b"offline" for _, p, _ in listener.messages)


def test_a_second_process_for_the_same_spool_is_refused(edge_run, flowers, broker, client):
    listener = client(broker.port, "edge/pi/flowers/status")
    edge_run("--model", flowers.path, "--mqtt", broker.url, "--device", "pi")
    listener.wait_for_text(STATUS, b"online")
    second = edge_run("--model", flowers.path, "--mqtt", broker.url, "--device", "pi")
    second.process.communicate(timeout=150)
    assert second.process.returncode == 4
    assert "--device" in second.said().splitlines()[-1]


def test_a_refused_password_is_said_clearly_and_tried_again_slowly(edge_run, flowers, mosquitto, tmp_path):
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    strict = mosquitto(f"password_file {passwords}", anonymous=False)
    process = edge_run(
        *("--model", flowers.path, "--mqtt", f"mqtt://pi:wrong-secret@127.0.0.1:{strict.port}", "--device", "pi"),
    )
    process.wait_until_said("refuses the password of user 'pi'")
    assert process.process.poll() is None
    log = (strict.folder / "mosquitto.log").read_text()
    assert log.count("New connection") < 8
    process.stop()
    assert "wrong-secret" not in process.said()


def test_a_password_from_a_file_opens_the_broker(edge_run, flowers, mosquitto, tmp_path, client):
    import subprocess

    passwords, secret = tmp_path / "passwords", tmp_path / "secret"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "pi", "s3cret"], check=True)
    passwords.chmod(0o644)
    secret.write_text("s3cret\n")
    strict = mosquitto(f"password_file {passwords}", anonymous=False)
    listener = client(strict.port, "edge/pi/flowers/status", username="pi", password="s3cret")
    edge_run(
        *("--model", flowers.path, "--mqtt", f"mqtt://pi@127.0.0.1:{strict.port}", "--device", "pi"),
        *("--mqtt-password-file", str(secret)),
    )
    listener.wait_for_text(STATUS, b"online")


def test_two_models_with_one_name_never_share_their_topics(edge_run, broker, flowers, client):
    listener = client(broker.port, STATUS)
    edge_run("--model", flowers.path, "--mqtt", broker.url, "--device", "pi", "--durability", "none")
    listener.wait_for_text(STATUS, b"online")
    second = edge_run("--model", flowers.path, "--mqtt", broker.url, "--device", "pi", "--durability", "none")
    assert second.process.wait(PATIENCE_S) == 2
    second.wait_until_said("the topics edge/pi/flowers/# belong to process")
    third = edge_run("--model", flowers.path, "--mqtt", broker.url, "--device", "pi", "--name", "other")
    third.wait_until_said("topics=edge/pi/other/#")


def test_another_state_folder_is_no_way_to_topics_that_are_in_use(edge_run, broker, flowers, tmp_path, client):
    listener = client(broker.port, STATUS)
    flags = ("--model", flowers.path, "--mqtt", broker.url, "--device", "pi")
    first = edge_run(*flags)
    listener.wait_for_text(STATUS, b"online")
    second = edge_run(*flags, "--state-dir", str(tmp_path / "elsewhere"))
    assert second.process.wait(PATIENCE_S) == 2
    second.wait_until_said("the topics edge/pi/flowers/# belong to a process with another --state-dir")
    first.process.kill()
    first.process.wait(PATIENCE_S)
    third = edge_run(*flags, "--state-dir", str(tmp_path / "elsewhere"))
    third.wait_until_said("topics=edge/pi/flowers/#")


def test_what_an_earlier_life_has_subscribed_to_doubles_no_input(edge_run, flowers, broker, client):
    """mosquitto sends a message once for each filter that asks for it, also for one that is no source any more."""
    listener = client(broker.port, "edge/pi/flowers/#")
    for topic in ("line/1", "line/+"):
        process = edge_run("--model", flowers.path, "--mqtt", broker.url, "--device", "pi", "--source", f"mqtt:{topic}")
        listener.wait_for_text(STATUS, b"online")
        process.stop()
        listener.forget()
    edge_run("--model", flowers.path, "--mqtt", broker.url, "--device", "pi", "--source", "mqtt:line/+")
    listener.wait_for_text(STATUS, b"online")
    for topic in ("line/1", "line/1", "line/2"):
        listener.publish(topic, flowers.rows[0])
    assert [r["source"] for r in listener.wait_for("result", 3)] == ["mqtt:line/1", "mqtt:line/1", "mqtt:line/2"]

"""Certificates, both ways, and websockets, with a real mosquitto."""

from __future__ import annotations

import pytest
from support.processes import Mosquitto, free_port, listens, until
from support.tls import Papers

STATUS = "edge/pi/flowers/status"


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    return Papers(tmp_path_factory.mktemp("tls") / "papers")


@pytest.fixture
def secure(mosquitto, papers, tmp_path):
    """A broker with a TLS port that asks for a client's certificate; returns that port and the broker."""
    port = free_port()
    broker: Mosquitto = mosquitto(
        f"listener {port} 127.0.0.1\ncafile {papers.ca}\ncertfile {papers.folder}/broker.pem\n"
        f"keyfile {papers.folder}/broker.key\nrequire_certificate true\n"
    )
    until(lambda: listens(port), "the TLS port")
    return port, broker


def test_a_client_certificate_and_the_brokers_ca_open_the_way(edge_run, flowers, secure, papers, client):
    port, broker = secure
    listener = client(broker.port, STATUS)
    edge_run(
        *("--model", flowers.path, "--device", "pi", "--mqtt", f"mqtts://localhost:{port}"),
        *("--mqtt-ca", papers.ca, "--mqtt-cert", papers.folder / "client.pem"),
        *("--mqtt-key", papers.folder / "client.key"),
    )
    listener.wait_for_text(STATUS, b"online")


def test_a_broker_whose_ca_is_not_known_is_refused_with_the_way_out(edge_run, flowers, secure):
    port, _ = secure
    process = edge_run("--model", flowers.path, "--device", "pi", "--mqtt", f"mqtts://localhost:{port}")
    process.wait_until_said("this system does not know the CA of the broker's certificate")
    assert "--mqtt-ca FILE" in process.said()
    assert process.process.poll() is None


def test_a_host_that_there_is_not_is_said_so(edge_run, flowers):
    process = edge_run("--model", flowers.path, "--mqtt", "mqtts://nowhere.invalid:8883")
    process.wait_until_said("no such host")
    assert process.process.poll() is None


def test_a_ca_file_that_is_none_ends_with_2(edge_run, flowers, tmp_path):
    (tmp_path / "odd.pem").write_text("not a certificate")
    process = edge_run(
        *("--model", flowers.path, "--mqtt", "mqtts://localhost:8883", "--mqtt-ca", tmp_path / "odd.pem"),
    )
    process.process.communicate(timeout=150)
    assert process.process.returncode == 2
    assert "odd.pem" in process.said().splitlines()[-1]


def test_websockets_carry_it_too(edge_run, flowers, mosquitto, client):
    port = free_port()
    broker = mosquitto(f"listener {port} 127.0.0.1\nprotocol websockets\n")
    until(lambda: listens(port), "the websocket port")
    listener = client(broker.port, "edge/pi/flowers/#")
    edge_run("--model", flowers.path, "--device", "pi", "--mqtt", f"ws://127.0.0.1:{port}")
    listener.wait_for_text(STATUS, b"online")
    listener.publish("edge/pi/flowers/input", flowers.rows[0])
    assert listener.wait_for("result")[0]["predictions"][0]["label"] == flowers.answers[0]

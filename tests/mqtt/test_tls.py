"""What is wrong with a TLS connection is said in a user's words, each with a way out. Against real TLS servers."""

from __future__ import annotations

import gc
import socket
import ssl
import subprocess
import threading

import pytest
from support.processes import free_port, listens, until

from edge.mqtt.messages import Listener, MqttOptions, Steady
from edge.mqtt.session import MqttSession
from edge.mqtt.url import parse

# paho leaves the socket of a handshake that fails to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _collected():
    """Set up first, so torn down last: no other test hears of those sockets."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    """Two CAs, and certificates of the first: good, for another host, expired, and a client's."""
    folder = tmp_path_factory.mktemp("papers")

    def openssl(line):
        subprocess.run(["openssl", *line.split()], cwd=folder, check=True, capture_output=True)

    for ca in ("ca", "other"):
        openssl(f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={ca} -keyout {ca}.key -out {ca}.pem")
    (folder / "here").write_text("subjectAltName=IP:127.0.0.1\n")
    (folder / "away").write_text("subjectAltName=DNS:broker.example\n")
    for name, days, names in (("good", 2, "here"), ("away", 2, "away"), ("old", -1, "here"), ("client", 2, "away")):
        openssl(f"req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr")
        openssl(
            f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days {days} "
            f"-extfile {names} -out {name}.pem"
        )
    openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=me -keyout stranger.key -out stranger.pem")
    return folder


@pytest.fixture
def serve(papers):
    """A TLS server with a certificate, on a port; it reads and says nothing."""
    open_ones = []

    def begin(name, *, wants_client=False):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(papers / f"{name}.pem", papers / f"{name}.key")
        if wants_client:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(papers / "ca.pem")
        server = socket.create_server(("127.0.0.1", 0))

        def run():
            while True:
                try:
                    sock, _ = server.accept()
                except OSError:
                    return
                try:
                    with context.wrap_socket(sock, server_side=True) as tls:
                        while tls.recv(1000):
                            pass
                except OSError:
                    sock.close()

        thread = threading.Thread(target=run)
        thread.start()
        open_ones.append((server, thread))
        return server.getsockname()[1]

    yield begin
    for server, thread in open_ones:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(150)


@pytest.fixture
def reason(papers):
    """The first reason why a connection does not come about."""
    made = []

    def of(url, **options):
        came, reasons = threading.Event(), []

        class Told(Listener):
            def away(self, reason):
                reasons.append(reason)
                came.set()

        session = MqttSession(MqttOptions(parse(url), "tested", **options), retry=Steady(60.0))
        session.listen(Told())
        made.append(session)
        session.start()
        assert came.wait(150)
        return reasons[0]

    yield of
    for session in made:
        session.stop(timeout_s=0.1)


def test_an_expired_certificate(serve, reason, papers):
    said = reason(f"mqtts://127.0.0.1:{serve('old')}", ca=papers / "ca.pem")
    assert "has expired; renew it there, or set this device's clock" in said


def test_a_certificate_of_another_host(serve, reason, papers):
    said = reason(f"mqtts://127.0.0.1:{serve('away')}", ca=papers / "ca.pem")
    assert "is for another host" in said
    assert "use the name it is made for" in said


def test_a_ca_that_is_not_known(serve, reason, papers):
    said = reason(f"mqtts://127.0.0.1:{serve('good')}", ca=papers / "other.pem")
    assert "other.pem is not the CA of the broker's certificate" in said
    assert "--mqtt-ca FILE" in said


def test_a_client_certificate_that_is_missing(serve, reason, papers):
    said = reason(f"mqtts://127.0.0.1:{serve('good', wants_client=True)}", ca=papers / "ca.pem")
    assert "want" in said
    assert "a client certificate" in said
    assert "name one with --mqtt-cert FILE --mqtt-key FILE" in said


def test_a_client_certificate_of_another_ca(serve, reason, papers):
    said = reason(
        f"mqtts://127.0.0.1:{serve('good', wants_client=True)}",
        ca=papers / "ca.pem", cert=papers / "stranger.pem", key=papers / "stranger.key",
    )  # fmt: skip
    assert "the client certificate" in said
    assert "stranger.pem" in said
    assert "is it valid, and of the broker's CA?" in said


def test_tls_to_a_port_that_speaks_none(broker, reason, papers):
    said = reason(f"mqtts://127.0.0.1:{broker.port}", ca=papers / "ca.pem")
    assert "say mqtt:// or name the broker's TLS port" in said


def test_no_tls_to_a_port_that_speaks_it(serve, reason, way):
    said = reason(f"mqtt://127.0.0.1:{serve('good')}")
    assert "it hangs up on CONNECT without a word; if TLS is spoken there, say mqtts://" in said


def test_a_websocket_without_tls_to_a_port_that_speaks_it(serve, reason):
    said = reason(f"ws://127.0.0.1:{serve('good')}/mqtt")
    assert "are websockets spoken there, at this path? check --mqtt; if TLS is spoken there, say wss://" in said


def test_tls_to_the_plain_port_of_a_mosquitto(mosquitto, reason, papers):
    said = reason(f"mqtts://127.0.0.1:{mosquitto().port}", ca=papers / "ca.pem")
    assert "say mqtt:// or name the broker's TLS port" in said


def test_no_tls_to_the_tls_port_of_a_mosquitto(mosquitto, reason, papers):
    port = free_port()
    mosquitto(
        f"listener {port} 127.0.0.1\ncafile {papers}/ca.pem\ncertfile {papers}/good.pem\nkeyfile {papers}/good.key\n"
    )
    until(lambda: listens(port), "the TLS port")
    assert "it hangs up on CONNECT without a word; if TLS is spoken there, say mqtts://" in reason(
        f"mqtt://127.0.0.1:{port}"
    )


def test_no_tls_to_a_port_that_answers_with_an_alert(broker, reason, way):
    def alert(peer):
        peer.write(b"\x15\x03\x03\0\2\2\x46")

    broker.connack = alert
    assert "TLS is spoken there; say mqtts://" in reason(broker.url)

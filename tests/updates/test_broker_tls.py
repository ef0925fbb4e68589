"""A repository in a broker that asks for certificates and a password: what goes through, and what is told where not."""

from __future__ import annotations

import gc
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.processes import Mosquitto, free_port, listens, until
from support.tls import Papers
from support.updating import Fleet

from edge.cli import fleet as command
from edge.settings.settings import MqttSettings
from edge.updates import trust

pytestmark = [
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="needs mosquitto (apt-get install mosquitto)"),
    # paho leaves the socket of a handshake that fails to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PASSWORD = "a secret"


@pytest.fixture(autouse=True)
def _collected():
    """Set up first, so torn down last: no other test hears of those sockets."""
    yield
    gc.collect()


class Safe:
    """A broker with a port of TLS, of a user with a password, and of whom it knows the certificate."""

    def __init__(self, folder: Path, papers: Papers) -> None:
        self.papers = papers
        self.port = free_port()
        folder.mkdir()
        users = folder / "users"
        subprocess.run(["mosquitto_passwd", "-b", "-c", str(users), "anna", PASSWORD], check=True, capture_output=True)
        users.chmod(0o644)
        cert, key = papers.pair("broker")
        self.broker = Mosquitto(
            folder / "broker",
            f"password_file {users}\nlistener {self.port} 127.0.0.1\ncafile {papers.ca}\ncertfile {cert}\n"
            f"keyfile {key}\nrequire_certificate true\n",
            anonymous=False,
        )
        self.broker.start()
        until(lambda: listens(self.port), "the port of TLS")

    def settings(self, **other) -> MqttSettings:
        cert, key = self.papers.pair("client")
        said = {
            "user": f"anna:{PASSWORD.replace(' ', '%20')}@",
            "ca": self.papers.ca,
            "cert": cert,
            "key": key,
            **other,
        }
        return MqttSettings(url=f"mqtts://{said.pop('user')}127.0.0.1:{self.port}", **said)


@pytest.fixture(scope="module")
def safe(tmp_path_factory, papers) -> Iterator[Safe]:
    safe = Safe(tmp_path_factory.mktemp("safe") / "safe", papers)
    yield safe
    safe.broker.end()


def words(settings: MqttSettings) -> list[str]:
    """As `edge-fleet` is told them."""
    said = {"--mqtt": settings.url, "--mqtt-ca": settings.ca, "--mqtt-cert": settings.cert, "--mqtt-key": settings.key}
    return [str(word) for flag, value in said.items() if value is not None for word in (flag, value)]


def ask(fleet: Fleet, device: Path, settings: MqttSettings) -> trust.Answer:
    return trust.ask(fleet.order(device, uri="mqtt:", broker=settings, prefix="edge"))


def test_with_ca_client_certificate_user_and_password_it_is_published_and_followed(safe, fleet, device, capsys):
    published = command.run(["publish", str(fleet.folder), *words(safe.settings())])
    answer = ask(fleet, device, safe.settings())

    assert (published, answer.fault, answer.release.version) == (0, None, "1")
    assert command.run(["status", str(fleet.folder), *words(safe.settings())]) == 0
    assert "are retained" in capsys.readouterr().out


def other(papers: Papers) -> dict[str, dict]:
    stranger, key = papers.pair("other")
    return {
        "another CA": {"ca": papers.other},
        "no certificate": {"cert": None, "key": None},
        "a stranger's certificate": {"cert": stranger, "key": key},
        "a wrong password": {"user": "anna:wrong@"},
        "no user": {"user": ""},
    }


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("another CA", "is not the CA of the broker's certificate"),
        ("no certificate", "client certificate"),
        ("a stranger's certificate", "the client certificate"),
        ("a wrong password", "the broker refuses: Not authorized"),
        ("no user", "the broker refuses: Not authorized"),
    ],
)
def test_what_is_wrong_is_told_to_the_device_and_to_the_publisher_and_nothing_changes(
    safe, fleet, device, capsys, papers, how, why
):
    settings = safe.settings(**other(papers)[how])
    answer = ask(fleet, device, settings)
    published = command.run(["publish", str(fleet.folder), *words(settings)])
    said = capsys.readouterr().err
    status = command.run(["status", str(fleet.folder), *words(settings)])

    assert (answer.fault, published, status) == ("away", 5, 5)
    for text in (answer.reason, said, capsys.readouterr().err):
        assert why in text, text
        assert PASSWORD not in text

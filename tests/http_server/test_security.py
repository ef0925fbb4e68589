"""Who may ask: addresses, tokens, web pages of strangers, and certificates."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl

import pytest
from support import onnxmodels
from support.http import Site, talk, tensor
from support.processes import until
from support.tls import make_certificate

from edge.errors import ConfigError
from edge.http.auth import read_token, split_address
from edge.http.options import Limits

TOKEN = "correct-horse-battery-staple"


@pytest.fixture
def guarded(serve, models):
    limits = Limits(wrong_token_s=0)
    return serve(onnxmodels.identity(models / "guarded.onnx"), token=TOKEN, names=("pi.example",), limits=limits)


# --- the address ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("8080", "127.0.0.1", 8080),
        (":8080", "127.0.0.1", 8080),
        ("0.0.0.0:80", "0.0.0.0", 80),
        ("[::1]:8080", "::1", 8080),
        ("pi.local:0", "pi.local", 0),
    ],
)
def test_an_address_is_host_and_port_and_the_host_is_loopback_where_none_is_said(text, host, port):
    assert split_address(text) == (host, port)


@pytest.mark.parametrize("text", ["", "host", "host:", "1:99999", "host:-1"])
def test_an_address_without_a_port_says_what_belongs_there(text):
    with pytest.raises(ConfigError, match="say 8080"):
        split_address(text)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "pi.local"])
def test_an_address_that_others_reach_demands_a_token(models, host):
    with pytest.raises(ConfigError, match="--http-token-file"):
        Site(onnxmodels.identity(models / "open.onnx"), host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.0.0.2"])
def test_loopback_needs_none(serve, models, host):
    assert serve(onnxmodels.identity(models / "loopback.onnx"), host=host).get("/health").status == 200


def test_every_address_is_served_where_there_is_a_token(serve, models):
    site = serve(onnxmodels.identity(models / "every.onnx"), host="0.0.0.0", token=TOKEN)

    assert site.get("/v2", Authorization=f"Bearer {TOKEN}").status == 200


def test_a_port_that_is_taken_is_a_configuration_error(numbers, models):
    with pytest.raises(ConfigError, match="say another port"):
        Site(onnxmodels.identity(models / "taken.onnx"), port=numbers.address[1]).start()


# --- the token ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/v2", "/v2/health/live", "/metrics", "/events", "/docs", "/openapi.json", "/live/state", "/nothing"]
)
def test_everything_but_health_wants_the_token(guarded, path):
    answer = guarded.get(path)

    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "--http-token-file" in answer.error
    assert TOKEN not in answer.error


def test_health_wants_none(guarded):
    assert guarded.get("/health").json == {"status": "ok"}


@pytest.mark.parametrize("said", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"])
def test_a_wrong_token_is_refused(guarded, said):
    assert guarded.get("/v2", Authorization=said).status == 401


def test_a_body_whose_end_is_not_known_ends_the_connection_before_anybody_asks_for_the_token(guarded):
    hidden = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    ask = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: identity\r\n\r\n"
    with socket.create_connection(guarded.address, 150) as client:
        client.sendall(ask + hidden)
        client.shutdown(socket.SHUT_WR)
        found = b"".join(iter(lambda: client.recv(65536), b""))

    assert found.startswith(b"HTTP/1.1 501")
    assert found.count(b"HTTP/1.1 ") == 1


def test_the_right_token_opens_everything(guarded):
    for path in ("/", "/v2", "/metrics", "/docs", "/openapi.json", "/live/state"):
        assert guarded.get(path, Authorization=f"bearer {TOKEN}").status == 200


def test_a_browser_without_the_token_gets_a_page_that_asks_for_it_and_holds_no_data(guarded):
    answer = guarded.get("/", Accept="text/html")

    assert answer.status == 401
    assert b"This device asks for its token" in answer.body
    assert b"guarded" not in answer.body


@pytest.mark.parametrize("text", ["", "\n", "two words", "zwölf-€"])
def test_a_token_file_without_a_usable_token_says_how_to_make_one(tmp_path, text):
    (tmp_path / "token").write_text(text)

    with pytest.raises(ConfigError, match="openssl rand"):
        read_token(tmp_path / "token")


def test_a_token_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="nowhere"):
        read_token(tmp_path / "nowhere")


@pytest.fixture
def token_file(tmp_path):
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text(TOKEN)
    return file


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
@pytest.mark.parametrize(
    ("text", "mode", "says"), [("fifteen-letters", 0o600, "openssl rand"), (TOKEN, 0o640, "chmod 600")]
)
def test_a_token_that_is_short_or_that_others_can_read_is_refused_where_others_reach_it(
    models, token_file, host, text, mode, says
):
    token_file.write_text(text)
    token_file.chmod(mode)

    def make():
        Site(onnxmodels.identity(models / "weak.onnx"), host=host, token_file=token_file)

    if host == "127.0.0.1":
        make()
    else:
        with pytest.raises(ConfigError, match=says):
            make()


def test_a_token_that_changes_is_demanded_of_connections_that_are_open_too(serve, models, token_file):
    limits = Limits(wrong_token_s=0)
    site = serve(onnxmodels.identity(models / "turns.onnx"), token_file=token_file, limits=limits)
    row = {"inputs": [tensor("x", [[1, 2, 3]], "FP32")]}
    old, new = ({"Authorization": f"Bearer {token}"} for token in (TOKEN, "another-token-of-some-length"))
    with contextlib.closing(site.connect()) as connection:

        def ask(headers):
            return talk(connection, "POST", f"/v2/models/{site.name}/infer", row, **headers).status

        assert [ask(old), ask(old), ask(new)] == [200, 200, 401]
        token_file.write_text("short")  # half written, it changes nothing
        os.utime(token_file, ns=(1, 1))
        token_file.write_text("another-token-of-some-length")

        until(lambda: ask(new) == 200, "the new token is known")
        assert ask(old) == 401


def test_an_answer_to_a_wrong_token_is_held_back_and_one_to_none_is_not(serve, models):
    limits = Limits(wrong_token_s=1000)
    site = serve(onnxmodels.identity(models / "guess.onnx"), token=TOKEN, limits=limits, grace_s=0)

    assert site.get("/v2").status == 401
    with socket.create_connection(site.address) as guesser:
        guesser.sendall(b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n\r\n")
        assert site.get("/v2", Authorization=f"Bearer {TOKEN}").status == 200
        guesser.settimeout(0.1)
        with pytest.raises(TimeoutError):
            guesser.recv(1)


# --- pages of strangers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "evil.example:8080", "", "pi.example.evil"])
def test_a_name_that_is_not_ours_is_refused_whatever_it_points_to(guarded, host):
    answer = guarded.get("/v2", Host=host, Authorization=f"Bearer {TOKEN}")

    assert answer.status == 403
    assert "--http-name" in answer.error


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:80", "192.168.1.9:8080", "pi.example"]
)
def test_our_names_and_every_address_are_answered(guarded, host):
    assert guarded.get("/v2", Host=host, Authorization=f"Bearer {TOKEN}").status == 200


def test_a_host_that_comes_twice_is_refused(numbers):
    connection = numbers.connect()
    connection.putrequest("GET", "/v2", skip_host=True)
    connection.putheader("Host", "localhost")
    connection.putheader("Host", "evil.example")
    connection.endheaders()

    assert connection.getresponse().status == 400
    connection.close()


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1"])
def test_a_page_of_another_site_may_not_ask(numbers, origin):
    answer = numbers.post("/predict", [1, 2, 3], Origin=origin)

    assert answer.status == 403
    assert "access-control-allow-origin" not in answer.headers


def test_our_own_page_may_ask(numbers):
    assert numbers.post("/predict", [1, 2, 3], Origin=numbers.server.url).status == 200


def test_our_own_page_may_ask_through_a_proxy_that_speaks_tls_for_us(guarded):
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": "pi.example"}

    assert guarded.post("/predict", [1, 2, 3], Origin="https://pi.example", **headers).status == 200
    assert guarded.post("/predict", [1, 2, 3], Origin="https://evil.example", **headers).status == 403


def test_a_preflight_is_not_answered(numbers):
    answer = numbers.ask("OPTIONS", "/predict", Access_Control_Request_Method="POST")

    assert answer.status == 405
    assert not [h for h in answer.headers if h.startswith("access-control")]


# --- headers and TLS ------------------------------------------------------------------------------------


def test_pages_may_load_nothing_but_their_own_script_and_style(numbers):
    for path in ("/", "/docs"):
        page = numbers.get(path)
        policy = dict(rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; "))

        assert policy["default-src"] == "'none'"
        assert policy["script-src"].startswith("'sha256-")
        assert policy["frame-ancestors"] == "'none'"
        assert page.headers["x-frame-options"] == "DENY"
        assert b'src="http' not in page.body
        assert b'href="http' not in page.body


@pytest.mark.parametrize("path", ["/health", "/v2", "/metrics", "/nothing", "/"])
def test_every_answer_says_that_it_is_no_other_type_and_nobody_else_s(numbers, path):
    headers = numbers.get(path).headers

    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls"))


def test_with_a_certificate_it_speaks_tls(serve, models, certificate):
    cert, key = certificate
    site = serve(onnxmodels.identity(models / "tls.onnx"), cert=cert, key=key)
    connection = site.connect(ssl.create_default_context(cafile=str(cert)))

    assert site.server.url.startswith("https://")
    assert talk(connection, "POST", "/predict", [1, 2, 3], Origin=site.server.url).status == 200
    connection.close()


def test_a_certificate_that_changes_is_shown_to_the_next_connection(serve, models, certificate, tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    first, second = certificate, make_certificate(tmp_path)
    for own, file in zip((cert, key), first, strict=True):
        own.write_bytes(file.read_bytes())
    site = serve(onnxmodels.identity(models / "renewed.onnx"), cert=cert, key=key)

    def trusts(file):
        with contextlib.closing(site.connect(ssl.create_default_context(cafile=str(file)))) as connection:
            try:
                return talk(connection, "GET", "/health").status == 200
            except ssl.SSLCertVerificationError:
                return False

    assert (trusts(first[0]), trusts(second[0])) == (True, False)
    for own, file in zip((cert, key), second, strict=True):
        own.write_bytes(file.read_bytes())

    until(lambda: trusts(second[0]), "the new certificate is shown")


@pytest.mark.parametrize("wrong", ["no-key", "no-cert", "swapped", "missing"])
def test_a_certificate_that_cannot_be_used_is_a_configuration_error(models, certificate, tmp_path, wrong):
    cert, key = certificate
    pair = {"no-key": (cert, None), "no-cert": (None, key), "swapped": (key, cert), "missing": (tmp_path / "x", key)}

    with pytest.raises(ConfigError, match=r"--http-(cert|key)"):
        Site(onnxmodels.identity(models / "nocert.onnx"), **dict(zip(("cert", "key"), pair[wrong], strict=True)))

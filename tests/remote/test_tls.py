"""A CA that somebody made by hand is trusted wherever it is named, on every Python."""

from __future__ import annotations

import ssl

import pytest
from support.tls import Papers

from edge.remote.tls import trusting


@pytest.fixture
def papers(tmp_path):
    return Papers(tmp_path / "papers")


def test_a_certificate_without_the_extensions_that_python_3_13_asks_for_is_taken_from_a_named_ca(papers):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*papers.pair("broker"))
    ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        trusting(str(papers.ca)).wrap_bio(theirs, ours, server_hostname="localhost"),
        server.wrap_bio(ours, theirs, server_side=True),
    ]
    for side in sides * 3:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    assert sides[0].version() == "TLSv1.3"
    assert dict(pair for (pair,) in sides[0].getpeercert()["subject"]) == {"commonName": "broker"}


def test_who_names_no_ca_has_the_system_s_store_and_python_s_own_strictness():
    assert trusting("").verify_flags == ssl.create_default_context().verify_flags

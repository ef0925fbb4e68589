"""The address under which a phone finds this device."""

from __future__ import annotations

import ipaddress

import pytest

from edge.http.app import host_for_others, url_of


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_what_listens_on_loopback_is_found_by_none(host):
    assert host_for_others(host) is None
    assert host_for_others(host, ["pi.example"]) is None


@pytest.mark.parametrize("host", ["192.168.1.20", "fd00::20", "pi.local"])
def test_an_address_that_is_listened_on_is_the_one(host):
    assert host_for_others(host) == host


def test_a_name_that_clients_use_goes_first():
    assert host_for_others("0.0.0.0", ["pi.example", "pi.other"]) == "pi.example"


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_what_listens_everywhere_is_found_by_an_address_of_its_network_or_by_its_name(host):
    found = host_for_others(host)
    assert found is not None
    if not found.endswith(".local"):
        assert not ipaddress.ip_address(found).is_unspecified
        assert not ipaddress.ip_address(found).is_loopback


def test_an_address_of_ipv6_stands_in_brackets():
    assert url_of("fd00::20", 8080, tls=True) == "https://[fd00::20]:8080"
    assert url_of("pi.local", 8080, tls=False) == "http://pi.local:8080"

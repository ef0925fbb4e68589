"""Nothing is lost: the installed edge-run and a real mosquitto under random faults."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from integration.faults.broker import BrokerError, find_mosquitto
from integration.faults.brokers import missing
from integration.faults.campaign import Account, Campaign, table
from integration.faults.fed import FedCampaign
from integration.faults.switches import SwitchCampaign, told
from integration.faults.together import TogetherCampaign

SEED = int(os.environ.get("EDGE_FAULTS_SEED", "20261123"))

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(find_mosquitto() is None, reason="needs mosquitto (apt-get install mosquitto)"),
]


def counted(campaign: type[Campaign] | type[FedCampaign], place: Path, faults: int, **more: str) -> Account:
    """One campaign's account; once more where mosquitto itself hangs or ends, which it does now and then."""
    for seed in (SEED, SEED + 1):
        (place / str(seed)).mkdir()
        try:
            account = campaign(place / str(seed), seed, faults=faults, **more).run()
        except BrokerError as exc:
            print(f"seed {seed}: {exc}")
        else:
            print(table([account]))
            return account
    raise AssertionError("mosquitto failed twice")


@pytest.mark.timeout(1200)
def test_no_acknowledged_input_is_lost_under_two_hundred_faults(tmp_path):
    account = counted(Campaign, tmp_path, 200)
    assert account.faults.total() >= 200
    assert account.acknowledged > 1000
    assert account.faulty() == {}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("broker", ["mosquitto-memory", "rabbitmq", "nats", "ejabberd", "aedes"])
def test_nor_at_another_broker_under_forty(tmp_path, broker):
    if (what := missing(broker)) is not None:
        pytest.skip(what)
    account = counted(Campaign, tmp_path, 40, broker=broker)
    assert account.acknowledged > 200
    assert account.faulty() == {}


@pytest.mark.timeout(900)
def test_nor_of_runs_that_share_a_connection_under_sixty(tmp_path):
    account = counted(TogetherCampaign, tmp_path, 60)
    assert account.acknowledged > 1000
    assert account.faulty() == {}


@pytest.mark.timeout(600)
def test_no_line_that_was_reported_as_taken_is_lost_with_always(tmp_path):
    account = counted(FedCampaign, tmp_path, 45)
    assert account.acknowledged > 500
    assert account.faulty() == {}


@pytest.mark.timeout(1200)
def test_nor_by_switches_of_the_model_while_all_is_killed(tmp_path):
    """A thousand of them: make soak-switches."""
    account = SwitchCampaign(tmp_path, SEED, 10, 1000.0).run()
    print(told([account]))
    assert account.switches > 0
    assert account.faults.total() > 0
    assert account.faulty() == {}

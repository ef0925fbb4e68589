"""deploy/: what its files tell edge-run is understood, what they ask of it is there, and others' schemas take them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from support import peers

from edge.settings import layers

DEPLOY = Path(__file__).parents[2] / "deploy"
KUBERNETES = DEPLOY / "kubernetes" / "edge-run.yaml"
COMPOSE = DEPLOY / "compose.yaml"
DASHBOARD = DEPLOY / "grafana" / "edge-run.json"


def containers():
    """Name of the workload, and its container."""
    yaml = pytest.importorskip("yaml")
    found = [d for d in yaml.safe_load_all(KUBERNETES.read_text()) if d["kind"] in ("DaemonSet", "StatefulSet")]
    assert [d["kind"] for d in found] == ["DaemonSet", "StatefulSet"]
    return [(d["metadata"]["name"], d["spec"]["template"]["spec"]) for d in found]


def test_the_flags_on_kubernetes_are_those_of_edge_run_and_name_what_is_mounted():
    for name, pod in containers():
        (container,) = pod["containers"]
        settings = layers.read(container["args"], {e["name"]: "node1" for e in container["env"]}, "0")
        assert settings.input.source.startswith("mqtt:"), name
        mounted = {m["mountPath"] for m in container["volumeMounts"]}
        assert str(settings.mqtt.password_file.parent) in mounted
        assert "/state" in mounted


def test_health_is_asked_on_kubernetes_by_a_flag_that_is_there():
    for _, pod in containers():
        (container,) = pod["containers"]
        for probe in ("startupProbe", "livenessProbe"):
            program, *flags = container[probe]["exec"]["command"]
            assert program == "edge-run"
            assert layers.read(flags, {}, "0").process.healthy


def compose():
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load(COMPOSE.read_text())


def test_the_flags_in_the_compose_file_are_those_of_edge_run_and_name_services_and_secrets_that_are_there():
    asked = compose()
    service = asked["services"]["edge-run"]
    settings = layers.read(service["command"], service["environment"], "0")

    secrets = {f"/run/secrets/{s['source']}" for s in service["secrets"]}
    (sink,) = settings.output.sinks
    assert str(settings.http.token_file) in secrets
    assert {re.match(r"influx:http://(\w+):8086#", sink)[1], "mosquitto"} == set(service["depends_on"])
    assert sink.endswith(f"#db={asked['services']['influxdb']['environment']['INFLUXDB_DB']}")
    assert settings.mqtt.url == "mqtt://mosquitto"


def test_only_the_user_of_each_service_reads_a_token_and_no_port_is_open_beyond_this_machine():
    asked = compose()
    for name, service in asked["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
    for name in ("edge-run", "prometheus", "grafana"):
        assert all(secret["mode"] == 0o400 for secret in asked["services"][name]["secrets"]), name


def test_prometheus_is_pointed_at_the_port_and_the_token_of_edge_run():
    yaml = pytest.importorskip("yaml")
    asked = compose()
    service = asked["services"]["edge-run"]
    settings = layers.read(service["command"], {}, "0")
    (job,) = yaml.safe_load(asked["configs"]["prometheus"]["content"])["scrape_configs"]
    port = settings.http.address.rpartition(":")[2]
    assert job["static_configs"] == [{"targets": [f"edge-run:{port}"]}]
    assert job["authorization"]["credentials_file"] == str(settings.http.token_file)


def test_the_panels_of_the_dashboard_have_places_of_their_own():
    taken = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells


@pytest.mark.peers
def test_the_schemas_of_kubernetes_take_it():
    bins = peers.pinned(peers.CACHE, "kubernetes-validate==1.37.0")
    done = subprocess.run([bins / "kubernetes-validate", "--strict", KUBERNETES], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.peers
def test_a_parser_of_compose_files_takes_it():
    bins = peers.pinned(peers.CACHE, "compose-spec==0.2.1")
    code = "import sys, compose_spec; print(compose_spec.PyCompose.from_yaml(open(sys.argv[1]).read()).service_names())"
    done = subprocess.run([bins / "python", "-c", code, COMPOSE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "grafana" in done.stdout


@pytest.mark.peers
def test_a_parser_of_promql_and_grafanas_own_models_take_the_dashboard():
    bins = peers.pinned(peers.CACHE, "promql-parser==0.12.0", "grafana-foundation-sdk==1769699998!10.1.0")
    code = """
import json, sys
import promql_parser
from grafana_foundation_sdk.models.dashboard import Dashboard
dashboard = json.load(open(sys.argv[1]))
for panel in dashboard["panels"]:
    for target in panel["targets"]:
        promql_parser.parse(target["expr"].replace("$__rate_interval", "1m"))
print(len(Dashboard.from_json(dashboard).panels))
"""
    done = subprocess.run([bins / "python", "-c", code, DASHBOARD], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(json.loads(DASHBOARD.read_text())["panels"])

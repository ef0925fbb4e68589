"""deploy/kubernetes: what it tells edge-run is understood, and Kubernetes' own schemas take it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support import peers

from edge.settings import layers

FILE = Path(__file__).parents[2] / "deploy" / "kubernetes" / "edge-run.yaml"


def containers():
    """Name of the workload, and its container."""
    yaml = pytest.importorskip("yaml")
    found = [d for d in yaml.safe_load_all(FILE.read_text()) if d["kind"] in ("DaemonSet", "StatefulSet")]
    assert [d["kind"] for d in found] == ["DaemonSet", "StatefulSet"]
    return [(d["metadata"]["name"], d["spec"]["template"]["spec"]) for d in found]


def test_the_flags_are_those_of_edge_run_and_name_what_is_mounted():
    for name, pod in containers():
        (container,) = pod["containers"]
        settings = layers.read(container["args"], {e["name"]: "node1" for e in container["env"]}, "0")
        assert settings.input.source.startswith("mqtt:"), name
        mounted = {m["mountPath"] for m in container["volumeMounts"]}
        assert str(settings.mqtt.password_file.parent) in mounted
        assert "/state" in mounted


def test_health_is_asked_by_a_flag_that_is_there():
    for _, pod in containers():
        (container,) = pod["containers"]
        for probe in ("startupProbe", "livenessProbe"):
            program, *flags = container[probe]["exec"]["command"]
            assert program == "edge-run"
            assert layers.read(flags, {}, "0").process.healthy


@pytest.mark.peers
def test_the_schemas_of_kubernetes_take_it():
    bins = peers.pinned(peers.CACHE, "kubernetes-validate==1.37.0")
    done = subprocess.run([bins / "kubernetes-validate", "--strict", FILE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr

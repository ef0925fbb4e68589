"""Node-RED from npm, headless, with flows that are deployed over its HTTP admin API."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

from support.peers import npm
from support.processes import free_port, listens, until

VERSION = "4"


class NodeRed:
    """One process; what its debug nodes and functions say stands in `said`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "settings.js").write_text(
            "module.exports = {uiHost: '127.0.0.1', flowFile: 'flows.json', credentialSecret: false,"
            " telemetry: {enabled: false, updateNotification: false},"
            " editorTheme: {tours: false}, diagnostics: {enabled: false}}\n"
        )
        self.port = free_port()
        self._log = folder / "log"
        red = npm("node-red", VERSION) / "node_modules" / "node-red" / "red.js"
        command = [str(shutil.which("node")), str(red), "--userDir", str(folder), "--port", str(self.port)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        until(lambda: listens(self.port), "Node-RED listens", 120)

    def deploy(self, nodes: list[dict[str, Any]]) -> None:
        """Instead of all flows before; returns when its MQTT nodes are connected."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/flows", json.dumps(nodes).encode(),
            {"content-type": "application/json", "node-red-deployment-type": "full"}, method="POST",
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 204, answer.read()
        until(lambda: "Connected to broker" in self.said(), "Node-RED is connected to the broker")

    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def end(self) -> None:
        self._process.terminate()
        self._process.wait(30)

"""Other brokers for the campaign, each with folders and ports of its own on loopback: RabbitMQ, NATS, ejabberd, aedes.

Each differs in what survives its own end (`keeps`). What a broker loses then, it has acknowledged and lost: that says
nothing of edge-run, so such a broker is not killed in a campaign.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Protocol

from integration.faults.broker import Broker as Mosquitto
from integration.faults.broker import find_mosquitto
from integration.faults.waiting import wait_until
from support.peers import npm
from support.processes import free_port

CLIENT_ID = "edge-run-under-faults"
RABBITMQ = "/usr/lib/rabbitmq/bin/rabbitmq-server"
AEDES = "0.51.3"
EJABBERD = "/usr/lib/x86_64-linux-gnu/ejabberd-23.01"


class AnyBroker(Protocol):
    """What a campaign needs of a broker."""

    name: str
    port: int
    login: tuple[str, str] | None
    """User and password, for those that take nobody without."""
    keeps: bool
    """Sessions and messages survive `kill` and `stop`."""
    five: bool
    """It speaks MQTT 5."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def save(self) -> None: ...
    def kill(self) -> None: ...
    def freeze(self) -> None: ...
    def thaw(self) -> None: ...
    def close(self) -> None: ...
    def forgot(self) -> list[float]: ...


class _Process:
    """A broker that is a group of processes."""

    name = ""
    login: tuple[str, str] | None = None
    keeps = True
    five = False
    start_s = 300.0

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._write()

    def _write(self) -> None:
        """Its configuration."""

    def _command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return {}

    def start(self) -> None:
        with (self._folder / "out").open("ab") as out:
            self._process = subprocess.Popen(
                self._command(),
                env={**os.environ, **self.environment()},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                cwd=self._folder,
            )
        wait_until(f"{self.name} listens", self._listens, self.start_s)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def save(self) -> None:
        """It has written what it acknowledged."""

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def forgot(self) -> list[float]:
        """When edge-run's session came to an end of its own while the broker ran on, in seconds since 1970."""
        return []

    def close(self) -> None:
        if self._process is not None:
            self.thaw()
            self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        os.killpg(process.pid, number)
        process.wait(150)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, number)

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"{self.name} ended:\n{(self._folder / 'out').read_text()[-2000:]}"
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


class _Erlang(_Process):
    """One that needs Erlang's name server: it would start one that outlives it, so it gets one of ours."""

    def __init__(self, folder: Path) -> None:
        self._names_port = free_port()
        self._names: subprocess.Popen[bytes] | None = None
        super().__init__(folder)

    def start(self) -> None:
        if self._names is None:
            command = [shutil.which("epmd") or "epmd", "-port", str(self._names_port), "-address", "127.0.0.1"]
            self._names = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        super().start()

    def environment(self) -> dict[str, str]:
        return {"HOME": str(self._folder), "ERL_EPMD_PORT": str(self._names_port), "ERL_EPMD_ADDRESS": "127.0.0.1"}

    def close(self) -> None:
        super().close()
        if self._names is not None:
            self._names.kill()
            self._names.wait(150)


class RabbitMq(_Erlang):
    """With its MQTT plug-in: 3.1.1 alone in 3.10. Identifiers begin anew on each connection."""

    name = "RabbitMQ"

    def _write(self) -> None:
        (self._folder / "enabled_plugins").write_text("[rabbitmq_mqtt].\n")
        (self._folder / "rabbitmq.conf").write_text(
            f"listeners.tcp = none\nmqtt.listeners.tcp.1 = 127.0.0.1:{self.port}\nmqtt.allow_anonymous = true\n"
        )

    def _command(self) -> list[str]:
        return [RABBITMQ]

    def environment(self) -> dict[str, str]:
        return super().environment() | {
            "RABBITMQ_NODENAME": f"faults{self.port}@localhost",
            "RABBITMQ_MNESIA_BASE": str(self._folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1",
        }


class Nats(_Process):
    """With JetStream: 3.1.1 alone.

    It acknowledges before it writes, and after its own restart a session that was kept is now and then sent nothing any
    more: paho's, which collects the results here, as well as ours.
    """

    name = "NATS"
    keeps = False

    def _write(self) -> None:
        (self._folder / "nats.conf").write_text(
            f"server_name: faults\nhost: 127.0.0.1\nport: {free_port()}\n"
            f'jetstream {{ store_dir: "{self._folder}/js" }}\n'
            f"mqtt {{ host: 127.0.0.1, port: {self.port}, ack_wait: 5s }}\n"
        )

    def _command(self) -> list[str]:
        return [str(shutil.which("nats-server")), "-c", str(self._folder / "nats.conf")]


class Ejabberd(_Erlang):
    """Its mod_mqtt: MQTT 5 too. Sessions are in memory.

    One ends with its subscriptions and its queue where bytes of a client are read behind the end of its socket, as a
    fault now and then makes it.
    """

    name = "ejabberd"
    login = ("edge@localhost", "secret")
    keeps = False
    five = True

    def _write(self) -> None:
        (self._folder / "db").mkdir()
        allowed = '      "#":\n        - allow\n'
        (self._folder / "ejabberd.yml").write_text(
            "hosts:\n  - localhost\nloglevel: warning\nauth_method: anonymous\nanonymous_protocol: both\n"
            "allow_multiple_connections: true\n"
            f"listen:\n  - port: {self.port}\n    ip: 127.0.0.1\n    module: mod_mqtt\n"
            "modules:\n  mod_mqtt:\n    max_queue: 100000\n    session_expiry: 1 hour\n"
            f"    access_subscribe:\n{allowed}    access_publish:\n{allowed}"
        )

    def _command(self) -> list[str]:
        database = f'"{self._folder / "db"}"'
        node = ["-sname", f"faults{self.port}@localhost", "-kernel", "inet_dist_use_interface", "{127,0,0,1}"]
        return [str(shutil.which("erl")), *node, "-noinput", "+S", "1:1", "-mnesia", "dir", database, "-s", "ejabberd"]

    def forgot(self) -> list[float]:
        log = (self._folder / "ejabberd.log").read_text(errors="replace")
        lines = [line for line in log.splitlines() if CLIENT_ID in line and "Internal server error" in line]
        return [datetime.fromisoformat(line.split(" [")[0]).timestamp() for line in lines]

    def environment(self) -> dict[str, str]:
        return super().environment() | {
            "ERL_LIBS": str(Path(EJABBERD).parent),
            "EJABBERD_CONFIG_PATH": str(self._folder / "ejabberd.yml"),
            "EJABBERD_LOG_PATH": str(self._folder / "ejabberd.log"),
        }


class Aedes(_Process):
    """A broker in JavaScript, 3.1.1 alone, as it comes: all is in memory."""

    name = "aedes"
    keeps = False

    def _write(self) -> None:
        (self._folder / "broker.js").write_text(
            f"const broker = require('{aedes_folder()}/node_modules/aedes')({{concurrency: 10000}})\n"
            f"require('net').createServer(broker.handle).listen({self.port}, '127.0.0.1')\n"
        )

    def _command(self) -> list[str]:
        return [str(shutil.which("node")), str(self._folder / "broker.js")]


def aedes_folder() -> Path:
    """Where npm puts it, once; empty of it where npm cannot."""
    return npm("aedes", AEDES)


class Forgetful(Mosquitto):
    """mosquitto without persistence."""

    name = "mosquitto without persistence"
    keeps = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, persistence=False)


BROKERS: dict[str, Callable[[Path], AnyBroker]] = {
    "mosquitto": Mosquitto,
    "mosquitto-memory": Forgetful,
    "rabbitmq": RabbitMq,
    "nats": Nats,
    "ejabberd": Ejabberd,
    "aedes": Aedes,
}


def missing(name: str) -> str | None:
    """What is to be installed for a broker; None where it is there."""
    if name == "aedes":
        there = shutil.which("node") is not None and (aedes_folder() / "node_modules" / "aedes").is_dir()
        return None if there else "aedes is not installed, and npm does not install it"
    found = {
        "rabbitmq": Path(RABBITMQ).exists(),
        "nats": shutil.which("nats-server") is not None,
        "ejabberd": shutil.which("erl") is not None and Path(EJABBERD).exists(),
    }.get(name, find_mosquitto() is not None)
    package = {"rabbitmq": "rabbitmq-server", "nats": "nats-server", "ejabberd": "ejabberd"}.get(name, "mosquitto")
    return None if found else f"{package} is not installed: apt-get install {package}"

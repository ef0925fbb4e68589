from __future__ import annotations

import subprocess
import sys

import pytest

from edge.mqtt.codec.fastpath import FastClient
from edge.mqtt.messages import MqttOptions, ProtocolChoice
from edge.mqtt.url import parse


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=150, check=True)
    return done.stdout.strip()


PUT_OFF = (
    "import sys\nfrom edge.mqtt.codec import lazy_module\nlazy_module.put_off('urllib.request')\n"
    "def loaded(): return 'http.client' in sys.modules\n"
)


def test_paho_is_imported_without_what_only_a_proxy_needs():
    assert run(PUT_OFF + "import edge.mqtt.connection; print(loaded())") == "False"


@pytest.mark.parametrize("use", [
    "import urllib.request; urllib.request.getproxies()",
    "from urllib.request import getproxies; getproxies()",
    "import urllib.request as r; assert r.__file__.endswith('request.py'); r.getproxies()",
    "import urllib; urllib.request.Request('http://localhost')",
])  # fmt: skip
def test_whoever_uses_it_has_the_real_one(use):
    code = f"{PUT_OFF}import urllib.request as before\n{use}\nimport urllib.request as after, urllib\n"
    code += "print(loaded(), after is urllib.request, type(after).__name__, before.Request is after.Request)"
    assert run(code) == "True True module True"


def test_what_is_loaded_already_stays():
    code = "import urllib.request as r\n" + PUT_OFF
    assert run(code + "import urllib.request; print(urllib.request is r)") == "True"


def test_a_proxy_that_is_set_is_heeded(monkeypatch):
    socks = pytest.importorskip("socks", reason="PySocks is not installed")
    used = []
    monkeypatch.setenv("mqtt_proxy", "http://127.0.0.1:3128")
    monkeypatch.setattr(socks, "create_connection", lambda *_, **given: used.append(given) or refuse())
    client = FastClient(MqttOptions(parse("mqtt://broker.example"), "c"), ProtocolChoice(5))
    with pytest.raises(OSError, match="refused"):
        client.connect()
    (given,) = used
    assert given.items() >= {"proxy_type": socks.HTTP, "proxy_addr": "127.0.0.1", "proxy_port": 3128}.items()


def refuse():
    raise OSError("refused")

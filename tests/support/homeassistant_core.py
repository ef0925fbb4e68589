"""Home Assistant's own core, its MQTT integration and statestream, beside a broker. Runs in an environment of its own.

`python homeassistant_core.py PORT`: says READY, then answers each line on standard input with its states as JSON; of a
document what its schemas say, and `{"call": [domain, service, data]}` is done first.
"""

import asyncio
import json
import logging
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

from homeassistant import bootstrap, loader
from homeassistant.components.mqtt import binary_sensor, image, sensor, update
from homeassistant.components.mqtt.discovery import DEVICE_DISCOVERY_SCHEMA
from homeassistant.config_entries import ConfigEntries, ConfigEntry
from homeassistant.const import __version__
from homeassistant.core import HomeAssistant
from homeassistant.helpers import device_registry, entity_registry
from homeassistant.setup import async_setup_component

PLATFORMS = {"sensor": sensor, "binary_sensor": binary_sensor, "image": image, "update": update}


def validated(document):
    """The keys of each component that its schema knows; raises what the schema raises."""
    checked = DEVICE_DISCOVERY_SCHEMA(document)
    shared = {k: v for k, v in document.items() if k in ("availability_topic", "qos")}
    found = {}
    for key, component in checked["components"].items():
        config = {k: v for k, v in component.items() if k != "platform"}
        about = {"device": document["device"], "origin": document["origin"]}
        kept = PLATFORMS[component["platform"]].DISCOVERY_SCHEMA({**shared, **config, **about})
        found[key] = sorted(set(config) - set(kept))
    return found


def states(hass):
    entities = entity_registry.async_get(hass).entities.values()
    devices = device_registry.async_get(hass).devices.values()
    return {
        "states": {s.entity_id: s.state for s in hass.states.async_all()},
        "attributes": {s.entity_id: dict(s.attributes) for s in hass.states.async_all()},
        "disabled": [e.entity_id for e in entities if e.disabled_by],
        "entities": [e.entity_id for e in entities],
        "devices": [d.name for d in devices],
    }


def complain_of_messages_only():
    """Warnings about what came by MQTT go to standard error; those about how it was started here do not."""
    logging.getLogger().addHandler(logging.NullHandler())
    for name in ("homeassistant.components", "homeassistant.helpers.template", "homeassistant.helpers.entity"):
        logging.getLogger(name).addHandler(logging.StreamHandler())


async def main(port):
    complain_of_messages_only()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "configuration.yaml").touch()
        hass = HomeAssistant(folder)
        hass.config.skip_pip = True
        loader.async_setup(hass)
        hass.config_entries = ConfigEntries(hass, {})
        await bootstrap.async_load_base_functionality(hass)
        hass.config.components.update(("http", "file_upload"))  # for forms and pages: nothing listens here
        hass.http = SimpleNamespace(register_view=lambda _: None)
        entry = ConfigEntry(
            domain="mqtt", title="mqtt", data={"broker": "127.0.0.1", "port": port, "protocol": "5"}, source="user",
            version=1, minor_version=2, options={}, unique_id=None, discovery_keys={}, subentries_data=None,
        )  # fmt: skip
        await hass.config_entries.async_add(entry)
        assert await async_setup_component(
            hass, "mqtt_statestream", {"mqtt_statestream": {"base_topic": "statestream"}}
        )
        await hass.async_start()
        print(f"READY {__version__} {entry.state}", flush=True)
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            await hass.async_block_till_done()
            asked = json.loads(line)
            if asked and "call" in asked:
                await hass.services.async_call(*asked["call"], blocking=True)
                asked = None
            print(json.dumps(validated(asked) if asked else states(hass), default=str), flush=True)
        await hass.async_stop(force=True)


asyncio.run(main(int(sys.argv[1])))

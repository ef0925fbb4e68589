"""`--home-assistant`: the device appears in Home Assistant by MQTT discovery, with nothing to set up there."""

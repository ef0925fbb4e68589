"""Inference engines, a file each."""

from __future__ import annotations

import os

# ONNX Runtime 1.32 and later gathers usage figures: it keeps a database in ~/.cache, which wears the SD card, and
# sends it home where it finds certificates. Nobody asked for that; it reads this variable when it is loaded.
NO_TELEMETRY = {"ORT_DISABLE_TELEMETRY": "1"}
for _name, _value in NO_TELEMETRY.items():
    os.environ.setdefault(_name, _value)

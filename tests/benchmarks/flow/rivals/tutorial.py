"""The loop that a tutorial shows: read, prepare, run, dump, publish, wait. `tutorial.py MODEL THINGS PORT TOPIC`.

Written as well as such a loop is: one thread for the engine as for edge-run, OpenCV for resizing, one connection.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
import paho.mqtt.client as mqtt
from things import Paced

MEAN = np.array([123.675, 116.28, 103.53], dtype=np.float32)
STD = np.array([58.395, 57.12, 57.375], dtype=np.float32)


def prepare(thing: Any, size: int) -> np.ndarray:
    if isinstance(thing, list):
        return np.array([thing], dtype=np.float32)
    small = cv2.resize(thing, (size, size)).astype(np.float32)
    return np.ascontiguousarray(((small - MEAN) / STD).transpose(2, 0, 1)[None])


def main(path: str, things: str, port: str, topic: str) -> None:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    one = session.get_inputs()[0]
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", int(port))
    client.loop_start()
    for thing in [cv2.imread(things)[..., ::-1]] if things.endswith(".jpg") else Paced(things):
        captured = datetime.now(UTC)
        feed = {one.name: prepare(thing, one.shape[-1])}
        started = time.perf_counter()
        scores = session.run(None, feed)[0][0]
        infer_ms = (time.perf_counter() - started) * 1e3
        best = scores.argsort()[::-1][:5]
        payload = json.dumps(
            {
                "time": captured.isoformat(),
                "predictions": [{"index": int(i), "score": float(scores[i])} for i in best],
                "timing_ms": {"infer": infer_ms},
            }
        )
        client.publish(topic, payload, qos=1).wait_for_publish()
    time.sleep(60)  # until whoever measures has read the processor time


if __name__ == "__main__":
    main(*sys.argv[1:])

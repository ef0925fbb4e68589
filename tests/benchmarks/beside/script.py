"""What people write: subscribe, run, publish."""

import json
import sys

import numpy as np
import onnxruntime as ort
import paho.mqtt.client as mqtt

session = ort.InferenceSession(sys.argv[1])


def on_message(client, userdata, message):
    row = np.array([json.loads(message.payload)], np.float32)
    (scores,) = session.run(None, {session.get_inputs()[0].name: row})
    client.publish("script/result", json.dumps({"class": int(scores.argmax()), "score": float(scores.max())}), qos=1)


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
client.on_message = on_message
client.connect("127.0.0.1", int(sys.argv[2]))
client.subscribe("script/input", qos=1)
client.loop_forever()

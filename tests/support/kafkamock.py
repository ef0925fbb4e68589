"""librdkafka's mock cluster as a process: `python kafkamock.py FILE` writes its address into FILE.

It keeps what it has in memory: a kill loses all. So it is frozen where others are killed.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from confluent_kafka import Producer

if __name__ == "__main__":
    cluster = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "replaced", "log_level": 0})
    (broker,) = cluster.list_topics(timeout=150).brokers.values()
    partial = Path(sys.argv[1] + ".partial")
    partial.write_text(f"{broker.host}:{broker.port}")
    partial.replace(sys.argv[1])
    signal.pause()

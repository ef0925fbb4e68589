"""What the house's words cost a result, in microseconds of processor: python tests/benchmarks/words/measure.py."""

from __future__ import annotations

import time

from edge.data import codec
from edge.data.result import ModelRef
from edge.wording import examples
from edge.wording.wording import Said, Wording

BASE = "edge/line3/digits"
ROUNDS, TIMES = 7, 20_000
SAID = {
    "topic": Said(BASE, "house/{{ device }}/{{ top.label }}"),
    "ThingsBoard": Said(
        BASE, None, '{"ts": {{ time_ms }}, "values": {"label": {{ top.label }}, "score": {{ top.score }}}}'
    ),
    "three values": Said(BASE, "a/b", '{"id": {{ id }}, "label": {{ top.label }}, "score": {{ top.score }}}'),
    "AWS IoT": Said(
        BASE,
        None,
        '{"state": {"reported": {"label": {{ top.label }}, "score": {{ top.score }}, "seq": {{ seq }}}}}',
    ),
    "Home Assistant": Said(BASE, None, '{"state": {{ top.label }}, "confidence": {{ (top.score or 0) * 100 }}}'),
    "Node-RED": Said(BASE, "house/{{ device }}", '{"id": {{ id }}, "count": {{ count }}, "labels": {{ labels }}}'),
    "Influx": Said(
        BASE,
        None,
        "edge,device={{ device | influx_tag }},label={{ top.label | influx_tag }} score={{ top.score or 0 }},"
        "seq={{ seq }}i {{ time_ns }}",
    ),
    "cloudevents": Said(BASE, format="cloudevents"),
    "cloudevents-binary": Said(BASE, format="cloudevents-binary"),
}


def main() -> None:
    result = examples.results("classify", ("cat", "dog"), (), BASE, ModelRef("digits", "1", "a" * 64))[1]
    payload = codec.encode(result)
    for name, said in SAID.items():
        wording = Wording(said, "classify")
        spent = []
        for _ in range(ROUNDS):
            began = time.process_time()
            for _ in range(TIMES):
                wording.result(result, payload)
            spent.append((time.process_time() - began) / TIMES * 1e6)
        print(f"{name:20} {min(spent):5.2f} us")


if __name__ == "__main__":
    main()

"""Topics and payloads in the house's own words."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from edge.data import codec
from edge.data.result import Classification, Detection, EventMessage, ModelRef, Nested, Result, Text
from edge.errors import ConfigError, SampleError
from edge.wording import examples
from edge.wording.wording import Said, Wording

BASE = "edge/line3/digits"
MODEL = ModelRef("digits", "1", "a" * 64)


def some(task: str = "classify", labels: tuple[str, ...] = ("cat",)) -> list[Result]:
    return examples.results(task, labels, ("t",), BASE, MODEL)


def wording(topic: str | None = None, payload: str | None = None, task: str = "classify") -> Wording:
    made = Wording(Said(BASE, topic, payload), task, lambda t: "it is taken" if t.endswith("/input") else None)
    made.check(some(task))
    return made


def told(made: Wording, result: Result) -> tuple[str, bytes | None]:
    words = made.result(result, codec.encode(result))
    return words.topic, words.payload


@pytest.mark.parametrize(
    ("topic", "payload", "says"),
    [
        ("a/{{ devise }}", None, "unknown name 'devise'; did you mean device"),
        (None, "{{ top.scroe }}", "unknown name top.scroe; did you mean score"),
        (None, "{% if top.score > 2 %}{{ model.nme }}{% endif %}", "unknown name model.nme"),
        (None, "{% for p in predictions %}{{ p.nope }}{% endfor %}", "`p.nope` is undefined"),
        (None, "{{ predictions[0].label }}", "say top"),
        (None, '{"a": "{{ top.label }}"}', "values bring their quotes"),
        (None, '{% macro m(a) %}.{% endmacro %}{"a": {{ top.label }}}', "values bring their quotes"),
        (None, "{{ top.label", "unexpected end of input"),
        (None, "{{ debug() }}", "unknown name 'debug'"),
        (None, "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "out of fuel"),
        (None, "{{ 'x' * 2000000 }}", "at most"),
        (None, "{{ '€' * 400000 }}", "1200000 bytes"),
        (None, "{% include '/etc/passwd' %}", "non-existing template"),
        ("a/#", None, "belong in no topic"),
        ("$SYS/{{ device }}", None, "the broker's own"),
        ("{{ base }}/input", None, "it is taken"),
    ],
)
def test_what_a_template_can_do_wrong_is_told_at_the_start(topic: str | None, payload: str | None, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        wording(topic, payload)
    assert says in str(refused.value)


@pytest.mark.parametrize("task", ["classify", "detect", "keypoints", "regress", "anomaly", "segment", "text", "raw"])
def test_every_name_is_there_for_every_task_and_gives_json(task: str) -> None:
    names = "top", "predictions", "labels", "values", "counts", "events", "input_id", "retained", "result", "timing_ms"
    wording(None, "[" + ", ".join(f"{{{{ {name} }}}}" for name in names) + "]", task)


@pytest.mark.parametrize(
    "payload",
    [
        "{% if top.then and top.then.predictions %}{{ top.then.predictions[0].text }}{% endif %}",
        "{% for p in predictions if p.then %}{{ p.then.predictions | map(attribute='text') | join(' ') }}{% endfor %}",
        '{"plate": {{ top.then }}}',
    ],
)
def test_a_template_reads_what_a_second_model_says(payload: str) -> None:
    plate = Nested("plate", "text", [Text("AB 12", 0.9)])
    result = replace(some("detect")[1], predictions=[Detection(0, "car", 0.9, (0.0, 0.0, 9.0, 9.0), then=plate)])
    assert b"AB 12" in (told(wording(None, payload, "detect"), result)[1] or b"")


def test_an_object_of_which_a_second_model_says_nothing_is_thought_of_at_the_start() -> None:
    with pytest.raises(ConfigError, match="undefined"):
        wording(None, "{% if top.then %}{{ top.then.predictions[0].text }}{% endif %}", "detect")


def test_a_label_breaks_neither_the_json_nor_the_topic() -> None:
    result = some(labels=('"}, +/#\n',))[1]
    topic, payload = told(wording("out/{{ top.label }}/{{ base }}", '{"label": {{ top.label }}}'), result)
    assert topic == f"out/--------/{BASE}"
    assert codec.decode_json(payload or b"") == {"label": '"}, +/#\n'}


def test_what_a_tag_is_made_of_never_ends_the_point() -> None:
    made = wording(None, "edge,label={{ top.label | influx_tag }} count={{ count }}")
    lines = [told(made, some(labels=(name,))[1])[1] for name in ("two\nlines", "")]
    assert [*lines, told(made, some()[0])[1]] == [
        rb"edge,label=two\ lines count=1", b"edge,label=none count=1", b"edge,label=none count=0"
    ]  # fmt: skip


def test_what_is_noted_or_set_before_json_makes_it_no_plain_text() -> None:
    made = wording(None, '{# of the door #}{%- set n = 1 %}\n{"label": {{ top.label }}}')
    assert codec.decode_json(told(made, some()[1])[1] or b"") == {"label": "cat"}


def test_a_branch_that_gives_no_json_fails_its_results_alone() -> None:
    made = wording(None, '{"a": [{{ top.label }}{% if top.label == "odd" %},{% endif %}]}')
    with pytest.raises(SampleError, match="gives none"):
        told(made, some(labels=("odd",))[1])
    assert told(made, some()[1])[1] == b'{"a": ["cat"]}'


def test_what_a_second_model_says_has_all_its_fields_as_every_prediction() -> None:
    made = wording(None, "[{{ top.then.reason if top.then else 0 }}, {{ predictions[1:] }}]", "detect")
    reason, predictions = codec.decode_json(told(made, some("detect")[2])[1] or b"")
    assert (reason, predictions[0]["then"]["reason"]) == (None, None)


def test_a_part_of_a_list_or_a_text_can_be_told() -> None:
    made = wording("{{ device[:4] }}/{{ base[:4] }}", "{% for p in predictions[:1] %}{{ p.label[1:] }}{% endfor %}")
    assert told(made, some()[2]) == ("line/edge", b"at")


def test_a_topic_of_the_labels_found_is_not_that_of_as_many_others() -> None:
    made = wording("out/{% for name in labels %}{{ name }}{% endfor %}")
    results = [some(labels=(name,))[1] for name in ("a", "b")]
    assert [told(made, result)[0] for result in results] == ["out/a", "out/b"]


def test_two_results_of_one_label_have_one_topic_and_others_have_others() -> None:
    made = wording("out/{{ top.label }}")
    results = [some(labels=(name,))[1] for name in ("a", "b", "a")]
    assert [told(made, result)[0] for result in results] == ["out/a", "out/b", "out/a"]


def test_a_value_that_leads_to_a_topic_of_ours_is_refused_there() -> None:
    made = wording("{{ base }}/{{ top.label }}")
    with pytest.raises(SampleError, match="it is taken"):
        told(made, some(labels=("input",))[1])
    assert told(made, some()[1])[0] == f"{BASE}/cat"


def test_a_score_that_a_template_divides_by_fails_that_result_alone() -> None:
    made = wording(None, "{{ 1 / (top.score or 1) }}")
    zero = replace(some()[1], predictions=[Classification(0, "a", 0.0)])
    assert told(made, zero)[1] == b"1.0"
    wrong = wording(None, "{% if top.score is none or top.score > 0 %}x{% else %}{{ 1 / top.score }}{% endif %}")
    with pytest.raises(SampleError, match="unable to calculate"):
        told(wrong, zero)


def test_a_cloud_event_is_read_by_the_makers_own_library() -> None:
    from cloudevents.v1.conversion import from_json
    from cloudevents.v1.http import CloudEvent

    result = some()[1]
    words = Wording(Said(BASE, format="cloudevents"), "classify").result(result, codec.encode(result))
    event = from_json(CloudEvent, words.payload or b"")
    assert words.content_type == "application/cloudevents+json; charset=utf-8"
    assert (event["id"], event["source"], event["type"]) == (result.id, BASE, "edge-run.result")
    assert event["time"] == result.time
    assert event.data == codec.decode_json(codec.encode(result))


def test_a_binary_cloud_event_has_the_payload_as_it_is_and_its_attributes_as_properties() -> None:
    time = "2026-01-02T03:04:05.678901Z"
    told = EventMessage(1, f"{BASE}/1/1", time, "line3", "digits", "camera:0", 1, "appear", 7, "cat")
    words = Wording(Said(BASE, format="cloudevents-binary"), "detect").event(told, b"{}")
    assert words is not None
    assert words.payload is None
    assert words.content_type == "application/json"
    assert dict(words.properties) == {
        "specversion": "1.0", "id": told.id, "source": BASE, "type": "edge-run.event", "time": told.time,
        "subject": "camera:0", "schema": "1",
    }  # fmt: skip

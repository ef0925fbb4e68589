"""An archive and a device that is fed its rows over MQTT have the same results, to the last bit."""

from __future__ import annotations

ROWS = 60


def test_the_results_are_those_of_a_device_that_gets_the_rows_over_mqtt(
    broker, client, edge_run, trees, score, lines, tmp_path
):
    archive = trees.write(tmp_path / "a.parquet", 0, ROWS)
    code, _, wrong = score(trees.path, archive, "-o", tmp_path / "out.jsonl", "--columns", "id")
    assert (code, wrong) == (0, "")
    ears = client(broker.port, "edge/pi/trees/result", "edge/pi/trees/error", "edge/pi/trees/status")
    edge_run("--model", trees.path, "--device", "pi", "--mqtt", broker.url)
    ears.wait_for_text("edge/pi/trees/status", b"online")
    rows = trees.rows(0, ROWS)
    rows[7]["age"] = 1e999  # as the archive has it; JSON has no infinity, and the device says so in other words
    sent = [i for i in range(ROWS) if i != 7]
    for i in sent:
        ears.publish("edge/pi/trees/input", {"id": 100 + i, **rows[i]})
    scored = {row["id"]: row for row in lines(tmp_path / "out.jsonl")}
    good = [i for i in sent if "error" not in scored[100 + i]]
    assert len(good) > 40
    for result in ears.wait_for("result", len(good)):
        best, row = result["predictions"][0], scored[result["input_id"]]
        assert (best["label"], best["index"], best["score"]) == (row["label"], row["index"], row["score"])
    for skipped in ears.wait_for("error", len(sent) - len(good)):
        assert skipped["reason"] == scored[skipped["input_id"]]["error"]

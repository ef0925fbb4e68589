"""What was announced by others of the same state folder."""

from __future__ import annotations

from edge.homeassistant.record import Announced, Record


def test_what_another_run_of_the_process_has_announced_is_not_stale_though_that_could_not_begin(tmp_path):
    for name in ("beside", "gone"):
        record = Record(tmp_path, name)
        record.open()
        record.write(Announced(f"homeassistant/{name}", {}))
        record.close()
    mine = Record(tmp_path, "mine", ["mine", "beside"])
    mine.open()
    try:
        assert [announced.topic for announced in mine.stale()] == ["homeassistant/gone"]
    finally:
        mine.close()

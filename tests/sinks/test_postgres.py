from __future__ import annotations

import pytest
from support.delivering import TIME, result
from support.processes import until

from edge.app import assembly
from edge.errors import ConfigError, UnavailableError
from edge.plugins.contexts import SinkContext


@pytest.fixture
def postgres(store_server):
    return store_server("postgres")


def reached(uri):
    return assembly.make_sink(uri, SinkContext()).reach()


def numbers(postgres):
    return [row[0] for row in postgres.query("SELECT seq FROM results ORDER BY seq")]


def test_a_row_has_its_columns_and_the_whole_result(postgres, deliver):
    delivery = deliver(postgres.uri)
    delivery.put(result(7, input_id="row-7"))
    delivery.finish()
    (row,) = postgres.query(
        "SELECT id, time = %s::timestamptz, device, model, source, seq, task, result->>'input_id' FROM results", TIME
    )
    source = "mqtt:edge/line3/digits/input"
    assert row == ("line3/digits/5f0c9a1e/7", True, "line3", "digits", source, 7, "classify", "row-7")


def test_a_nul_that_the_store_cannot_hold_is_refused_alone(postgres, deliver):
    delivery = deliver(postgres.uri)
    delivery.put(*[result(n, source="\0" if n in (17, 63) else "") for n in range(1, 101)])
    delivery.finish()
    assert [seq for seq, _ in delivery.refused] == [17, 63]
    assert "u0000" in delivery.refused[0][1] or "Unicode" in delivery.refused[0][1]
    assert numbers(postgres) == [n for n in range(1, 101) if n not in (17, 63)]
    assert len(delivery.safe) == 100


def test_what_a_constraint_or_a_trigger_refuses_is_refused_alone(postgres, deliver):
    delivery = deliver(postgres.uri)
    delivery.put(result(1))
    until(lambda: delivery.count("confirmed:store") == 1, "the table is there")
    postgres.query("ALTER TABLE results ADD CHECK (device <> 'stranger')")
    postgres.query(
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.task = 'raw' THEN "
        "RAISE EXCEPTION 'raw is not wanted'; END IF; RETURN NEW; END $$"
    )
    postgres.query("CREATE TRIGGER no BEFORE INSERT ON results FOR EACH ROW EXECUTE FUNCTION no()")
    delivery.put(result(2), result(3, device="stranger"), result(4, task="raw"), result(5))
    delivery.finish()
    assert [seq for seq, _ in delivery.refused] == [3, 4]
    assert "raw is not wanted" in delivery.refused[1][1]
    assert numbers(postgres) == [1, 2, 5]


def test_a_table_with_other_columns_is_told_and_the_results_wait_until_it_is_mended(postgres, deliver):
    postgres.query("CREATE TABLE results (id text PRIMARY KEY, time timestamptz, device text)")
    with pytest.raises(UnavailableError, match=r"column .* does not exist; add the column"):
        assembly.make_sink(postgres.uri, SinkContext()).open(None)
    delivery = deliver(postgres.uri)
    delivery.put(result(1), result(2))
    for column in ("model text", "source text", "seq bigint", "task text", "result jsonb"):
        postgres.query(f"ALTER TABLE results ADD COLUMN {column}")
    delivery.finish()
    assert delivery.refused == []
    assert numbers(postgres) == [1, 2]


def test_without_create_a_table_is_not_made(postgres):
    uri = postgres.uri.removesuffix("#create")
    with pytest.raises(UnavailableError, match="make the table, or add create behind the #"):
        assembly.make_sink(uri, SinkContext()).open(None)
    assert "there is no table" in reached(uri).doubt
    assert "will be made" in reached(postgres.uri).text
    assert postgres.received() == []


def test_a_table_of_another_name_in_a_schema(postgres, deliver):
    postgres.query("CREATE SCHEMA house")
    delivery = deliver(f"{postgres.uri}&table=house.seen")
    delivery.put(result(1))
    delivery.finish()
    assert postgres.query("SELECT seq FROM house.seen") == [(1,)]


def test_what_may_go_wrong_with_a_table_is_warned_of(postgres):
    sink = assembly.make_sink(postgres.uri, SinkContext())
    sink.open(None)
    sink.close()
    assert "fsync is off" in reached(postgres.uri).doubt
    postgres.query("ALTER TABLE results DROP CONSTRAINT results_pkey")
    found = reached(postgres.uri)
    assert "twice" in found.doubt
    assert found.fix == "ALTER TABLE results ADD PRIMARY KEY (id, time)"


def test_the_password_comes_from_a_file_and_is_not_told(postgres, deliver, tmp_path):
    (tmp_path / "password").write_text("s3cret\n")
    postgres.ask_password("device", "s3cret")
    uri = postgres.uri.replace("edge@", "device@")
    with pytest.raises(UnavailableError) as raised:
        assembly.make_sink(uri.replace("device@", "device:wr0ng@"), SinkContext()).open(None)
    assert "wr0ng" not in str(raised.value)
    delivery = deliver(f"{uri}&password_file={tmp_path / 'password'}")
    delivery.put(result(1))
    delivery.finish()
    assert numbers(postgres) == [1]


def test_options_of_libpq_are_passed_on(postgres):
    with pytest.raises(UnavailableError, match="SSL"):
        reached(postgres.uri.replace("#", "?sslmode=require#"))
    with pytest.raises(ConfigError, match="sslmood"):
        reached(postgres.uri.replace("#", "?sslmood=require#"))

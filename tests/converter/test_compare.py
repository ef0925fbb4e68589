"""`edge-convert --compare OLD NEW`: agreement, wins and losses of two files, judged by known answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier
from support import onnxmodels
from support.tables import Split

import converter
from converter import cli
from edge.compare.verdict import sign_test
from edge.model import container
from edge.model.manifest import Window, encode


@pytest.fixture
def place(tmp_path: Path, wine: Split, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with held-back rows and their answers, the working directory of the test."""
    wine.held.to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "labels.csv").write_text("kind\n" + "\n".join(wine.true_names) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def onnx_metadata(path: Path) -> dict[str, str]:
    return {p.key: p.value for p in onnx.load(path).metadata_props}


def write(model: Any, name: str, sample: Any, **more: Any) -> Path:
    return converter.write(converter.convert(model, sample=sample, **more), Path(name))


Pair = tuple[DecisionTreeClassifier, RandomForestClassifier]


@pytest.fixture(scope="module")
def made(wine: Split, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Pair]:
    """A folder with two classifiers of different quality, and a regression."""
    folder = tmp_path_factory.mktemp("models")
    old = DecisionTreeClassifier(max_depth=1, random_state=0).fit(wine.train, wine.names)
    new = RandomForestClassifier(10, random_state=0).fit(wine.train, wine.names)
    line = LinearRegression().fit(wine.train, wine.target)
    for name, model in (("old", old), ("new", new), ("line", line)):
        write(model, str(folder / f"{name}.onnx"), wine.held)
    return folder, (old, new)


@pytest.fixture
def pair(place: Path, made: tuple[Path, Pair]) -> Pair:
    """Two classifiers, in the working directory as old.onnx and new.onnx."""
    folder, models = made
    for file in folder.iterdir():
        shutil.copy(file, place)
    return models


def compared(arguments: str) -> dict[str, Any]:
    assert cli.main(["--compare", *arguments.split(), "--report", "report.json"]) == 0
    return json.loads(Path("report.json").read_text())


def refusal(arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["--compare", *arguments.split()]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_wins_and_losses_are_those_of_the_models_themselves(pair, wine: Split) -> None:
    old, new = (model.predict(wine.held) for model in pair)
    truth = wine.true_names

    report = compared("old.onnx new.onnx --sample rows.csv --expect labels.csv")

    total = report["total"]
    assert total["rows"] == len(truth)
    assert total["agree"] == pytest.approx(np.mean(old == new))
    assert (total["old"], total["new"]) == pytest.approx((np.mean(old == truth), np.mean(new == truth)))
    assert total["wins"] == np.sum((old != truth) & (new == truth))
    assert total["losses"] == np.sum((old == truth) & (new != truth))
    for part in report["classes"]:
        here = truth == part["name"]
        assert (part["rows"], part["wins"]) == (np.sum(here), np.sum(here & (old != truth) & (new == truth)))
    assert sum(c["rows"] for c in report["confusions"]) == np.sum(old != new)


def test_each_row_that_changed_is_named(pair, wine: Split) -> None:
    old, new = (model.predict(wine.held) for model in pair)

    changed = compared("old.onnx new.onnx --sample rows.csv --expect labels.csv")["changed"]

    assert [c["row"] for c in changed] == [i + 1 for i in np.flatnonzero(old != new)]
    assert all((c["change"] == "win") == (c["new"] == c["expected"]) for c in changed)


def test_the_table_says_how_sure_that_is(pair, capsys: pytest.CaptureFixture[str]) -> None:
    compared("old.onnx new.onnx --sample rows.csv --expect labels.csv")

    shown = capsys.readouterr().out
    assert "better; by chance in" in shown
    assert "class 1 -> class 2" in shown or "class 2 -> class 1" in shown


def test_slices_stand_in_the_order_of_what_was_lost_there(pair: Pair, wine: Split) -> None:
    """A column that neither model takes is one to look at."""
    old, new = (model.predict(wine.held) == wine.true_names for model in pair)
    won = new & ~old
    wine.held.assign(hall=np.where(won, "south", "north")).to_csv("rows.csv", index=False)

    slices = compared("old.onnx new.onnx --sample rows.csv --expect labels.csv --slice hall")["slices"]

    assert [(s["name"], s["wins"], s["losses"]) for s in slices] == [
        ("hall = north", 0, int(np.sum(old & ~new))),
        ("hall = south", int(won.sum()), 0),
    ]


def test_without_answers_it_tells_what_differs_and_not_who_is_right(pair, capsys: pytest.CaptureFixture[str]) -> None:
    report = compared("old.onnx new.onnx --sample rows.csv")

    assert report["total"]["wins"] is None
    assert report["total"]["agree"] < 1
    assert "without --expect nobody can say" in capsys.readouterr().out


def test_a_file_against_itself_changes_nothing(pair, capsys: pytest.CaptureFixture[str]) -> None:
    report = compared("new.onnx new.onnx --sample rows.csv --expect labels.csv")

    assert report["total"]["agree"] == 1
    assert report["changed"] == []
    shown = capsys.readouterr().out
    assert "both are one and the same file" in shown
    assert "no row changed for better or worse" in shown


def test_the_expected_answers_may_be_a_column_and_no_slice(pair, wine: Split) -> None:
    rows = wine.held.assign(kind=wine.true_names)
    rows.to_csv("all.csv", index=False)

    report = compared("old.onnx new.onnx --sample all.csv --expect kind")

    assert report["total"]["wins"] > 0
    assert not [s for s in report["slices"] if s["name"].startswith("kind")]


def test_a_model_that_names_its_classes_agrees_with_one_that_numbers_them(place: Path, wine: Split) -> None:
    model = LogisticRegression(max_iter=5000).fit(wine.train, wine.target)
    write(model, "old.onnx", wine.held, labels=("red", "green", "blue"))
    write(model, "new.onnx", wine.held)
    Path("numbers.csv").write_text("\n".join(str(t) for t in wine.truth) + "\n")

    report = compared("old.onnx new.onnx --sample rows.csv --expect numbers.csv")

    assert report["total"]["agree"] == 1
    assert report["total"]["old"] == report["total"]["new"] > 0.8


def test_models_without_a_class_in_common_are_refused(place: Path, wine: Split, capsys) -> None:
    write(DecisionTreeClassifier(max_depth=2).fit(wine.train, wine.names), "old.onnx", wine.held)
    write(DecisionTreeClassifier(max_depth=2).fit(wine.train, wine.target), "new.onnx", wine.held)

    assert "have no class in common: class 0, class 1" in refusal("old.onnx new.onnx --sample rows.csv", capsys)


def test_a_row_that_one_model_refuses_differs(pair: Pair, wine: Split) -> None:
    """`hue` may not be missing for the new model, as its sidecar says."""
    manifest = container.read_manifest(Path("new.onnx"), onnx_metadata(Path("new.onnx")))
    assert manifest is not None
    table = manifest.inputs[0]
    features = tuple(msgspec.structs.replace(f, missing=f.name != "hue") for f in table.features)
    taken = msgspec.structs.replace(manifest, inputs=(msgspec.structs.replace(table, features=features),))
    Path("new.onnx.json").write_bytes(encode(taken))
    gap = wine.held.copy()
    gap.loc[3, "hue"] = np.nan
    gap.to_csv("gap.csv", index=False)

    changed = compared("old.onnx new.onnx --sample gap.csv --expect labels.csv")["changed"]

    assert [c["new"] for c in changed if c["row"] == 4] == ["(refused)"]


def test_texts_and_numbers_of_a_pipeline_make_slices(
    place: Path, columns_model: Pipeline, people: pd.DataFrame, buys: np.ndarray
) -> None:
    write(columns_model, "old.onnx", people)
    write(columns_model, "new.onnx", people)
    people.assign(buys=buys).to_csv("people.csv", index=False)

    names = {s["name"] for s in compared("old.onnx new.onnx --sample people.csv --expect buys")["slices"]}

    assert {"city = Bern", "city = Oslo", "plan = full"} <= names
    assert len([n for n in names if n.startswith("age ")]) == 4


def test_numbers_are_judged_by_their_errors(place: Path, diabetes: Split) -> None:
    few = list(diabetes.held.columns[:2])
    poor = LinearRegression().fit(diabetes.train[few], diabetes.target)
    good = LinearRegression().fit(diabetes.train, diabetes.target)
    write(poor, "old.onnx", diabetes.held[few])
    write(good, "new.onnx", diabetes.held)
    diabetes.held.assign(target=diabetes.truth).to_csv("all.csv", index=False)

    report = compared("old.onnx new.onnx --sample all.csv --expect target")

    errors = [
        np.abs(poor.predict(diabetes.held[few]) - diabetes.truth),
        np.abs(good.predict(diabetes.held) - diabetes.truth),
    ]
    assert report["total"]["old"] == pytest.approx(errors[0].mean(), rel=1e-4)
    assert report["total"]["new"] == pytest.approx(errors[1].mean(), rel=1e-4)
    margin = 0.01 * np.ptp(diabetes.truth)
    assert report["total"]["wins"] == np.sum(errors[1] + margin < errors[0])
    assert len(report["classes"]) == 4


def test_detectors_of_anomalies_are_compared_by_their_side_of_the_threshold(place: Path, wine: Split) -> None:
    for name, seed in (("old.onnx", 0), ("new.onnx", 1)):
        write(IsolationForest(n_estimators=10, random_state=seed).fit(wine.train), name, wine.held)

    assert 0 < compared("old.onnx new.onnx --sample rows.csv")["total"]["agree"] <= 1


def test_a_model_of_somebody_else_is_compared_as_it_runs_on_the_device(place: Path) -> None:
    onnxmodels.mean(Path("mean.onnx"), size=8)
    pictures = np.random.default_rng(0).integers(0, 255, (6, 8, 8, 3), dtype=np.uint8)
    np.save("pictures.npy", pictures)

    said = compared("mean.onnx mean.onnx --sample pictures.npy")

    assert said["total"] == {**said["total"], "rows": 6, "agree": 1.0}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("old.onnx --sample rows.csv", "NEW"),
        ("old.onnx new.onnx", "--sample"),
        ("old.onnx new.onnx --sample nowhere.csv", "there is no such sample file"),
        ("old.onnx new.onnx --sample rows.csv --report a.txt", "reports are written as .json or .html"),
        ("old.onnx new.onnx --sample rows.csv --slice hue2", "the nearest is 'hue'"),
        ("old.onnx new.onnx --sample rows.csv --expect few.csv", "3 answers for 60 rows"),
        ("old.onnx new.onnx --sample rows.csv --expect other.csv", "none of the answers (ten"),
        ("old.onnx line.onnx --sample rows.csv", "they answer different questions"),
        ("old.onnx new.onnx --sample rows.csv --exepct labels.csv", "did you mean --expect?"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_told_in_a_line(pair: Pair, arguments: str, says: str, capsys) -> None:
    Path("few.csv").write_text("class 0\nclass 1\nclass 2\n")
    Path("other.csv").write_text("ten\n" * 60)

    assert says in refusal(arguments, capsys)


def rewritten(name: str, **changes: Any) -> None:
    """A sidecar that says otherwise of that file, as an owner may write one."""
    manifest = container.read_manifest(Path(name), onnx_metadata(Path(name)))
    assert manifest is not None
    Path(f"{name}.json").write_bytes(encode(msgspec.structs.replace(manifest, **changes)))


def needing_all(name: str) -> None:
    """A sidecar by which no feature may be missing."""
    manifest = container.read_manifest(Path(name), onnx_metadata(Path(name)))
    assert manifest is not None
    table = manifest.inputs[0]
    features = tuple(msgspec.structs.replace(f, missing=False) for f in table.features)
    rewritten(name, inputs=(msgspec.structs.replace(table, features=features),))


def test_a_sample_of_which_the_device_would_refuse_every_row_is_refused(pair: Pair, wine: Split, capsys) -> None:
    needing_all("new.onnx")
    wine.held.assign(hue=np.nan).to_csv("gap.csv", index=False)

    assert "new.onnx: the device would refuse every row" in refusal("old.onnx new.onnx --sample gap.csv", capsys)


def test_a_row_without_names_that_one_model_refuses_differs(pair: Pair, wine: Split) -> None:
    needing_all("new.onnx")
    rows = np.array(wine.held)
    rows[3, 2] = np.nan
    np.save("rows.npy", rows)

    changed = compared("old.onnx new.onnx --sample rows.npy --expect labels.csv")["changed"]

    assert [c["new"] for c in changed if c["row"] == 4] == ["(refused)"]


def test_answers_that_are_no_classes_and_no_numbers_are_not_compared(pair: Pair, capsys) -> None:
    rewritten("new.onnx", task="raw")

    said = refusal("old.onnx new.onnx --sample rows.csv", capsys)

    assert "--compare new.onnx: its task is raw; answers are compared of" in said


def test_a_model_that_answers_to_windows_is_not_compared(pair: Pair, capsys) -> None:
    manifest = container.read_manifest(Path("new.onnx"), onnx_metadata(Path("new.onnx")))
    assert manifest is not None
    table = msgspec.structs.replace(manifest.inputs[0], window=Window(size=4, hop=2), shape=(None, 4, 13))
    rewritten("new.onnx", inputs=(table,))

    assert "it answers to windows of rows" in refusal("old.onnx new.onnx --sample rows.csv", capsys)


def test_a_column_of_too_many_texts_is_no_slice(pair: Pair, wine: Split, capsys) -> None:
    wine.held.assign(number=[f"bottle {i}" for i in range(len(wine.held))]).to_csv("rows.csv", index=False)

    said = refusal("old.onnx new.onnx --sample rows.csv --slice number", capsys)

    assert f"--slice number: its {len(wine.held)} texts are too many to look at" in said


def test_pictures_have_no_columns_to_slice_by(place: Path, capsys) -> None:
    onnxmodels.mean(Path("mean.onnx"), size=8)
    np.save("pictures.npy", np.random.default_rng(0).integers(0, 255, (6, 8, 8, 3), dtype=np.uint8))

    said = refusal("mean.onnx mean.onnx --sample pictures.npy --slice hue", capsys)

    assert "--slice: the sample has no named columns; give a .csv or .jsonl" in said


def test_a_file_that_is_no_model_is_a_model_error(pair, capsys) -> None:
    Path("cut.onnx").write_bytes(Path("new.onnx").read_bytes()[:200])

    assert cli.main(["--compare", "old.onnx", "cut.onnx", "--sample", "rows.csv"]) == 3
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("wins", "losses", "chance"), [(0, 0, 1.0), (5, 5, 1.0), (5, 0, 0.0625), (9, 1, 0.021484375), (600, 500, 0.00284)]
)
def test_the_sign_test_is_the_textbooks(wins: int, losses: int, chance: float) -> None:
    assert sign_test(wins, losses) == pytest.approx(chance, rel=0.01)
    assert sign_test(losses, wins) == sign_test(wins, losses)


def test_the_help_of_the_converter_tells_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])

    assert "--compare old.onnx new.onnx --sample rows.csv" in capsys.readouterr().out

"""What two models that are to be compared have to have in common, and what is told where two readings fit."""

from __future__ import annotations

from typing import Any

import pytest

from edge.errors import ConfigError
from edge.model.manifest import Feature, Input, Manifest, Output
from edge.plugins.rows import RowRules
from edge.trial import fit

STRICT, WIDE, SPARSE = RowRules(), RowRules(ignore_unknown=True), RowRules(absent_missing=True)


def rows(*names: str, task: str = "regress", **more: Any) -> Manifest:
    """A model that takes rows; `name:text` and `name:number:unit` say more of a feature."""
    features = []
    for text in names:
        name, kind, unit = (*text.split(":"), "number", "")[:3] if ":" in text else (text, "number", "")
        features.append(Feature(name=name, kind=kind, unit=unit))  # type: ignore[arg-type]
    part = Input(name="x", kind="table", features=tuple(features))
    return Manifest(name="m", task=task, inputs=(part,), **more)  # type: ignore[arg-type]


def classes(*labels: str, task: str = "classify", **more: Any) -> Manifest:
    return rows("a", task=task, labels=labels, **more)


def array(*shape: int | None, kind: str = "tensor") -> Manifest:
    return Manifest(name="m", task="raw", inputs=(Input(name="x", kind=kind, shape=shape),))


@pytest.mark.parametrize(
    ("running", "trial", "rules", "why"),
    [
        (rows("a"), classes("x"), STRICT, "does classify, the model that runs regress: they cannot be compared"),
        (rows("a"), array(1, 3), STRICT, "does raw"),
        (array(1, 3), array(1, 3, kind="image"), STRICT, "it takes image, the model that runs arrays"),
        (rows("a", "b"), rows("a", "b", "c"), STRICT, "it takes 'c', which the model that runs refuses in a row"),
        (rows("a", "b"), rows("a"), STRICT, "it does not know 'b', and refuses each row"),
        (rows("a", "b"), rows("a", "B"), STRICT, "with --ignore-unknown rows may bring more"),
        (rows("a"), rows("a:text"), STRICT, "it takes 'a' as a text, the model that runs as a number"),
        (rows("", ""), rows("", "", ""), STRICT, "it takes rows of 3 values, the model that runs of 2"),
        (array(1, 3), array(1, 4), STRICT, "it takes [1, 4], the model that runs [1, 3]"),
        (array(1, 3), array(1, 3, 1), STRICT, "it takes [1, 3, 1]"),
        (classes("cat", "dog"), classes("Cat", "Dog"), STRICT, "its classes ('Cat', 'Dog') are none of those"),
        (classes("cat", "dog"), classes(), STRICT, "it does not name its classes, the other one does"),
        (classes(), classes("cat", "dog"), STRICT, "the model that runs does not name its classes"),
        (classes("a", task="detect"), classes("b", task="detect"), STRICT, "edge-convert --labels, or a file new.onnx"),
    ],
)
def test_two_models_that_could_never_agree_are_refused(
    running: Manifest, trial: Manifest, rules: RowRules, why: str
) -> None:
    with pytest.raises(ConfigError, match=r"--trial new\.onnx") as refused:
        fit.refuse(running, trial, rules, "new.onnx")

    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("running", "trial", "rules", "said"),
    [
        (rows("a", "b"), rows("b", "a"), STRICT, "the same features in another order: rows by name are for both"),
        (rows("a"), rows("a", "b"), WIDE, "takes 'b' too: where a row does not bring them they make it skip the row"),
        (rows("a"), rows("a", "b"), SPARSE, "where a row does not bring them they are missing values for it"),
        (rows("a", "b"), rows("a"), SPARSE, "does not know 'b': a row that brings them is skipped by it"),
        (rows("a"), rows(""), STRICT, "the features of the one on trial have no names"),
        (rows("t:number:C"), rows("t:number:F"), STRICT, "'t' is in C for the model that runs, in F for the one on"),
        (classes("cat", "dog"), classes("cat", "cow"), STRICT, "only the model that runs knows the classes 'dog'"),
        (classes("cat", "dog"), classes("cat", "cow"), STRICT, "only the one on trial knows the classes 'cow'"),
        (classes(), classes(), STRICT, "neither of the two names its classes"),
        (classes("cat", task="detect"), classes(task="detect"), STRICT, "only one of the two names its classes"),
        (
            rows("a", outputs=(Output(name="y"),)), rows("a", outputs=(Output(name="z"),)), STRICT,
            "the values have other names: 'y' is compared with 'z', in that order",
        ),
        (
            rows("a", outputs=(Output(name="y", unit="m"),)), rows("a", outputs=(Output(name="y", unit="km"),)), STRICT,
            "'y' is in m, 'y' of the one on trial in km",
        ),
    ],
)  # fmt: skip
def test_where_two_readings_fit_it_is_told_which_is_taken(
    running: Manifest, trial: Manifest, rules: RowRules, said: str
) -> None:
    fit.refuse(running, trial, rules, "new.onnx")

    assert any(said in text for text in fit.remarks(running, trial, rules))


@pytest.mark.parametrize(
    ("running", "trial", "rules"),
    [
        (rows("a", "b"), rows("a", "b"), STRICT),
        (rows("a", "b"), rows("a"), WIDE),
        (rows("", ""), rows("", ""), STRICT),
        (classes("cat", "dog"), classes("dog", "cat"), STRICT),
        (classes(outputs=(Output(name="y", role="label"),)), classes("a"), STRICT),
        (array(None, 3), array(1, 3), STRICT),
        (array(1, 3, kind="image"), array(1, 5, kind="image"), STRICT),
    ],
)
def test_models_that_can_be_compared_are_neither_refused_nor_remarked_on(
    running: Manifest, trial: Manifest, rules: RowRules
) -> None:
    fit.refuse(running, trial, rules, "new.onnx")

    assert [r for r in fit.remarks(running, trial, rules) if "only one of the two" not in r] == []

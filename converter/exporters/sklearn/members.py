"""Classifiers that one of several classes is made of: OneVsRest and OneVsOne."""

from __future__ import annotations

from typing import Any

from converter.exporters.sklearn import estimators, linear_members


def refusal(kind: str, estimator: Any) -> str:
    """Why the classifiers that one of several classes is made of cannot be; "" where they can.

    scikit-learn asks them for margins where they have such, and the exporter for probabilities.
    """
    members = list(estimator.estimators_)
    last = {estimators.kind_of(estimators.last_step(m)) for m in members}
    if linear_members.are_linear(estimator):
        return ""
    if any(hasattr(m, "steps") for m in members) and not all(hasattr(m, "predict_proba") for m in members):
        return (
            f"its members are pipelines that give margins alone, which ONNX loses; let the steps stand before it: "
            f"make_pipeline(..., {kind}({min(last)}(...)))"
        )
    both = all(hasattr(m, "decision_function") and hasattr(m, "predict_proba") for m in members)
    if both and last == {"QuadraticDiscriminantAnalysis"} and len(estimator.classes_) > 2:
        return (
            f"it decides by the margins of {min(last)}, and ONNX has its probabilities alone, which round to 0 and 1 "
            f"where the margins still differ; {min(last)} takes several classes by itself: train it without {kind}"
        )
    if both and last & {"SVC", "NuSVC", "SGDClassifier"} and len(estimator.classes_) > 2:
        return (
            f"it decides by the margins of {min(last)}, whose probabilities may prefer another class, and ONNX has the "
            f"probabilities alone; leave probabilities out of {min(last)}, or take LogisticRegression or "
            "CalibratedClassifierCV in it"
        )
    if both and kind == "OneVsOneClassifier" and last & {"SVC", "NuSVC"}:
        return f"it adds up margins, and ONNX has the probabilities of {min(last)} alone; use OneVsRestClassifier"
    if kind == "OneVsOneClassifier" and any(hasattr(m, "decision_function") for m in members):
        return (
            f"it adds up the margins of {min(last)}, which ONNX has not; train {min(last)} without {kind}, or take "
            "members without margins in it (KNeighborsClassifier, RandomForestClassifier, MLPClassifier)"
        )
    if kind == "OneVsOneClassifier" and not all(hasattr(m, "predict_proba") for m in members):
        return f"{min(last)} in it has neither margins nor probabilities, which it compares; take one that has"
    return ""

"""Estimators that skl2onnx converts wrongly, or not at all, as others that compute the very same.

Each is changed in place, in a copy of the model: whoever holds it need not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from converter.exporters.sklearn import estimators
from edge.errors import one_line

_MEANS = {
    "FastICA": "mean_", "FactorAnalysis": "mean_", "SparseRandomProjection": "", "LinearDiscriminantAnalysis": "xbar_",
}  # fmt: skip
"""What they subtract, by kind; 0 where there is no such."""
_SELECTIONS = ("RFE", "RFECV", "SelectFromModel", "SequentialFeatureSelector")


_INSTEAD = {
    "KMeans": "AffinityPropagation Birch BisectingKMeans MeanShift",
    "KNeighborsClassifier or LogisticRegression": "LabelPropagation LabelSpreading NearestCentroid",
    "SVR or GaussianProcessRegressor": "KernelRidge",
    "IsolationForest, LocalOutlierFactor(novelty=True) or OneClassSVM": "EllipticEnvelope",
    "PCA or TruncatedSVD": "BernoulliRBM DictionaryLearning Isomap LatentDirichletAllocation LocallyLinearEmbedding "
    "MiniBatchDictionaryLearning MiniBatchNMF MiniBatchSparsePCA NMF SparsePCA",
    "SVC or SVR, which have kernels themselves": "AdditiveChi2Sampler Nystroem PolynomialCountSketch RBFSampler "
    "SkewedChi2Sampler",
    "PLSRegression": "CCA PLSCanonical PLSSVD",
    "CountVectorizer or TfidfVectorizer": "HashingVectorizer",
}
"""What converts, and which kinds it may take the place of."""


def instead_of(kind: str) -> str:
    """What to do where an estimator has no counterpart in ONNX."""
    if kind.startswith("Dummy"):
        return "it answers without looking at its features, so a device needs no model for it"
    if kind in (*_MEANS, *_SELECTIONS):
        return "put an estimator behind it, in one pipeline: there it converts"
    known = next((other for other, kinds in _INSTEAD.items() if kind in kinds.split()), "another estimator")
    return f"use {known} in its place"


_WAYS_OUT = {
    "imblearn": "take scikit-learn's own of that kind with class_weight='balanced', or behind a sampler in a "
    "pipeline of imbalanced-learn, which is left out where it predicts",
}
"""By package, for estimators that skl2onnx does not know."""


def why_not(exc: Exception, model: Any) -> str:
    """What skl2onnx said, without its pages of advice for those who write converters."""
    alias = re.search(r"for type '<class '(?:(\w+)\.)?[\w.]*?(\w+)'>'", str(exc))
    if alias is not None:
        package, name = alias.groups()
        way_out = _WAYS_OUT.get(package) or instead_of(name)
        return f"{name} has no counterpart in ONNX that skl2onnx knows; {way_out}"
    reason = re.split(r" It usually means|[.,] You may raise an issue|, you may raise", one_line(exc))[0]
    return f"skl2onnx cannot convert this {type(model).__name__}: {reason}"


def put_in(estimator: Any) -> None:
    """Puts in what stands for this estimator, and for the steps that it holds."""
    kind = estimators.kind_of(estimator) if estimators.is_fitted(estimator) else ""
    if kind == "LinearDiscriminantAnalysis" and len(estimator.classes_) == 2:
        _logistic(estimator)
    elif kind == "AdaBoostClassifier" and estimator.classes_.dtype == bool:
        estimator.classes_ = estimator.classes_.astype(np.int64)  # as its label output gives them
    elif kind == "MLPRegressor" and estimator.out_activation_ == "exp":
        estimator.out_activation_ = "identity"  # the exporter puts Exp behind it
    for step in _transforming(estimator):
        if not hasattr(step, "get_params") or not estimators.is_fitted(step):
            continue
        _projection(step)
        if estimators.kind_of(step) in _SELECTIONS:
            _plain_selection(step)


def _transforming(holder: Any) -> Iterator[Any]:
    """What a holder asks to transform, never to predict."""
    if isinstance(steps := getattr(holder, "steps", None), list):
        yield from (step for _, step in steps[:-1])
    yield from (step for _, step in getattr(holder, "transformer_list", ()))
    yield from (step for _, step, _ in getattr(holder, "transformers_", ()))


def _become(estimator: Any, other: Any, **fitted: Any) -> None:
    estimator.__class__ = type(other)
    estimator.__dict__ = {**vars(other), **fitted}


def _logistic(estimator: Any) -> None:
    """Of two classes: the sigmoid of one margin, which skl2onnx makes a softmax of two (0.15 off)."""
    from sklearn.linear_model import LogisticRegression

    fitted = {name: getattr(estimator, name) for name in ("coef_", "intercept_", "classes_", "n_features_in_")}
    _become(estimator, LogisticRegression(), **fitted)


def _projection(step: Any) -> None:
    """Transformers that subtract and multiply, as the PCA with their numbers."""
    kind = estimators.kind_of(step)
    if kind not in _MEANS:
        return
    from sklearn.decomposition import PCA

    count = step.n_features_in_
    mean = np.asarray(getattr(step, _MEANS[kind], np.zeros(count)), dtype=np.float64)
    axes = step.transform(np.eye(count) + mean) - step.transform(mean.reshape(1, -1))
    _become(step, PCA(), mean_=mean, components_=np.asarray(axes.T), n_features_in_=count, n_components_=axes.shape[1])


def _plain_selection(step: Any) -> None:
    """A plain choice of features in place of one that keeps its model: skl2onnx stops at that model."""
    from sklearn.feature_selection import VarianceThreshold

    chosen = step.get_support().astype(np.float64)  # what is above 0 stays
    _become(step, VarianceThreshold(), variances_=chosen, n_features_in_=len(chosen))

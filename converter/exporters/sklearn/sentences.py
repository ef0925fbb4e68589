"""Texts made up of the words that a vectoriser knows: one sentence shows nothing of how words are weighed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converter.exporters.sklearn import estimators
from edge.data.tensor import Array

_UNKNOWN = "qzxunknown"
_MOST_WORDS = 12
_KINDS = 5


def by_column(model: Any, names: Sequence[str], random: np.random.Generator, count: int) -> dict[str, Array]:
    """`count` texts for each column that a vectoriser reads, by the column's name."""
    sentences: dict[str, Array] = {}
    for columns, operation in estimators.routes(estimators.first_step(model), names):
        for estimator in estimators.walk(operation):
            if estimators.kind_of(estimator) in estimators.TEXT_VECTORIZERS:
                texts = _texts(estimator, random, count)
                sentences.update(dict.fromkeys(columns, texts))
    return sentences


def _texts(vectorizer: Any, random: np.random.Generator, count: int) -> Array:
    terms = sorted(getattr(vectorizer, "vocabulary_", None) or ("some", "words", "of", "text"))
    between = "" if vectorizer.analyzer != "word" else " "
    dropped = sorted(vectorizer.get_stop_words() or ()) if vectorizer.analyzer == "word" else []
    texts = [_text(terms, dropped, between, kind % _KINDS, random) for kind in range(count)]
    return np.array(texts, dtype=object)


def _text(terms: Sequence[str], dropped: Sequence[str], between: str, kind: int, random: np.random.Generator) -> str:
    """Known terms; one of them often; some among unknown words, or among words left out; some with punctuation."""
    words = [terms[i] for i in random.integers(len(terms), size=random.integers(1, _MOST_WORDS))]
    if kind == 1:
        words += [words[0]] * 4
    elif kind == 2:
        words = [w for word in words for w in (word, _UNKNOWN)]
    elif kind == 3 and dropped:
        words = [w for word in " ".join(words).split() for w in (word, dropped[int(random.integers(len(dropped)))])]
    elif kind == 4:
        return ", ".join(words[:3]) + ". " + between.join(reversed(words))
    return between.join(words)

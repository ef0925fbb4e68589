#!/usr/bin/env bash
# Keras 3 turns a dropout off in predict that was asked for with training=True; called, the same model drops.
#
# One would expect: Dropout(0.5)(x, training=True) in a functional model drops at prediction too, in predict as in a call
# of the model. It is how Monte Carlo dropout is written in tutorials, and what Keras 2 did.
# What happens: model(x) drops. predict hands training=False to each layer, which goes before what the layer was called
# with when the model was built: a hundred predictions are the same. Nothing warns. A layer whose own call says
# training=True drops in both.
# Why it matters: an uncertainty that is the spread of predictions is 0 for each input. A file is exported by one of the
# two ways, and agrees with the model or does not by the way that it is compared with.
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2 numpy==2.4.6 scipy==1.17.1
KERAS_HOME="$folder" KERAS_BACKEND=jax "$folder/venv/bin/python" - <<'PYTHON'
import keras
import numpy as np


class AlwaysDrops(keras.layers.Dropout):
    def call(self, inputs, training=None):
        return super().call(inputs, training=True)


def built(drop):
    given = keras.Input((64,))
    return keras.Model(given, drop(given))


def spread(ask, model):
    ones = np.ones((1, 64), "float32")
    return float(np.std([np.asarray(ask(model, ones)) for _ in range(100)], axis=0).max())


def call(model, rows):
    return model(rows)


def predict(model, rows):
    return model.predict(rows, verbose=0)


asked = built(lambda given: keras.layers.Dropout(0.5)(given, training=True))
own = built(AlwaysDrops(0.5))
print(f"keras {keras.__version__}: spread of a hundred answers")
print("training=True where it is built: called", spread(call, asked), "predict", spread(predict, asked))
print("a layer that says it by itself:  called", spread(call, own), "predict", spread(predict, own))
assert spread(call, asked) > 0.5 and spread(predict, asked) == 0.0, "it has changed"
assert spread(call, own) > 0.5 and spread(predict, own) > 0.5, "it has changed"
PYTHON

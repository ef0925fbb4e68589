from __future__ import annotations

import numpy as np
import pytest

from edge.data.tensor import TensorSpec
from edge.errors import ModelError
from edge.model.constants import constants
from edge.model.manifest import Input, Manifest

SPECS = (TensorSpec("rate", "int64", ()), TensorSpec("size", "float32", (1, 2)))


def given(**values):
    return constants(
        Manifest(name="m", inputs=tuple(Input(name=n, kind="constant", value=v) for n, v in values.items())), SPECS
    )


def test_a_constant_has_the_dtype_and_shape_of_its_input():
    found = given(rate=8000, size=[3, 4])
    assert (found["rate"].dtype, found["rate"].shape, found["size"].tolist()) == (np.int64, (), [[3.0, 4.0]])


@pytest.mark.parametrize(
    "values", [{"size": [1, 2, 3]}, {"size": "x"}, {"rate": [1, 2]}, {"rate": None}, {"rate": 2**70}]
)
def test_a_value_that_does_not_fit_is_a_model_error(values):
    with pytest.raises(ModelError, match="mend the manifest"):
        given(**values)

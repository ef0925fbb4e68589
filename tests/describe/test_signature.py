from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.data.tensor import TensorSpec
from edge.describe import signature

dims = st.one_of(st.none(), st.integers(0, 2000), st.sampled_from([1, 3, 4, 224, "batch", "num_channels", "height"]))
specs = st.builds(
    TensorSpec,
    st.sampled_from(["x", "pixel_values", "images", "state", "sr", "h_in"]),
    st.sampled_from(["float32", "uint8", "int64", "string"]),
    st.one_of(st.none(), st.lists(dims, max_size=5).map(tuple)),
)


@given(st.lists(specs, max_size=4, unique_by=lambda s: s.name), st.lists(specs, max_size=3, unique_by=lambda s: s.name))
def test_every_input_has_one_role(inputs, outputs):
    found = signature.roles(inputs, outputs)
    names = [*(s.name for s in found.data), *found.states, *found.constants]
    assert sorted(names) == sorted(s.name for s in inputs)
    assert set(found.states.values()) <= {s.name for s in outputs}


@given(specs, st.sampled_from([None, "NHWC", "NCHW"]))
def test_a_picture_has_sides_and_one_or_three_channels_unless_the_user_says_that_it_is_one(spec, said):
    layout = signature.layout(spec, said)
    if layout is None:
        return
    width, height = signature.size(spec, layout)
    if said is None:
        assert width >= 8
        assert height >= 8
        assert signature.channels(spec, layout) in (1, 3)
        assert signature.fixed_batch(spec) == 0

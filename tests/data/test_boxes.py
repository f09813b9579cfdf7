"""Boxes between original pixels and 0..1000."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glm4v.data import to_normalised_box, to_pixel_box


def test_each_axis_is_scaled_by_its_own_side():
    assert to_normalised_box((20, 30, 200, 300), (200, 600)) == (100, 50, 1000, 500)
    assert to_pixel_box((100, 50, 1000, 500), (200, 600)) == (20, 30, 200, 300)


@given(
    size=st.tuples(st.integers(1, 9000), st.integers(1, 9000)),
    corners=st.tuples(*[st.floats(0, 1)] * 4),
)
def test_there_and_back_is_within_a_rounding(size, corners):
    (x1, x2), (y1, y2) = sorted(corners[:2]), sorted(corners[2:])
    box = (x1 * size[0], y1 * size[1], x2 * size[0], y2 * size[1])
    back = to_pixel_box(to_normalised_box(box, size), size)
    for ours, given_, side in zip(back, box, size * 2, strict=True):
        assert abs(ours - given_) <= side / 2000 + 1e-9


@pytest.mark.parametrize(
    "box", [(1, 2, 3), (5, 0, 4, 9), (0, 0, 101, 9), (-1, 0, 4, 9), (0, 9, 4, 8), (0, 0, float("nan"), 1)]
)
def test_boxes_outside_the_image_are_refused(box):
    with pytest.raises(ValueError, match="box in pixels is"):
        to_normalised_box(box, (100, 10))
    with pytest.raises(ValueError, match=r"box in 0\.\.1000 is"):
        to_pixel_box([10 * side for side in box], (100, 10))

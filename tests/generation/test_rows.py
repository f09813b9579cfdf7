"""Row counts that are used agree to the bit; one that does not is left out."""

import torch
from torch import Tensor

from glm4v.generation.rows import ROWS, fitting, like_typical, patch_counts, row_counts
from glm4v.model import Glm4v
from glm4v.model.layers import Linear


@torch.inference_mode()
def test_counts_agree_for_every_layer(model: Glm4v) -> None:
    parts = ((row_counts(model), model.model.language_model), (patch_counts(model), model.model.visual.blocks))
    for counts, part in parts:
        for layer in part.modules():
            if isinstance(layer, Linear):
                x = torch.randn(counts[-1], layer.weight.shape[1])
                whole = layer(x)
                for count in counts:
                    for start in range(0, counts[-1], count):
                        assert torch.equal(layer(x[start : start + count]), whole[start : start + count])


def test_counts_are_offered_ones(model: Glm4v) -> None:
    assert {128} <= set(row_counts(model)) <= set(ROWS["cpu"])
    assert {512} <= set(patch_counts(model)) <= {4 * count for count in ROWS["cpu"]}


def test_a_count_with_other_bits_is_left_out() -> None:
    def product(x: Tensor) -> Tensor:
        return x * (1 + 1e-6 * (len(x) in (32, 256)))

    assert like_typical(product, torch.randn(512, 8), (32, 64, 128, 256, 512), 128) == (64, 128, 512)


def test_fitting_is_the_smallest() -> None:
    assert [fitting((16, 64), live) for live in (1, 16, 17, 64)] == [16, 16, 64, 64]

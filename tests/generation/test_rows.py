"""Row counts that are used agree to the bit; one that does not is left out."""

import torch
from torch import Tensor

from glm4v.generation.rows import ROWS, agreeing, fitting, row_counts
from glm4v.model import Glm4v
from glm4v.model.layers import Linear


@torch.inference_mode()
def test_counts_agree_for_every_layer(model: Glm4v) -> None:
    counts = row_counts(model)
    assert set(counts) <= set(ROWS["cpu"])
    assert counts[-1] == ROWS["cpu"][-1]
    x = torch.randn(counts[-1], 64)
    for layer in model.model.language_model.layers[1].modules():
        if isinstance(layer, Linear) and layer.weight.shape[1] == 64:
            whole = layer(x)
            for count in counts:
                for start in range(0, counts[-1], count):
                    assert torch.equal(layer(x[start : start + count]), whole[start : start + count])


def test_a_count_with_other_bits_is_left_out() -> None:
    class Rounding(Linear):
        """Rounds otherwise where there are 32 rows."""

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * (1 + 1e-6 * (len(x) == 32))

    layer = Rounding(8, 8)
    torch.nn.init.normal_(layer.weight)
    with torch.no_grad():
        assert agreeing(layer, [32, 64], 128) == {64}


def test_fitting_is_the_smallest() -> None:
    assert [fitting((16, 64), live) for live in (1, 16, 17, 64)] == [16, 16, 64, 64]

"""How many rows a call of the text decoder has.

A matrix product gives a row the same bits wherever it stands and whatever stands beside it, but not at every number of
rows (MKL, measured: 1 to 3 rows differ, with two threads also 5, 6, 7 and 9; all from 16 to 512 agree). So calls have
one of a few numbers of rows, padded where there is less to do, and those that differ on this machine are left out.
"""

import torch

from glm4v.model import Glm4v
from glm4v.model.layers import Linear

# The largest is enough to be bound by arithmetic. On a GPU fewer rows are no faster: reading the weights takes longer.
ROWS = {"cpu": (16, 32, 64, 128), "cuda": (256,)}


def row_counts(model: Glm4v) -> tuple[int, ...]:
    """The numbers of rows, ascending, at which the products of the decoder agree to the bit, for this model here."""
    *smaller, largest = ROWS[model.device.type]
    agree = set(smaller)
    layers = {}
    for module in (*model.model.language_model.layers[0].modules(), model.lm_head):
        if isinstance(module, Linear):
            layers[module.weight.shape, module.bias is None] = module
    for layer in layers.values() if smaller else ():
        agree &= agreeing(layer, smaller, largest)
    return *sorted(agree), largest


def agreeing(layer: Linear, counts: list[int], largest: int) -> set[int]:
    """Those of `counts` at which `layer` gives rows the bits that it gives among `largest`, at either end."""
    width = layer.weight.shape[1]
    x = torch.randn(largest, width, generator=torch.Generator().manual_seed(0)).to(layer.weight)
    whole = layer(x)
    return {
        count
        for count in counts
        if torch.equal(layer(x[:count]), whole[:count]) and torch.equal(layer(x[-count:]), whole[-count:])
    }


def fitting(counts: tuple[int, ...], live: int) -> int:
    """The smallest of `counts`, ascending, that is at least `live`."""
    return next(count for count in counts if count >= live)

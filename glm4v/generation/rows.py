"""How many rows a call of the text decoder or of the vision encoder has.

A matrix product gives a row the same bits wherever it stands and whatever stands beside it, but not at every number of
rows (measured, MKL: 1 to 3 rows differ, with two threads also 5, 6, 7 and 9; oneDNN: 1 row does). So calls have
one of a few numbers of rows, padded where there is less to do, and those that differ on this machine are left out. That
is promised for float32 alone; in other types all are used. On a GPU numbers are chosen likewise, but prefill and
decoding have attention kernels whose bits differ: a sequence that waited and was computed again may go on with others.
"""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from glm4v import ops
from glm4v.data.packing import IMAGE_WIDTH
from glm4v.data.sample import MERGE
from glm4v.model import Glm4v
from glm4v.model.layers import Linear

# Products of 512 rows run at 1.2 (oneDNN) to 1.5 times (MKL) the rate of those of 128, and more rows gain little. A GPU
# needs thousands before products cost more than reading the weights; decoding has at most 256 and a graph for each.
ROWS = {"cpu": (16, 32, 64, 128, 256, 512), "cuda": (8, 32, 64, 128, 256, 512, 1024, 2048, 4096)}
TYPICAL = {"cpu": 128, "cuda": 256}  # with this number all have to agree

Shape = tuple[int, int, bool]  # outputs and inputs of a matrix product, and whether it has a bias


def row_counts(model: Glm4v) -> tuple[int, ...]:
    """Numbers of rows for the text decoder, ascending, at which its products agree to the bit for this model here."""
    modules = (*model.model.language_model.layers[0].modules(), model.lm_head)
    layers = [module for module in modules if isinstance(module, Linear)]
    return agreeing(model, [(*layer.weight.shape, layer.bias is not None) for layer in layers], 1)


def patch_counts(model: Glm4v) -> tuple[int, ...]:
    """The same for the vision encoder, in patches of still images, of which MERGE x MERGE become one token."""
    vision: Any = model.config.vision_config
    width, hidden, bias = vision.hidden_size, vision.out_hidden_size, vision.attention_bias
    of_patches = [(width, IMAGE_WIDTH, True), (3 * width, width, bias), (width, width, False)]
    of_patches += [(2 * hidden, width, False), (width, hidden, False)]
    of_tokens = [(hidden, MERGE**2 * width, True), (hidden, hidden, False)]
    of_tokens += [(2 * vision.intermediate_size, hidden, False), (hidden, vision.intermediate_size, False)]
    tokens = set(agreeing(model, of_tokens, 1))
    return tuple(count for count in agreeing(model, of_patches, MERGE**2) if count // MERGE**2 in tokens)


def agreeing(model: Glm4v, shapes: Iterable[Shape], scale: int) -> tuple[int, ...]:
    """ROWS, `scale` times as large, at which all products of `shapes` agree in the model's type."""
    kind, settings = model.device.type, (torch.get_num_threads(), torch.get_float32_matmul_precision())
    counts = tuple(scale * count for count in ROWS[kind])
    if model.dtype != torch.float32:
        return counts
    typical = scale * TYPICAL[kind]
    probed = [probe(shape, counts, typical, model.device, settings) for shape in set(shapes)]
    return tuple(count for count in counts if all(count in agree for agree in probed))


@cache
def probe(
    shape: Shape, counts: tuple[int, ...], typical: int, device: torch.device, settings: tuple[int, str]
) -> tuple[int, ...]:
    """Those of `counts` that agree for one product in float32; `settings` are what the answer depends on besides."""
    outputs, inputs, bias = shape
    generator = torch.Generator(device).manual_seed(0)
    rows, weight, added = (
        torch.randn(*size, generator=generator, device=device)
        for size in ((max(counts), inputs), (outputs, inputs), (outputs,))
    )
    return like_typical(lambda x: ops.linear(x, weight, added if bias else None), rows, counts, typical)


def like_typical(
    product: Callable[[Tensor], Tensor], x: Tensor, counts: Iterable[int], typical: int
) -> tuple[int, ...]:
    """Those of `counts` at which `product` gives rows at either end of `x` the bits they get among `typical` rows."""
    first, last = product(x[:typical]), product(x[-typical:])

    def agrees(count: int) -> bool:
        shared = min(count, typical)
        return torch.equal(product(x[:count])[:shared], first[:shared]) and torch.equal(
            product(x[-count:])[-shared:], last[-shared:]
        )

    return tuple(count for count in counts if agrees(count))


def fitting(counts: tuple[int, ...], live: int) -> int:
    """The smallest of `counts`, ascending, that is at least `live`."""
    return next(count for count in counts if count >= live)

"""The text decoder's contract with `attend`: it alone knows sequences; everything else is per token."""

from typing import Any

import torch
from torch import Tensor

from glm4v import ops


def decoder_inputs(tools: Any, lengths: list[int]) -> tuple[Any, Tensor, Tensor, Tensor]:
    model, _ = tools.pair(tools.config())
    x = torch.randn(sum(lengths), model.config.text_config.hidden_size)
    position_ids = torch.cat([torch.arange(length) for length in lengths]).expand(3, -1)
    cu_seqlens = torch.tensor([0, *lengths]).cumsum(0).int()
    return model, x, position_ids, cu_seqlens


def test_attend_sees_every_layer_once_with_rotated_heads(tools: Any) -> None:
    model, x, position_ids, cu_seqlens = decoder_inputs(tools, [4, 3])
    seen: list[int] = []

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        seen.append(layer)
        assert q.shape == (7, 4, 32)
        assert k.shape == v.shape == (7, 2, 32)
        return ops.packed_attention(q, k, v, cu_seqlens, causal=True)

    with torch.no_grad():
        hidden = model.text(x, position_ids, attend)
    assert seen == [0, 1]
    assert hidden.shape == x.shape
    assert model.head(hidden).shape == (7, tools.vocabulary)


def test_packed_sequences_do_not_see_each_other(tools: Any) -> None:
    lengths = [5, 1, 9]
    model, x, position_ids, cu_seqlens = decoder_inputs(tools, lengths)

    def attend_within(bounds: Tensor) -> Any:
        return lambda layer, q, k, v: ops.packed_attention(q, k, v, bounds, causal=True)

    with torch.no_grad():
        packed = model.text(x, position_ids, attend_within(cu_seqlens))
        parts = zip(x.split(lengths), position_ids.split(lengths, dim=1), strict=True)
        single = [model.text(part, ids, attend_within(torch.tensor([0, len(part)]).int())) for part, ids in parts]
    assert tools.difference(packed, torch.cat(single)) <= 1e-5


def test_height_and_width_positions_matter(tools: Any) -> None:
    model, x, position_ids, cu_seqlens = decoder_inputs(tools, [6])

    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return ops.packed_attention(q, k, v, cu_seqlens, causal=True)

    with torch.no_grad():
        plain = model.text(x, position_ids, attend)
        for axis in range(3):
            moved = position_ids.clone()
            moved[axis, 3:] += 30
            assert tools.difference(model.text(x, moved, attend), plain) > 1e-2

"""The sm_90a kernels of packed_attention in the emulator, forward and backward, against the float64 twin."""

from itertools import accumulate

import pytest
import torch
from torch import Tensor

import glm4v._cuda_emulator as emulator
from glm4v.ops import reference
from tests.ops.conftest import TOLERANCE, error

probes = emulator.probes


def cu(lengths: list[int]) -> Tensor:
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)


def attend(tensors: list[Tensor], lengths: tuple[Tensor, Tensor], causal: bool, scale: float) -> list[Tensor]:
    """Output and log-sum-exp."""
    q = tensors[0]
    out = torch.full(q.shape, torch.nan, dtype=q.dtype)
    log_sum_exp = torch.full((q.shape[1], q.shape[0]), torch.nan)
    probes.packed_attention_sm90(0, *tensors, out, log_sum_exp, *lengths, causal, scale)
    return [out, log_sum_exp]


def gradients(
    grad: Tensor, tensors: list[Tensor], lengths: tuple[Tensor, Tensor], causal: bool, scale: float, parts: int = 1
) -> list[Tensor]:
    out, log_sum_exp = attend(tensors, lengths, causal, scale)
    delta = (grad.float() * out.float()).sum(-1).T.contiguous()
    grads = [torch.full(x.shape, torch.nan, dtype=x.dtype) for x in tensors]
    sums = [torch.full((parts, *x.shape), torch.nan) if parts > 1 else None for x in tensors[1:]]
    probes.packed_attention_backward_sm90(
        0, grad, *tensors, out, log_sum_exp, delta, *grads, *sums, *lengths, causal, scale
    )
    if parts > 1:
        grads[1:] = [x.sum(0) for x in sums]
    return [out, *grads]


def check(queries, keys, heads, kv_heads, width, dtype, causal, parts=1, scale=0.2):
    torch.manual_seed(0)
    shapes = ((sum(queries), heads), (sum(keys), kv_heads), (sum(keys), kv_heads))
    tensors = [torch.randn(*shape, width).to(dtype) for shape in shapes]
    lengths = (cu(queries), cu(keys))
    grad = torch.randn_like(tensors[0])
    exact = [t.double().requires_grad_() for t in tensors]
    want = reference.packed_attention(*exact, *lengths, causal, scale)
    wanted = [want, *torch.autograd.grad(want, exact, grad.double())]
    got = gradients(grad, tensors, lengths, causal, scale, parts)
    for name, a, b in zip(("out", "q", "k", "v"), got, wanted, strict=True):
        assert error(a, b, floor=0.3) <= TOLERANCE[dtype], name


# query lengths, key lengths, heads, key/value heads, head size
CASES = [
    ([70, 0, 3, 1], [70, 5, 3, 1], 2, 2, 64),  # sequences without queries, of one token
    ([200, 5], [300, 131], 4, 2, 128),  # several tiles of queries and of keys, a cached prefix
    ([40, 7], [9, 0], 3, 3, 96),  # rows without keys, a sequence without keys, padded heads
    ([6, 130], [65, 300], 2, 1, 256),
    ([33], [400], 16, 1, 32),
]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_forward_and_gradients(case, causal):
    check(*case, torch.bfloat16, causal)

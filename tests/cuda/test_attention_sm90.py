"""The sm_90a kernels of packed_attention in the emulator, forward and backward, against the float64 twin."""

from dataclasses import dataclass
from itertools import accumulate

import pytest
import torch
from torch import Tensor

import glm4v._cuda_emulator as emulator
from glm4v.ops import reference
from tests.ops.conftest import TOLERANCE, error

probes = emulator.probes


@dataclass(frozen=True)
class Case:
    """A pack of sequences and its heads."""

    queries: tuple[int, ...]
    keys: tuple[int, ...]
    heads: int
    kv_heads: int
    width: int
    causal: bool = False
    dtype: torch.dtype = torch.bfloat16
    parts: int = 1
    scale: float = 0.2

    def tensors(self) -> list[Tensor]:
        """q, k, v and the gradient of the output."""
        torch.manual_seed(0)
        q, k = (sum(self.queries), self.heads, self.width), (sum(self.keys), self.kv_heads, self.width)
        return [torch.randn(shape).to(self.dtype) for shape in (q, k, k, q)]

    def cu_seqlens(self) -> list[Tensor]:
        return [torch.tensor([0, *accumulate(lengths)], dtype=torch.int32) for lengths in (self.queries, self.keys)]

    def wanted(self) -> list[Tensor]:
        *inputs, grad = (t.double() for t in self.tensors())
        out = reference.packed_attention(
            *(t.requires_grad_() for t in inputs), *self.cu_seqlens(), self.causal, self.scale
        )
        return [out, *torch.autograd.grad(out, inputs, grad)]

    def got(self, tensors: list[Tensor] | None = None) -> list[Tensor]:
        """Output and gradients; whatever a kernel forgets to write is NaN."""
        *inputs, grad = tensors or self.tensors()
        arguments = (*self.cu_seqlens(), self.causal, self.scale)
        out, log_sum_exp = nan(grad), torch.full((self.heads, len(grad)), torch.nan)
        probes.packed_attention_sm90(0, *inputs, out, log_sum_exp, *arguments)
        delta = (grad.float() * out.float()).sum(-1).T.contiguous()
        grads = [nan(x) for x in inputs]
        sums = [torch.full((self.parts, *x.shape), torch.nan) if self.parts > 1 else None for x in inputs[1:]]
        probes.packed_attention_backward_sm90(0, grad, *inputs, out, log_sum_exp, delta, *grads, *sums, *arguments)
        grads[1:] = [x if s is None else s.sum(0) for x, s in zip(grads[1:], sums, strict=True)]
        return [out, *grads]

    def check(self, tensors: list[Tensor] | None = None) -> None:
        for name, got, want in zip(("out", "q", "k", "v"), self.got(tensors), self.wanted(), strict=True):
            assert error(got, want, floor=0.3) <= TOLERANCE[self.dtype], name


def nan(x: Tensor) -> Tensor:
    return torch.full(x.shape, torch.nan, dtype=x.dtype)


CASES = [
    Case((70, 0, 3, 1), (70, 5, 3, 1), 2, 2, 64),  # sequences without queries, of one token
    Case((70, 0, 3, 1), (70, 5, 3, 1), 2, 2, 64, causal=True),
    Case((5, 200), (131, 300), 4, 2, 128),  # several tiles of queries and of keys, a cached prefix
    Case((5, 200), (131, 300), 4, 2, 128, causal=True),
    Case((40, 7), (9, 0), 3, 3, 96),  # a sequence without keys
    Case((40, 7), (9, 0), 3, 3, 96, causal=True),  # and queries that see none
    Case((6, 130), (65, 170), 2, 1, 256),
    Case((6, 130), (65, 170), 2, 1, 256, causal=True),
    Case((33,), (400,), 16, 1, 32, causal=True, parts=3),  # parts of 5, 5 and 6 heads
    Case((20, 140), (20, 140), 2, 1, 72, causal=True, dtype=torch.float16, parts=2),
    Case((1,), (1,), 1, 1, 8),
    Case((3,) * 300, (3,) * 300, 1, 1, 64),  # more sequences than a block of the scheduler has threads
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_forward_and_gradients(case):
    case.check()


SMALL = Case((150, 3), (370, 3), 1, 1, 64, causal=True)  # every ring goes round, more than one item


@pytest.mark.parametrize("seed", range(8))
def test_any_order_of_threads(seed):
    """Deliveries and threads in other orders: no deadlock, and the bits are the same."""
    want = SMALL.got()
    emulator.seed(seed)
    assert all(torch.equal(a, b) for a, b in zip(SMALL.got(), want, strict=True))


def agrees() -> bool:
    return all(error(a, b, floor=0.3) <= 0.02 for a, b in zip(SMALL.got(), SMALL.wanted(), strict=True))


def test_neighbours_may_hold_anything():
    """Tiles reach into the sequences behind: what is read of these is nothing even where it is not finite."""
    case = Case((70, 4, 130, 9), (100, 4, 40, 9), 2, 1, 128)
    tensors = case.tensors()
    poisoned = [t.clone() for t in tensors]
    for tensor, cu_seqlens in zip(poisoned, [*case.cu_seqlens(), *reversed(case.cu_seqlens())], strict=True):
        for sequence in (1, 3):
            tensor[cu_seqlens[sequence] : cu_seqlens[sequence + 1]] = torch.nan
    cu_q, cu_k = case.cu_seqlens()
    for name, a, b in zip("oqkv", case.got(tensors), case.got(poisoned), strict=True):
        cu_seqlens = cu_q if name in "oq" else cu_k
        for sequence in (0, 2):
            own = slice(cu_seqlens[sequence], cu_seqlens[sequence + 1])
            assert torch.equal(a[own], b[own]), name
            assert a[own].isfinite().all()


def test_views_of_a_fused_projection():
    case = Case((30, 60), (30, 60), 2, 2, 64, causal=True)
    *inputs, grad = case.tensors()
    fused = torch.stack(inputs, 1).unbind(1)
    assert fused[0].stride(0) == 3 * inputs[0].stride(0)
    for a, b in zip(case.got([*fused, grad]), case.got([*inputs, grad]), strict=True):
        assert torch.equal(a, b)


def test_what_goes_to_the_kernels_for_sm_80():
    lengths = torch.tensor([0, 8], dtype=torch.int32)

    def takes(q: Tensor, k: Tensor, scale: float = 1.0) -> bool:
        out, log_sum_exp = torch.empty(8, 2, q.shape[2], dtype=q.dtype), torch.empty(2, 8)
        return bool(probes.takes_sm90(q, k, k, out, log_sum_exp, lengths, lengths, scale))

    good = torch.zeros(8, 2, 64).bfloat16()
    storage = torch.zeros(8 * 3 * 64 + 8).bfloat16()
    assert takes(good, good)
    assert takes(good, storage[8:].view(8, 3, 64)[:, :2])
    assert not takes(good, storage[1 : 8 * 2 * 64 + 1].view(8, 2, 64)), "an address that is not a multiple of 16 bytes"
    assert not takes(good, torch.zeros(8, 132).bfloat16()[:, :128].view(8, 2, 64)), "a stride that is not"
    assert not takes(good, torch.zeros(1, 2, 64).bfloat16().expand(8, 2, 64)), "tokens that overlap"
    assert not takes(good, good, scale=-1.0)
    assert not takes(good, good, scale=0.0)
    assert not takes(good.float(), good.float())
    assert not takes(good, good[:0])

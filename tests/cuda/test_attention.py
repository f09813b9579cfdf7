"""packed_attention's CUDA kernels on shapes that their tiles, rings and lists of tiles depend on, against the float64
twin: in the emulator and on a GPU, those for sm_90a and those for sm_80."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate

import pytest
import torch
from torch import Tensor

import glm4v._cuda_emulator as emulator
from glm4v import ops
from glm4v.ops import reference
from tests.ops.conftest import TOLERANCE, error, running_in
from tests.ops.test_packed_attention import ON_DEVICES


@pytest.fixture(params=ON_DEVICES)
def place(request: pytest.FixtureRequest) -> Iterator[str]:
    """Whatever a kernel forgets to write is NaN."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    with running_in(request.param):
        yield request.param
    torch.use_deterministic_algorithms(False)


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

    def __str__(self) -> str:
        mask = " causal" if self.causal else ""
        return (
            f"{sum(self.queries)}x{sum(self.keys)} of {len(self.keys)}, {self.heads}/{self.kv_heads}x{self.width}{mask}"
        )

    def tensors(self) -> list[Tensor]:
        """q, k, v and the gradient of the output."""
        torch.manual_seed(0)
        q, k = (sum(self.queries), self.heads, self.width), (sum(self.keys), self.kv_heads, self.width)
        return [torch.randn(shape).to(self.dtype) for shape in (q, k, k, q)]

    def cu_seqlens(self) -> list[Tensor]:
        return [torch.tensor([0, *accumulate(lengths)], dtype=torch.int32) for lengths in (self.queries, self.keys)]

    def wanted(self) -> list[Tensor]:
        """Output and gradients of q, k and v."""
        return self.run(reference.packed_attention, [t.double() for t in self.tensors()])

    def got(self, tensors: list[Tensor] | None = None) -> list[Tensor]:
        return self.run(ops.packed_attention, tensors or self.tensors())

    def run(self, operator: Callable[..., Tensor], tensors: list[Tensor]) -> list[Tensor]:
        *inputs, grad = (t.detach() for t in tensors)
        inputs = [t.requires_grad_() for t in inputs]
        out = operator(*inputs, *self.cu_seqlens(), self.causal, 0.2)
        return [out, *torch.autograd.grad(out, inputs, grad)]

    def check(self) -> None:
        for name, got, want in zip(("out", "q", "k", "v"), self.got(), self.wanted(), strict=True):
            assert error(got, want, floor=0.3) <= TOLERANCE[self.dtype], name


CASES = [
    Case((70, 0, 3, 1), (70, 5, 3, 1), 2, 2, 64),  # sequences without queries, of one token
    Case((70, 0, 3, 1), (70, 5, 3, 1), 2, 2, 64, causal=True),
    Case((5, 200), (131, 300), 4, 2, 128),  # several tiles of queries and of keys, a cached prefix
    Case((5, 200), (131, 300), 4, 2, 128, causal=True),
    Case((40, 7), (9, 0), 3, 3, 96),  # a sequence without keys
    Case((40, 7), (9, 0), 3, 3, 96, causal=True),  # and queries that see none
    Case((6, 130), (65, 170), 2, 1, 256),
    Case((6, 130), (65, 170), 2, 1, 256, causal=True),
    Case((33,), (400,), 9, 1, 32, causal=True),  # parts of 3 heads
    Case((20, 140), (20, 140), 2, 1, 72, causal=True, dtype=torch.float16),
    Case((1,), (1,), 1, 1, 8),
    Case((3,) * 300, (3,) * 300, 1, 1, 64),  # more sequences than a block of the scheduler has threads
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_forward_and_gradients(place, case):
    case.check()


@pytest.mark.parametrize("place", [p for p in ON_DEVICES if "emulator" not in p], indirect=True)
def test_thousands_of_tokens(place):
    """Every block has several tiles, every ring goes round."""
    for causal in (False, True):
        Case((5000, 3, 1200), (5000, 700, 1200), 8, 2, 128, causal).check()


SMALL = Case((150, 3), (370, 3), 1, 1, 64, causal=True)  # every ring goes round, more than one item


@pytest.mark.parametrize("seed", range(8))
def test_any_order_of_threads(seed):
    """Deliveries and threads in other orders: no deadlock, and the bits are the same."""
    with running_in("cuda emulator"):
        want = SMALL.got()
        emulator.seed(seed)
        assert all(torch.equal(a, b) for a, b in zip(SMALL.got(), want, strict=True))


def agrees() -> bool:
    with running_in("cuda emulator"):
        got = SMALL.got()
    return all(error(a, b, floor=0.3) <= 0.02 for a, b in zip(got, SMALL.wanted(), strict=True))


def test_neighbours_may_hold_anything(place):
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


def test_views_of_a_fused_projection(place):
    case = Case((30, 60), (30, 60), 2, 2, 64, causal=True)
    *inputs, grad = case.tensors()
    fused = torch.stack(inputs, 1).unbind(1)
    assert fused[0].stride(0) == 3 * inputs[0].stride(0)
    for a, b in zip(case.got([*fused, grad]), case.got([*inputs, grad]), strict=True):
        assert torch.equal(a, b)

"""The emulated machine itself: mistakes that it has to catch. That it computes right is in test_instructions."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

import glm4v._cuda_emulator as emulator
from glm4v import ops
from glm4v.ops import reference
from tests.cuda.test_attention_sm90 import agrees as attention_sm90  # noqa: F401  (test_mutants asks for it)
from tests.cuda.test_instructions import WGMMA, swizzled, wgmma
from tests.ops.conftest import error, running_in

probes = emulator.probes


@contextmanager
def without(wait: str, ordinal: int, thread: int = -1) -> Iterator[None]:
    """Every thread, or one, leaves out its n-th wait of this kind in a block."""
    emulator.leave_out(wait, ordinal, thread)
    try:
        yield
    finally:
        emulator.leave_out_nothing()


def is_caught(run: Callable[[], bool], seeds: int = 3) -> bool:
    """Whether a wrong result (`run` says so) or an error of the machine shows with one of the seeds."""
    for seed in range(seeds):
        emulator.seed(seed)
        try:
            if not run():
                return True
        except RuntimeError:
            return True
    return False


def copies() -> bool:
    source = torch.randint(0, 256, (8 * 512,), dtype=torch.uint8)
    out = torch.empty(8, 512, dtype=torch.uint8)
    probes.copy(0, source, out)
    return torch.equal(out.flatten(), source)


def boxes() -> bool:
    source = torch.randn(16, 64).bfloat16()
    target, raw = torch.empty_like(source), torch.empty(1024, dtype=torch.bfloat16)
    probes.tma(0, source, target, raw, (16, 64), (0, 0), (0, 0), 128)
    return torch.equal(source, target) and torch.equal(raw, swizzled(source, 128))


def products() -> bool:
    return error(*wgmma(probes, *WGMMA[1])) < 1e-5


def roles() -> bool:
    out = torch.empty(4, 2, 128)
    probes.roles(0, out)
    given = torch.arange(256.0).view(2, 128).flip(1)
    return torch.equal(out, given + 1000 * torch.arange(4.0)[:, None, None])


def norms() -> bool:
    """In rows of whole vectors, and in such that are read number by number."""
    return norm_of(700) and norm_of(701)


def norm_of(columns: int) -> bool:
    inputs = [torch.randn(shape, requires_grad=True) for shape in ((3, columns), (3, columns), columns, columns)]
    with running_in("cuda emulator"):
        got = sandwich(ops.sandwich_norm, inputs)
    want = sandwich(reference.sandwich_norm, inputs)
    return all(error(a, b) < 1e-4 for a, b in zip(got, want, strict=True))


def sandwich(operator: Callable[..., tuple[Tensor, Tensor]], inputs: list[Tensor]) -> list[Tensor]:
    h, out = operator(*inputs, 1e-5)
    return [h, out, *torch.autograd.grad(h.sum() + out.square().sum(), inputs)]


@pytest.mark.parametrize("run", [copies, boxes, products, roles, norms])
def test_every_wait_is_needed(run):
    """Whichever wait of a kernel is left out, the results or the machine tell."""
    emulator.calls()
    assert not is_caught(run)
    calls = emulator.calls()
    assert any(calls.values())
    for wait, count in calls.items():
        for ordinal in range(count):
            with without(wait, ordinal):
                assert is_caught(run, seeds=8), f"{wait} {ordinal} can be left out"


def test_deadlock_says_who_waits_where():
    deadlock = (
        r"deadlock in block \(0, 0, 0\): 1 threads from 5 to 5 have ended; 31 threads from 0 to 31 wait in sync_threads"
    )
    with without("sync_threads", 0, thread=5), pytest.raises(RuntimeError, match=deadlock):
        copies()


def test_diverged_warp_is_named():
    with (
        without("sync_warp", 0, thread=3),
        pytest.raises(RuntimeError, match=r"calls .* where other threads of its warp"),
    ):
        probes.matrices(0, torch.ones(8, 8).bfloat16(), torch.empty(32, 1, dtype=torch.int32), 1, False, False)


def test_same_seed_same_run():
    def run() -> Tensor:
        emulator.seed(5)
        with without("sync_threads", 0):
            out = torch.empty(8, 512, dtype=torch.uint8)
            probes.copy(0, torch.full((8 * 512,), 9, dtype=torch.uint8), out)
        return out

    assert torch.equal(run(), run())


def test_kernels_are_refused_on_other_architectures():
    emulator.use_arch(80)
    try:
        with pytest.raises(RuntimeError, match=r"needs a device of compute capability 9.0"):
            boxes()
    finally:
        emulator.use_arch(90)

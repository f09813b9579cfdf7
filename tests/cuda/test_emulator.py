"""The emulated machine itself: mistakes that it has to catch. That it computes right is in test_instructions."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module

import pytest
import torch
from torch import Tensor

import glm4v._cuda_emulator as emulator
from glm4v import ops
from glm4v.ops import reference
from tests.cuda.test_attention import agrees as attention_sm90  # noqa: F401  (test_mutants asks for it)
from tests.cuda.test_instructions import WGMMA, swizzled, wgmma
from tests.ops.conftest import error, results, running_in

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
    raw = torch.empty(1024, dtype=torch.bfloat16)
    probes.tma(0, source, raw, (16, 64), (0, 0), 128)
    return torch.equal(raw, swizzled(source, 128))


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


def same(operator: str, tensors: list[Tensor], *rest: object) -> bool:
    """Outputs and gradients in the emulator against the twin's."""
    needs = [i for i, t in enumerate(tensors) if t.is_floating_point()]
    with running_in("cuda emulator"):
        got = results(getattr(ops, operator), tensors, *rest, needs=needs)
    want = results(getattr(reference, operator), tensors, *rest, needs=needs)
    return all(error(a, b) < 1e-4 for a, b in zip(got, want, strict=True))


def rotations() -> bool:
    q, k, positions = torch.randn(8, 2, 16), torch.randn(8, 1, 16), torch.arange(24).view(3, 8)
    grid_thw = torch.tensor([[1, 2, 2], [1, 2, 2]])
    return same("rope_2d", [q, k], grid_thw) and same("rope_3d", [q, k], positions, (2, 1, 1), 8)


def positions() -> bool:
    grid_thw = torch.tensor([[1, 10, 4], [1, 4, 10]])
    return same("add_position_embedding", [torch.randn(80, 40), torch.randn(25, 40)], grid_thw)


def patches() -> bool:
    images, sizes = [torch.randint(0, 256, (40, 30, 3), dtype=torch.uint8)], [(28, 56)]
    with running_in("cuda emulator"):
        got = ops.patchify(images, (0.5,) * 3, (0.3,) * 3, sizes).image_patches
    return error(got, reference.patchify(images, (0.5,) * 3, (0.3,) * 3, sizes).image_patches) < 1e-5


def entropies() -> bool:
    x, weight = torch.randn(3, 8), torch.randn(2000, 8)
    return same("linear_cross_entropy", [x, weight, torch.tensor([7, -100, 1999])])


def fused_entropies() -> bool:
    """Two tiles side by side, of which the second ends within; their statistics are merged."""
    tensors = [torch.randn(3, 8).bfloat16(), torch.randn(300, 8).bfloat16()]
    targets = torch.tensor([7, -100, 299])
    with pytest.MonkeyPatch.context() as patch, running_in("cuda emulator fused"):
        patch.setattr(import_module("glm4v.ops.linear_cross_entropy"), "KEPT", -1)
        got = results(ops.linear_cross_entropy, [*tensors, targets], needs=(0, 1))
    want = results(reference.linear_cross_entropy, [t.double() for t in tensors] + [targets], needs=(0, 1))
    return all(error(a, b) < 1e-5 for a, b in zip(got[:3], want[:3], strict=True)) and all(
        error(a, b) < 2e-2 for a, b in zip(got[3:], want[3:], strict=True)
    )


def fused_patches() -> bool:
    tensors = [torch.randn(shape).bfloat16() for shape in ((5, 588), (16, 3, 2, 14, 14), (16,))]
    with running_in("cuda emulator fused"):
        got = ops.patch_embed(*tensors)
    return error(got, reference.patch_embed(*(t.double() for t in tensors))) < 5e-3


def samples() -> bool:
    """Rows in which the nucleus is cut among equal weights, so that every step decides something."""
    logits = torch.randn(24, 7000).mul(4).round().div(4).sub(8)
    logits[:, ::50] += 8
    arguments = (logits, 1.0, 0.6, 1.0, torch.arange(24), torch.arange(24))
    with running_in("cuda emulator"):
        tokens, log_probs = ops.sample_tokens(*arguments)
    want = reference.sample_tokens(logits.double(), *arguments[1:])
    return torch.equal(tokens, want[0]) and error(log_probs, want[1]) < 1e-5


def attention() -> bool:
    """Forward and gradients in both kinds of arithmetic: tiles in turns, tails, a causal mask, parts that are added."""
    return attention_of(torch.bfloat16, 2e-2) and attention_of(torch.float32, 1e-4)


def attention_of(dtype: torch.dtype, tolerance: float) -> bool:
    shapes = ((67, 5, 40), (139, 1, 40), (139, 1, 40))
    inputs = [torch.randn(shape).to(dtype).requires_grad_() for shape in shapes]
    cu_seqlens = [torch.tensor(starts, dtype=torch.int32) for starts in ([0, 60, 67], [0, 133, 139])]
    with running_in("cuda emulator sm_80"):
        got = gradients(ops.packed_attention, inputs, *cu_seqlens)
    want = gradients(reference.packed_attention, [x.detach().double().requires_grad_() for x in inputs], *cu_seqlens)
    return all(error(a, b) < tolerance for a, b in zip(got, want, strict=True))


def gradients(operator: Callable[..., Tensor], inputs: list[Tensor], *rest: Tensor) -> list[Tensor]:
    out = operator(*inputs, *rest, True)
    return [out, *torch.autograd.grad((out * torch.arange(5.0)[:, None]).sum(), inputs)]


def decoding() -> bool:
    return decoding_of(torch.bfloat16, 2e-2) and decoding_of(torch.float32, 1e-4)


def decoding_of(dtype: torch.dtype, tolerance: float) -> bool:
    q, k_cache, v_cache = (torch.randn(shape).to(dtype) for shape in ((3, 4, 40), (30, 20, 2, 40), (30, 20, 2, 40)))
    table, lengths = torch.randperm(60).view(2, 30) % 30, [517, 70]
    indices = [x.int() for x in (table, torch.tensor([0, 1, 3]), torch.tensor(lengths))]
    with running_in("cuda emulator"):
        got = ops.paged_attention(q, k_cache, v_cache, *indices)
    want = reference.paged_attention(*(x.double() for x in (q, k_cache, v_cache)), *indices)
    return error(got, want) < tolerance


def sandwich(operator: Callable[..., tuple[Tensor, Tensor]], inputs: list[Tensor]) -> list[Tensor]:
    h, out = operator(*inputs, 1e-5)
    return [h, out, *torch.autograd.grad(h.sum() + out.square().sum(), inputs)]


# Waits that a device needs and the emulated machine does not show: those that order a warp's memory where its lanes
# meet in an instruction anyway, and a last one for copies of zeros, which never come where nobody waits for them; or
# that nothing needs yet: one before the first weights are written where others were read.
UNSEEN = {
    (attention, "sync_warp"): {0},
    (decoding, "sync_warp"): set(range(5)),
    (decoding, "copy"): {5},
    (positions, "sync_warp"): {0},
}

RUNS = [
    copies, boxes, products, roles, norms, rotations, positions, patches, entropies, fused_entropies, samples,
    attention, decoding,
]  # fmt: skip


@pytest.mark.parametrize("run", RUNS)
def test_every_wait_is_needed(run):
    """Whichever wait of a kernel is left out, the results or the machine tell."""
    torch.manual_seed(0)
    emulator.calls()
    assert not is_caught(run)
    calls = emulator.calls()
    assert any(calls.values())
    for wait, count in calls.items():
        for ordinal in set(range(count)) - UNSEEN.get((run, wait), set()):
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

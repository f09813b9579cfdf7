"""The emulated machine itself: instructions against what the PTX ISA documents, and mistakes that it has to catch.

Fragment layouts, swizzles, operand layouts and descriptors were compared once, entry by entry, with CuTe's (headers of
nvidia-cutlass 4.2 compiled on the host), without a difference: MMA_Traits<SM80_16x8x16_F32BF16BF16F32_TN> (A, B, C),
GMMA::ALayout_64x16, GMMA::CLayout_64xN for N of 8 to 256, Copy_Traits of SM75_U32x4_LDSM_N and SM75_U16x8_LDSM_T,
tile_to_shape of GMMA::Layout_{K,MN}_SW{32,64,128}_Atom, and the bits of GmmaDescriptor.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

import glm4v._cuda_emulator as emulator
from glm4v import ops
from glm4v.ops import reference
from tests.ops.conftest import error, results, running_in

probes = emulator.probes
LANE = torch.arange(32)
G, T = LANE // 4, LANE % 4  # the PTX ISA's groupID and threadID_in_group


def packed(low: Tensor, high: Tensor) -> Tensor:
    """Two 16-bit tensors as the low and high half of int32."""
    return torch.stack([low, high], -1).view(torch.int32).squeeze(-1)


# instructions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_load_matrices(count, transposed):
    rows = torch.randn(8 * count, 8).bfloat16()
    registers = torch.empty(32, count, dtype=torch.int32)
    probes.matrices(0, rows, registers, count, transposed, False)
    matrices = rows.view(count, 8, 8)
    if transposed:
        matrices = matrices.transpose(1, 2)
    for i in range(count):
        assert torch.equal(registers[:, i], packed(matrices[i, G, 2 * T], matrices[i, G, 2 * T + 1]))


@pytest.mark.parametrize("transposed", [False, True])
def test_store_matrices_is_the_way_back(transposed):
    rows = torch.randn(32, 8).bfloat16()
    registers = torch.empty(32, 4, dtype=torch.int32)
    probes.matrices(0, rows, registers, 4, transposed, False)
    back = torch.empty_like(rows)
    probes.matrices(0, registers, back, 4, transposed, True)
    assert torch.equal(back, rows)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mma(dtype):
    torch.manual_seed(0)
    a, b, d = torch.randn(16, 16).to(dtype), torch.randn(16, 8).to(dtype), torch.randn(16, 8)
    a_registers = torch.stack([packed(a[G + r, 2 * T + c], a[G + r, 2 * T + c + 1]) for c in (0, 8) for r in (0, 8)], 1)
    b_registers = torch.stack([packed(b[2 * T + r, G], b[2 * T + r + 1, G]) for r in (0, 8)], 1)
    fragment = torch.stack([d[G + r, 2 * T + c] for r in (0, 8) for c in (0, 1)], 1)
    probes.mma(0, dtype, a_registers, b_registers, fragment)
    want = d.double() + a.double() @ b.double()
    got = torch.empty(16, 8)
    for i, (r, c) in enumerate([(0, 0), (0, 1), (8, 0), (8, 1)]):
        got[G + r, 2 * T + c] = fragment[:, i]
    assert error(got, want) < 1e-6


@pytest.mark.parametrize("length", [0, 1, 16, 511, 512, 5 * 512 - 7])
def test_copies_fill_with_zeros_after_the_end(length):
    source = torch.randint(0, 256, (length,), dtype=torch.uint8)
    out = torch.empty(6, 512, dtype=torch.uint8)
    probes.copy(0, source, out)
    want = torch.zeros(6 * 512, dtype=torch.uint8)
    want[:length] = source
    assert torch.equal(out.flatten(), want)


def swizzled(box: Tensor, width: int) -> Tensor:
    """A box of 16-bit numbers as it lies in shared memory: of every byte's address, bit 7 is added (xor) to bit 4, with
    64 bytes' width also bit 8 to bit 5, with 128 bytes' also bit 9 to bit 6."""
    flat = box.flatten()
    at = torch.arange(flat.numel()) * 2
    for bit in range({0: 0, 32: 1, 64: 2, 128: 3}[width]):
        at = at ^ (at >> (7 + bit) & 1) << (4 + bit)
    out = torch.empty_like(flat)
    out[at // 2] = flat
    return out


BOXES = [
    ((40, 64), (8, 64), (-3, 0), 128),
    ((40, 70), (16, 32), (30, 48), 64),
    ((9, 24), (8, 16), (4, 16), 32),
    ((9, 24), (5, 24), (6, -8), 0),
    ((5, 7, 64), (2, 4, 64), (4, 5, 0), 128),
    ((3, 4, 5, 64), (2, 1, 8, 64), (2, 3, -2, 0), 128),
]


@pytest.mark.parametrize(("size", "box", "corner", "swizzle"), BOXES)
def test_tma(size, box, corner, swizzle):
    """What lies outside of the tensor is read as zero and never written."""
    source = torch.randn(*size[:-1], -(-size[-1] // 8) * 8).bfloat16()
    target = torch.full_like(source, 7)
    raw = torch.empty(torch.Size(box).numel(), dtype=torch.bfloat16)
    probes.tma(0, source, target, raw, box, corner, corner, swizzle)
    axes = [torch.arange(b) + c for b, c in zip(box, corner, strict=True)]
    grid = torch.meshgrid(*axes, indexing="ij")
    inside = torch.stack([(g >= 0) & (g < s) for g, s in zip(grid, source.shape, strict=True)]).all(0)
    clamped = tuple(g.clamp(0, s - 1) for g, s in zip(grid, source.shape, strict=True))
    values = torch.where(inside, source[clamped], 0)
    assert torch.equal(raw, swizzled(values, swizzle))
    want = torch.full_like(source, 7)
    want[tuple(g[inside] for g in grid)] = values[inside]
    assert torch.equal(target, want)


WGMMA = [  # type, n, a and b run along m and n, a in registers, swizzle
    (torch.bfloat16, 16, False, False, False, 128),
    (torch.bfloat16, 176, False, False, False, 128),
    (torch.bfloat16, 256, False, False, False, 128),
    (torch.float16, 64, False, False, False, 128),
    (torch.bfloat16, 64, True, True, False, 128),
    (torch.bfloat16, 128, False, True, False, 128),
    (torch.bfloat16, 128, True, False, False, 64),
    (torch.bfloat16, 96, False, True, False, 64),
    (torch.bfloat16, 48, True, True, False, 32),
    (torch.bfloat16, 32, False, False, False, 32),
    (torch.bfloat16, 128, False, False, True, 128),
    (torch.float16, 256, False, True, True, 128),
]


def wgmma(dtype, n, a_mn_major, b_mn_major, a_in_registers, swizzle) -> tuple[Tensor, Tensor]:
    """What the probe gives, and the product in float64."""
    a, b, out = torch.randn(64, 64).to(dtype), torch.randn(64, n).to(dtype), torch.randn(64, n)
    want = out.double() + a.double() @ b.double()
    a_stored, b_stored = (x.contiguous() for x in (a.T if a_mn_major else a, b if b_mn_major else b.T))
    probes.wgmma(0, a_stored, b_stored, out, a_mn_major, b_mn_major, a_in_registers, swizzle)
    return out, want


@pytest.mark.parametrize("case", WGMMA, ids=str)
def test_wgmma(case):
    torch.manual_seed(0)
    assert error(*wgmma(*case)) < 1e-6


# mistakes -----------------------------------------------------------------------------------------------------------


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
    return error(*wgmma(*WGMMA[1])) < 1e-5


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
    return same("add_position_embedding", [torch.randn(40, 40), torch.randn(25, 40)], torch.tensor([[1, 10, 4]]))


def patches() -> bool:
    images, sizes = [torch.randint(0, 256, (40, 30, 3), dtype=torch.uint8)], [(28, 56)]
    with running_in("cuda emulator"):
        got = ops.patchify(images, (0.5,) * 3, (0.3,) * 3, sizes).image_patches
    return error(got, reference.patchify(images, (0.5,) * 3, (0.3,) * 3, sizes).image_patches) < 1e-5


def entropies() -> bool:
    x, weight = torch.randn(3, 8), torch.randn(2000, 8)
    return same("linear_cross_entropy", [x, weight, torch.tensor([7, -100, 1999])])


def samples() -> bool:
    """Rows in which the nucleus is cut among equal weights, so that every step decides something."""
    logits = torch.randn(3, 7000).mul(4).round().div(4).sub(8)
    logits[:, ::50] += 8
    arguments = (logits, 1.0, 0.6, 1.0, torch.arange(3), torch.arange(3))
    with running_in("cuda emulator"):
        tokens, log_probs = ops.sample_tokens(*arguments)
    want = reference.sample_tokens(logits.double(), *arguments[1:])
    return torch.equal(tokens, want[0]) and error(log_probs, want[1]) < 1e-5


def sandwich(operator: Callable[..., tuple[Tensor, Tensor]], inputs: list[Tensor]) -> list[Tensor]:
    h, out = operator(*inputs, 1e-5)
    return [h, out, *torch.autograd.grad(h.sum() + out.square().sum(), inputs)]


RUNS = [copies, boxes, products, roles, norms, rotations, positions, patches, entropies, samples]


@pytest.mark.parametrize("run", RUNS)
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

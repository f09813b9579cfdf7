"""Instructions against what the PTX ISA documents: in the emulator, and on a GPU, where the same results show that the
emulator reads the documents as the device does.

Fragment layouts, swizzles, operand layouts and descriptors were compared once, entry by entry, with CuTe's (headers of
nvidia-cutlass 4.2 compiled on the host), without a difference: MMA_Traits<SM80_16x8x16_F32BF16BF16F32_TN> (A, B, C),
GMMA::ALayout_64x16, GMMA::CLayout_64xN for N of 8 to 256, Copy_Traits of SM75_U32x4_LDSM_N and SM75_U16x8_LDSM_T,
tile_to_shape of GMMA::Layout_{K,MN}_SW{32,64,128}_Atom, and the bits of GmmaDescriptor.
"""

from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor

import glm4v._cuda_emulator as emulator
from tests.ops.conftest import CUDA, error

LANE = torch.arange(32)
G, T = LANE // 4, LANE % 4  # the PTX ISA's groupID and threadID_in_group


def packed(low: Tensor, high: Tensor) -> Tensor:
    """Two 16-bit tensors as the low and high half of int32."""
    return torch.stack([low, high], -1).view(torch.int32).squeeze(-1)


class OnDevice:
    """The probes on a GPU: tensors are copied there for a call, and back."""

    def __getattr__(self, name: str) -> Any:
        function = getattr(import_module("glm4v._cuda_probes"), name)

        def call(stream: int, *arguments: Any) -> None:
            there = [a.cuda() if isinstance(a, Tensor) else a for a in arguments]
            function(torch.cuda.current_stream().cuda_stream, *there)
            for own, result in zip(arguments, there, strict=True):
                if isinstance(own, Tensor):
                    own.copy_(result)

        return call


@pytest.fixture(params=[place for place, here in CUDA.items() if here])
def probes(request: pytest.FixtureRequest) -> Any:
    return OnDevice() if request.param == "cuda" else emulator.probes


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_load_matrices(probes, count, transposed):
    rows = torch.randn(8 * count, 8).bfloat16()
    registers = torch.empty(32, count, dtype=torch.int32)
    probes.matrices(0, rows, registers, count, transposed, False)
    matrices = rows.view(count, 8, 8)
    if transposed:
        matrices = matrices.transpose(1, 2)
    for i in range(count):
        assert torch.equal(registers[:, i], packed(matrices[i, G, 2 * T], matrices[i, G, 2 * T + 1]))


@pytest.mark.parametrize("transposed", [False, True])
def test_store_matrices_is_the_way_back(probes, transposed):
    rows = torch.randn(32, 8).bfloat16()
    registers = torch.empty(32, 4, dtype=torch.int32)
    probes.matrices(0, rows, registers, 4, transposed, False)
    back = torch.empty_like(rows)
    probes.matrices(0, registers, back, 4, transposed, True)
    assert torch.equal(back, rows)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mma(probes, dtype):
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
def test_copies_fill_with_zeros_after_the_end(probes, length):
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
def test_tma(probes, size, box, corner, swizzle):
    """What lies outside of the tensor is read as zero."""
    source = torch.randn(*size[:-1], -(-size[-1] // 8) * 8).bfloat16()
    raw = torch.empty(torch.Size(box).numel(), dtype=torch.bfloat16)
    probes.tma(0, source, raw, box, corner, swizzle)
    axes = [torch.arange(b) + c for b, c in zip(box, corner, strict=True)]
    grid = torch.meshgrid(*axes, indexing="ij")
    inside = torch.stack([(g >= 0) & (g < s) for g, s in zip(grid, source.shape, strict=True)]).all(0)
    clamped = tuple(g.clamp(0, s - 1) for g, s in zip(grid, source.shape, strict=True))
    values = torch.where(inside, source[clamped], 0)
    assert torch.equal(raw, swizzled(values, swizzle))


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


def wgmma(probes, dtype, n, a_mn_major, b_mn_major, a_in_registers, swizzle) -> tuple[Tensor, Tensor]:
    """What the probe gives, and the product in float64."""
    a, b, out = torch.randn(64, 64).to(dtype), torch.randn(64, n).to(dtype), torch.randn(64, n)
    want = out.double() + a.double() @ b.double()
    a_stored, b_stored = (x.contiguous() for x in (a.T if a_mn_major else a, b if b_mn_major else b.T))
    probes.wgmma(0, a_stored, b_stored, out, a_mn_major, b_mn_major, a_in_registers, swizzle)
    return out, want


@pytest.mark.parametrize("case", WGMMA, ids=str)
def test_wgmma(probes, case):
    torch.manual_seed(0)
    assert error(*wgmma(probes, *case)) < 1e-6

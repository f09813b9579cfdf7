"""Shared by the operator tests: every place that this machine can run an operator in, and comparison with the float64
twin. What this machine cannot run is said in one line and never counted as passed.

Places are the CPU's instruction sets in the binary, and for operators with CUDA kernels also the emulator, which
executes these on the CPU, and a GPU.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from torch import Tensor

from glm4v.ops.library import MODULES, OnStream, fused, has_fused, native

VARIANTS = native.variants()
RUNNABLE = [name for name, (_, here) in VARIANTS.items() if here]
CUDA = {
    "cuda emulator": find_spec("glm4v._cuda_emulator") is not None,
    "cuda": MODULES["cuda"] is not None and torch.cuda.is_available(),
}
PLACES = [*RUNNABLE, *(name for name, here in CUDA.items() if here)]
# Attention has two sets of CUDA kernels, and a device that runs those for sm_90a runs the others, too.
PLACES_OF_ATTENTION = [*PLACES, *(f"{name} sm_80" for name in PLACES if name in CUDA)]
# Fused kernels: the emulator has plain sums in the place of CUTLASS.
FUSED = {
    "cuda emulator fused": CUDA["cuda emulator"],
    "cuda fused": CUDA["cuda"] and has_fused(torch.device("cuda")),
}
PLACES_OF_FUSED = [name for name, here in FUSED.items() if here]

# Largest error against float64, relative to the largest value: rounding of the result, with room for long sums.
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}
DTYPES = list(TOLERANCE)


def pytest_report_header(config: pytest.Config) -> str:
    missing = [name for name in (*VARIANTS, *CUDA, *FUSED) if name not in PLACES + PLACES_OF_FUSED]
    note = f"; NOT verified on this machine: {', '.join(missing)}" if missing else ""
    return f"glm4v under test: {', '.join(PLACES + PLACES_OF_FUSED)}{note}"


@contextmanager
def instruction_set(name: str) -> Iterator[None]:
    before = native.isa()
    assert native.use_isa(name)
    try:
        yield
    finally:
        native.use_isa(before)


@pytest.fixture(params=RUNNABLE)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs the test once an instruction set."""
    with instruction_set(request.param):
        yield request.param


@contextmanager
def running_in(place: str) -> Iterator[None]:
    """Operators with CUDA kernels run there, and new tensors lie where it needs them."""
    if place.endswith(" sm_80"):
        with pytest.MonkeyPatch.context() as patch, running_in(place.removesuffix(" sm_80")):
            patch.setattr(import_module("glm4v.ops.packed_attention"), "workspace_for", lambda *arguments: None)
            yield
    elif place.endswith(" fused"):
        with fused(), running_in(place.removesuffix(" fused")):
            yield
    elif place == "cuda emulator":
        MODULES["cpu"] = OnStream(import_module("glm4v._cuda_emulator"))
        try:
            yield
        finally:
            MODULES["cpu"] = native
    elif place == "cuda":
        with torch.device("cuda"):
            yield
    else:
        with instruction_set(place):
            yield


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs the test once a place."""
    with running_in(request.param):
        yield request.param


def error(got: Tensor, want: Tensor, floor: float = 0.1) -> float:
    """Largest difference relative to the largest value of `want`.

    Inputs are of order one: a tensor all below `floor` is what a cancellation left and is held to that scale.
    """
    if want.numel() == 0:
        return 0.0
    return (got.double() - want.double()).abs().max().item() / max(want.abs().max().item(), floor)


def check_against_twin(
    operator: Callable[..., Any],
    twin: Callable[..., Any],
    tensors: Sequence[Tensor],
    *rest: Any,
    tolerance: float = 1.0,
    floor: float = 0.1,
) -> None:
    """Forward and every gradient against the twin in float64, for random upstream gradients."""
    ours = [t.detach().requires_grad_(t.is_floating_point()) for t in tensors]
    exact = [t.detach().double().requires_grad_() if t.is_floating_point() else t for t in tensors]
    outputs, wanted = (as_tuple(f(*args, *rest)) for f, args in ((operator, ours), (twin, exact)))
    limit = TOLERANCE[tensors[0].dtype] * tolerance
    for index, (got, want) in enumerate(zip(outputs, wanted, strict=True)):
        assert got.shape == want.shape
        assert error(got, want) <= limit, f"output {index}"
    upstream = [torch.randn_like(got) for got in outputs]
    inputs, exact_inputs = ([t for t in group if t.requires_grad] for group in (ours, exact))
    gradients = torch.autograd.grad(outputs, inputs, upstream)
    exact_gradients = torch.autograd.grad(wanted, exact_inputs, [g.double() for g in upstream])
    for index, (got, want) in enumerate(zip(gradients, exact_gradients, strict=True)):
        assert error(got, want, floor) <= limit, f"gradient of input {index}"


def as_tuple(outputs: Any) -> tuple[Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def results(operator: Callable[..., Any], tensors: Sequence[Tensor], *rest: Any, needs: Sequence[int]) -> list[Tensor]:
    """Outputs and the gradients of the tensors `needs`, for upstream gradients that are always the same."""
    inputs = [t.detach().requires_grad_(i in needs) for i, t in enumerate(tensors)]
    outputs = as_tuple(operator(*inputs, *rest))
    upstream = [torch.linspace(-1, 1, out.numel()).view(out.shape).to(out.dtype) for out in outputs]
    return [*outputs, *torch.autograd.grad(outputs, [inputs[i] for i in needs], upstream)]


def differentiable(tensors: Sequence[Tensor]) -> list[int]:
    return [i for i, t in enumerate(tensors) if t.is_floating_point()]


def check_same_bits(operator: Callable[..., Any], tensors: Sequence[Tensor], *rest: Any) -> None:
    """Outputs and gradients have the same bits on every call and for every number of threads."""
    before = torch.get_num_threads()
    runs = []
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        runs.append(results(operator, tensors, *rest, needs=differentiable(tensors)))
    torch.set_num_threads(before)
    for again in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], again, strict=True))


def check_large(whole: Callable[..., Any], parts: Sequence[Callable[..., Any]], tensors: Sequence[Tensor]) -> None:
    """Results that do not fit in the cache, which are written past it, have the bits of those of their parts.

    whole: the operator on `tensors`; parts: on their equal parts along the first dimension, in order.
    """
    outputs, gradients = outputs_and_gradients(whole, tensors)
    assert sum(out.nbytes for out in outputs) >= 13 << 20
    pieces = zip(*(t.chunk(len(parts)) for t in tensors), strict=True)
    small = [outputs_and_gradients(*part) for part in zip(parts, pieces, strict=True)]
    for index, want in enumerate(outputs + gradients):
        assert torch.equal(torch.cat([sum(part, ())[index] for part in small]), want), f"output or gradient {index}"


def outputs_and_gradients(operator: Callable[..., Any], tensors: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], ...]:
    """Of all tensors, the outputs being their own upstream gradients."""
    inputs = [t.detach().requires_grad_() for t in tensors]
    outputs = as_tuple(operator(*inputs))
    return tuple(out.detach() for out in outputs), torch.autograd.grad(outputs, inputs, [o.detach() for o in outputs])


def check_single_gradients(operator: Callable[..., Any], tensors: Sequence[Tensor], *rest: Any) -> None:
    """Where only one input needs a gradient it is the same as where all do."""
    needs = differentiable(tensors)
    outputs = len(as_tuple(operator(*tensors, *rest)))
    gradients = results(operator, tensors, *rest, needs=needs)[outputs:]
    for i, want in zip(needs, gradients, strict=True):
        (got,) = results(operator, tensors, *rest, needs=[i])[outputs:]
        assert error(got, want) <= TOLERANCE[tensors[i].dtype], f"gradient of input {i} alone"


def check_compiles(operator: Callable[..., Any], tensors: Sequence[Tensor], *rest: Any) -> None:
    """torch.compile traces the public function whole, forward and backward, with the same results.

    Without code generation, which takes seconds; test_library.py has that for all operators in one graph.
    """
    torch.compiler.reset()  # one function compiled anew for every operator would reach the limit of recompilations
    compiled = torch.compile(lambda *t: operator(*t, *rest), fullgraph=True, backend="aot_eager")
    needs = differentiable(tensors)
    want = results(operator, tensors, *rest, needs=needs)
    for a, b in zip(results(compiled, tensors, needs=needs), want, strict=True):
        torch.testing.assert_close(a, b)

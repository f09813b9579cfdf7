"""Where operators are registered and the native modules are loaded; the checks that every operator's arguments pass.

An operator is `define`d once with a kernel, a Meta function and a backward that is an operator of its own, so that
torch.compile traces through it. A kernel calls `native_for(tensor)`, the module of the tensor's device. On devices
without native kernels its twin in `reference` runs instead.
"""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from glm4v.build_info import BUILD_COMMAND, is_stale

FLOATS = (torch.float32, torch.bfloat16, torch.float16)

LIBRARY = torch.library.Library("glm4v", "DEF")


def load_cpu() -> ModuleType:
    """The extension module, after torch (whose OpenMP runtime it shares). Raises ImportError, one line with the fix."""
    try:
        module = import_module("glm4v._cpu")
    except ImportError as error:
        raise ImportError(
            f"glm4v's CPU extension is missing or cannot be loaded ({error}); build it with: {BUILD_COMMAND}"
        ) from None
    if is_stale(module.source_hash):
        warnings.warn(
            f"glm4v._cpu was built from other sources than csrc/; rebuild it with: {BUILD_COMMAND}", stacklevel=2
        )
    isa = os.environ.get("GLM4V_CPU_ISA")
    if isa and not module.use_isa(isa):
        runs = [name for name, (_, here) in module.variants().items() if here]
        raise ImportError(f"GLM4V_CPU_ISA={isa!r} is not in this binary or not on this machine; choose one of {runs}")
    return module


class OnStream:
    """A module whose functions take a stream first, each called with the current stream of its tensors' device."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.module, name)
        if callable(value):
            value = self.bind(value)
        setattr(self, name, value)  # asked for once
        return value

    def bind(self, function: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            device = next(a.device for a in arguments if isinstance(a, Tensor))
            if device.type == "cpu":  # the emulator of the tests
                return function(0, *arguments)
            with torch.cuda.device(device):
                return function(torch.cuda.current_stream(device).cuda_stream, *arguments)

        return call


def load_cuda() -> OnStream | None:
    """The CUDA kernels where this build has them; loading them needs no driver."""
    try:
        module = import_module("glm4v._cuda")
    except ModuleNotFoundError:
        return None
    if is_stale(module.source_hash):
        warnings.warn(
            f"glm4v._cuda was built from other sources than csrc/; rebuild it with: {BUILD_COMMAND}", stacklevel=2
        )
    return OnStream(module)


native = load_cpu()
MODULES: dict[str, Any] = {"cpu": native, "cuda": load_cuda()}


def native_for(tensor: Tensor) -> Any:
    """The kernels of this tensor's device; `define` sends no tensor of another device here."""
    return MODULES[tensor.device.type]


def has_kernels(device: str, cuda: bool) -> bool:
    """Whether native kernels serve this device type; where they do not, one line says so."""
    if device in ("cpu", "meta") or (device == "cuda" and cuda and MODULES["cuda"]):
        return True
    say_slower(device, cuda)
    return False


@cache
def say_slower(device: str, cuda: bool) -> None:
    fix = f"; build them with: GLM4V_CUDA=on {BUILD_COMMAND}" if device == "cuda" and cuda else ""
    warnings.warn(
        f"glm4v has no kernels for {device!r} in this build: plain torch serves it, slower{fix}", stacklevel=5
    )


# GLM4V_FUSED=1: where they serve, CUTLASS's products with fused epilogues take the place of torch's products and
# epilogues apart. Off until a GPU has shown which is faster.
FUSED = os.environ.get("GLM4V_FUSED") == "1"


@contextmanager
def fused(wanted: bool = True) -> Iterator[None]:
    """Inside, operators take fused kernels where these serve, or nowhere: for tests and benchmarks."""
    global FUSED
    before, FUSED = FUSED, wanted
    try:
        yield
    finally:
        FUSED = before


def has_fused(device: torch.device) -> bool:
    """Whether this build and this device have the fused kernels."""
    kernels = MODULES[device.type]
    if kernels is None or kernels is native or not kernels.fused_tile:
        return False
    return device.type == "cpu" or torch.cuda.get_device_capability(device)[0] == 9  # cpu: the emulator of the tests


def fuses(x: Tensor) -> bool:
    """Whether fused kernels take `x` [N, C]: they were asked for, are here, and multiply bfloat16 alone."""
    return FUSED and x.dtype == torch.bfloat16 and x.shape[1] > 0 and has_fused(x.device)


def aligned_rows(x: Tensor) -> Tensor:
    """`x` [N, C], bfloat16, or a copy of it, with rows that start at multiples of 16 bytes, as TMA reads them."""
    if x.stride(1) == 1 and x.stride(0) % 8 == 0 and x.stride(0) >= x.shape[1] and x.data_ptr() % 16 == 0:
        return x
    rows, columns = x.shape
    return x.new_empty(rows, columns + -columns % 8)[:, :columns].copy_(x)


CHECKS = os.environ.get("GLM4V_CHECK") == "1"


def check_values(check: str, values: Tensor, *rest: Any) -> None:
    """With GLM4V_CHECK=1, holds the values of an index tensor to what the CPU's kernels ask: ValueError, the same text.

    CUDA kernels only clamp such values; reading them waits for the device. `check`: a function of `glm4v._cpu`.
    """
    if CHECKS and native_for(values) is not native:
        getattr(native, check)(values.cpu().contiguous(), *rest)


def define(
    schema: str,
    kernel: Callable[..., Any],
    meta: Callable[..., Any],
    twin: Callable[..., Any] | None = None,
    backward: Callable[..., Any] | None = None,
    setup_context: Callable[..., None] | None = None,
    cuda: bool = False,
) -> Callable[..., Any]:
    """Registers the operator `schema` and returns a function that calls it, or its `twin` where there are no kernels.

    `backward(ctx, *grads)` with `setup_context(ctx, inputs, output)` makes it differentiable; backward operators
    themselves have neither. `cuda` says that `kernel` serves CUDA tensors too. An operator that only others call has no
    twin.
    """
    LIBRARY.define(schema)
    name = schema.split("(")[0]
    LIBRARY.impl(name, kernel, "CPU")
    if cuda:
        LIBRARY.impl(name, kernel, "CUDA")
    LIBRARY.impl(name, meta, "Meta")
    if backward is not None:
        torch.library.register_autograd(f"glm4v::{name}", backward, setup_context=setup_context, lib=LIBRARY)
    operator = getattr(torch.ops.glm4v, name).default
    if twin is None:
        return operator

    def call(first: Tensor, *rest: Any) -> Any:
        return operator(first, *rest) if has_kernels(first.device.type, cuda) else twin(first, *rest)

    return call


# checks: every message names the argument, what it was and what was expected ------------------------------------------


def check_shape(name: str, tensor: Tensor, shape: Sequence[int | str]) -> None:
    """`shape` mixes sizes with letters that stand for any size."""
    sizes_fit = all(isinstance(want, str) or got == want for got, want in zip(tensor.shape, shape, strict=False))
    if tensor.ndim != len(shape) or not sizes_fit:
        wanted = ", ".join(str(size) for size in shape)
        raise ValueError(f"{name}: has shape {list(tensor.shape)}; expected [{wanted}]")


def check_float(name: str, tensor: Tensor) -> None:
    if tensor.dtype not in FLOATS:
        raise ValueError(f"{name}: is {tensor.dtype}; expected float32, bfloat16 or float16")


def check_dtype(name: str, tensor: Tensor, dtype: torch.dtype) -> None:
    if tensor.dtype != dtype:
        raise ValueError(f"{name}: is {tensor.dtype}; expected {dtype}")


def check_like(like_name: str, like: Tensor, **tensors: Tensor | None) -> None:
    """The tensors have the element type and device of `like`."""
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        if tensor.dtype != like.dtype:
            raise ValueError(f"{name}: is {tensor.dtype}; expected {like.dtype} like {like_name}")
        check_device(like_name, like, **{name: tensor})


def check_device(like_name: str, like: Tensor, **tensors: Tensor | None) -> None:
    for name, tensor in tensors.items():
        if tensor is not None and tensor.device != like.device:
            raise ValueError(f"{name}: is on {tensor.device}; expected {like.device} like {like_name}")


def dense_heads(x: Tensor) -> Tensor:
    """[T, H, D] with heads laid out without gaps and any stride from token to token; copies only what is not so."""
    _, heads, width = x.shape
    dense = (x.stride(2) == 1 or width == 1) and (x.stride(1) == width or heads == 1)
    return x if dense else x.contiguous()


def through_float32(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """float16 has no CPU kernels: there its tensors are converted to float32 for `kernel`, the results back."""

    def convert(value: Any, source: torch.dtype, target: torch.dtype) -> Any:
        return value.to(target) if isinstance(value, Tensor) and value.dtype == source else value

    def run(*arguments: Any) -> Any:
        half = next((a for a in arguments if isinstance(a, Tensor) and a.dtype == torch.float16), None)
        if half is None or native_for(half) is not native:
            return kernel(*arguments)
        result = kernel(*(convert(a, torch.float16, torch.float32) for a in arguments))
        if isinstance(result, tuple):
            return tuple(convert(r, torch.float32, torch.float16) for r in result)
        return convert(result, torch.float32, torch.float16)

    return run

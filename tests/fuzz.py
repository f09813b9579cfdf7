"""Fuzzed calls straight at the bindings, good and bad: each works or raises ValueError or TypeError; nothing crashes.

    python -m tests.fuzz 100000 [seed]

Call n depends on (seed, n) alone; an unspoiled call has to be accepted. Meant to run under AddressSanitizer
(tests/sanitize.sh), which sees what a call reads.
"""

import math
import random
import sys
from collections import Counter
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from glm4v.ops.library import native

INT_VALUES = (-(2**63), -(2**31), -100, -1, 0, 1, 2, 7, 255, 2**20, 2**31 - 1, 2**40, 2**62, 2**63 - 1)
FLOAT_VALUES = (math.nan, math.inf, -math.inf, 0.0, -1.0, 1e-300, 1e30, 1e300)
DTYPES = (
    torch.float32,
    torch.bfloat16,
    torch.float16,
    torch.float64,
    torch.int32,
    torch.int64,
    torch.uint8,
    torch.bool,
)
RUNNABLE = [name for name, (_, here) in native.variants().items() if here]


class Draw(random.Random):
    """Random parts of a valid call; sizes are small and often 0 or 1."""

    def size(self, most: int = 40, least: int = 0) -> int:
        return self.choice((least, max(1, least), self.randint(least, most), self.randint(least, most)))

    def real(self, dtype: torch.dtype, *shape: int) -> Tensor:
        return torch.full(shape, self.uniform(-3, 3), dtype=dtype)

    def dtype(self) -> torch.dtype:
        return self.choice((torch.float32, torch.bfloat16))

    def heads(self, dtype: torch.dtype, tokens: int, heads: int, width: int) -> Tensor:
        """[tokens, heads, width], now and then a view of fused projections."""
        if self.random() < 0.5:
            return self.real(dtype, tokens, heads, width)
        return self.real(dtype, tokens, 2, heads, width)[:, self.randrange(2)]

    def cu_seqlens(self, lengths: list[int]) -> Tensor:
        return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)

    def lengths(self, sequences: int) -> list[int]:
        return [self.choice((0, 1, self.randint(0, 6), self.randint(0, 90))) for _ in range(sequences)]

    def grids(self) -> Tensor:
        rows = [(self.randint(1, 2), 2 * self.randint(1, 3), 2 * self.randint(1, 3)) for _ in range(self.size(3))]
        return torch.tensor(rows, dtype=torch.int64).view(-1, 3)


# valid calls of every function --------------------------------------------------------------------------------------


def rms_norm(draw: Draw) -> list[Any]:
    dtype, rows, columns, form = draw.dtype(), draw.size(), draw.size(), draw.randrange(3)
    x, weight = draw.real(dtype, rows, columns), draw.real(dtype, columns)
    residual, h = (draw.real(dtype, rows, columns) if form else None for _ in range(2))
    return [x, residual, weight.clone() if form == 2 else None, weight, h, x.clone(), 1e-5]


def rms_norm_backward(draw: Draw) -> list[Any]:
    dtype, rows, columns, sandwich = draw.dtype(), draw.size(), draw.size(), draw.random() < 0.5
    grad_out, grad_h, x, h, grad_x, grad_residual = (draw.real(dtype, rows, columns) for _ in range(6))
    weight, post_weight = draw.real(dtype, columns), draw.real(dtype, columns)
    partials = draw.real(torch.float32, 2 if sandwich else 1, native.partials, columns)
    grad_weight, grad_post_weight = draw.real(torch.float32, columns), draw.real(torch.float32, columns)
    if sandwich:
        extra = (x, post_weight, grad_residual, grad_post_weight)
    else:
        grad_h, extra = draw.choice((grad_h, None)), (None, None, None, None)
    return [grad_out, grad_h, extra[0], h, extra[1], weight, grad_x, extra[2], partials, grad_weight, extra[3], 1e-5]


def swiglu(draw: Draw) -> list[Any]:
    dtype, rows, columns, backward = draw.dtype(), draw.size(), draw.size(), draw.random() < 0.5
    gate_up, grad = draw.real(dtype, rows, 2 * columns), draw.real(dtype, rows, columns)
    return [gate_up, grad, gate_up.clone()] if backward else [gate_up, None, grad]


def add_position_embedding(draw: Draw) -> list[Any]:
    dtype, columns, grids, side = draw.dtype(), draw.size(70), draw.grids(), draw.size(6, 1)
    x = draw.real(dtype, int(grids.prod(1).sum()), columns)
    return [x, draw.real(dtype, side * side, columns), grids, x.clone()]


def add_position_embedding_backward(draw: Draw) -> list[Any]:
    x, table, grids, _ = add_position_embedding(draw)
    return [x, grids, table.float()]


def rope_2d(draw: Draw) -> list[Any]:
    dtype, grids, width = draw.dtype(), draw.grids(), 4 * draw.size(64, 1)
    patches = int(grids.prod(1).sum())
    q, k = (draw.heads(dtype, patches, draw.size(3), width) for _ in range(2))
    return [q, k, grids, q.contiguous(), k.contiguous(), 10000.0, draw.random() < 0.5]


def rope_3d(draw: Draw) -> list[Any]:
    dtype, tokens, width = draw.dtype(), draw.size(), draw.size(256, 1)
    q, k = (draw.heads(dtype, tokens, draw.size(3), width) for _ in range(2))
    cuts = sorted(draw.randint(0, width // 2) for _ in range(3))
    sections = [cuts[0], cuts[1] - cuts[0], cuts[2] - cuts[1]]
    positions = torch.randint(-5, 100000, (3, tokens))
    return [q, k, positions, q.contiguous(), k.contiguous(), sections, 2 * sum(sections), 1e4, draw.random() < 0.5]


def patchify(draw: Draw) -> list[Any]:
    span, height, width = draw.randint(1, 2), 28 * draw.randint(1, 2), 28 * draw.randint(1, 2)
    sides = (height, width) if draw.random() < 0.2 else (draw.size(60, 1), draw.size(60, 1))
    frames = draw.real(torch.float32, draw.randint(1, 3), *sides, 3).abs().mul(85).to(torch.uint8)
    patches = -(-len(frames) // span) * (height // 14) * (width // 14)
    out = draw.real(draw.dtype(), patches, 3 * span * 196)
    return [frames, out, frames.new_empty(0), height, width, span, (0.5, 1.0, 2.0), (0.0, 1.0, -1.0)]


def check_cu_seqlens(draw: Draw) -> list[Any]:
    lengths = draw.lengths(draw.size(4))
    return [draw.cu_seqlens(lengths), sum(lengths), "cu_seqlens"]


def check_grids(draw: Draw) -> list[Any]:
    grids = draw.grids()
    return [grids, int(grids.prod(1).sum())]


def count_targets(draw: Draw) -> list[Any]:
    vocabulary = draw.size(least=1)
    return [
        torch.tensor([draw.choice((-100, draw.randrange(vocabulary))) for _ in range(draw.size())]).long(),
        vocabulary,
    ]


def cross_entropy(draw: Draw) -> list[Any]:
    rows, columns = draw.size(), draw.size()
    targets = torch.tensor([draw.choice((0, 5, 50, 5000)) for _ in range(rows)], dtype=torch.int64)
    statistics = draw.real(torch.float32, 4, rows + draw.choice((0, 3)))[:, :rows]
    return [draw.real(draw.dtype(), rows, columns), targets, statistics, draw.choice((0, 40)), 1.0]


def cross_entropy_backward(draw: Draw) -> list[Any]:
    logits, targets, _, first, inverse_temperature = cross_entropy(draw)
    rows = [draw.real(torch.float32, len(logits)) for _ in range(4)]
    return [logits, targets, *rows, first, inverse_temperature]


def sample_tokens(draw: Draw) -> list[Any]:
    rows, columns = draw.size(), draw.size(600, 1)
    seeds = torch.randint(-(2**62), 2**62, (rows,))
    mask = lambda: draw.choice((None, torch.randint(0, 2, (rows, columns), dtype=torch.uint8)))
    options = [draw.choice((0.0, 0.5, 1.0)), draw.choice((1.0, 0.5)), draw.choice((1.0, 1.5))]
    return [
        *(draw.real(draw.dtype(), rows, columns), *options, seeds, seeds.clone(), mask(), mask(), seeds.clone()),
        torch.zeros(rows),
    ]


def packed_attention(draw: Draw) -> list[Any]:
    dtype, sequences, width = draw.dtype(), draw.size(4), draw.choice((8, 16, 24, 64, 80, 256))
    kv_heads, group, same = draw.randint(1, 2), draw.choice((1, 2, 5)), draw.random() < 0.5
    queries = draw.lengths(sequences)
    keys = queries if same else draw.lengths(sequences)
    q = draw.heads(dtype, sum(queries), kv_heads * group, width)
    k, v = (draw.heads(dtype, sum(keys), kv_heads, width) for _ in range(2))
    log_sum_exp = draw.real(torch.float32, kv_heads * group, sum(queries))
    cu_seqlens = (draw.cu_seqlens(queries), draw.cu_seqlens(keys))
    return [q, k, v, q.contiguous().clone(), log_sum_exp, *cu_seqlens, draw.random() < 0.5, width**-0.5, None]


def packed_attention_backward(draw: Draw) -> list[Any]:
    q, k, v, out, log_sum_exp, *rest = packed_attention(draw)
    gradients = [torch.empty(x.shape, dtype=kind) for kind in (q.dtype, torch.float32) for x in (q, k, v)]
    return [out.clone(), q, k, v, out, log_sum_exp, log_sum_exp.clone(), *gradients, *rest]


def paged_attention(draw: Draw) -> list[Any]:
    dtype, sequences, width = draw.dtype(), draw.size(4), draw.choice((8, 32, 128))
    kv_heads, group, block_size, blocks = (
        draw.randint(1, 2),
        draw.choice((1, 4)),
        draw.choice((1, 4, 16)),
        draw.randint(1, 9),
    )
    queries = [draw.choice((0, 1, 1, 1, draw.randint(1, 9))) for _ in range(sequences)]
    keys = [count + draw.choice((0, draw.randint(0, 70))) for count in queries]
    per_sequence = max((-(-count // block_size) for count in keys), default=0) + draw.randint(0, 1)
    table = torch.randint(0, blocks, (sequences, per_sequence), dtype=torch.int32)
    k_cache, v_cache = (draw.real(dtype, blocks, block_size, kv_heads, width) for _ in range(2))
    q = draw.heads(dtype, sum(queries), kv_heads * group, width)
    lengths = torch.tensor(keys, dtype=torch.int32)
    return [q, k_cache, v_cache, q.contiguous().clone(), table, draw.cu_seqlens(queries), lengths, 0.1, None, None]


CALLS: dict[str, Callable[[Draw], list[Any]]] = {
    **{f.__name__: f for f in (rms_norm, rms_norm_backward, swiglu, add_position_embedding)},
    **{f.__name__: f for f in (add_position_embedding_backward, check_cu_seqlens, check_grids, rope_2d, rope_3d)},
    **{f.__name__: f for f in (patchify, count_targets)},
    **{f.__name__: f for f in (cross_entropy, cross_entropy_backward, packed_attention, packed_attention_backward)},
    **{f.__name__: f for f in (sample_tokens, paged_attention)},
    "use_isa": lambda draw: [draw.choice([*native.variants(), "sse9", ""])],
    **{name: lambda draw: [] for name in ("isa", "keep_freed_memory", "native_bf16", "threads", "variants")},
}

# bad arguments ------------------------------------------------------------------------------------------------------


def spoil_values(draw: Draw, x: Tensor) -> Tensor:
    """One entry of an index tensor is something else, or its entries are in another order."""
    x = x.clone()
    if x.numel() == 0 or x.is_floating_point():
        return x
    if draw.random() < 0.2:
        return x.flip(0)
    limits = torch.iinfo(x.dtype)
    value = min(max(draw.choice(INT_VALUES), limits.min), limits.max)
    x.view(-1)[draw.randrange(x.numel())] = value
    return x


def spoil_layout(draw: Draw, x: Tensor) -> Any:
    """Another rank, size, stride, type or place of a tensor."""
    axis = draw.randrange(max(x.ndim, 1))
    huge_shape = [0, 2**33] if x.ndim == 2 else [0, 2**33, *x.shape[2:]]
    return draw.choice(
        (
            lambda: x[None],
            lambda: x.flatten(),
            lambda: x.to(draw.choice(DTYPES)),
            lambda: x.transpose(0, x.ndim - 1),
            lambda: x.transpose(-1, -2).contiguous().transpose(-1, -2),
            lambda: x.narrow(axis, 0, max(x.shape[axis] - 1, 0)),
            lambda: x.narrow(axis, 0, max(x.shape[axis] - 1, 0)).contiguous(),
            lambda: torch.cat([x, x], axis),
            lambda: x.repeat_interleave(2, axis)[(slice(None),) * axis + (slice(None, None, 2),)],
            lambda: x.narrow(axis, 0, min(x.shape[axis], 1)).expand(x.shape),
            lambda: x[..., :0],
            lambda: x[:0],
            lambda: torch.empty(huge_shape, dtype=x.dtype),
            lambda: x.new_zeros(()),
            lambda: x.view(*x.shape, 1, 1, 1, 1),
            lambda: x.to("meta"),
            lambda: x.to_sparse(),
            lambda: x.numpy(),
            lambda: x.tolist(),
        )
    )()


def spoil(draw: Draw, argument: Any) -> Any:
    """Something near `argument` that is mostly wrong."""
    if draw.random() < 0.1:
        return draw.choice((None, "text", [], object(), 2**70, 1.5, torch.zeros(3)))
    if isinstance(argument, Tensor):
        indices = not argument.is_floating_point() and draw.random() < 0.6
        return spoil_values(draw, argument) if indices else spoil_layout(draw, argument)
    if isinstance(argument, list | tuple):
        changed = [
            *argument[: draw.randint(0, len(argument))],
            *draw.choices((*INT_VALUES, 0.5, None), k=draw.randrange(3)),
        ]
        return type(argument)(changed)
    return draw.choice(FLOAT_VALUES if isinstance(argument, float) else INT_VALUES)


def spoil_call(draw: Draw, arguments: list[Any]) -> list[Any]:
    """One or two arguments are spoiled, exchanged, missing or too many."""
    for _ in range(draw.randint(1, 2)):
        where, kind = draw.randrange(max(len(arguments), 1)), draw.random()
        if kind < 0.05 or not arguments:
            arguments = [*arguments, 1]
        elif kind < 0.1:
            arguments = arguments[:where] + arguments[where + 1 :]
        elif kind < 0.2:
            arguments[where] = draw.choice(arguments)
        else:
            try:
                arguments[where] = spoil(draw, arguments[where])
            except (
                RuntimeError,
                TypeError,
                IndexError,
            ):  # torch itself has no such tensor (float16 of .numpy(), rank 9)
                arguments[where] = None
    return arguments


def fuzz(calls: int, seed: int) -> tuple[Counter[str], Counter[str]]:
    """How often each function accepted and refused its arguments; any other outcome raises."""
    accepted: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    names = list(CALLS)
    for index in range(calls):
        draw = Draw(f"{seed}/{index}")
        torch.manual_seed(index)
        native.use_isa(draw.choice(RUNNABLE))
        name = names[index % len(names)]
        arguments = CALLS[name](draw)
        spoiled = draw.random() < 0.6
        if spoiled:
            arguments = spoil_call(draw, arguments)
        try:
            getattr(native, name)(*arguments)
            accepted[name] += 1
        except Exception as error:
            if not spoiled or not isinstance(error, ValueError | TypeError):
                raise SystemExit(f"call {index} of seed {seed}, {name}{arguments}: {error!r}") from error
            refused[name] += 1
    return accepted, refused


def main() -> None:
    calls = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    functions = {name for name in dir(native) if callable(getattr(native, name)) and not name.startswith("_")}
    if functions != set(CALLS):
        raise SystemExit(f"functions without fuzzed calls, or the other way round: {sorted(functions ^ set(CALLS))}")
    accepted, refused = fuzz(calls, seed)
    for name in CALLS:
        print(f"{name:32} accepted {accepted[name]:6}  refused {refused[name]:6}")
    print(f"fuzz: {calls} calls of seed {seed}, instruction sets {', '.join(RUNNABLE)}")
    if never := [name for name in CALLS if not accepted[name]]:
        raise SystemExit(f"never accepted: {never}")


if __name__ == "__main__":
    main()

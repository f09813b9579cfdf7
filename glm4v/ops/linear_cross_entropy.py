"""The last linear layer and the loss in one: log-probabilities and entropies of targets without all the logits.

The vocabulary is walked in blocks. Going forward a native epilogue keeps running maximum, sum and weighted sum of each
row; going back the block's logits are computed again and turned into their gradients in place, unless there are so few
that all are kept. Fused kernels (GLM4V_FUSED=1) do both inside the products. On the CPU tokens without a target are
left out first, so they cost nothing; on a GPU, where to count them would be to wait, the epilogues pass them over.
"""

import math
from typing import Any

import torch
from torch import Tensor

from glm4v.ops import reference
from glm4v.ops.library import (
    aligned_rows,
    check_device,
    check_dtype,
    check_float,
    check_like,
    check_shape,
    check_values,
    define,
    fuses,
    native,
    native_for,
)
from glm4v.ops.linear import product, widens
from glm4v.ops.reference import IGNORE

TOKENS, VOCABULARY = 1024, 1024  # a block: 4 MB of logits in float32, at a width of 4096 16 MB of weight gradient
GPU_TOKENS, GPU_BYTES = 8192, 48 << 20  # a block there: 3,072 entries in bfloat16, 50.3 of the 64 MB it may take
PARTIAL_BYTES = 60 << 20  # of the fused kernels' partial statistics: 8,192 tokens of 151,552 entries take 58.2 MB
KEPT = 1 << 22  # as many logits in all are kept for the backward pass
ADDS_WIDE = hasattr(torch.ops.aten.addmm, "dtype_out")  # torch 2.8: products of 16 bits are added up in float32


def linear_cross_entropy(
    x: Tensor, weight: Tensor, targets: Tensor, temperature: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """(loss, log_probs, entropy) of softmax(x @ weight.T / temperature), each float32 [T].

    x [T, C], weight [V, C]: float32, bfloat16 or float16, alike; targets int64 [T], -100 where a token has none: there
    all three are 0. loss = -log_probs; entropy in nats. Differentiable in all three, for any upstream gradients.
    Raises ValueError for other shapes, types or devices, a target outside the vocabulary, a temperature <= 0.
    Source: cross entropy as transformers computes it from float32 logits.
    """
    check_float("x", x)
    check_shape("x", x, ("T", "C"))
    check_shape("weight", weight, ("V", x.shape[1]))
    check_like("x", x, weight=weight)
    check_shape("targets", targets, x.shape[:1])
    check_dtype("targets", targets, torch.int64)
    check_device("x", x, targets=targets)
    if not temperature > 0:
        raise ValueError(f"temperature: is {temperature}; expected a positive number")
    log_probs, entropy, _, _ = _linear_cross_entropy(x, weight, targets, temperature)
    return -log_probs, log_probs, entropy


def product_type(x: Tensor) -> torch.dtype:
    """In which type the blocks are multiplied."""
    return torch.float32 if x.dtype == torch.float16 or widens(x) else x.dtype


def blocks(length: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]


def kept_logits(x: Tensor, weight: Tensor) -> Tensor:
    """Where the forward pass leaves all logits for the backward pass: [T, V] if they are few, else [0, V]."""
    tokens, vocabulary = x.shape[0], weight.shape[0]
    whole = tokens * vocabulary <= KEPT
    return x.new_empty(tokens if whole else 0, vocabulary, dtype=product_type(x))


def tile(x: Tensor) -> tuple[int, int]:
    """How many tokens and entries of the vocabulary a block has.

    On a GPU as many entries as memory allows, since x's gradient in float32 is read and written once for each block;
    several blocks of tokens add the weight's gradient up in float32 too.
    """
    if x.device.type == "cpu":
        return TOKENS, VOCABULARY
    tokens = max(1, min(x.shape[0], GPU_TOKENS))
    entry = tokens * product_type(x).itemsize + (4 * x.shape[1] if x.shape[0] > tokens else 0)
    return tokens, max(256, GPU_BYTES // entry // 256 * 256)


def tiles(x: Tensor, weight: Tensor, whole: bool) -> tuple[list[slice], list[slice]]:
    """Blocks of tokens and of the vocabulary: one of each where all logits are kept."""
    if whole:
        return [slice(0, x.shape[0])], [slice(0, weight.shape[0])]
    tokens, vocabulary = tile(x)
    return blocks(x.shape[0], tokens), blocks(weight.shape[0], vocabulary)


def with_targets(
    targets: Tensor, vocabulary: int, *tensors: Tensor
) -> tuple[Tensor | None, Tensor, tuple[Tensor, ...]]:
    """Which tokens have a target (None: all, or only the device knows), their targets, and the rows of `tensors` that
    belong to them."""
    if native_for(targets) is not native:
        check_values("count_targets", targets, vocabulary)
        return None, targets.contiguous(), tensors
    if native.count_targets(targets.contiguous(), vocabulary) == targets.shape[0]:
        return None, targets.contiguous(), tensors
    rows = (targets != IGNORE).nonzero()[:, 0]
    return rows, targets[rows], tuple(t[rows] for t in tensors)


def scattered(rows: Tensor | None, values: Tensor, count: int) -> Tensor:
    """`values` back in their places among `count` tokens, 0 elsewhere."""
    if rows is None:
        return values
    return values.new_zeros(count, *values.shape[1:]).index_copy_(0, rows, values)


# kernels ------------------------------------------------------------------------------------------------------------


def run_forward(x: Tensor, weight: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, ...]:
    rows, picked_targets, (x_rows,) = with_targets(targets, weight.shape[0], x)
    kept = kept_logits(x, weight)
    kept[len(x_rows) :].zero_()  # of tokens without a target: equal calls give equal bits
    # running maximum, sum, weighted sum, the target's logit
    statistics = x.new_zeros(4, x_rows.shape[0], dtype=torch.float32)
    statistics[0].fill_(-math.inf)
    if fuses(x) and not len(kept):
        fused_statistics(x_rows, weight, picked_targets, statistics, temperature)
    else:
        block_statistics(x_rows, weight, picked_targets, statistics, temperature, kept)
    maximum, total, weighted, picked = statistics
    log_total = total.log()
    log_sum_exp = maximum + log_total
    values = (picked - log_sum_exp, log_total - weighted / total, log_sum_exp)
    if native_for(x) is not native:
        values = tuple(v.masked_fill(targets == IGNORE, 0) for v in values)
    return *(scattered(rows, v, x.shape[0]) for v in values), kept


def block_statistics(
    x: Tensor, weight: Tensor, targets: Tensor, statistics: Tensor, temperature: float, kept: Tensor
) -> None:
    whole, dtype = len(kept) > 0, product_type(x)
    token_blocks, vocabulary_blocks = tiles(x, weight, whole)
    for vocabulary in vocabulary_blocks:
        weight_block = weight[vocabulary].to(dtype)
        for tokens in token_blocks:
            logits = product(x[tokens].to(dtype), weight_block)
            if whole:
                kept[tokens] = logits
            native_for(x).cross_entropy(
                logits, targets[tokens], statistics[:, tokens], vocabulary.start, 1 / temperature
            )
            del logits  # before the next ones come: on a GPU they take most of the memory


def fused_tokens(tokens: int, vocabulary: int, tile: int) -> int:
    """How many of the tokens go at once, so that their statistics of each tile of the vocabulary fit PARTIAL_BYTES."""
    entry = 3 * 4 * -(-vocabulary // tile)
    return max(1, min(tokens, PARTIAL_BYTES // entry // 128 * 128))


def fused_statistics(x: Tensor, weight: Tensor, targets: Tensor, statistics: Tensor, temperature: float) -> None:
    kernels, x, weight = native_for(x), aligned_rows(x), aligned_rows(weight)
    for tokens in blocks(len(x), fused_tokens(len(x), len(weight), kernels.fused_tile)):
        count = tokens.stop - tokens.start
        partials = statistics.new_empty(3, -(-len(weight) // kernels.fused_tile), count)
        kernels.fused_cross_entropy(
            x[tokens], weight, targets[tokens], partials, statistics[:, tokens], 1 / temperature
        )


def run_backward(
    grad_log_probs: Tensor, grad_entropy: Tensor, x: Tensor, weight: Tensor, targets: Tensor, entropy: Tensor,
    log_sum_exp: Tensor, kept: Tensor, temperature: float, need_x: bool, need_weight: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    rows, picked_targets, (x_rows, *statistics) = with_targets(
        targets, weight.shape[0], x, log_sum_exp, entropy, grad_log_probs.contiguous(), grad_entropy.contiguous()
    )
    if not len(x_rows):
        return x.new_zeros(x.shape if need_x else (0,)), weight.new_zeros(weight.shape if need_weight else (0,))
    dtype = product_type(x)
    grad_x = x.new_empty(x_rows.shape if need_x else (0,), dtype=torch.float32)
    grad_weight = weight.new_empty(weight.shape if need_weight else (0,))
    token_blocks, vocabulary_blocks = tiles(x_rows, weight, len(kept) > 0)
    if fused := fuses(x) and not len(kept):
        dtype, x_rows, weight = x.dtype, aligned_rows(x_rows), aligned_rows(weight)
    for vocabulary in vocabulary_blocks:
        weight_block = weight[vocabulary].to(dtype)
        if need_weight:
            result = grad_weight[vocabulary]
            at_once = len(token_blocks) == 1 and result.dtype == dtype  # the product itself rounds, once
            direct = at_once or result.dtype == torch.float32
            total = result if direct else torch.empty_like(result, dtype=torch.float32)
        for tokens in token_blocks:
            x_block = x_rows[tokens].to(dtype)
            of_tokens = (picked_targets[tokens], *(s[tokens] for s in statistics))
            if fused:
                logits = fused_gradients(x_block, weight_block, vocabulary.start, temperature, *of_tokens)
            else:
                logits = kept[tokens].clone() if len(kept) else product(x_block, weight_block)
                native_for(x).cross_entropy_backward(logits, *of_tokens, vocabulary.start, 1 / temperature)
            # the logits now hold their gradients
            if need_x:
                accumulate(grad_x[tokens], logits, weight_block.T, fresh=vocabulary.start == 0)
            if need_weight:
                accumulate(total, logits.T, x_block.T, fresh=tokens.start == 0)
            del logits
        if need_weight and total is not result:
            result.copy_(total)
    return scattered(rows, grad_x.to(x.dtype), x.shape[0]) if need_x else grad_x.to(x.dtype), grad_weight


def fused_gradients(x: Tensor, weight: Tensor, first: int, temperature: float, *of_tokens: Tensor) -> Tensor:
    """Of the logits x @ weight.T, [T, V]; of_tokens: targets, log_sum_exp, entropy, grad_log_probs, grad_entropy."""
    gradients = x.new_empty(len(x), len(weight) + -len(weight) % 8)  # rows of whole pieces of 16 bytes
    native_for(x).fused_cross_entropy_backward(x, weight, *of_tokens, gradients, first, 1 / temperature)
    return gradients[:, : len(weight)]


def accumulate(total: Tensor, a: Tensor, b: Tensor, fresh: bool) -> None:
    """total += a @ b.T; where it is `fresh`, total = a @ b.T."""
    if a.device.type != "cpu" and (total.dtype == a.dtype or ADDS_WIDE):
        wide: dict[str, Any] = {} if total.dtype == a.dtype else {"out_dtype": total.dtype}
        torch.addmm(total, a, b.T, beta=0 if fresh else 1, out=total, **wide)
    elif fresh:
        total.copy_(product(a, b))
    else:
        total.add_(product(a, b))


_backward = define(
    "linear_cross_entropy_backward(Tensor grad_log_probs, Tensor grad_entropy, Tensor x, Tensor weight, Tensor "
    "targets, Tensor entropy, Tensor log_sum_exp, Tensor kept, float temperature, bool need_x, bool need_weight) "
    "-> (Tensor, Tensor)",
    run_backward,
    lambda grad_log_probs, grad_entropy, x, weight, *rest: (
        x.new_empty(x.shape if rest[-2] else (0,)),  # need_x
        weight.new_empty(weight.shape if rest[-1] else (0,)),  # need_weight
    ),
    cuda=True,
)


def setup(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, float], output: tuple[Tensor, ...]) -> None:
    x, weight, targets, ctx.temperature = inputs
    _, entropy, log_sum_exp, kept = output
    ctx.mark_non_differentiable(log_sum_exp, kept)
    ctx.save_for_backward(x, weight, targets, entropy, log_sum_exp, kept)


def backward(ctx: Any, grad_log_probs: Tensor, grad_entropy: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    need_x, need_weight = ctx.needs_input_grad[:2]
    grad_x, grad_weight = _backward(
        grad_log_probs, grad_entropy, *ctx.saved_tensors, ctx.temperature, need_x, need_weight
    )
    return grad_x if need_x else None, grad_weight if need_weight else None, None, None


def twin(x: Tensor, weight: Tensor, targets: Tensor, temperature: float) -> tuple[Tensor, ...]:
    _, log_probs, entropy = reference.linear_cross_entropy(x, weight, targets, temperature)
    return log_probs, entropy, log_probs, log_probs


_linear_cross_entropy = define(
    "linear_cross_entropy(Tensor x, Tensor weight, Tensor targets, float temperature) "
    "-> (Tensor, Tensor, Tensor, Tensor)",
    run_forward,
    lambda x, weight, targets, temperature: (
        *(x.new_empty(x.shape[0], dtype=torch.float32) for _ in range(3)),
        kept_logits(x, weight),
    ),
    twin,
    backward,
    setup,
    cuda=True,
)

"""AdamW with decay on matrices only, float32 masters of bfloat16 weights, and the learning rate of a step.

Decoupled weight decay: Loshchilov and Hutter, arXiv 1711.05101.
"""

import math
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from glm4v.train.recipe import OptimSection


def learning_rate(optim: OptimSection, step: int, steps: int) -> float:
    """The rate of step `step` (the first is 0) of `steps`: linear warm-up, then constant or a cosine.

    The cosine ends at `optim.final_share` of the full rate in the last step.
    """
    if step < optim.warmup_steps:
        return optim.learning_rate * (step + 1) / optim.warmup_steps
    if optim.schedule == "constant":
        return optim.learning_rate
    done = (step - optim.warmup_steps) / max(1, steps - 1 - optim.warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return optim.learning_rate * (optim.final_share + (1 - optim.final_share) * cosine)


def freeze(model: nn.Module, patterns: Sequence[str]) -> int:
    """Take every parameter whose name matches a pattern ("model.visual.*") out of training; returns how many numbers.

    Raises:
        ValueError: a pattern that matches no parameter.
    """
    frozen: dict[str, Tensor] = {}
    for pattern in patterns:
        matches = {name: p for name, p in model.named_parameters() if fnmatchcase(name, pattern)}
        if not matches:
            parts = {".".join(name.split(".")[:-1][:2]) + ".*" for name, _ in model.named_parameters()}
            raise ValueError(f"model.frozen: {pattern!r} matches no parameter; there are {', '.join(sorted(parts))}")
        frozen |= matches
    for parameter in frozen.values():
        parameter.requires_grad_(False)
    return sum(p.numel() for p in frozen.values())


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """AdamW groups of the trainable parameters: matrices (tables and convolutions too), which decay, and vectors."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]


class AdamW(torch.optim.AdamW):
    """torch's AdamW; a parameter below float32 gets a float32 master that is stepped in its place.

    Without masters an update smaller than a 256th of its weight would be rounded away. Gradients go to the master as
    soon as backward has made them, so micro-batches add up in float32 and no low-precision gradient is kept.
    """

    def __init__(self, model: nn.Module, optim: OptimSection):
        self._masters: list[tuple[nn.Parameter, Tensor]] = []
        groups = parameter_groups(model, optim.weight_decay)
        for group in groups:
            group["params"] = [self._master(p) for p in group["params"]]
        super().__init__(groups, lr=optim.learning_rate, betas=optim.betas, eps=optim.epsilon, fused=True)

    def _master(self, parameter: nn.Parameter) -> Tensor:
        """What is stepped for `parameter`: itself in float32, else a float32 copy that collects its gradient."""
        if parameter.dtype == torch.float32:
            return parameter
        master = parameter.detach().float()

        def collect(p: Tensor) -> None:
            assert p.grad is not None  # the hook runs after backward wrote it
            gradient = p.grad.float()
            master.grad = gradient if master.grad is None else master.grad.add_(gradient)
            p.grad = None

        parameter.register_post_accumulate_grad_hook(collect)
        self._masters.append((parameter, master))
        return master

    @property
    def stepped(self) -> list[Tensor]:
        """The float32 tensors that hold the gradients and are stepped."""
        return [p for group in self.param_groups for p in group["params"]]

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Step the masters and round them into the model."""
        super().step(closure)
        for parameter, master in self._masters:
            parameter.copy_(master)

    def state_dict(self) -> dict[str, Any]:
        """torch's state and the masters, in the order of the model's parameters."""
        return super().state_dict() | {"masters": [master for _, master in self._masters]}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned; the model's low-precision weights follow from the masters."""
        masters = state_dict["masters"]
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "masters"})
        for (parameter, master), saved in zip(self._masters, masters, strict=True):
            master.copy_(saved)
            parameter.copy_(master)

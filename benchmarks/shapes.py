"""The sizes at which operators are measured: a layer of the 9B model, and the demo's model."""

from dataclasses import dataclass, replace

import torch

DTYPES = (torch.float32, torch.bfloat16)


@dataclass(frozen=True)
class Sizes:
    """Of one model, and of a batch that fits it."""

    name: str
    tokens: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    grids: tuple[tuple[int, int, int], ...]  # of still images, in patches
    vision_width: int
    vision_heads: int
    vision_head_dim: int
    table_side: int  # of the position table

    @property
    def patches(self) -> int:
        return sum(t * h * w for t, h, w in self.grids)

    @property
    def grid_thw(self) -> torch.Tensor:
        return torch.tensor(self.grids)

    @property
    def text(self) -> str:
        return f"{self.name}: {self.tokens} tokens"

    @property
    def vision(self) -> str:
        return f"{self.name}: {self.patches} patches"


LAYER_9B = Sizes(
    name="9B",
    tokens=2048,
    width=4096,
    heads=32,
    kv_heads=2,
    head_dim=128,
    intermediate=13696,
    grids=((1, 8, 8), (1, 24, 32), (1, 48, 36), (1, 72, 24)),  # 112 x 112 to 1008 x 336
    vision_width=1536,
    vision_heads=12,
    vision_head_dim=128,
    table_side=24,
)
DEMO = Sizes(
    name="demo",
    tokens=2048,
    width=192,
    heads=6,
    kv_heads=2,
    head_dim=32,
    intermediate=512,
    grids=((1, 8, 20),) * 24,
    vision_width=128,
    vision_heads=4,
    vision_head_dim=32,
    table_side=24,
)
MODELS = (LAYER_9B, DEMO)
ON_GPU = (replace(LAYER_9B, tokens=16384, grids=((1, 124, 124), (1, 94, 94), (1, 72, 24), (1, 8, 8))),)


def cases_of() -> list[tuple[Sizes, torch.dtype]]:
    """Every pair of a model's sizes and an element type; on a GPU (torch's default device) larger batches."""
    models = ON_GPU if torch.get_default_device().type == "cuda" else MODELS
    return [(sizes, dtype) for sizes in models for dtype in DTYPES]

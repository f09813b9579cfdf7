"""Sight check: does the model look at its images? Log-probabilities must move when they are blanked or swapped.

Runs that train blind without an error are common: vision weights not loaded, image features not reaching their tokens,
position ids without rows and columns. Each shows here as log-probabilities that do not move, or do not get worse.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from glm4v.data.packing import PackedBatch
from glm4v.model import Output

SMALLEST_MOVE = 1e-6  # nats; a fresh random model moves by 1e-3 and more, a blind one by exactly 0


@dataclass(frozen=True)
class SightReport:
    """What changing the images did to the log-probabilities of a batch's targets, in nats per target.

    `blanked` and `swapped` are mean absolute moves; `gain` is how much likelier the targets are with the true images
    than with swapped ones (about 0 before training, positive in a model that sees).
    """

    targets: int  # that follow an image in their own sequence
    blanked: float
    swapped: float
    gain: float

    def warning(self, trained: bool = False) -> str | None:
        """Why this looks blind and what the likely causes are, or None; `trained`: images should help already."""
        if self.targets == 0:
            return None
        if min(self.blanked, self.swapped) < SMALLEST_MOVE:
            return (
                f"sight check: log-probabilities move by {self.blanked:.1e} with blank and {self.swapped:.1e} with "
                "swapped images: the model is blind. Likely causes: image features do not reach the image tokens "
                "(vision_index), vision or merger weights are zero or not finite, text does not attend to its images"
            )
        if trained and self.gain <= 0:
            return (
                f"sight check: true images make targets no likelier than swapped ones ({self.gain:+.4f} nats). Likely "
                "causes: vision weights were not loaded or not synchronised, image files do not belong to their "
                "texts, position ids lack rows and columns"
            )
        return None

    def metrics(self) -> dict[str, float]:
        """The figures under the names they have in metrics.jsonl."""
        return {"sight/blanked": self.blanked, "sight/swapped": self.swapped, "sight/gain": self.gain}


def _keep(values: Tensor) -> Tensor:
    return values


@torch.no_grad()
def sight_check(
    model: Callable[[PackedBatch], Output], batch: PackedBatch, total: Callable[[Tensor], Tensor] = _keep
) -> SightReport:
    """Run `batch` as it is, with grey images, and with the patches of all images in reverse order.

    Args:
        model: the model, or the training engine around it.
        batch: on the model's device; without images it still runs (a ZeRO-3 rank must take part) and counts nothing.
        total: sums a tensor over all processes (`Engine.sum`).
    """
    images, videos = batch.image_patches, batch.video_patches
    blank = replace(batch, image_patches=torch.zeros_like(images), video_patches=torch.zeros_like(videos))
    swap = replace(batch, image_patches=images.flip(0), video_patches=videos.flip(0))
    true, blanked, swapped = (model(b).log_probs for b in (batch, blank, swap))
    counts = _targets_after_images(batch)
    figures = [counts, (blanked - true).abs() * counts, (swapped - true).abs() * counts, (true - swapped) * counts]
    targets, *sums = total(torch.stack([f.double().sum() for f in figures])).tolist()
    return SightReport(int(targets), *(s / max(1, targets) for s in sums))


def _targets_after_images(batch: PackedBatch) -> Tensor:
    """[T] bool: labels that count and whose sequence shows an image before them."""
    seen = torch.cumsum(batch.vision_index >= 0, 0)
    bounds = torch.cat([seen.new_zeros(1), seen])[batch.cu_seqlens.long()]  # media tokens before each sequence
    prefixes = torch.tensor(batch.prefixes, dtype=torch.int64, device=seen.device)
    shown = (prefixes >= 0) & (bounds.diff()[prefixes] > 0)  # by the prefix
    before = bounds[:-1].masked_fill(shown, -1)
    lengths = batch.cu_seqlens.long().diff()
    return (batch.labels != -100) & (batch.predictors >= 0) & (seen > torch.repeat_interleave(before, lengths))

"""Prompts as the scheduler takes them: one packed sequence each, made when its turn comes."""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

import torch
import torch.nn.functional as F

from glm4v.data import PackedBatch, Sample, pack
from glm4v.data.sample import MERGE
from glm4v.ops.reference import IGNORE


def lengths(prompts: Sequence[Sample] | PackedBatch) -> list[int]:
    """Tokens of each prompt. Raises ValueError when there is an empty one."""
    if isinstance(prompts, PackedBatch):
        if prompts.shares_prefixes:
            raise ValueError("samples: a batch whose sequences go on from others; expected whole prompts")
        counts = list(prompts.seqlens)
    else:
        counts = [len(sample) for sample in prompts]
    if 0 in counts:
        raise ValueError(f"samples[{counts.index(0)}] has no tokens; a prompt has at least one")
    return counts


def one_by_one(
    prompts: Sequence[Sample] | PackedBatch, mean: Sequence[float], std: Sequence[float]
) -> Iterator[PackedBatch]:
    """Each prompt as a batch of one sequence on the CPU; images of samples are normalised with `mean` and `std`."""
    if isinstance(prompts, PackedBatch):
        yield from split(prompts)
    else:
        for sample in prompts:
            yield pack([sample], mean, std)


def split(batch: PackedBatch) -> Iterator[PackedBatch]:
    """The sequences of `batch`, each with the media it shows."""
    batch = batch.to("cpu")
    patches = [t * h * w for t, h, w in (*batch.image_grids, *batch.video_grids)]
    first_feature = torch.tensor([0, *accumulate(patches)]) // MERGE**2
    stills = len(batch.image_grids)
    image_parts = batch.image_patches.split(patches[:stills])
    video_parts = batch.video_patches.split(patches[stills:])
    for start, stop in pairwise(batch.cu_seqlens.tolist()):
        index = batch.vision_index[start:stop]
        shown = index >= 0
        medium = torch.bucketize(index[shown], first_feature, right=True) - 1
        used = medium.unique()  # in ascending order
        sizes = first_feature.diff()[used]
        shift = first_feature[used] - (sizes.cumsum(0) - sizes)  # by how much the features of a medium move down
        local = index.clone()
        local[shown] -= shift[torch.searchsorted(used, medium)]
        images = [m for m in used.tolist() if m < stills]
        videos = [m - stills for m in used.tolist() if m >= stills]
        yield PackedBatch.make(
            input_ids=batch.input_ids[start:stop],
            position_ids=batch.position_ids[:, start:stop],
            labels=batch.labels[start:stop],
            seqlens=[stop - start],
            image_patches=torch.cat([batch.image_patches[:0], *(image_parts[m] for m in images)]),
            video_patches=torch.cat([batch.video_patches[:0], *(video_parts[m] for m in videos)]),
            image_grids=[batch.image_grids[m] for m in images],
            video_grids=[batch.video_grids[m] for m in videos],
            vision_index=local,
        )


def continued(prompt: PackedBatch, tokens: torch.Tensor) -> PackedBatch:
    """The one sequence of `prompt` with text `tokens` [n] behind it."""
    count = len(tokens)
    positions = int(prompt.position_ids.max()) + 1 + torch.arange(count).expand(3, -1)
    return PackedBatch.make(
        input_ids=torch.cat([prompt.input_ids, tokens.cpu()]),
        position_ids=torch.cat([prompt.position_ids, positions], dim=1),
        labels=F.pad(prompt.labels, (0, count), value=IGNORE),
        seqlens=[len(prompt.input_ids) + count],
        image_patches=prompt.image_patches,
        video_patches=prompt.video_patches,
        image_grids=prompt.image_grids,
        video_grids=prompt.video_grids,
        vision_index=F.pad(prompt.vision_index, (0, count), value=-1),
    )


def digest(prompt: PackedBatch) -> bytes:
    """A short name for the content of a prompt: its tokens and pixels."""
    content = hashlib.blake2b(digest_size=16)
    for part in (prompt.input_ids, prompt.image_patches, prompt.video_patches):
        content.update(part.contiguous().view(torch.uint8).numpy().data)
    return content.digest()

"""Prefill: keys, values and the last hidden state of prompts, packed into calls of a few fixed sizes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from glm4v.data import PackedBatch
from glm4v.data.packing import pack_to_budget
from glm4v.data.sample import MERGE
from glm4v.generation.rows import fitting
from glm4v.model import Glm4v
from glm4v.model.cache import PagedCache


@dataclass(frozen=True)
class Piece:
    """Tokens start..stop of a prompt."""

    prompt: int
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def plan(lengths: Sequence[int], rows: int) -> list[list[Piece]]:
    """Which tokens of prompts with `lengths` go into which call of `rows` rows.

    Prompts are cut every rows / 2 tokens, wherever they land: what attention computes for a piece then depends on its
    own prompt alone. Whole pieces come first, two a call; the ends, longest first, share what calls they need.
    """
    size = rows // 2
    pieces = [
        Piece(prompt, start, min(start + size, length))
        for prompt, length in enumerate(lengths)
        for start in range(0, length, size)
    ]
    calls: list[list[Piece]] = []
    room = 0
    for piece in sorted(pieces, key=len, reverse=True):  # stable: the pieces of a prompt stay in order
        if len(piece) > room:
            calls.append([])
            room = rows
        calls[-1].append(piece)
        room -= len(piece)
    return calls


def prefill(
    model: Glm4v,
    cache: PagedCache,
    prompts: Sequence[PackedBatch],
    blocks: Sequence[Sequence[int]],
    row_counts: tuple[int, ...],
    patch_counts: tuple[int, ...],
) -> list[Tensor]:
    """Writes keys and values of `prompts`, one sequence each, to their `blocks`; gives each one's last hidden state."""
    prompts = [prompt.to(model.device, model.dtype) for prompt in prompts]
    embeddings = [
        model.embed(prompt.input_ids, prompt.vision_index, features)
        for prompt, features in zip(prompts, encode(model, prompts, patch_counts), strict=True)
    ]
    tables = [torch.tensor(row, dtype=torch.int32) for row in blocks]
    last: dict[int, Tensor] = {}
    for call in plan([len(x) for x in embeddings], row_counts[-1]):
        used = sum(map(len, call))
        padding = fitting(row_counts, used) - used
        x = torch.cat([embeddings[piece.prompt][piece.start : piece.stop] for piece in call])
        spans = [prompts[piece.prompt].position_ids[:, piece.start : piece.stop] for piece in call]
        position_ids = F.pad(torch.cat(spans, dim=1), (0, padding))
        table = pad_sequence([tables[piece.prompt] for piece in call], batch_first=True).to(model.device)
        attend = cache.prefill(table, [len(piece) for piece in call], [piece.stop for piece in call])
        hidden = model.text(F.pad(x, (0, 0, 0, padding)), position_ids, attend)
        row = 0
        for piece in call:
            row += len(piece)
            if piece.stop == len(embeddings[piece.prompt]):
                last[piece.prompt] = hidden[row - 1]
    return [last[index] for index in range(len(prompts))]


def encode(model: Glm4v, prompts: Sequence[PackedBatch], patch_counts: tuple[int, ...]) -> list[Tensor]:
    """Features [M, hidden] of each prompt's media, none where there are no media.

    Prompts with stills alone share calls of `patch_counts` patches; one with a video, or with more patches than the
    largest of them, has a call to itself. So the bits of its features do not depend on other prompts.
    """
    features = [prompt.image_patches.new_empty(0, 0) for prompt in prompts]
    shared: list[int] = []
    for index, prompt in enumerate(prompts):
        if prompt.video_grids or len(prompt.image_patches) > patch_counts[-1]:
            features[index] = model.encode_images(prompt)
        elif prompt.image_grids:
            shared.append(index)
    packing = pack_to_budget([range(len(prompts[index].image_patches)) for index in shared], patch_counts[-1])
    for call in packing.batches:
        members = [shared[place] for place in call]
        stills = [prompts[index] for index in members]
        sizes = [len(prompt.image_patches) // MERGE**2 for prompt in stills]
        encoded = model.encode_images(side_by_side(stills, patch_counts))
        for index, part in zip(members, encoded.split([*sizes, len(encoded) - sum(sizes)]), strict=False):
            features[index] = part
    return features


def side_by_side(prompts: Sequence[PackedBatch], patch_counts: tuple[int, ...]) -> PackedBatch:
    """The stills of `prompts` and images of one token each, all 0, that fill up the patches; without text."""
    used = sum(len(prompt.image_patches) for prompt in prompts)
    padding = fitting(patch_counts, used) - used
    grids = [grid for prompt in prompts for grid in prompt.image_grids] + [(1, MERGE, MERGE)] * (padding // MERGE**2)
    empty = torch.zeros(0, dtype=torch.int64)  # batches are made on the CPU
    patches = torch.cat([prompt.image_patches for prompt in prompts])
    batch = PackedBatch.make(
        input_ids=empty,
        position_ids=empty.expand(3, 0),
        labels=empty,
        seqlens=(),
        image_patches=F.pad(patches, (0, 0, 0, padding)),
        video_patches=prompts[0].video_patches,
        image_grids=grids,
        video_grids=(),
        vision_index=empty,
    )
    return batch.to(patches.device)

"""Prefill: keys, values and the last hidden state of prompts, packed into decoder calls of a few fixed sizes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from glm4v.data import PackedBatch
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
) -> list[Tensor]:
    """Writes keys and values of `prompts`, one sequence each, to their `blocks`; gives the last hidden state of each.

    Images are encoded one prompt at a time, so that the bits of their features do not depend on other prompts.
    """
    embeddings = [embed(model, prompt.to(model.device, model.dtype)) for prompt in prompts]
    tables = [torch.tensor(row, dtype=torch.int32) for row in blocks]
    last: dict[int, Tensor] = {}
    for call in plan([len(x) for x in embeddings], row_counts[-1]):
        used = sum(map(len, call))
        padding = fitting(row_counts, used) - used
        x = torch.cat([embeddings[piece.prompt][piece.start : piece.stop] for piece in call])
        spans = [prompts[piece.prompt].position_ids[:, piece.start : piece.stop] for piece in call]
        position_ids = F.pad(torch.cat(spans, dim=1), (0, padding)).to(model.device)
        table = pad_sequence([tables[piece.prompt] for piece in call], batch_first=True).to(model.device)
        attend = cache.prefill(table, [len(piece) for piece in call], [piece.stop for piece in call])
        hidden = model.text(F.pad(x, (0, 0, 0, padding)), position_ids, attend)
        row = 0
        for piece in call:
            row += len(piece)
            if piece.stop == len(embeddings[piece.prompt]):
                last[piece.prompt] = hidden[row - 1]
    return [last[index] for index in range(len(prompts))]


def embed(model: Glm4v, prompt: PackedBatch) -> Tensor:
    """Embeddings of a prompt's tokens and images: [L, hidden]."""
    if prompt.image_grids or prompt.video_grids:
        features = model.encode_images(prompt)
    else:
        features = prompt.image_patches.new_empty(0, 0)
    return model.embed(prompt.input_ids, prompt.vision_index, features)

"""GLM-4.1V on packed sequences: no batch dimension, no padding; images and videos in any mix.

Agrees with transformers' Glm4vForConditionalGeneration, whose state dict names it shares.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Glm4vConfig

from glm4v import ops
from glm4v.model import weights
from glm4v.model.config import check_config
from glm4v.model.layers import Attend, Linear, initialise
from glm4v.model.text import TextDecoder
from glm4v.model.vision import VisionEncoder

if TYPE_CHECKING:
    from glm4v.data import PackedBatch
    from glm4v.generation import Completion

IGNORE = -100


@dataclass(frozen=True)
class Output:
    """What a forward pass gives; the three packed tensors line up with `input_ids`."""

    loss: Tensor  # [] float32: sum over targets / number of targets
    log_probs: Tensor  # [T] float32: of labels[t], predicted at t - 1; 0 where there is no label or no token before
    entropy: Tensor  # [T] float32: of the distribution that labels[t] was predicted from; 0 likewise
    logits: Tensor | None  # [T, vocabulary], when asked for


class Head(Linear):
    """Logits, or losses that never hold all logits."""

    def forward(self, x: Tensor, targets: Tensor | None = None, temperature: float = 1.0) -> Any:
        if targets is None:
            return super().forward(x)
        return ops.linear_cross_entropy(x, self.weight, targets, temperature)


def best_device() -> torch.device:
    """A GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def rows_of(x: Tensor, index: Tensor) -> Tensor:
    """x[index], rows taken any number of times: [T, ...], [N] -> [N, ...].

    As an embedding, whose gradients torch adds up in the same order each time; those of `index_select` come by atomic
    additions on a GPU, in any order and rounded to x's type each time.
    """
    return F.embedding(index, x.flatten(1)).view(-1, *x.shape[1:])


class Towers(nn.Module):
    """The two towers under transformers' names."""

    def __init__(self, config: Glm4vConfig) -> None:
        super().__init__()
        self.visual = VisionEncoder(config.vision_config)
        self.language_model = TextDecoder(config.text_config)


class Glm4v(nn.Module):
    """GLM-4.1V with random weights, the same for the same `torch.manual_seed`.

    Args:
        config: transformers' configuration; ValueError names what cannot be run.

    Attributes:
        gradient_checkpointing: keep only each block's input for the backward pass, which computes the rest again.
        vision_always: encode a blank image where a batch has none. Ranks of a sharded run must pass the same modules
            in the same order, and a batch of text then gives the vision weights gradients of 0 instead of None.
    """

    def __init__(self, config: Glm4vConfig) -> None:
        super().__init__()
        check_config(config)
        self.config = config
        self.gradient_checkpointing = False
        self.vision_always = False
        self.model = Towers(config)
        text: Any = config.text_config
        self.lm_head = Head(text.hidden_size, text.vocab_size)
        initialise(self.lm_head, text.initializer_range)
        if config.tie_word_embeddings:
            self.model.language_model.embed_tokens.weight = self.lm_head.weight

    @property
    def device(self) -> torch.device:
        return self.lm_head.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.lm_head.weight.dtype

    # the parts of a forward pass ------------------------------------------------------------------------------------

    def encode_images(self, batch: PackedBatch) -> Tensor:
        """Features [merged tokens, hidden] of all still images, then of all videos' frame pairs, in order."""
        images, videos = batch.vision_cu_seqlens_images, batch.vision_cu_seqlens_videos
        return self.model.visual(
            batch.image_patches,
            batch.video_patches,
            torch.cat([batch.image_grid_thw, batch.video_grid_thw]),
            torch.cat([images, videos[1:] + images[-1]]),
            self.gradient_checkpointing,
        )

    def embed(self, input_ids: Tensor, vision_index: Tensor, features: Tensor) -> Tensor:
        """Token embeddings with `features[vision_index]` where `vision_index` is not -1: [T], [T], [M, hidden] ->
        [T, hidden]. A feature may be used any number of times."""
        x = self.model.language_model.embed_tokens(input_ids)
        if len(features) == 0:
            return x
        seen = rows_of(features, vision_index.clamp(min=0)).to(x.dtype)
        return torch.where((vision_index >= 0)[:, None], seen, x)

    def text(self, x: Tensor, position_ids: Tensor, attend: Attend) -> Tensor:
        """The decoder on embeddings [T, hidden] at `position_ids` [3, T]: hidden states after the final norm.

        `attend(layer, q [T, H, D], k [T, Hkv, D], v [T, Hkv, D]) -> [T, H, D]` alone knows sequences and caches.
        """
        return self.model.language_model(x, position_ids, attend, self.gradient_checkpointing)

    def head(self, hidden: Tensor) -> Tensor:
        """Hidden states [T, hidden] -> logits [T, vocabulary]."""
        return self.lm_head(hidden)

    # training -------------------------------------------------------------------------------------------------------

    def forward(
        self, batch: PackedBatch, logits: bool = False, num_targets: int | None = None, temperature: float = 1.0
    ) -> Output:
        """Loss, log-probabilities and entropy of `batch.labels`, each predicted from the tokens before it.

        Args:
            logits: also give all logits [T, vocabulary].
            num_targets: what the summed loss is divided by: the targets of the whole global batch, so that any split
                into micro-batches and ranks gives the same gradient. Default: those of this batch.
            temperature: divides the logits, in loss, log-probabilities and entropy (not in `logits`).
        """

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            if batch.shares_prefixes:
                k, v = (rows_of(x, batch.key_index) for x in (k, v))
            return ops.packed_attention(q, k, v, batch.cu_seqlens, batch.cu_seqlens_k, causal=True)

        x = self.embed(batch.input_ids, batch.vision_index, self._features(batch))
        hidden = self.text(x, batch.position_ids, attend)
        targets = batch.labels.masked_fill(batch.predictors < 0, IGNORE)
        if batch.shares_prefixes:
            predicting = rows_of(hidden, batch.predictors.clamp(min=0))
            losses, log_probs, entropy = self.lm_head(predicting, targets, temperature)
        else:  # the token before: rolling the targets there and the results back copies no hidden states
            results = self.lm_head(hidden, targets.roll(-1), temperature)
            losses, log_probs, entropy = (result.roll(1) for result in results)
        count = batch.num_targets if num_targets is None else num_targets
        return Output(
            loss=losses.sum() / max(count, 1),
            log_probs=log_probs,
            entropy=entropy,
            logits=self.head(hidden) if logits else None,
        )

    def _features(self, batch: PackedBatch) -> Tensor:
        if len(batch.image_patches) + len(batch.video_patches):
            return self.encode_images(batch)
        patches = batch.image_patches
        if not self.vision_always:
            return patches.new_empty(0, 0)
        blank = patches.new_zeros(4, patches.shape[1])
        grid_thw = batch.image_grid_thw.new_full((1, 3), 2)  # written on the device: the host does not wait for it
        grid_thw[:, 0] = 1
        cu_seqlens = torch.arange(0, 5, 4, dtype=torch.int32, device=patches.device)
        return self.model.visual(blank, batch.video_patches, grid_thw, cu_seqlens, self.gradient_checkpointing)

    # generation, files ----------------------------------------------------------------------------------------------

    def generate(self, prompts: Any, **options: Any) -> list[Completion]:
        """Completions of samples or of a packed batch; the options are those of `glm4v.generation.generate`."""
        from glm4v.generation import generate

        return generate(self, prompts, **options)

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> Glm4v:
        """The model in a folder that transformers or `save_pretrained` wrote (safetensors, sharded or not).

        `dtype` None keeps that of the stored weights. Raises ValueError that names unknown, missing and misshapen
        weights, or a file whose contents are not those that were saved.
        """
        folder = Path(folder)
        if not (folder / "config.json").is_file():  # transformers would look for the name on the network
            raise ValueError(f"folder {folder} holds no config.json; expected a model in transformers' format")
        with torch.device("meta"):
            model = cls(Glm4vConfig.from_pretrained(folder))
        weights.load(model, folder, dtype, device)
        return model

    def save_pretrained(self, folder: str | Path, max_shard_bytes: int = weights.SHARD_BYTES) -> None:
        """Writes config.json and safetensors that `from_pretrained` and transformers load."""
        weights.save(self.state_dict(), self.config, Path(folder), max_shard_bytes)

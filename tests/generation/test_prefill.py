"""The plan of decoder calls, and prefilled states against the decoder on whole prompts."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glm4v import ops
from glm4v.data import Sample, pack
from glm4v.generation.prefill import encode, plan, prefill
from glm4v.model import Glm4v
from glm4v.model.cache import PagedCache, blocks_of


@given(st.lists(st.integers(1, 200), min_size=1, max_size=30))
def test_plan_covers_each_prompt_in_order(lengths: list[int]) -> None:
    rows = 64
    done = [0] * len(lengths)
    calls = plan(lengths, rows)
    for call in calls:
        assert 0 < sum(map(len, call)) <= rows
        for piece in call:
            assert piece.start == done[piece.prompt]
            assert piece.start % (rows // 2) == 0
            done[piece.prompt] = piece.stop
    assert done == lengths


def test_plan_wastes_little() -> None:
    lengths = [60 + number for number in range(64)]
    assert len(plan(lengths, 64)) * 64 < 1.1 * sum(lengths)


@torch.inference_mode()
def test_prefill_gives_the_state_of_the_last_token(model: Glm4v, prompts: list[Sample]) -> None:
    batches = [pack([prompt]) for prompt in prompts]
    cache = PagedCache(model.config.text_config, 200, torch.float32, torch.device("cpu"))
    blocks = [cache.take(blocks_of(len(prompt))) for prompt in prompts]
    states = prefill(model, cache, batches, blocks, (16, 64), (256,))
    for batch, state in zip(batches, states, strict=True):
        bounds = batch.cu_seqlens
        whole = model.text(
            model.embed(batch.input_ids, batch.vision_index, encode(model, [batch], (4,))[0]),
            batch.position_ids,
            lambda layer, q, k, v, bounds=bounds: ops.packed_attention(q, k, v, bounds, causal=True),
        )
        torch.testing.assert_close(state, whole[-1], atol=1e-4, rtol=1e-4)


@torch.inference_mode()
@pytest.mark.parametrize("counts", [(64,), (64, 256), (1024,)])
def test_features_do_not_depend_on_company(model: Glm4v, prompts: list[Sample], counts: tuple[int, ...]) -> None:
    batches = [pack([prompt]) for prompt in prompts]
    together = encode(model, batches, counts)
    for batch, features in zip(batches, together, strict=True):
        [alone] = encode(model, [batch], counts)
        assert torch.equal(features, alone)
        media = len(batch.image_grids) + len(batch.video_grids)
        expected = model.encode_images(batch) if media else batch.image_patches.new_empty(0, 0)
        torch.testing.assert_close(features, expected, atol=1e-4, rtol=1e-4)

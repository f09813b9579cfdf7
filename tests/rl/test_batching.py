"""Packs: mates together, ranks balanced and in step, images encoded once, nothing lost."""

import dataclasses

import pytest
import torch

from glm4v.rl.batching import Batch, micro_batch, plan
from glm4v.rl.rollout import Group, Response

IMAGE = torch.arange(56 * 56 * 3, dtype=torch.int64).remainder(256).to(torch.uint8).view(56, 56, 3)


def group(problem: int, prompt_length: int, lengths: list[int], forced: int = 0) -> Group:
    responses = [
        Response(
            tokens=tuple(range(20, 20 + length)),
            log_probs=tuple(-0.5 - 0.01 * place for place in range(length)),
            forced=tuple(place < forced for place in range(length)),
            text="",
            truncated=False,
            reward=0.0,
            answer=None,
            reason="",
        )
        for length in lengths
    ]
    return Group(problem, prompt_length, tuple(responses))


def members(packs: list[list[tuple[int, int]]]) -> list[tuple[int, int]]:
    return sorted(member for pack in packs for member in pack)


def tokens_of(groups: list[Group], pack: list[tuple[int, int]]) -> int:
    """Of a pack: each group's prompt once, and the responses."""
    prompts = sum(groups[n].prompt_length for n in {n for n, _ in pack})
    return prompts + sum(groups[n].response_lengths[r] for n, r in pack)


def test_mates_stay_together_and_nothing_is_lost():
    groups = [group(n, 10, [n % 5 + 1] * 4) for n in range(12)]
    packs, dropped = plan(groups, max_tokens=130, ranks=1)
    assert dropped == 0
    assert members(packs[0]) == [(n, r) for n in range(12) for r in range(4)]
    for pack in packs[0]:
        assert tokens_of(groups, pack) <= 130
        assert all((n, r) in pack for n, _ in pack for r in range(4))


def test_a_group_longer_than_a_pack_is_cut_between_responses():
    packs, dropped = plan([group(0, 10, [5] * 6)], max_tokens=20, ranks=1)
    assert [len(pack) for pack in packs[0]] == [2, 2, 2]
    assert dropped == 0


def test_a_response_longer_than_a_pack_is_dropped_and_counted():
    packs, dropped = plan([group(0, 10, [5, 95, 5, 5])], max_tokens=40, ranks=1)
    assert dropped == 1
    assert members(packs[0]) == [(0, 0), (0, 2), (0, 3)]


def test_packs_into_which_nothing_fits_are_an_error_that_names_the_field():
    with pytest.raises(ValueError, match=r"data\.max_tokens: 14, expected at least the 15 tokens"):
        plan([group(0, 10, [5, 6])], max_tokens=14, ranks=2)


def test_ranks_are_balanced_and_in_step():
    groups = [group(n, 10, [3 * n + 1] * 4) for n in range(9)]
    packs, _ = plan(groups, max_tokens=200, ranks=3)
    assert len({len(rank) for rank in packs}) == 1
    assert members([pack for rank in packs for pack in rank]) == [(n, r) for n in range(9) for r in range(4)]
    tokens = [sum(tokens_of(groups, pack) for pack in rank) for rank in packs]
    assert max(tokens) < 1.2 * min(tokens)
    few, _ = plan(groups[:1], max_tokens=200, ranks=3)
    assert [len(rank) for rank in few] == [1, 1, 1]
    assert sum(len(pack) for rank in few for pack in rank) == 4  # ranks without a group get an empty pack


@pytest.fixture
def prompt(processor):
    content = [{"type": "image", "image": IMAGE.numpy()}, {"type": "text", "text": "what?"}]
    return processor([{"role": "user", "content": content}])


def test_tensors_line_up_with_tokens(processor, prompt):
    length = len(prompt)
    groups = [group(0, length, [3, 4], forced=2)]
    batch = Batch.of(groups, torch.tensor([[1.5, -0.5]]), "sample", 16)
    micro = micro_batch([(0, 0), (0, 1)], batch, lambda _: prompt, processor.image_mean, processor.image_std)
    assert micro.batch.seqlens == (length, 3, 4)
    assert micro.batch.prefixes == (-1, 0, 0)
    sampled = torch.tensor([length + 2, length + 3 + 2, length + 3 + 3])  # after two forced tokens
    assert micro.weights.nonzero()[:, 0].tolist() == sampled.tolist()
    assert micro.weights[sampled].tolist() == [1 / 2, 1 / 4, 1 / 4]
    assert micro.advantages[sampled].tolist() == [1.5, -0.5, -0.5]
    assert micro.rollout_log_probs[sampled].tolist() == pytest.approx([-0.52, -0.52, -0.53])
    assert (micro.batch.labels != -100).nonzero()[:, 0].tolist() == sampled.tolist()
    assert micro.batch.labels[sampled].tolist() == micro.batch.input_ids[sampled].tolist() == [22, 22, 23]
    assert micro.rollout_log_probs.count_nonzero() == 3


def test_truncated_responses_can_be_masked(prompt):
    whole, cut = group(0, len(prompt), [3, 4]).responses
    groups = [Group(0, len(prompt), (whole, dataclasses.replace(cut, truncated=True)))]
    for mask, weights in ((False, [1 / 6, 1 / 8]), (True, [1 / 6, 0.0])):
        batch = Batch.of(groups, torch.tensor([[1.0, -1.0]]), "sample", 16, mask_truncated=mask)
        assert batch.weights == [weights]


def test_groups_of_earlier_steps_are_not_fresh(processor, prompt):
    groups = [group(0, len(prompt), [3]), dataclasses.replace(group(1, len(prompt), [2], forced=1), age=1)]
    batch = Batch.of(groups, torch.ones(2, 1), "token", 16)
    micro = micro_batch([(0, 0), (1, 0)], batch, lambda _: prompt, processor.image_mean, processor.image_std)
    assert micro.fresh.sum() == 3
    assert (micro.weights > 0).sum() == 4


def test_an_empty_pack_weighs_nothing(processor, prompt):
    groups = [group(0, len(prompt), [3, 4])]
    batch = Batch.of(groups, torch.tensor([[1.0, -1.0]]), "token", 16)
    micro = micro_batch([], batch, lambda _: prompt, processor.image_mean, processor.image_std)
    assert micro.batch.num_targets == 3
    assert micro.weights.abs().sum() == 0

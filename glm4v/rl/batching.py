"""The micro-batches of one optimizer step: groups dealt to ranks by length, group mates packed together.

`plan` needs lengths alone: every rank makes the same plan of all ranks, then builds its own micro-batches from it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from glm4v.data import PackedBatch, Sample, pack
from glm4v.data.packing import Packing, pack_to_budget
from glm4v.data.sample import IGNORE
from glm4v.rl.loss import Averaging, token_weights
from glm4v.rl.rollout import Group

Member = tuple[int, int]  # (group, response) by their places in the step's groups


@dataclass(frozen=True)
class Batch:
    """The groups of one optimizer step, and what each of their responses' tokens weighs in its loss."""

    groups: Sequence[Group]
    advantages: list[list[float]]  # [groups][responses]
    weights: list[list[float]]  # of one sampled token, [groups][responses]

    @classmethod
    def of(
        cls,
        groups: Sequence[Group],
        advantages: Tensor,
        averaging: Averaging,
        max_length: int,
        mask_truncated: bool = False,
    ) -> "Batch":
        """advantages: [groups, responses]; token weights are averaged over all of these groups together.

        mask_truncated: responses that ran into the length limit weigh nothing.
        """
        lengths = [
            0 if mask_truncated and response.truncated else response.sampled
            for group in groups
            for response in group.responses
        ]
        flat = iter(token_weights(lengths, averaging, max_length))
        return cls(groups, advantages.tolist(), [[next(flat) for _ in group.responses] for group in groups])


class Plan(NamedTuple):
    """packs: [ranks][micro-batches] of members, as many micro-batches on each rank (the last ones may be empty);
    dropped: responses longer than a pack."""

    packs: list[list[list[Member]]]
    dropped: int


def plan(groups: Sequence[Group], max_tokens: int, ranks: int) -> Plan:
    """Deals groups to ranks, longest first to the least loaded, and packs each rank's into `max_tokens` tokens.

    Mates stay together, so that their prompt is computed once; only a group that is longer than a pack is cut, between
    responses. Raises ValueError when no response fits into a pack.
    """
    shares: list[list[int]] = [[] for _ in range(ranks)]
    loads = [0] * ranks
    lengths = [group.prompt_length + sum(group.response_lengths) for group in groups]
    for index in sorted(range(len(groups)), key=lambda i: -lengths[i]):
        rank = loads.index(min(loads))
        shares[rank].append(index)
        loads[rank] += lengths[index]
    packings = [_pack(groups, share, max_tokens) for share in shares]
    count = max(len(packing.batches) for _, packing in packings)
    if not count:
        shortest = min(group.prompt_length + min(group.response_lengths) for group in groups)
        raise ValueError(
            f"data.max_tokens: {max_tokens}, expected at least the {shortest} tokens of a response and prompt"
        )
    packs: list[list[list[Member]]] = [
        [[member for unit in batch for member in units[unit]] for batch in packing.batches]
        + [[] for _ in range(count - len(packing.batches))]
        for units, packing in packings
    ]
    return Plan(packs, sum(len(packing.dropped) for _, packing in packings))


def _pack(groups: Sequence[Group], share: Sequence[int], max_tokens: int) -> tuple[list[list[Member]], Packing]:
    """Units of mates that stay together, and how they are packed."""
    units: list[list[Member]] = []
    sizes: list[int] = []
    for index in share:
        fresh = True  # mates of one group only
        for response, length in enumerate(groups[index].response_lengths):
            if fresh or sizes[-1] + length > max_tokens:
                units.append([])
                sizes.append(groups[index].prompt_length)
                fresh = False
            units[-1].append((index, response))
            sizes[-1] += length
    return units, pack_to_budget([range(size) for size in sizes], max_tokens)


@dataclass(frozen=True)
class MicroBatch:
    """One pack as the model and the loss take it; the float tensors are [T], 0 at prompt and forced tokens."""

    batch: PackedBatch
    rollout_log_probs: Tensor
    advantages: Tensor
    weights: Tensor
    fresh: Tensor  # 1 at sampled tokens of this step's own rollouts, 0 at those of groups from earlier ones

    def to(self, device: torch.device, dtype: torch.dtype) -> "MicroBatch":
        """On `device`, image patches in `dtype`."""
        beside = (self.rollout_log_probs, self.advantages, self.weights, self.fresh)
        return MicroBatch(self.batch.to(device, dtype), *(tensor.to(device) for tensor in beside))


def micro_batch(
    members: Sequence[Member],
    batch: Batch,
    prompt_of: Callable[[int], Sample],
    mean: Sequence[float],
    std: Sequence[float],
) -> MicroBatch:
    """Builds a pack: each group's prompt, then the responses that go on from it.

    prompt_of: the prompt of a problem number; mean, std: the processor's, of pixel values. A pack without members,
    which keeps ranks in step, is some response that weighs nothing.
    """
    filler = not members
    samples: list[Sample] = []
    prefixes: list[int] = []
    beside: list[Tensor] = []  # [4, tokens] of each sample: rollout log-probs, advantages, weights, fresh
    for group, mates in groupby(members or [(0, 0)], key=lambda member: member[0]):
        prompt, first = prompt_of(batch.groups[group].problem), len(samples)
        samples.append(prompt)
        prefixes.append(-1)
        beside.append(torch.zeros(4, len(prompt)))
        fresh = float(batch.groups[group].age == 0)
        for _, number in mates:
            response = batch.groups[group].responses[number]
            tokens, forced = torch.tensor(response.tokens), torch.tensor(response.forced)
            samples.append(prompt.response(tokens, tokens.masked_fill(forced, IGNORE)))
            prefixes.append(first)
            weight = 0.0 if filler else batch.weights[group][number]
            fixed = torch.tensor([[batch.advantages[group][number]], [weight], [fresh]]).expand(3, len(tokens))
            beside.append(torch.cat([torch.tensor([response.log_probs]), fixed]).masked_fill(forced, 0.0))
    return MicroBatch(pack(samples, mean, std, prefixes=prefixes), *torch.cat(beside, dim=1))

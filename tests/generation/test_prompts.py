"""A packed batch taken apart is what its samples are one by one; digests tell prompts apart."""

from dataclasses import fields, replace

import pytest
import torch

from glm4v.data import PackedBatch, Sample, pack
from glm4v.data.images import CLIP_MEAN, CLIP_STD
from glm4v.generation.prompts import digest, lengths, one_by_one


def assert_same(one: PackedBatch, other: PackedBatch) -> None:
    for field in fields(PackedBatch):
        a, b = getattr(one, field.name), getattr(other, field.name)
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b, field.name


def test_a_packed_batch_comes_apart(prompts: list[Sample]) -> None:
    samples = [*prompts, prompts[2], prompts[1]]  # two that share the images of others
    parts = list(one_by_one(pack(samples), CLIP_MEAN, CLIP_STD))
    for part, sample in zip(parts, samples, strict=True):
        assert_same(part, pack([sample]))
    for part, one in zip(parts, one_by_one(samples, CLIP_MEAN, CLIP_STD), strict=True):
        assert_same(part, one)


def test_digest_sees_tokens_and_pixels(prompts: list[Sample]) -> None:
    sample = prompts[1]
    other_pixels = replace(sample, images=(255 - sample.images[0],))
    other_text = sample.completed(torch.tensor([5]), torch.tensor([-100]))
    digests = [digest(pack([one])) for one in (sample, other_pixels, other_text, *prompts[2:])]
    assert len(set(digests)) == len(digests)
    assert digest(next(one_by_one(pack(prompts[1:3]), CLIP_MEAN, CLIP_STD))) == digests[0]


def test_an_empty_prompt_is_named(prompts: list[Sample]) -> None:
    none = torch.zeros(0, dtype=torch.int64)
    empty = Sample(none, none.view(1, 0).expand(3, -1), none, (), (), none)
    with pytest.raises(ValueError, match=r"samples\[1\] has no tokens"):
        lengths([prompts[0], empty])
    with pytest.raises(ValueError, match=r"samples\[1\] has no tokens"):
        lengths(pack([prompts[0], empty]))

"""Samples in a row: sharing of media, the invariants of a batch, first-fit-decreasing."""

import dataclasses

import pytest
import torch

from glm4v import ops
from glm4v.data import CLIP_MEAN, CLIP_STD, PackedBatch, Sample, pack, pack_to_budget
from glm4v.data.sample import multimodal_positions

TEXT, IMAGE = 5, 9


def sample(*media, text=3, sizes=None, labels=None):
    """`text` tokens, then each medium followed by one token."""
    sizes = tuple(sizes or (tuple(side // 28 * 28 for side in image.shape[-3:-1]) for image in media))
    ids, grids = [TEXT] * text, []
    for image, (height, width) in zip(media, sizes, strict=True):
        for _ in range((len(image) + 1) // 2 if image.ndim == 4 else 1):
            ids += [IMAGE] * (height * width // 784) + [TEXT]
            grids.append((height // 28, width // 28))
    input_ids = torch.tensor(ids)
    vision = input_ids == IMAGE
    return Sample(
        input_ids=input_ids,
        position_ids=multimodal_positions(vision, grids),
        labels=torch.where(vision, -100, input_ids) if labels is None else labels,
        images=media,
        sizes=sizes,
        vision_index=torch.where(vision, vision.cumsum(0) - 1, -1),
    )


def picture(*shape, seed=0):
    return torch.randint(0, 256, (*shape, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def test_stills_come_before_videos_and_every_token_finds_its_feature():
    video, first, second = picture(3, 28, 56), picture(56, 56, seed=1), picture(28, 28, seed=2)
    batch = pack([sample(video, first), sample(), sample(second)])
    assert batch.image_grids == ((1, 4, 4), (1, 2, 2))
    assert batch.video_grids == ((2, 2, 4),)
    assert batch.seqlens == (14, 3, 5)
    assert batch.cu_seqlens.tolist() == [0, 14, 17, 22]
    assert batch.vision_cu_seqlens_images.tolist() == [0, 16, 20]
    assert batch.vision_cu_seqlens_videos.tolist() == [0, 8, 16]
    # features: 4 of `first`, 1 of `second`, then 2 and 2 of the video's pairs
    assert batch.vision_index.tolist() == (
        [-1] * 3 + [5, 6, -1, 7, 8, -1] + [0, 1, 2, 3, -1] + [-1] * 3 + [-1] * 3 + [4, -1]
    )  # fmt: skip
    expected = ops.patchify([first, second], CLIP_MEAN, CLIP_STD).image_patches
    assert torch.equal(batch.image_patches, expected)


def test_one_medium_in_several_samples_is_patchified_once():
    image, twin = picture(56, 56), picture(56, 56)
    group = sample(image)
    answers = [group.completed(torch.tensor([TEXT] * n), torch.tensor([TEXT] * n)) for n in (1, 4)]
    batch = pack([*answers, sample(twin), sample(image, sizes=[(28, 28)])])
    assert batch.image_grids == ((1, 4, 4), (1, 4, 4), (1, 2, 2))  # equal pixels in another tensor are not shared
    first, second = batch.vision_index[: len(answers[0])], batch.vision_index[len(answers[0]) :][: len(answers[1])]
    assert first[first >= 0].tolist() == second[second >= 0].tolist() == [0, 1, 2, 3]


def test_responses_go_on_from_their_prompt():
    prompt, other = sample(picture(28, 56), labels=torch.full((6,), -100)), sample()
    tokens = torch.tensor([7, 8])
    batch = pack([other, prompt, prompt.response(tokens, tokens), prompt.response(tokens[:1], tokens[:1])],
                 prefixes=[-1, -1, 1, 1])  # fmt: skip
    assert batch.shares_prefixes
    assert not pack([other, prompt]).shares_prefixes
    assert batch.seqlens == (3, 6, 2, 1)
    assert batch.predictors.tolist() == [-1, 0, 1, -1, 3, 4, 5, 6, 7, 8, 9, 8]
    assert batch.key_index.tolist() == [*range(3), *range(3, 9), *range(3, 9), 9, 10, *range(3, 9), 11]
    assert batch.cu_seqlens_k.tolist() == [0, 3, 9, 17, 24]
    assert batch.num_targets == 2 + 3
    whole = prompt.completed(tokens, tokens)
    assert torch.equal(batch.position_ids[:, 9:11], whole.position_ids[:, -2:])


@pytest.mark.parametrize(
    ("prefixes", "message"),
    [
        ([-1], "prefixes has 1 entries for 2 sequences"),
        ([-1, 1], r"prefixes\[1\] is 1; expected -1 or an earlier"),
        ([-2, 0], r"prefixes\[0\] is -2"),
        ([-1, 0, 1], r"prefixes\[2\] is 1"),  # a prefix has none itself
    ],
)
def test_wrong_prefixes_are_named(prefixes, message):
    with pytest.raises(ValueError, match=message):
        pack([sample()] * max(2, len(prefixes)), prefixes=prefixes)


def test_targets_are_counted_without_the_first_of_each_sequence():
    batch = pack([sample(), sample(), sample(labels=torch.tensor([-100, -100, 7]))])
    assert batch.num_targets == 2 + 2 + 1


def test_no_samples_and_no_media():
    assert pack([]).seqlens == ()
    assert pack([]).num_targets == 0
    batch = pack([sample()])
    assert batch.image_patches.shape == (0, 588)
    assert batch.video_patches.shape == (0, 1176)


def test_to_changes_the_patches_alone():
    batch = pack([sample(picture(28, 28))])
    moved = batch.to("cpu", torch.bfloat16)
    assert moved.image_patches.dtype == moved.video_patches.dtype == torch.bfloat16
    assert moved.input_ids.dtype == torch.int64
    assert moved.num_targets == batch.num_targets
    assert batch.to("meta").input_ids.device.type == "meta"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("input_ids", lambda x: x.int()),
        ("input_ids", lambda x: -x),
        ("position_ids", lambda x: x[:2]),
        ("position_ids", lambda x: x - 1),
        ("cu_seqlens", lambda x: x + 1),
        ("cu_seqlens", lambda x: x.long()),
        ("labels", lambda x: x[1:]),
        ("labels", lambda x: x.clamp(max=-1)),
        ("image_patches", lambda x: x[1:]),
        ("image_patches", lambda x: x[:, :100]),
        ("image_patches", lambda x: x.long()),
        ("video_patches", lambda x: torch.ones(4, 1176)),
        ("image_grid_thw", lambda x: x[:, :2]),
        ("vision_index", lambda x: x + 1),
        ("vision_index", lambda x: x - 1),
        ("vision_cu_seqlens_images", lambda x: x[1:]),
        ("seqlens", lambda x: (1, *x)),
        ("image_grids", lambda x: ((2, 2, 2),)),
        ("image_grids", lambda x: ((1, 3, 2),)),
        ("video_grids", lambda x: ((0, 2, 2),)),
    ],
)
def test_a_broken_field_is_named(name, change):
    batch = pack([sample(picture(28, 28)), sample()])
    with pytest.raises(ValueError, match=name):
        dataclasses.replace(batch, **{name: change(getattr(batch, name))})


def test_first_fit_decreasing_drops_what_does_not_fit():
    samples = [sample(text=n) for n in (3, 9, 5, 2, 7, 12, 1)]
    packing = pack_to_budget(samples, max_tokens=10)
    assert packing.dropped == [5]
    assert packing.batches == [[1, 6], [0, 4], [2, 3]]
    with pytest.raises(ValueError, match="max_tokens"):
        pack_to_budget(samples, 0)


def test_batch_is_made_of_the_samples_it_was_given():
    samples = [sample(picture(28, 56)), sample(text=7)]
    batch = pack(samples)
    assert isinstance(batch, PackedBatch)
    assert torch.equal(batch.input_ids, torch.cat([s.input_ids for s in samples]))
    assert torch.equal(batch.position_ids, torch.cat([s.position_ids for s in samples], dim=1))

"""Samples: position ids against transformers, invariants, and completion by a response."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import Glm4vConfig
from transformers.models.glm4v.modeling_glm4v import Glm4vModel

from glm4v.data import Sample
from glm4v.data.sample import merged_grids, multimodal_positions


@pytest.fixture(scope="module")
def oracle():
    """transformers' model, for its `get_rope_index`; it computes nothing, so its weights stay empty."""
    config = Glm4vConfig(
        text_config={"num_hidden_layers": 1, "rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}},
        vision_config={"depth": 1},
    )
    with torch.device("meta"):
        return Glm4vModel(config)


segment = st.tuples(st.integers(0, 5), st.sampled_from(["image", "video"]), st.integers(1, 5), st.integers(1, 5))


@given(segments=st.lists(segment, max_size=6), end=st.integers(0, 4))
def test_positions_are_those_of_transformers(oracle, segments, end):
    kinds, grids, images, videos = [], [], [], []
    for text, kind, rows, columns in segments:
        kinds += [0] * (text + 1) + [1 if kind == "image" else 2] * (rows * columns)
        grids.append((rows, columns))
        (images if kind == "image" else videos).append([1, 2 * rows, 2 * columns])
    kinds = torch.tensor([kinds + [0] * (end + 1)])
    expected, delta = oracle.get_rope_index(
        torch.ones_like(kinds),
        kinds,
        torch.tensor(images) if images else None,
        torch.tensor(videos) if videos else None,
    )
    positions = multimodal_positions(kinds[0] > 0, grids)
    assert torch.equal(positions, expected[:, 0])
    # decoding goes on at the largest position plus one
    assert int(positions.max()) + 1 == kinds.shape[1] + int(delta)


def test_positions_refuse_tokens_that_fit_no_grid():
    with pytest.raises(ValueError, match="marks 3 tokens; the grids of the images have 4"):
        multimodal_positions(torch.tensor([1, 1, 1]).bool(), [(2, 2)])
    with pytest.raises(ValueError, match="the 4 tokens of the image at token 0 are not in one run"):
        multimodal_positions(torch.tensor([1, 1, 0, 1, 1]).bool(), [(2, 2)])


def test_grids_of_stills_and_videos():
    assert merged_grids(torch.zeros(9, 9, 3), (56, 84)) == [(2, 3)]
    assert merged_grids(torch.zeros(5, 9, 9, 3), (28, 84)) == [(1, 3)] * 3


@pytest.fixture
def sample():
    """One token, a picture of 2 x 1 tokens, one token."""
    return Sample(
        input_ids=torch.tensor([1, 9, 9, 2]),
        position_ids=torch.tensor([[0, 1, 1, 3], [0, 1, 2, 3], [0, 1, 1, 3]]),
        labels=torch.tensor([1, -100, -100, 2]),
        images=(torch.zeros(50, 20, 3, dtype=torch.uint8),),
        sizes=((56, 28),),
        vision_index=torch.tensor([-1, 0, 1, -1]),
        key="a.jsonl:3",
    )


def test_completion_goes_on_at_the_largest_position_and_shares_the_image(sample):
    tokens, labels = torch.tensor([7, 8, 9]), torch.tensor([7, -100, 9])
    done = sample.completed(tokens, labels)
    assert done.input_ids.tolist() == [1, 9, 9, 2, 7, 8, 9]
    assert done.labels.tolist() == [1, -100, -100, 2, 7, -100, 9]
    assert done.position_ids[:, 4:].tolist() == [[4, 5, 6]] * 3
    assert done.vision_index.tolist() == [-1, 0, 1, -1, -1, -1, -1]
    assert done.images[0] is sample.images[0]
    assert done.completed(tokens[:0], labels[:0]).position_ids.equal(done.position_ids)


def test_features_and_length(sample):
    assert len(sample) == 4
    assert sample.features == (2,)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("input_ids", torch.ones(4)),
        ("labels", torch.ones(3, dtype=torch.int64)),
        ("position_ids", torch.ones(4, 3, dtype=torch.int64)),
        ("images", ()),
        ("images", (torch.zeros(50, 20, 3),)),
        ("images", (torch.zeros(50, 20, 4, dtype=torch.uint8),)),
        ("images", (torch.zeros(0, 50, 20, 3, dtype=torch.uint8),)),
        ("sizes", ((50, 20),)),
        ("sizes", ((0, 28),)),
        ("vision_index", torch.tensor([-1, 1, 0, -1])),
        ("vision_index", torch.tensor([-1, 0, -1, -1])),
    ],
)
def test_a_broken_field_is_named_with_the_sample(sample, name, value):
    with pytest.raises(ValueError, match=rf"a\.jsonl:3: .*{name}"):
        dataclasses.replace(sample, **{name: value})

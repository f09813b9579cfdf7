"""The sight check: a model that sees passes, a blind one is found."""

from dataclasses import replace

import pytest
import torch

from glm4v.data import PackedBatch, pack
from glm4v.data.files import read_messages
from glm4v.model import Glm4v, small_config
from glm4v.train.sight import SightReport, _targets_after_images, sight_check

from .conftest import SIZES


@pytest.fixture(scope="module")
def model(processor) -> Glm4v:
    torch.manual_seed(0)
    return Glm4v(small_config(processor.tokenizer, **SIZES))


@pytest.fixture(scope="module")
def batch(processor, conversations) -> PackedBatch:
    data = read_messages(conversations)
    return pack([processor(c.messages, train="assistant", root=c.root) for c in (data[i] for i in range(6))])


def test_a_model_that_sees_moves(model, batch):
    report = sight_check(model, batch)
    assert report.blanked > 1e-4
    assert report.swapped > 1e-4
    assert report.warning() is None


def test_images_that_never_arrive_are_found(model, batch):
    blind = replace(batch, vision_index=torch.full_like(batch.vision_index, -1))

    def ignores_images(changed: PackedBatch):
        return model(replace(blind, image_patches=changed.image_patches))

    report = sight_check(ignores_images, batch)
    assert report.blanked == report.swapped == 0
    assert "blind" in report.warning()
    assert "vision_index" in report.warning()


def test_vision_weights_that_are_zero_are_found(processor, batch):
    model = Glm4v(small_config(processor.tokenizer, **SIZES))
    for parameter in model.model.visual.merger.parameters():
        torch.nn.init.zeros_(parameter)
    assert "vision or merger weights are zero" in sight_check(model, batch).warning()


def test_images_must_help_a_trained_model():
    report = SightReport(targets=10, blanked=0.1, swapped=0.1, gain=-0.01)
    assert report.warning() is None
    assert "not loaded" in report.warning(trained=True)
    assert SightReport(targets=0, blanked=0.0, swapped=0.0, gain=0.0).warning(trained=True) is None


def test_only_targets_behind_an_image_of_their_own_sequence_count(batch):
    counted = _targets_after_images(batch)
    start = 0
    for number, length in enumerate(batch.seqlens):
        part = slice(start, start + length)
        labels = batch.labels[part] != -100
        # conversations 0 and 3 show no picture; in the others the answer comes behind all pictures
        expected = torch.zeros_like(labels) if number % 3 == 0 else labels
        assert torch.equal(counted[part], expected)
        start += length


def test_text_alone_is_no_reason_to_warn(model, processor, conversations):
    first = read_messages(conversations)[0]
    report = sight_check(model, pack([processor(first.messages, train="assistant")]))
    assert report.targets == 0
    assert report.warning(trained=True) is None

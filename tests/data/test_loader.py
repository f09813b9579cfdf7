"""The loader: full batches, exact resume, weights, ranks, and threads that change nothing."""

import json
from collections import Counter
from itertools import islice

import pytest
import torch

from glm4v.data.files import read_messages
from glm4v.data.loader import Loader, Part


def same(first, second):
    return all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
        for a, b in zip(vars(first).values(), vars(second).values(), strict=True)
    )


def questions(processor, batch):
    """The text behind the image of each sequence."""
    return [
        processor.decode(ids).partition("<|end_of_image|>")[2].partition("?")[0]
        for ids in batch.input_ids.split(batch.seqlens)
    ]


@pytest.fixture
def make(conversations, processor):
    """make(**settings): a loader over two files of 30 and 12 conversations, weights 3 and 1."""
    first, second = read_messages(conversations("first", 30)), read_messages(conversations("second", 12))

    def loader(**settings):
        return Loader([(first, 3), (second, 1)], processor, **{"max_tokens": 300, "seed": 5, "window": 10} | settings)

    return loader


def test_batches_are_full_and_within_budget(make):
    sizes = [len(batch.input_ids) for batch in islice(make(), 40)]
    assert max(sizes) <= 300
    assert sum(sizes) / len(sizes) > 0.9 * 300


def test_an_epoch_shows_every_conversation_once(make, processor):
    seen = [question for batch in islice(make(), 40) for question in questions(processor, batch)]
    for name, count in (("first", 30), ("second", 12)):
        counts = Counter(question for question in seen if question.startswith(name))
        assert len(counts) == count
        # what waits for a fuller batch may be late by an epoch, nothing is drawn out of turn
        assert max(counts.values()) - min(counts.values()) <= 2


def test_weights_decide_how_often_a_dataset_is_drawn_from(make, processor):
    seen = [question.split()[0] for batch in islice(make(), 50) for question in questions(processor, batch)]
    assert 0.67 < Counter(seen)["first"] / len(seen) < 0.83


def test_a_part_joins_after_its_samples_and_a_resumed_loader_knows_it(conversations, processor):
    first, second = read_messages(conversations("first", 30)), read_messages(conversations("second", 12))
    make = lambda after: Loader([(first, 1), Part(second, 3, after)], processor, max_tokens=300, seed=5, window=10)
    datasets = [draw.dataset for _, _, draws in _windows(make(after=25), 6) for draw in draws]
    assert datasets[:25] == [0] * 25
    assert 0.6 < sum(datasets[25:]) / len(datasets[25:]) <= 1
    with pytest.raises(ValueError, match=r"after was \[0, 25\] when it was saved"):
        make(after=0).load_state_dict(make(after=25).state_dict())
    with pytest.raises(ValueError, match="the first joins after 5 samples; expected 0"):
        Loader([Part(first, 1, 5)], processor, max_tokens=300, seed=5)


def _windows(loader, count):
    """The draws of the next `count` windows."""
    for _ in range(count):
        draws, loader._position, loader._drawn = loader._draws()
        yield loader._position, loader._drawn, draws


def test_seed_and_epoch_change_the_order(make, processor):
    first, again, other = (questions(processor, next(make(seed=seed))) for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("given", [0, 1, 5, 13])
def test_resume_yields_the_same_batches(make, given, workers):
    loader = make(workers=workers)
    list(islice(loader, given))
    state = json.loads(json.dumps(loader.state_dict()))
    expected = list(islice(loader, 8))
    resumed = make()
    list(islice(resumed, 3))  # a state replaces whatever was there
    resumed.load_state_dict(state)
    assert all(same(a, b) for a, b in zip(expected, islice(resumed, 8), strict=True))
    assert resumed.state_dict() == loader.state_dict()


def test_a_state_of_another_run_is_refused(make):
    state = make().state_dict()
    for name, value in (("seed", 6), ("max_tokens", 301), ("window", 9), ("train", "all")):
        with pytest.raises(ValueError, match=f"{name} was"):
            make(**{name: value}).load_state_dict(state)
    with pytest.raises(ValueError, match="rank was 0"):
        make(rank=1, world_size=2).load_state_dict(make(rank=0, world_size=2).state_dict())


def test_ranks_share_one_sequence_of_draws(make, processor):
    alone = make(window=20)
    draws, _, drawn = alone._draws()
    shares = [make(rank=rank, world_size=2, window=10)._draws() for rank in (0, 1)]
    assert shares[0][0] == draws[0::2]
    assert shares[1][0] == draws[1::2]
    assert shares[0][2] == shares[1][2] == drawn


def test_what_is_too_long_is_dropped_and_counted(conversations, processor):
    short, long = read_messages(conversations("short", 6)), read_messages(conversations("long", 2, side=600))
    loader = Loader([(short, 1), (long, 1)], processor, max_tokens=200, seed=0, window=8)
    batches = list(islice(loader, 10))
    assert all(len(batch.input_ids) <= 200 for batch in batches)
    assert not any("long" in question for batch in batches for question in questions(processor, batch))
    assert loader.dropped > 0
    resumed = Loader([(short, 1), (long, 1)], processor, max_tokens=200, seed=0, window=8)
    resumed.load_state_dict(loader.state_dict())
    assert resumed.dropped == loader.dropped


def test_nothing_fits(conversations, processor):
    loader = Loader([(read_messages(conversations("few", 2)), 1)], processor, max_tokens=3, seed=0)
    with pytest.raises(ValueError, match="max_tokens is 3; the last"):
        next(loader)


def test_errors_in_workers_name_the_sample(conversations, processor):
    path = conversations("bad", 4)
    (path.parent / "2.png").unlink()
    loader = Loader([(read_messages(path), 1)], processor, max_tokens=200, seed=0, workers=2)
    with pytest.raises(ValueError, match=r"train\.jsonl:3 \(bad-2\): message 0, part 0 \(image\): there is no file"):
        list(islice(loader, 4))


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"rank": 2, "world_size": 2}, "rank"), ({"window": 0}, "window"), ({"seed": -1}, "seed")],
)
def test_wrong_settings_are_named(make, settings, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)


def test_wrong_datasets_are_named(make, processor):
    with pytest.raises(ValueError, match="datasets"):
        Loader([], processor, max_tokens=10, seed=0)

"""Checkpoints survive a kill at any moment; the newest whole one is found."""

import os
import signal
import time

import pytest
import torch

from glm4v.model import Glm4v, small_config
from glm4v.train import checkpoint
from glm4v.train.distributed import Engine
from glm4v.train.recipe import OptimSection

from .conftest import SIZES


@pytest.fixture
def engine(processor) -> Engine:
    torch.manual_seed(0)
    return Engine.create(Glm4v(small_config(processor.tokenizer, **SIZES)), OptimSection(), device="cpu")


def test_what_is_saved_comes_back_and_old_ones_go(engine, processor, tmp_path):
    for step in (1, 2, 3, 10):
        checkpoint.save(tmp_path, step, engine, processor, {"loader": {"position": step}}, keep=2)
    expected = torch.rand(3)  # the random state that was saved last
    assert sorted(f.name for f in tmp_path.iterdir()) == ["step_000003", "step_000010"]
    newest = checkpoint.latest(tmp_path)
    assert newest is not None
    assert checkpoint.load(newest, engine) == (10, {"loader": {"position": 10}})
    assert torch.equal(torch.rand(3), expected)
    saved = Glm4v.from_pretrained(newest / "model").state_dict()
    assert all(torch.equal(saved[name], weight) for name, weight in engine.model.state_dict().items())


def test_without_a_checkpoint_there_is_none(tmp_path):
    (tmp_path / "unfinished_000004").mkdir()
    assert checkpoint.latest(tmp_path) is None
    assert checkpoint.latest(tmp_path / "missing") is None


def test_a_rank_that_did_not_save_cannot_load(engine, processor, tmp_path):
    saved = checkpoint.save(tmp_path, 1, engine, processor, {}, keep=1)
    engine.rank = 1
    with pytest.raises(FileNotFoundError, match=r"state_1\.pt is missing: resume with as many processes"):
        checkpoint.load(saved, engine)


def test_a_kill_while_saving_leaves_the_checkpoint_before(engine, processor, tmp_path):
    """Twenty processes save one checkpoint after another and are killed at twenty different moments."""
    checkpoint.save(tmp_path, 1, engine, processor, {}, keep=1)
    begin = time.perf_counter()
    checkpoint.save(tmp_path, 2, engine, processor, {}, keep=1)
    one_save = time.perf_counter() - begin
    unfinished = 0
    for kill in range(20):
        child = os.fork()
        if child == 0:
            step = 2
            while True:
                step += 1
                checkpoint.save(tmp_path, step, engine, processor, {"step": step}, keep=1)
        time.sleep(one_save * (0.1 + 0.15 * kill))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        unfinished += any(f.name.startswith(("unfinished", "removed")) for f in tmp_path.iterdir())
        newest = checkpoint.latest(tmp_path)
        assert newest is not None
        Glm4v.from_pretrained(newest / "model")  # which verifies the weights' checksum
        step, _ = checkpoint.load(newest, engine)
        assert newest.name == f"step_{step:06d}"
    assert unfinished  # some kills did hit a save
    checkpoint.save(tmp_path, 999, engine, processor, {}, keep=1)
    assert [f.name for f in tmp_path.iterdir()] == ["step_000999"]

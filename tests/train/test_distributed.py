"""The engine: any split of a global batch is the same step, in one process and in two under ZeRO 1, 2 and 3."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from glm4v.data import pack
from glm4v.data.files import read_messages
from glm4v.data.loader import Loader
from glm4v.model import Glm4v, small_config
from glm4v.train.distributed import Engine
from glm4v.train.optimisation import learning_rate
from glm4v.train.recipe import OptimSection, SftRecipe
from glm4v.train.start import load_model

from . import ranks
from .conftest import SIZES


def weights_agree(expected: Glm4v, got: Glm4v, tolerance: float) -> bool:
    pairs = zip(expected.parameters(), got.parameters(), strict=True)
    return all(torch.allclose(a, b, rtol=0, atol=tolerance) for a, b in pairs)


def engine_of(processor, seed: int = 0) -> Engine:
    torch.manual_seed(seed)
    return Engine.create(Glm4v(small_config(processor.tokenizer, **SIZES)), OptimSection(), device="cpu")


def test_any_split_into_micro_batches_is_the_same_step(processor, conversations):
    data = read_messages(conversations)
    samples = [processor(data[i].messages, train="assistant", root=data[i].root) for i in range(6)]
    targets = pack(samples).num_targets
    norms, engines = [], []
    for parts in ([samples], [samples[:1], samples[1:4], samples[4:]], [[sample] for sample in samples]):
        engine = engine_of(processor)
        for number, part in enumerate(parts, 1):
            engine.backward(engine(pack(part), num_targets=targets).loss, last=number == len(parts))
        norms.append(engine.step(1e-3))
        engines.append(engine)
    assert norms == pytest.approx([norms[0]] * 3, rel=1e-5)
    # Adam's first step is lr * sign(gradient) where gradients are tiny, so rounding may show in single weights
    for engine in engines[1:]:
        assert weights_agree(engines[0].model, engine.model, 1e-4)


def test_gradients_are_clipped_and_forgotten(processor, conversations):
    data = read_messages(conversations)
    batch = pack([processor(data[1].messages, train="assistant", root=data[1].root)])
    engine = engine_of(processor)
    engine.backward(engine(batch).loss, last=True)
    norm = engine.step(0.0)
    engine.backward(engine(batch).loss, last=True)
    assert engine.step(0.0) == pytest.approx(norm, rel=1e-6)
    assert engine.sum(3) == 3
    assert engine.sum(torch.tensor([1.5])).tolist() == [1.5]


@pytest.fixture(scope="module")
def two_processes(conversations, tmp_path_factory) -> Path:
    """The folder in which two gloo processes have trained with each ZeRO stage."""
    folder = tmp_path_factory.mktemp("two_processes")
    shutil.copytree(conversations.parent, folder, dirs_exist_ok=True)
    (folder / "recipe.json").write_text(json.dumps(settings_of(folder)))
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    command = [*launch, ranks.__file__, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return folder


def settings_of(folder: Path) -> dict[str, Any]:
    return {
        "steps": ranks.STEPS,
        "evaluate_every": 10,
        "evaluation_batches": 1,
        "answers": 1,
        "answer_tokens": 3,
        "sight_every": 10,
        "checkpoint_every": 0,
        "model": {"config": SIZES, "min_pixels": 28 * 28, "device": "cpu"},
        "optim": {"learning_rate": 1e-3, "warmup_steps": 2, "schedule": "constant"},
        "data": {
            "train": str(folder / "train.jsonl"),
            "evaluation": str(folder / "train.jsonl"),
            "max_tokens": 128,
        },
    }


@pytest.fixture(scope="module")
def one_process(two_processes, processor) -> tuple[list[float], list[float], Glm4v]:
    """Losses, gradient norms and model of the same 20 global batches, trained in this process with plain torch."""
    recipe = SftRecipe.model_validate(settings_of(two_processes))
    torch.manual_seed(recipe.seed)
    engine = Engine.create(load_model(recipe.model, processor), recipe.optim, "cpu")
    data = [(read_messages(recipe.data.train[0].path), 1.0)]
    loaders = [
        Loader(data, processor, max_tokens=128, seed=recipe.seed, train="assistant", rank=rank, world_size=2)
        for rank in range(2)
    ]
    losses, norms = [], []
    for step in range(recipe.steps):
        batches = [next(loader) for loader in loaders]
        targets = sum(batch.num_targets for batch in batches)
        shares = [engine(batch, num_targets=targets).loss for batch in batches]
        for number, share in enumerate(shares, 1):
            engine.backward(share, last=number == len(shares))
        norms.append(engine.step(learning_rate(recipe.optim, step, recipe.steps)))
        losses.append(sum(share.item() for share in shares))
    return losses, norms, engine.model


@pytest.mark.slow
@pytest.mark.parametrize("stage", ranks.STAGES)
def test_twenty_steps_on_two_processes_are_those_of_one(two_processes, one_process, stage):
    losses, norms, model = one_process
    run = two_processes / f"zero_{stage}"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, ranks.STEPS + 1))
    assert [line["loss"] for line in lines] == pytest.approx(losses, abs=1e-5)
    # Adam forgives a gradient that is too large by a factor, its norm does not
    assert [line["gradient_norm"] for line in lines] == pytest.approx(norms, rel=1e-4)
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert weights_agree(model, Glm4v.from_pretrained(run / "model"), 1e-3)
    assert (run / "checkpoints" / "step_000020" / "state_1.pt").exists()


@pytest.mark.slow
@pytest.mark.parametrize("stage", ranks.STAGES)
def test_a_rank_without_images_keeps_step_with_one_that_has_several(two_processes, processor, stage):
    engine = engine_of(processor)
    batches = [
        batch for rank in range(2) for batch in ranks.uneven_batches(processor, two_processes / "train.jsonl", rank)
    ]
    assert [len(batch.image_grids) > 0 for batch in batches] == [False, False, True, True]
    expected = ranks.train_uneven(engine, batches, sum(batch.num_targets for batch in batches))
    assert json.loads((two_processes / f"uneven_{stage}.json").read_text()) == pytest.approx(expected, abs=1e-5)
    assert weights_agree(engine.model, Glm4v.from_pretrained(two_processes / f"uneven_{stage}"), 1e-3)

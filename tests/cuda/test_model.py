"""The model on a GPU does what it does on the CPU: loss, gradients, training and its resumption, generation, RLCS."""

import json
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import torch

from glm4v import Glm4v, PackedBatch
from glm4v.generation import Completion
from glm4v.generation import decoder as decoding
from glm4v.generation import scheduler as scheduling
from glm4v.generation.prompts import split
from tests.model.conftest import difference, make_inputs, make_pair, tiny_config
from tests.ops.conftest import CUDA

ROWS = [[9, ("image", (1, 4, 6)), 14], [30], [5, ("video", (3, 4, 4)), 8, ("image", (1, 2, 2)), 3]]
WRITING: dict[str, Any] = {"max_new_tokens": 24, "min_new_tokens": 4, "samples_per_prompt": 40, "seed": 0}
STOP = range(8)  # so that lengths differ


@pytest.fixture(params=["cuda"] if CUDA["cuda"] else [])
def place(request: pytest.FixtureRequest) -> str:
    """float32 products keep all their bits."""
    torch.set_float32_matmul_precision("highest")
    return request.param


def pair() -> tuple[Glm4v, Glm4v, PackedBatch]:
    """The same model on the CPU and on the GPU, and a batch."""
    here, _ = make_pair(tiny_config())
    there = Glm4v(here.config)
    there.load_state_dict(here.state_dict())
    return here, there.cuda(), PackedBatch.from_transformers(make_inputs(ROWS), here.config)


def test_loss_and_gradients(place):
    here, there, batch = pair()
    losses = [here(batch).loss, there(batch.to("cuda")).loss]
    assert difference(losses[1].cpu(), losses[0]) < 1e-5
    for loss in losses:
        loss.backward()
    for (name, a), b in zip(there.named_parameters(), here.parameters(), strict=True):
        assert difference(a.grad.cpu(), b.grad) < 1e-4, name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_training_lowers_the_loss(place, dtype):
    """In bfloat16 on the kernels with tensor cores."""
    _, model, batch = pair()
    model, batch = model.to(dtype), batch.to("cuda", dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, fused=True)
    losses = []
    for _ in range(10):
        loss = model(batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_a_training_step_waits_for_nothing(place):
    """torch raises where the host would wait for the device."""
    _, model, batch = pair()
    model.vision_always = True
    [text] = [sequence.to("cuda") for sequence in split(batch) if not sequence.image_grids]
    for moved in (batch.to("cuda"), text):
        model(moved).loss.backward()  # libraries set themselves up
        torch.cuda.set_sync_debug_mode("error")
        try:
            model(moved).loss.backward()
        finally:
            torch.cuda.set_sync_debug_mode("default")


# generation -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def recorded(monkeypatch) -> list[int]:
    """A number for each CUDA graph that is recorded."""
    graphs: list[int] = []
    record = decoding.Recorder.__call__
    monkeypatch.setattr(
        decoding.Recorder, "__call__", lambda self, function: (graphs.append(1), record(self, function))[1]
    )
    return graphs


def common(a: Completion, b: Completion) -> int:
    """How many tokens they begin with alike."""
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(a.tokens, b.tokens, strict=False))))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_generation_gives_the_same_tokens(place, recorded, temperature):
    """Sampled ones may differ where a random number falls between two almost equal sums: in few sequences."""
    here, there, batch = pair()
    options = WRITING | {"temperature": temperature, "stop": STOP}
    want, got = (model.generate(b, **options) for model, b in ((here, batch), (there, batch.to("cuda"))))
    assert recorded
    alike = [common(a, b) for a, b in zip(got, want, strict=True)]
    whole = sum(count == len(c.tokens) == len(w.tokens) for count, c, w in zip(alike, got, want, strict=True))
    assert whole >= (len(want) if temperature == 0 else 0.9 * len(want))
    for count, a, b in zip(alike, got, want, strict=True):
        assert difference(torch.tensor(a.log_probs[:count]), torch.tensor(b.log_probs[:count])) < 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_replayed_steps_give_the_bits_of_others(place, recorded, monkeypatch, dtype):
    """While sequences end, wait for blocks and begin anew in others' slots."""
    _, model, batch = pair()
    model = model.to(dtype)
    monkeypatch.setitem(scheduling.SLOTS, "cuda", 70)
    options = WRITING | {"stop": STOP, "top_p": 0.9, "repetition_penalty": 1.2, "cache_tokens": 16 * 120}
    replayed = model.generate(batch, **options)
    assert len(recorded) > (dtype == torch.bfloat16)  # there all numbers of rows are used
    monkeypatch.setattr(scheduling, "Decoder", partial(decoding.Decoder, graphs=False))
    assert model.generate(batch, **options) == replayed
    assert len({len(completion.tokens) for completion in replayed}) > 5


def test_the_same_bits_in_any_company(place):
    _, model, batch = pair()
    options = WRITING | {"samples_per_prompt": 3}
    together = model.generate(batch, **options)
    alone = [completion for prompt in split(batch) for completion in model.generate(prompt, **options)]
    assert [(c.tokens, c.log_probs) for c in alone] == [(c.tokens, c.log_probs) for c in together]


def test_graphs_are_freed(place):
    _, model, batch = pair()
    model.generate(batch, **WRITING)
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
    model.generate(batch, **WRITING)
    torch.cuda.empty_cache()
    assert (torch.cuda.memory_allocated(), torch.cuda.memory_reserved()) == before


# the loops ------------------------------------------------------------------------------------------------------------


def metrics_of(folder: Path) -> list[dict[str, float]]:
    """Without times, and without the sight check, which a resumed run makes once more."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    apart = ("seconds/", "sight/", "time", "tokens_per", "patches_per")
    return [{k: v for k, v in line.items() if not k.startswith(apart)} for line in lines]


def check_resumed(run: Any, kind: Any, settings: dict[str, Any], half: int, out: Path) -> list[dict[str, float]]:
    """A run that is stopped half-way and resumed gives the figures and weights of one that is not, to the bit."""
    whole = run(kind.model_validate(settings))
    run(kind.model_validate(settings | {"out": str(out), "steps": half}))
    run(kind.model_validate(settings | {"out": str(out), "resume": True}))
    assert metrics_of(out) == metrics_of(whole)
    want, got = (Glm4v.from_pretrained(folder / "model").state_dict() for folder in (whole, out))
    assert all(torch.equal(want[name], got[name]) for name in want)
    return metrics_of(whole)


def test_sft_in_bfloat16_resumes_to_the_bit(place, tmp_path):
    """Pictures, gradient accumulation, float32 masters, evaluation with answers."""
    for package in ("pydantic", "yaml", "rich", "PIL"):
        pytest.importorskip(package)
    from glm4v.train import sft
    from glm4v.train.recipe import SftRecipe
    from tests.train.conftest import quick_settings, write_conversations

    (tmp_path / "data").mkdir()
    settings = quick_settings(write_conversations(tmp_path / "data"), tmp_path / "whole")
    settings |= {"steps": 6, "evaluate_every": 3, "checkpoint_every": 3}
    settings["model"] |= {"device": "cuda", "dtype": "bfloat16", "gradient_checkpointing": True}
    settings["optim"] |= {"learning_rate": 1e-2, "schedule": "constant"}
    lines = check_resumed(sft.run, SftRecipe, settings, 3, tmp_path / "resumed")
    assert lines[-1]["evaluation_loss"] < lines[0]["loss"]


def test_rlcs_resumes_to_the_bit(place, tmp_path):
    """Rollouts and trainer agree on log-probabilities; responses share their prompts' keys."""
    for package in ("pydantic", "yaml", "rich", "PIL", "rapidfuzz"):
        pytest.importorskip(package)
    from glm4v import Processor
    from glm4v.gym import TOKENIZER
    from glm4v.rl import rlcs
    from glm4v.rl.recipe import RlcsRecipe
    from tests.rl.conftest import make_bandit, quick_settings

    (tmp_path / "data").mkdir()
    bandit = make_bandit(tmp_path / "data", Processor.from_pretrained(TOKENIZER))
    settings = quick_settings(bandit, tmp_path / "whole") | {"steps": 4, "checkpoint_every": 2}
    settings["model"]["device"] = "cuda"
    lines = check_resumed(rlcs.run, RlcsRecipe, settings, 2, tmp_path / "resumed")
    assert any(line["updates"] for line in lines)
    assert all(line["log_prob_gap"] < 1e-5 for line in lines if line["updates"])

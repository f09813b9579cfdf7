"""The benchmark of the demo: its control trains for RLCS's time, its figures are those of the problems."""

import json
from pathlib import Path

import pytest
import torch

from glm4v import Glm4v, Processor, gym
from glm4v.benchmarks import bench_demo
from glm4v.model.config import small_config

SIZES = {
    "hidden": 32, "layers": 1, "heads": 2, "kv_heads": 1, "intermediate": 32, "vision_hidden": 16, "vision_layers": 1,
    "vision_heads": 2, "merger_intermediate": 32, "image_size": 56,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo after its stages, as far as the control needs it: data, an SFT run of 100 steps, seconds."""
    folder = tmp_path_factory.mktemp("bench_demo") / "seed_0"
    gym.write(folder / "data", pretrain=0, sft=4, rl=0, validation=0, heldout=2, domains=["digits"], workers=1)
    processor = Processor.from_pretrained(gym.TOKENIZER)
    torch.manual_seed(0)
    Glm4v(small_config(processor.tokenizer, **SIZES)).save_pretrained(folder / "sft" / "model")
    processor.save_pretrained(folder / "sft" / "model")
    (folder / "sft" / "metrics.jsonl").write_text('{"step": 1}\n' * 100)
    (folder / "seconds.json").write_text(json.dumps({"sft": 50.0, "rlcs": 1.0}))
    return folder


def test_the_control_trains_as_long_as_rlcs(folder):
    assert bench_demo.train_control(folder, seed=0) == 2
    assert [json.loads(line)["step"] for line in (folder / "control/metrics.jsonl").open()] == [1, 2]
    assert len(bench_demo.read_records(folder, "control")) == 2
    written = (folder / "control" / "metrics.jsonl").stat().st_mtime_ns
    assert bench_demo.train_control(folder, seed=0) == 2  # finished: left alone
    assert (folder / "control" / "metrics.jsonl").stat().st_mtime_ns == written


def records(*rewards: float) -> bench_demo.Records:
    places = [("a", "1"), ("a", "2"), ("b", "1"), ("b", "1")]
    return [
        {"id": str(number), "domain": places[number][0], "tier": places[number][1], "reward": reward}
        for number, reward in enumerate(rewards)
    ]


def test_figures_are_those_of_the_problems():
    low, high = records(0, 0, 1, 0), records(1, 0, 1, 1)
    compared = bench_demo.compare({stage: high if stage == "rlcs" else low for stage in bench_demo.STAGES})
    assert compared["stages"]["rlcs"]["mean"] == 0.75
    delta = compared["deltas"]["sft -> rlcs"]
    assert delta["mean"] == 0.5
    assert delta["domains"]["a"]["mean"] == delta["domains"]["b"]["mean"] == 0.5
    half = 1.96 * (1 / 3) ** 0.5 / 2  # of four differences 1, 0, 0, 1
    assert delta["ci95"] == pytest.approx([0.5 - half, 0.5 + half], abs=1e-4)
    result = {"seeds": {"0": compared}, "all": compared}
    assert [column.header for column in bench_demo.table(result).columns][1:6] == list(bench_demo.STAGES)


def test_different_problems_are_not_compared():
    with pytest.raises(ValueError, match="problem 0 is compared with 9"):
        bench_demo.paired(records(1), [{**records(1)[0], "id": "9"}])

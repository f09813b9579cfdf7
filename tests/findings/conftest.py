"""A demo's folder in small: text problems, and a model of a few thousand parameters that SFT taught the format.

It answers with one digit, any of six alike, and one time in seven with all of them: what a careless verifier accepts.
"""

import json
from pathlib import Path

import pytest
import torch

from glm4v.data import Processor, pack
from glm4v.findings.plan import Scale
from glm4v.gym import TOKENIZER
from glm4v.model import Glm4v, small_config

DIGITS = "123456"
TINY = Scale(
    domains=("counting", "digits"),
    seeds=(0,),
    steps=8,
    prompts=4,
    responses=4,
    evaluate_every=4,
    warmup_steps=0,
    heldout=5,
    rates=(1.5e-3,),
    parts=("start", "main comparison", "finding 3"),
    evidence=False,
)


def response(answer: str) -> str:
    return f"<think></think><answer><|begin_of_box|>{answer}<|end_of_box|></answer>"


def problem(split: str, domain: str, number: int) -> dict:
    return {
        "id": f"{split}-{domain}-{number}",
        "messages": [{"role": "user", "content": domain}],
        "truth": DIGITS[number % 6],
        "domain": domain,
        "verifier": "counting",
        "tier": str(number % 5 + 1),
    }


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    (folder / "data").mkdir()
    for split in ("rl", "validation", "heldout"):
        lines = [problem(split, domain, number) for number in range(30) for domain in TINY.domains]
        (folder / "data" / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    torch.manual_seed(0)
    processor = Processor.from_pretrained(TOKENIZER)
    sizes = {"hidden": 64, "layers": 1, "heads": 2, "kv_heads": 1, "intermediate": 64, "image_size": 56}
    vision = {"vision_hidden": 32, "vision_layers": 1, "vision_heads": 1, "merger_intermediate": 32}
    model = Glm4v(small_config(processor.tokenizer, **sizes, **vision))
    samples = [
        processor(
            [{"role": "user", "content": domain}, {"role": "assistant", "content": response(answer)}], train="assistant"
        )
        for domain in TINY.domains
        for answer in (*DIGITS, DIGITS)
    ]
    batch = pack(samples)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(100):
        model(batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder / "sft" / "model")
    processor.save_pretrained(folder / "sft" / "model")
    return folder

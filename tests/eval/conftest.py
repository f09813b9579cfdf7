"""Problems that the gym wrote, and a model small enough to learn two of them by heart."""

import pytest
import torch

from glm4v import gym
from glm4v.data import Processor, pack
from glm4v.data.files import Problems, read_problems
from glm4v.model import Glm4v
from glm4v.model.config import small_config

ANSWERS = {
    "digits": "<think>a strip</think><answer><|begin_of_box|>{truth}<|end_of_box|></answer>",
    "sums": "<think>so",
}


@pytest.fixture(scope="session")
def processor() -> Processor:
    return Processor.from_pretrained(gym.TOKENIZER)


@pytest.fixture(scope="session")
def problems(tmp_path_factory: pytest.TempPathFactory) -> Problems:
    folder = tmp_path_factory.mktemp("gym")
    counts = {"pretrain": 0, "sft": 0, "rl": 0, "validation": 0, "heldout": 2}
    gym.write(folder, domains=["digits", "sums", "video_time"], workers=1, **counts)
    return read_problems(folder / "heldout.jsonl")


@pytest.fixture(scope="session")
def model(processor: Processor, problems: Problems) -> Glm4v:
    """Answers digits rightly and sums without an answer, by heart."""
    torch.manual_seed(0)
    sizes = {"hidden": 64, "layers": 2, "heads": 2, "kv_heads": 1, "intermediate": 64, "merger_intermediate": 64}
    vision = {"vision_hidden": 32, "vision_layers": 1, "vision_heads": 1, "image_size": 56}
    model = Glm4v(small_config(processor.tokenizer, **sizes, **vision))
    samples = []
    for problem in problems:
        if problem.domain in ANSWERS:
            reply = {"role": "assistant", "content": ANSWERS[problem.domain].format(truth=problem.truth)}
            samples.append(processor([*problem.messages, reply], train="assistant", root=problem.root))
    batch = pack(samples)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(300):
        loss = model(batch).loss
        if loss.item() < 0.05:
            return model
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    raise AssertionError(f"the model did not learn four answers by heart: loss {loss.item():.3f}")

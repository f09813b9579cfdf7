"""The model on a GPU does what it does on the CPU: loss, gradients, a training step, generation."""

import pytest
import torch

from glm4v import Glm4v, PackedBatch
from tests.model.conftest import difference, make_inputs, make_pair, tiny_config
from tests.ops.conftest import CUDA

ROWS = [[9, ("image", (1, 4, 6)), 14], [30], [5, ("video", (3, 4, 4)), 8, ("image", (1, 2, 2)), 3]]


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


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_generation_gives_the_same_tokens(place, temperature):
    here, there, batch = pair()
    options = {"max_new_tokens": 16, "min_new_tokens": 16, "temperature": temperature, "samples_per_prompt": 3}
    want, got = (model.eval().generate(b, **options) for model, b in ((here, batch), (there, batch.to("cuda"))))
    assert [c.tokens for c in got] == [c.tokens for c in want]
    for a, b in zip(got, want, strict=True):
        assert difference(torch.tensor(a.log_probs), torch.tensor(b.log_probs)) < 1e-4

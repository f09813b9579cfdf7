"""The clipped loss: values, where the gradient stops, and independence of micro-batches."""

import pytest
import torch

from glm4v.rl.loss import policy_loss, token_weights


def ratio_gradient(ratio: float, advantage: float) -> tuple[float, float, int, int]:
    """Loss, its gradient by the log-prob, and clip counts of one token of weight 1."""
    log_prob = torch.tensor([ratio], dtype=torch.float64).log().requires_grad_()
    result = policy_loss(log_prob, torch.zeros(1), torch.tensor([advantage]), torch.ones(1))
    result.loss.backward()
    return result.loss.item(), log_prob.grad.item(), int(result.clipped_up), int(result.clipped_down)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient", "up", "down"),
    [
        (1.0, 2.0, -2.0, -2.0, 0, 0),
        (1.2, 1.0, -1.2, -1.2, 0, 0),  # below 1 + clip_high
        (1.3, 1.0, -1.28, 0.0, 1, 0),  # clipped up: no further push
        (0.7, 1.0, -0.7, -0.7, 0, 0),  # a good token that became rarer is pushed back
        (0.7, -1.0, 0.8, 0.0, 0, 1),  # clipped down
        (1.3, -1.0, 1.3, 1.3, 0, 0),  # a bad token that became likelier is pushed back
    ],
)
def test_clip_higher(ratio, advantage, loss, gradient, up, down):
    assert ratio_gradient(ratio, advantage) == pytest.approx((loss, gradient, up, down))


@pytest.mark.parametrize("averaging", ["sample", "token", "constant"])
def test_any_split_into_micro_batches_gives_the_same_gradient(averaging):
    generator = torch.Generator().manual_seed(0)
    lengths = [5, 1, 0, 9, 3]  # of sampled tokens; every response has one forced token besides
    weights = token_weights(lengths, averaging, max_length=10)
    responses = []
    for length, weight in zip(lengths, weights, strict=True):
        count = length + 1
        responses.append(
            (
                torch.randn(count, generator=generator, dtype=torch.float64),
                torch.randn(count, generator=generator, dtype=torch.float64),
                torch.randn((), generator=generator, dtype=torch.float64).expand(count),
                torch.tensor([weight] * length + [0.0], dtype=torch.float64),
            )
        )

    def gradients(split):
        leaves = [response[0].clone().requires_grad_() for response in responses]
        for part in split:
            log_probs = torch.cat([leaves[index] for index in part])
            rest = [torch.cat([responses[index][field] for index in part]) for field in (1, 2, 3)]
            policy_loss(log_probs, *rest).loss.backward()
        return torch.cat([leaf.grad for leaf in leaves])

    whole = gradients([range(5)])
    assert whole.abs().max() > 0
    assert torch.allclose(whole, gradients([[3], [0, 2], [4, 1]]), rtol=1e-12, atol=1e-15)
    assert torch.equal(whole[[5, 7, 8, 18]], torch.zeros(4, dtype=torch.float64))  # forced tokens carry none


def test_averaging():
    lengths = [2, 6]
    assert token_weights(lengths, "sample", 10) == [1 / 4, 1 / 12]
    assert token_weights(lengths, "token", 10) == [1 / 8, 1 / 8]
    assert token_weights(lengths, "constant", 10) == [1 / 20, 1 / 20]
    assert token_weights([0, 4], "sample", 10) == [0.0, 1 / 8]

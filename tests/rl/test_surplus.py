"""Surplus groups: oldest first, let go by age, restored to the bit."""

import torch

from glm4v.rl.rollout import Group, Response
from glm4v.rl.surplus import Surplus


def group(problem: int) -> Group:
    response = Response((5, 6), (-0.1, -1 / 3), (False, True), "text", False, 0.5, None, "because")
    return Group(problem, 7, (response, response))


def problems(surplus: Surplus, most: int = 9) -> list[tuple[int, int]]:
    return [(group.problem, group.age) for group in surplus.take(most)]


def test_oldest_first_and_no_older_than_the_limit():
    surplus = Surplus(age_limit=2)
    surplus.add([group(1), group(2)])
    surplus.add([group(3)])
    assert len(surplus) == 3
    assert problems(surplus, 1) == [(1, 2)]
    surplus.add([])
    assert problems(surplus) == [(3, 2)]  # 2 was too old
    assert problems(surplus) == []


def test_a_limit_of_zero_keeps_none():
    surplus = Surplus(age_limit=0)
    surplus.add([group(1)])
    assert len(surplus) == 0


def test_state(tmp_path):
    first, second = Surplus(2), Surplus(2)
    first.add([group(1), group(2)])
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert second.take(9) == first.take(9)

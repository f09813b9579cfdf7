"""Informative groups that a step had no room for: the next steps train on them instead of throwing them away.

They were sampled by an earlier policy; the loss takes their importance ratios from their own rollout log-probs.
"""

from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

import torch

from glm4v.rl.rollout import Group, Response


class Surplus:
    """Groups in waiting, oldest first. A group is used at most `age_limit` steps after its rollout; 0 keeps none."""

    def __init__(self, age_limit: int):
        self._age_limit = age_limit
        self._groups: list[Group] = []

    def __len__(self) -> int:
        return len(self._groups)

    def take(self, most: int) -> list[Group]:
        """Removes and returns the oldest groups, `most` of them at most."""
        taken, self._groups = self._groups[:most], self._groups[most:]
        return taken

    def add(self, groups: Iterable[Group]) -> None:
        """Ends a step: takes in what it left over, and lets go what is too old for the next one."""
        aged = [replace(group, age=group.age + 1) for group in (*self._groups, *groups)]
        self._groups = [group for group in aged if group.age <= self._age_limit]

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed run needs; tokens as tensors."""
        return {"groups": [_packed(group) for group in self._groups]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._groups = [_unpacked(group) for group in state["groups"]]


def _packed(group: Group) -> dict[str, Any]:
    responses = [
        asdict(response)
        | {
            "tokens": torch.tensor(response.tokens),
            "log_probs": torch.tensor(response.log_probs, dtype=torch.float64),
            "forced": torch.tensor(response.forced),
        }
        for response in group.responses
    ]
    return {"problem": group.problem, "prompt_length": group.prompt_length, "age": group.age, "responses": responses}


def _unpacked(saved: dict[str, Any]) -> Group:
    lists = ("tokens", "log_probs", "forced")
    responses = [
        Response(**response | {name: tuple(response[name].tolist()) for name in lists})
        for response in saved["responses"]
    ]
    return Group(saved["problem"], saved["prompt_length"], tuple(responses), saved["age"])

"""Rollouts: groups of scored responses, from our own engine or a server. Token ids and log-probs travel, never text."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from glm4v.data import Processor, Sample
from glm4v.data.files import Problem
from glm4v.eval import opens_thinking, score
from glm4v.generation import Completion, generate
from glm4v.model import Glm4v
from glm4v.rewards.extract import THINK
from glm4v.rl.recipe import RolloutSection


@dataclass(frozen=True)
class Response:
    """One response and its score.

    log_probs: the sampler's, of every token; forced: which tokens were written and not sampled; text: from <think> on;
    answer: None where the format is wrong.
    """

    tokens: tuple[int, ...]
    log_probs: tuple[float, ...]
    forced: tuple[bool, ...]
    text: str
    truncated: bool
    reward: float
    answer: str | None
    reason: str

    @property
    def sampled(self) -> int:
        """Tokens that were sampled and so carry loss."""
        return len(self.tokens) - sum(self.forced)


@dataclass(frozen=True)
class Group:
    """All responses to one drawn problem, by its number in the pool."""

    problem: int
    prompt_length: int  # tokens
    responses: tuple[Response, ...]
    age: int = 0  # steps since it was rolled out

    @property
    def response_lengths(self) -> list[int]:
        """Tokens, one a response."""
        return [len(response.tokens) for response in self.responses]

    @property
    def rewards(self) -> list[float]:
        """One a response."""
        return [response.reward for response in self.responses]


@dataclass(frozen=True)
class Rollouts:
    """A round of rollouts, and the seconds it took to sample and to score it."""

    groups: list[Group]
    sampling_seconds: float
    reward_seconds: float

    def __add__(self, other: "Rollouts") -> "Rollouts":
        seconds = self.sampling_seconds + other.sampling_seconds, self.reward_seconds + other.reward_seconds
        return Rollouts([*self.groups, *other.groups], *seconds)


class Backend(Protocol):
    """Who samples. Every rank has one and calls it alike."""

    def complete(
        self, problems: Sequence[Problem], prompts: Sequence[Sample], settings: RolloutSection, seed: int
    ) -> list[Completion]:
        """`settings.responses` completions of each prompt, prompt by prompt, with text; the same seed and prompts give
        the same ones. problems and prompts run in parallel."""
        ...

    def policy_changed(self) -> None:
        """The policy was trained: what is sampled next must be of its new weights."""
        ...

    def metrics(self) -> dict[str, float]:
        """Figures of what happened since the last call."""
        ...


class OwnEngine:
    """Backend in this process, with the very weights that train; whole_model gives them, as `Engine.whole_model`."""

    def __init__(self, processor: Processor, whole_model: Callable[[], AbstractContextManager[Glm4v]]) -> None:
        self.processor, self.whole_model = processor, whole_model

    @classmethod
    def of(cls, model: Glm4v, processor: Processor) -> "OwnEngine":
        """Of a model that is whole."""
        return cls(processor, lambda: nullcontext(model))

    def complete(
        self, problems: Sequence[Problem], prompts: Sequence[Sample], settings: RolloutSection, seed: int
    ) -> list[Completion]:
        with self.whole_model() as model:
            return generate(
                model,
                prompts,
                max_new_tokens=settings.max_new_tokens,
                temperature=settings.temperature,
                top_p=settings.top_p,
                samples_per_prompt=settings.responses,
                thinking_budget=settings.thinking_budget,
                cache_tokens=settings.cache_tokens,
                processor=self.processor,
                seed=seed,
            )

    def policy_changed(self) -> None:
        pass

    def metrics(self) -> dict[str, float]:
        return {}


def roll_out(
    backend: Backend,
    processor: Processor,
    problems: Sequence[Problem],
    prompts: Sequence[Sample],
    numbers: Sequence[int],
    settings: RolloutSection,
    verifier: str | None,
    seed: int,
) -> Rollouts:
    """Samples `settings.responses` responses to each prompt and scores them.

    problems, prompts and numbers (of the problems in the pool) run in parallel; verifier replaces the problems' own.
    A response that reaches the thinking budget is closed by force and asked for its answer. The same seed and prompts
    give the same responses.
    """
    start = time.perf_counter()
    completions = backend.complete(problems, prompts, settings, seed)
    sampled = time.perf_counter()
    responses: list[list[Response]] = [[] for _ in prompts]
    opened = [opens_thinking(processor, prompt) for prompt in prompts]
    for completion in completions:
        text = THINK * opened[completion.prompt] + (completion.text or "")
        scored = score(problems[completion.prompt], text, verifier)
        truncated = completion.finish_reason == "length"
        if truncated and settings.over_long == "zero":
            scored = scored._replace(reward=0.0, reason=f"over-long; {scored.reason}")
        response = Response(
            tokens=completion.tokens,
            log_probs=completion.log_probs,
            forced=completion.forced,
            text=text,
            truncated=truncated,
            **scored._asdict(),
        )
        responses[completion.prompt].append(response)
    groups = [
        Group(number, len(prompt), tuple(group))
        for number, prompt, group in zip(numbers, prompts, responses, strict=True)
    ]
    return Rollouts(groups, sampled - start, time.perf_counter() - sampled)

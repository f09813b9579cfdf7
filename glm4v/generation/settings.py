"""What is asked for a prompt, and what each of its samples comes to."""

from dataclasses import dataclass, fields
from typing import Literal


@dataclass(frozen=True)
class Thinking:
    """Force answering (GLM-4.1V-Thinking): an answer is asked for when thinking has used up its budget."""

    budget: int  # sampled tokens
    opens: int  # id of <think>
    closes: int  # id of </think>
    forced: tuple[int, ...]  # ids of </think><answer>


@dataclass(frozen=True)
class Sampling:
    """How a token is chosen: sequences of which this is equal are sampled in one call."""

    min_new_tokens: int
    temperature: float
    top_p: float
    repetition_penalty: float
    stop: tuple[int, ...]  # ids that end a sequence
    invalid: tuple[int, ...]  # ids that are never sampled
    thinking: Thinking | None


@dataclass(frozen=True)
class Settings(Sampling):
    """The options of `generate`, checked. Raises ValueError that names the option."""

    max_new_tokens: int
    samples_per_prompt: int
    seed: int
    cache_tokens: int | None = None  # of keys and values at once; None: what half of the free memory holds

    @property
    def sampling(self) -> Sampling:
        """The part that decides what is sampled together."""
        return Sampling(**{field.name: getattr(self, field.name) for field in fields(Sampling)})

    def __post_init__(self) -> None:
        def require(holds: bool, name: str, expected: str) -> None:
            if not holds:
                raise ValueError(f"{name} is {getattr(self, name)}; expected {expected}")

        require(self.max_new_tokens >= 1, "max_new_tokens", "at least 1")
        most = self.max_new_tokens
        require(0 <= self.min_new_tokens <= most, "min_new_tokens", f"0 to max_new_tokens ({most})")
        require(self.temperature >= 0, "temperature", "0 (greedy) or more")
        require(0 < self.top_p <= 1, "top_p", "more than 0 and at most 1")
        require(self.repetition_penalty > 0, "repetition_penalty", "more than 0 (1 for none)")
        require(self.samples_per_prompt >= 1, "samples_per_prompt", "at least 1")
        require(self.cache_tokens is None or self.cache_tokens >= 1, "cache_tokens", "at least 1")


@dataclass(frozen=True)
class Completion:
    """One response.

    prompt: which prompt it answers.
    tokens: its ids; a stop token is the last.
    text: decoded, special tokens kept; None without a processor.
    log_probs: of each token by the model at the sampling temperature (1 if that is 0), over the whole vocabulary,
        before the repetition penalty, masks and top-p: comparable with `linear_cross_entropy` at that temperature.
    forced: which tokens were written, not sampled.
    finish_reason: "stop" after a stop token, "length" at `max_new_tokens`.
    """

    prompt: int
    tokens: tuple[int, ...]
    text: str | None
    log_probs: tuple[float, ...]
    forced: tuple[bool, ...]
    finish_reason: Literal["stop", "length"]

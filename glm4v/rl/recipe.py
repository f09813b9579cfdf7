"""The recipe of an RLCS run: train.recipe's base and the fields that only reinforcement learning has."""

from typing import Annotated, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from glm4v.rl.loss import Averaging
from glm4v.train.recipe import Every, OptimSection, Recipe, Section, Share

Positive = Annotated[float, Field(gt=0, le=1)]
Paths = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]


class ProblemSection(Section):
    """JSONL files of problems with answers that a verifier can check."""

    train: Paths = ()
    evaluation: Paths = ()
    evaluation_problems: NonNegativeInt = 0  # evaluate on the first so many; 0 means all
    evaluation_temperature: NonNegativeFloat = 0.0  # 0 takes the likeliest tokens
    max_tokens: PositiveInt = 8192  # of one packed micro-batch


class ServerSection(Section):
    """A server that writes the responses, in place of this process: `glm4v serve MODEL --reload-from OUT`, or another
    that speaks OpenAI's chat completions, returns token ids, and loads weights from a folder."""

    url: str | None = None  # such as http://127.0.0.1:8000; default: our own engine, in this process
    timeout: PositiveFloat = 600.0  # seconds for one request, all responses to a prompt
    patience: PositiveFloat = 300.0  # seconds without an answer, tries included, after which the run ends

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError("expected http://HOST:PORT or https://HOST:PORT")
        return url


class RolloutSection(Section):
    """How responses are sampled."""

    groups: PositiveInt = 32  # informative groups a step trains on
    # Prompts that every step draws instead, in one round, whatever is kept of them: methods are compared at equal cost.
    # rlcs then trains on about prompts / expansion groups, dapo on all informative ones.
    prompts: PositiveInt | None = None
    responses: Annotated[int, Field(ge=2)] = 8  # of one prompt: a group
    max_new_tokens: PositiveInt = 2048
    thinking_budget: PositiveInt | None = None  # sampled tokens after which the answer is forced; default: never
    temperature: PositiveFloat = 1.0
    top_p: Positive = 1.0  # below 1 starves part of the vocabulary and ends in garbled text
    # What a response that runs into max_new_tokens earns: what its verifier says; nothing; or the former, but without
    # loss, so that its length is not punished (DAPO's overlong filtering): in its group's mean it counts all the same.
    over_long: Literal["scored", "zero", "masked"] = "scored"
    cache_tokens: PositiveInt | None = None  # keys and values kept at once; default: half of the free memory
    server: ServerSection = ServerSection()


class CurriculumSection(Section):
    """Which problems are drawn.

    "uniform" draws every problem alike and trains on all groups; "weights" draws by pass rate; "rlcs" does so and
    draws more by the ratio EMA, then trains on informative groups only; "thompson" draws those whose pass rates,
    sampled from Beta posteriors, are nearest to 0.5 (MoPPS), and trains on all groups; "dapo" draws every problem
    alike, keeps the informative groups, and draws again until the batch is full or `cap` times its groups were drawn.
    """

    sampling: Literal["rlcs", "weights", "uniform", "thompson", "dapo"] = "rlcs"
    # What a cell is drawn by: "variance", p (1 - p); or "progress", how far its pass rate has moved of late.
    weighting: Literal["variance", "progress"] = "variance"
    floor: Positive = 0.1  # least weight of a problem, relative to one at a pass rate of 0.5
    ageing: Positive = 0.95  # factor on what is known of a pass rate, each step (thompson: each time it is seen)
    prior: PositiveFloat = 8.0  # trials that the cell's pass rate counts for in a problem's
    # of the draws; domains without one divide the rest by their weights
    domain_shares: dict[str, Positive] = Field(default_factory=dict)
    candidates: PositiveInt = 8  # thompson: problems that are compared for each one that is drawn
    cap: Annotated[float, Field(ge=1)] = 4.0  # largest dynamic sampling expansion (dapo: by drawing again)
    ratio_decay: Annotated[float, Field(ge=0, lt=1)] = 0.9  # of the moving average of the share of uninformative groups
    balanced: bool = True  # rlcs: the groups that are kept are spread over tiers and domains; else the first drawn
    carry_steps: NonNegativeInt = 1  # rlcs: steps that a surplus informative group is kept for; 0 throws it away
    replay: bool = False  # rlcs: groups that were trained on wait with the surplus, to be trained on once more

    @model_validator(mode="after")
    def _shares_are_kept(self) -> "CurriculumSection":
        if self.domain_shares and self.sampling == "thompson":
            raise ValueError("domain_shares need a sampling other than thompson, which knows no domains")
        return self


class DifficultySection(Section):
    """Offline tiers, from files that `glm4v grade` wrote, or from the pass rates of the model the run starts from."""

    graded: Paths = ()  # graded files, one for each of data.train and in their order
    problems_per_cell: NonNegativeInt = 0  # problems graded of each (domain, label); 0 keeps the labels as tiers
    responses: PositiveInt = 8  # to each

    @model_validator(mode="after")
    def _one_source(self) -> "DifficultySection":
        if self.graded and self.problems_per_cell:
            raise ValueError("either graded files or problems_per_cell above 0, not both")
        return self


class PolicySection(Section):
    """The clipped loss, without a KL term."""

    averaging: Averaging = "sample"
    clip_low: Share = 0.2
    clip_high: PositiveFloat = 0.28
    entropy: NonNegativeFloat = 0.0  # coefficient of an entropy bonus, in nats a token; RLCS has none
    updates_per_rollout: PositiveInt = 1  # mini-batches that a step's groups are dealt into, an optimizer step each


class RlcsRecipe(Recipe):
    """Reinforcement learning with curriculum sampling."""

    command: ClassVar[str] = "rlcs"

    out: str = "runs/rlcs"
    reward: str | None = None  # verifier of all problems: a name, or "package.module:function"; default: each its own
    samples_every: Every = 10  # steps between two panels of responses in samples/
    optim: OptimSection = OptimSection(learning_rate=1e-6, schedule="constant", warmup_steps=10, weight_decay=0.0)
    data: ProblemSection = ProblemSection()
    rollout: RolloutSection = RolloutSection()
    curriculum: CurriculumSection = CurriculumSection()
    difficulty: DifficultySection = DifficultySection()
    policy: PolicySection = PolicySection()

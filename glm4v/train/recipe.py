"""Typed recipes: one YAML file describes one run, every field has a default, a wrong key names the right one.

Order of authority: `key=value` overrides, then the YAML file, then the defaults here.
"""

from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)
from rapidfuzz import fuzz, process

Every = NonNegativeInt  # a period in steps; 0 means never
Share = Annotated[float, Field(ge=0, le=1)]


def due(step: int, every: int, last: int | None = None) -> bool:
    """Whether something that happens every so many steps (0: never), and after the `last`, happens after this one."""
    return every > 0 and (step % every == 0 or step == last)


class RecipeError(ValueError):
    """A recipe that cannot be read; the message names each wrong key, what it was and what was expected."""


class Section(BaseModel):
    """A group of recipe fields; unknown keys are refused and a loaded recipe does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SizeSection(Section):
    """Sizes of a model with random weights: `glm4v.model.small_config` makes its configuration."""

    hidden: PositiveInt = 192
    layers: PositiveInt = 6
    heads: PositiveInt = 6
    kv_heads: PositiveInt = 2
    intermediate: PositiveInt = 512
    vision_hidden: PositiveInt = 128
    vision_layers: PositiveInt = 4
    vision_heads: PositiveInt = 4
    merger_intermediate: PositiveInt = 384
    image_size: PositiveInt = 336  # pixels a side of the position table
    tie_word_embeddings: bool = True
    initializer_range: PositiveFloat = 0.02


class ModelSection(Section):
    """Which model to train: a folder in transformers' format, or sizes for one with random weights."""

    path: str | None = None  # folder with config.json and safetensors
    config: SizeSection = SizeSection()  # of a model with random weights, made when `path` is not given
    processor: str | None = None  # folder with tokenizer files; default: `path`, else the gym's tokenizer
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: str = "auto"  # "cuda" where there is one, else "cpu"
    gradient_checkpointing: bool = False  # recompute each block in the backward pass: less memory, a third more time
    frozen: list[str] = []  # patterns of parameter names that do not train, such as "model.visual.*"
    min_pixels: PositiveInt | None = None  # budget of one image; default: what the processor's folder says
    max_pixels: PositiveInt | None = None


class OptimSection(Section):
    """AdamW and its learning rate; weight decay acts on matrices only."""

    learning_rate: NonNegativeFloat = 1e-4
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_steps: NonNegativeInt = 0
    final_share: Share = 0.1  # of the learning rate, reached at the last step of a cosine
    betas: tuple[float, float] = (0.9, 0.95)
    epsilon: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.1
    clip: PositiveFloat = 1.0  # largest norm of the whole gradient
    zero_stage: Literal[1, 2, 3] = 2  # what DeepSpeed partitions; of no effect in a single plain process


class Source(Section):
    """A JSONL file of messages and how often it is drawn from, relative to the others.

    By `after` what is basic can come first; at least one source is there from the start.
    """

    path: str
    weight: PositiveFloat = 1.0
    after: NonNegativeInt = 0  # samples that the run draws before this source joins
    examples: PositiveInt | None = None  # only the first so many lines


def _as_sources(value: Any) -> Any:
    """One path, a list of paths or of {path, weight} -> a list of {path, weight}."""
    values = [value] if isinstance(value, str | dict) else value
    return [{"path": v} if isinstance(v, str) else v for v in values] if isinstance(values, list) else value


Sources = Annotated[list[Source], BeforeValidator(_as_sources)]


class DataSection(Section):
    """Files to train and to evaluate on, and the size of a batch; a step sees accumulation x processes of them."""

    train: Sources = []
    evaluation: Sources = []
    max_tokens: PositiveInt = 2048  # of one packed micro-batch
    accumulation: PositiveInt = 1  # micro-batches of one process in a step
    workers: NonNegativeInt = 2  # threads of one process that read and decode ahead; batches do not depend on it


class Recipe(Section):
    """What every run has; the recipes of the stages derive from it."""

    command: ClassVar[str] = ""  # the sub-command of `glm4v` that runs it

    out: str = "runs/run"
    resume: bool = False  # go on from the newest checkpoint in `out`, or start when there is none
    seed: int = 0
    steps: PositiveInt = 1000
    evaluate_every: Every = 0
    sight_every: Every = 500  # steps between two sight checks; there is always one at the start
    checkpoint_every: Every = 500
    keep_checkpoints: PositiveInt = 2
    model: ModelSection = ModelSection()
    optim: OptimSection = OptimSection()

    def to_yaml(self) -> str:
        """The recipe as resolved, defaults included, in the form `load_recipe` reads."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


class StageRecipe(Recipe):
    """Pretraining and SFT: next-token prediction on files of messages."""

    evaluate_every: Every = 500
    evaluation_batches: PositiveInt = 8  # micro-batches of one process in an evaluation
    answers: NonNegativeInt = 4  # greedy answers written to samples/ at an evaluation
    answer_tokens: PositiveInt = 64  # length limit of such an answer
    data: DataSection = DataSection()


class PretrainRecipe(StageRecipe):
    """All text of a sample is a target."""

    command: ClassVar[str] = "pretrain"
    out: str = "runs/pretrain"


class SftRecipe(StageRecipe):
    """Assistant turns alone are targets."""

    command: ClassVar[str] = "sft"
    out: str = "runs/sft"


R = TypeVar("R", bound=Section)


def load_recipe(source: str | Path, overrides: Sequence[str], kind: type[R]) -> R:
    """Read a recipe.

    Args:
        source: a YAML file, or the bare name of one in `glm4v/recipes/` ("demo_sft").
        overrides: "key=value" with dotted keys ("optim.learning_rate=3e-4"); values are YAML.
        kind: the recipe class, such as `SftRecipe`.

    Raises:
        RecipeError: no such recipe, unknown or repeated key, value of a wrong type or out of range.
    """
    values = yaml.safe_load(_read(source)) or {}
    if not isinstance(values, dict):
        raise RecipeError(f"recipe {source}: expected 'key: value' lines, was {type(values).__name__}")
    for override in overrides:
        _override(values, override)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        lines = [f"  {_explain(dict(e), kind)}" for e in error.errors()]
        raise RecipeError("\n".join([f"recipe {source} is not a {kind.__name__}:", *lines])) from None


def _read(source: str | Path) -> str:
    """The text of a recipe file or of an installed recipe."""
    if Path(source).is_file():
        return Path(source).read_text(encoding="utf-8")
    folder = resources.files("glm4v") / "recipes"
    installed = folder / f"{source}.yaml"
    if installed.is_file():
        return installed.read_text(encoding="utf-8")
    names = sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))
    raise RecipeError(f"recipe {source}: no such file, and not one of the installed recipes: {', '.join(names)}")


def _override(values: dict[str, Any], override: str) -> None:
    """Set one dotted key in the nested dictionary `values`."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"override {override!r}: expected key=value, such as optim.learning_rate=3e-4")
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise RecipeError(f"override {override!r}: {parent} holds a value, not a group of fields")
    try:
        values[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"override {override!r}: the value is not valid YAML: {error}") from None


def _field_names(kind: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every dotted key of a recipe class."""
    for name, field in kind.model_fields.items():
        yield prefix + name
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from _field_names(inner, f"{prefix}{name}.")


def _explain(error: dict[str, Any], kind: type[BaseModel]) -> str:
    """One pydantic error as: key, what it was, what was expected or which key is nearest."""
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] != "extra_forbidden":
        return f"{key}: was {error['input']!r}; {error['msg'][:1].lower()}{error['msg'][1:]}"
    wrong = ".".join(part for part in error["loc"] if isinstance(part, str))  # without the places in lists
    names = [*_field_names(kind)]
    same_field = [n for n in names if n.rpartition(".")[2] == wrong.rpartition(".")[2]]  # right name, wrong group
    nearest = same_field or [match[0] for match in process.extract(wrong, names, scorer=fuzz.ratio, limit=1)]
    return f"{key}: no such key; did you mean {nearest[0]}?"

"""The runs of the three findings: which, in which order, from which start and on which problems.

All draw the same number of prompts a step and make one update with them, so rollouts and updates are the same for all
methods but where a run's name says otherwise.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from glm4v.gym.domains import DOMAINS

METHODS = ("uniform", "rlcs", "weights", "thompson", "dapo")  # what says most comes first: a plan may be cut off
PARTS = (
    "start",
    "tuning",
    "main comparison",
    "finding 3",
    "finding 1",
    "second starting point",
    "mixes",
    "ablations",
    "open ideas",
)
# Strings of digits, which vary in length: a model of the demo's size finds out that longer ones are accepted. In
# `counting` it never writes more than one number, and a careless verifier is not found out.
SLOPPY_DOMAIN, SLOPPY = "digits", "glm4v.findings.sloppy:sloppy"

# The share of each tier, very easy to very hard; fixed before any run. After SFT a model of the demo's size solves
# about half of the first tier and hardly any of the fifth.
MIXES: dict[str, tuple[float, ...]] = {
    "equal": (0.2, 0.2, 0.2, 0.2, 0.2),
    "few hopeless": (0.3, 0.3, 0.2, 0.15, 0.05),
    "many hopeless": (0.05, 0.15, 0.2, 0.3, 0.3),
}
ABLATIONS = {
    "without tiers": (),  # of a pool without them
    "without expansion": ("curriculum.cap=1",),
    "without balance": ("curriculum.balanced=false",),
}
IDEAS = {
    "two updates a rollout": ("policy.updates_per_rollout=2",),
    "replay": ("curriculum.cap=1", "curriculum.replay=true"),
    "learning progress": ("curriculum.weighting=progress",),
    "as published": ("rollout.prompts=null", "rollout.groups=12"),
}
NOT_TRIED = ("hints that wake dead cells",)


@dataclass(frozen=True)
class Pool:
    """A part of the demo's problems."""

    domains: tuple[str, ...] = ()  # none: all
    mix: str = "equal"
    tiers: bool = True  # else a domain is one cell
    sloppy: bool = False  # SLOPPY judges SLOPPY_DOMAIN

    @property
    def name(self) -> str:
        marks = [
            *self.domains,
            self.mix.replace(" ", "_"),
            *(["untiered"] * (not self.tiers)),
            *(["sloppy"] * self.sloppy),
        ]
        return "-".join(marks)

    def write(self, source: Path, target: Path) -> None:
        """The JSONL of these problems, as many of `source` as the mix allows; whole or not there."""
        lines = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
        lines = [line for line in lines if not self.domains or line["domain"] in self.domains]
        available = Counter((line["domain"], line["tier"]) for line in lines)
        shares, taken = MIXES[self.mix], Counter[tuple[str, str]]()
        unfinished = target.with_suffix(f".{os.getpid()}.unfinished")
        with unfinished.open("w", encoding="utf-8") as file:
            for line in lines:
                cell = line["domain"], line["tier"]
                if taken[cell] >= round(available[cell] * shares[int(line["tier"]) - 1] / max(shares)):
                    continue
                taken[cell] += 1
                changes = ({} if self.tiers else {"tier": ""}) | (
                    {"verifier": SLOPPY} if self.sloppy and line["domain"] == SLOPPY_DOMAIN else {}
                )
                file.write(json.dumps(line | changes, ensure_ascii=False) + "\n")
        unfinished.rename(target)


@dataclass(frozen=True)
class Scale:
    """How large the experiment is. rollouts of a run: steps * prompts * responses."""

    domains: tuple[str, ...]
    seeds: tuple[int, ...]
    steps: int
    prompts: int
    responses: int
    evaluate_every: int
    warmup_steps: int
    heldout: int  # problems a domain, of an evaluation
    rates: tuple[float, ...]  # learning rates to choose from; one: no choice, no tuning
    parts: tuple[str, ...] = PARTS
    evidence: bool = True


FULL = Scale(
    domains=tuple(DOMAINS),
    seeds=(0, 1, 2),
    steps=240,
    prompts=24,
    responses=8,
    evaluate_every=40,
    warmup_steps=20,
    heldout=100,
    rates=(5e-5, 1e-4, 2e-4),
)
QUICK = Scale(
    domains=("counting", "digits", "gui"),
    seeds=(0,),
    steps=40,
    prompts=12,
    responses=8,
    evaluate_every=10,
    warmup_steps=6,
    heldout=30,
    rates=(1e-4,),
    parts=("start", "main comparison", "finding 3", "finding 1"),
    evidence=False,
)
TUNING_SEED = 100


@dataclass(frozen=True)
class Run:
    """One run. rate: its learning rate, None for what the tuning of its method chose; start: the demo's seed."""

    part: str
    label: str
    method: str  # a sampling of the recipe; "" evaluates the start and trains nothing
    seed: int
    findings: tuple[int, ...]
    pool: Pool = Pool()
    rate: float | None = None
    start: int = 0
    changes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Also its place below the output folder."""
        return "/".join(part.replace(" ", "_") for part in (self.part, self.label, f"seed_{self.seed}"))

    @property
    def tuning(self) -> bool:
        return self.part == "tuning"


def plan(scale: Scale, only: int | None = None) -> list[Run]:
    """All runs in the order in which they are made, or those that one finding needs."""
    runs = [run for run in _runs(scale) if run.part in scale.parts]
    return [run for run in runs if only is None or only in run.findings]


def _runs(scale: Scale) -> Iterator[Run]:
    everything, pool = (1, 2, 3), Pool(scale.domains if len(scale.domains) < len(DOMAINS) else ())
    yield Run("start", "model", "", 0, everything, pool)
    for method in METHODS:
        for rate in scale.rates if len(scale.rates) > 1 else ():
            wanted = everything if method == "rlcs" else (2,)
            yield Run("tuning", f"{method} {rate:g}", method, TUNING_SEED, wanted, pool, rate)
    # seed by seed, what says most first: what is there when it is stopped can be compared
    for seed in scale.seeds:
        for method in METHODS[:3]:
            yield Run("main comparison", method, method, seed, everything if method == "rlcs" else (2,), pool)
    for seed in scale.seeds:
        yield Run("finding 3", "sloppy", "rlcs", seed, (3,), Pool(pool.domains, sloppy=True))
    for seed in scale.seeds:
        for method in METHODS[3:]:
            yield Run("main comparison", method, method, seed, (2,), pool)
    for seed in scale.seeds:
        for domain in scale.domains:
            yield Run("finding 1", domain, "rlcs", seed, (1,), Pool((domain,)))
    yield Run("second starting point", "model", "", 1, (2,), pool, start=1)
    for seed in scale.seeds:
        for method in ("uniform", "weights", "rlcs"):
            yield Run("second starting point", method, method, seed, (2,), pool, start=1)
    for mix in ("few hopeless", "many hopeless"):
        for seed in scale.seeds:
            for method in ("uniform", "rlcs"):
                yield Run("mixes", f"{mix} {method}", method, seed, (2,), Pool(pool.domains, mix))
    for part, variants in (("ablations", ABLATIONS), ("open ideas", IDEAS)):
        for label, changes in variants.items():
            for seed in scale.seeds:
                variant = Pool(pool.domains, tiers=label != "without tiers")
                yield Run(part, label, "rlcs", seed, (2,), variant, changes=changes)

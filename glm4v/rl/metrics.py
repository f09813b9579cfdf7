"""What a practitioner watches in an RLCS run: rewards by domain and tier, verifiers, lengths; and responses to read."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from math import comb
from typing import Any

from glm4v.data.files import Problem
from glm4v.eval import image_paths
from glm4v.rewards import verify
from glm4v.rl.rollout import Group
from glm4v.rl.sampler import Cell, Sampler

HIT = 0.5  # a verifier accepted a response that it gave at least this
FULL = 1 - 1e-6  # and accepted it as exactly right


def rollout_metrics(
    groups: Sequence[Group], cells: Sequence[Cell], problems: Sequence[Problem], verifier: str | None = None
) -> dict[str, float]:
    """Figures over all drawn rollouts of a step; cells and problems: of the groups; verifier: in place of theirs."""
    rewards: dict[str, list[float]] = defaultdict(list)
    verifiers: dict[str, list[float]] = defaultdict(list)
    for group, (domain, tier), problem in zip(groups, cells, problems, strict=True):
        for name in ("reward", f"reward/{domain}", f"reward/{domain}/{tier}"):
            rewards[name].extend(group.rewards)
        for response in group.responses:
            verifiers[f"verifier/{problem.verifier}/hit"].append(response.reward >= HIT)
            verifiers[f"verifier/{problem.verifier}/no_answer"].append(response.answer is None)
    for name in sorted({problem.verifier for problem in problems}):
        pairs = [pair for pair in zip(groups, problems, strict=True) if pair[1].verifier == name]
        found = contradictions(pairs, verifier or name)
        verifiers |= {f"verifier/{name}/{key}": [share] for key, share in found.items()}
    responses = [response for group in groups for response in group.responses]
    lengths = sorted(len(response.tokens) for response in responses)
    return {name: _mean(values) for name, values in (rewards | verifiers).items()} | {
        "response_length": _mean(lengths),
        **{f"response_length_p{percent}": lengths[percent * (len(lengths) - 1) // 100] for percent in (10, 50, 90)},
        "response_length_max": lengths[-1],
        "forced_share": _mean(any(response.forced) for response in responses),
        "truncated_share": _mean(response.truncated for response in responses),
    }


def contradictions(answered: Sequence[tuple[Group, Problem]], verifier: str) -> dict[str, float]:
    """How far the answers that a verifier gave full reward contradict one another, by its own judgement.

    "differ": of the pairs of accepted answers to one problem, the share in which one would be refused, were the other
    the truth; "shared": of the pairs of accepted answers to problems with different truths, the share in which the
    answers are the same text and one truth would be refused for the other. A precise verifier, to which 1/2 and 0.5
    are equal, has 0 in both; one that accepts what merely holds the truth has not, and the more the policy learns to
    write that, the more. Left out where there is no pair, and problems whose truth is a dict: one click is right for
    several targets, one target for many clicks.
    """
    differ, pairs = 0, 0
    by_truth: dict[str, Counter[str]] = defaultdict(Counter)
    by_answer: dict[str, Counter[str]] = defaultdict(Counter)
    for group, problem in answered:
        if isinstance(problem.truth, Mapping):
            continue
        accepted = Counter(
            " ".join(response.answer.split())
            for response in group.responses
            if response.answer is not None and response.reward >= FULL
        )
        differ += _contradicting(accepted, verifier, problem.question)
        pairs += comb(accepted.total(), 2)
        by_truth[str(problem.truth)] += accepted
        for answer, count in accepted.items():
            by_answer[answer][str(problem.truth)] += count
    shared = sum(_contradicting(truths, verifier, None) for truths in by_answer.values())
    totals = [answers.total() for answers in by_truth.values()]
    across = comb(sum(totals), 2) - sum(comb(total, 2) for total in totals)
    shares = (("differ", differ, pairs), ("shared", shared, across))
    return {name: part / whole for name, part, whole in shares if whole}


def _contradicting(texts: Counter[str], verifier: str, question: str | None) -> int:
    """Pairs of the counted texts of which one is refused where the other is the truth."""
    return sum(
        texts[one] * texts[other]
        for one, other in combinations(texts, 2)
        if not (_accepts(verifier, one, other, question) and _accepts(verifier, other, one, question))
    )


def _accepts(verifier: str, prediction: str, truth: str, question: str | None) -> bool:
    try:
        return verify(verifier, prediction, truth, question) >= FULL
    except Exception:  # an answer need not be readable as a truth, and a user's verifier may raise what it likes
        return True


def curriculum_metrics(sampler: Sampler) -> dict[str, float]:
    """Share of draws and estimated pass rate of each cell, and the pass rate of the whole pool.

    Unlike the mean reward of a step, the last one does not fall when the curriculum turns to harder problems.
    """
    rates = sampler.cell_pass_rates()
    metrics = {"pass_rate": float((rates * sampler.sizes).sum() / len(sampler))}
    for (domain, tier), share, rate in zip(sampler.cells, sampler.shares().values(), rates, strict=True):
        metrics |= {f"weight/{domain}/{tier}": share, f"pass_rate/{domain}/{tier}": float(rate)}
    return metrics


def panel(groups: Sequence[Group], cells: Sequence[Cell], problems: Sequence[Problem]) -> Iterator[dict[str, Any]]:
    """Records for samples/, as in an evaluation's predictions: of the first group of each domain the best and the worst
    response, with the rewards of all."""
    domains = set()
    for group, (domain, tier), problem in zip(groups, cells, problems, strict=True):
        if domain in domains:
            continue
        domains.add(domain)
        ranked = sorted(group.responses, key=lambda response: -response.reward)
        for response in ranked[:1] if ranked[0].reward == ranked[-1].reward else [ranked[0], ranked[-1]]:
            yield {
                "kind": "rollout",
                "id": problem.id,
                "domain": domain,
                "tier": tier,
                "question": problem.question,
                "images": image_paths(problem),
                "response": response.text,
                "prediction": response.answer,
                "truth": problem.truth,
                "verifier": problem.verifier,
                "reward": response.reward,
                "reason": response.reason,
                "group_rewards": group.rewards,
            }


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)

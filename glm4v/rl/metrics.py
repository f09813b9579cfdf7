"""What a practitioner watches in an RLCS run: rewards by domain and tier, verifiers, lengths; and responses to read."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import comb
from typing import Any

from glm4v.data.files import Problem
from glm4v.eval import image_paths
from glm4v.rl.rollout import Group
from glm4v.rl.sampler import Cell, Sampler

HIT = 0.5  # a verifier accepted a response that it gave at least this
FULL = 1 - 1e-6  # and accepted it as exactly right


def rollout_metrics(groups: Sequence[Group], cells: Sequence[Cell], problems: Sequence[Problem]) -> dict[str, float]:
    """Figures over all drawn rollouts of a step; cells and problems are those of the groups."""
    rewards: dict[str, list[float]] = defaultdict(list)
    verifiers: dict[str, list[float]] = defaultdict(list)
    for group, (domain, tier), problem in zip(groups, cells, problems, strict=True):
        for name in ("reward", f"reward/{domain}", f"reward/{domain}/{tier}"):
            rewards[name].extend(group.rewards)
        for response in group.responses:
            verifiers[f"verifier/{problem.verifier}/hit"].append(response.reward >= HIT)
            verifiers[f"verifier/{problem.verifier}/no_answer"].append(response.answer is None)
    for name in {problem.verifier for problem in problems}:
        pairs = [pair for pair in zip(groups, problems, strict=True) if pair[1].verifier == name]
        verifiers |= {f"verifier/{name}/{key}": [share] for key, share in contradictions(pairs).items()}
    responses = [response for group in groups for response in group.responses]
    lengths = sorted(len(response.tokens) for response in responses)
    return {name: _mean(values) for name, values in (rewards | verifiers).items()} | {
        "response_length": _mean(lengths),
        **{f"response_length_p{percent}": lengths[percent * (len(lengths) - 1) // 100] for percent in (10, 50, 90)},
        "response_length_max": lengths[-1],
        "forced_share": _mean(any(response.forced) for response in responses),
        "truncated_share": _mean(response.truncated for response in responses),
    }


def contradictions(answered: Sequence[tuple[Group, Problem]]) -> dict[str, float]:
    """How far the answers that one verifier gave full reward contradict one another.

    "differ": of the pairs of accepted answers to one problem, the share of different ones; "shared": of the pairs of
    accepted answers to problems with different truths, the share of equal ones. A precise verifier has 0 in both.
    Either rises where a policy learns to write what is always accepted. Left out where there is no such pair, and
    problems whose truth is a dict: one click is right for several targets, one target for many clicks.
    """
    differ = [0, 0]  # pairs, all pairs
    by_truth: dict[str, Counter[str]] = defaultdict(Counter)
    for group, problem in answered:
        if isinstance(problem.truth, Mapping):
            continue
        accepted = Counter(
            _plain(response.answer)
            for response in group.responses
            if response.answer is not None and response.reward >= FULL
        )
        pairs = comb(accepted.total(), 2)
        differ[0] += pairs - _equal_pairs(accepted)
        differ[1] += pairs
        by_truth[_plain(str(problem.truth))] += accepted
    everything = sum(by_truth.values(), Counter[str]())
    within = [(comb(answers.total(), 2), _equal_pairs(answers)) for answers in by_truth.values()]
    across = comb(everything.total(), 2) - sum(pairs for pairs, _ in within)
    shared = [_equal_pairs(everything) - sum(equal for _, equal in within), across]
    return {name: part / whole for name, (part, whole) in (("differ", differ), ("shared", shared)) if whole}


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _equal_pairs(answers: Counter[str]) -> int:
    return sum(comb(count, 2) for count in answers.values())


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

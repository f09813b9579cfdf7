"""What finished runs say about the three findings; nothing is said of runs that are not there.

Rollouts to target: the held-out rewards of all seeds of a method, from the common start on, are fitted by
start + gain * (1 - exp(-x / scale)); the target is the fitted end of uniform sampling, and a method's share is where
its own fit crosses that, over uniform's rollouts. Both sides are fitted alike: the first crossing of a noisy curve
would let any method, uniform itself too, reach the target before its end.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np

from glm4v.findings.plan import NOT_TRIED, SLOPPY, SLOPPY_DOMAIN, Run, Scale, plan

Result = dict[str, Any]
Results = dict[str, Result]
Points = list[tuple[float, float]]  # (x, held-out reward)


@dataclass(frozen=True)
class Fit:
    """reward(x) = start + gain * (1 - exp(-x / scale))."""

    start: float
    gain: float
    scale: float

    def at(self, x: float) -> float:
        return self.start - self.gain * math.expm1(-x / self.scale)

    def reaches(self, target: float) -> float:
        """The x of a reward; infinite where it never comes."""
        if target <= self.start:
            return 0.0
        share = (target - self.start) / self.gain if self.gain else math.inf
        return -self.scale * math.log1p(-share) if 0 < share < 1 else math.inf


def fit(points: Points, start: float) -> Fit:
    """Least squares; scales from a tenth to ten times the largest x, the last nearly a straight line."""
    x, y = (np.array(column, float) for column in zip(*points, strict=True))
    scales = np.geomspace(x.max() / 10, x.max() * 10, 401)
    shapes = -np.expm1(-x / scales[:, None])  # [scales, points]
    gains = shapes @ (y - start) / (shapes**2).sum(1)
    best = ((y - start - gains[:, None] * shapes) ** 2).sum(1).argmin()
    return Fit(start, float(gains[best]), float(scales[best]))


def tuned_rate(scale: Scale, results: Results, method: str) -> float:
    """The learning rate with the best mean of the last two validations; the only one where there is no choice.

    Raises ValueError where tuning runs are missing.
    """
    if len(scale.rates) == 1:
        return scale.rates[0]
    scores = {}
    for run in plan(scale):
        if run.tuning and run.method == method:
            if run.name not in results:
                raise ValueError(f"{run.name} is not finished; run glm4v findings without --only first")
            scores[run.rate] = fmean(point["mean"] for point in results[run.name]["curve"][-2:])
    return max(scores, key=lambda rate: scores[rate])  # type: ignore[return-value]


def summarise(scale: Scale, results: Results) -> dict[str, Any]:
    """{"runs": finished and planned by part, "tuning", "comparisons", "transfer", "precise"}: each empty where its runs
    are missing."""
    runs = plan(scale)
    starts = {run.start: results[run.name] for run in runs if not run.method and run.name in results}
    return {
        "evidence": scale.evidence,
        "tuned": len(scale.rates) > 1,
        "scale": {
            "steps": scale.steps,
            "rollouts a step": scale.prompts * scale.responses,
            "rollouts a run": scale.steps * scale.prompts * scale.responses,
            "seeds": list(scale.seeds),
            "problems of an evaluation": scale.heldout * len(scale.domains),
        },
        "runs": {
            part: {
                "planned": len(of_part := [run.name for run in runs if run.part == part]),
                "finished": sum(name in results for name in of_part),
                "missing": [name for name in of_part if name not in results],
            }
            for part in scale.parts
        },
        "not tried": list(NOT_TRIED),
        "machines": sorted({result["machine"] for result in results.values()}),
        "hours": sum(result["seconds"] for result in results.values()) / 3600,
        "tuning": _tuning(scale, results),
        "comparisons": _comparisons(scale, results, starts),
        "transfer": _transfer(scale, results, starts),
        "precise": _precise(scale, results, starts),
        "false alarms": [
            f"{name}: {alarm['verifier']} {alarm['kind']}"
            for name, result in results.items()
            for alarm in result.get("alarms", [])
            if not name.startswith("finding_3/")
        ],
    }


def _tuning(scale: Scale, results: Results) -> dict[str, dict[str, float]]:
    """Validation reward by method and learning rate."""
    table: dict[str, dict[str, float]] = {}
    for run in plan(scale):
        if run.tuning and run.name in results:
            last = fmean(point["mean"] for point in results[run.name]["curve"][-2:])
            table.setdefault(run.method, {})[f"{run.rate:g}"] = last
    return table


# finding 2 ----------------------------------------------------------------------------------------------------------


def _comparisons(scale: Scale, results: Results, starts: Mapping[int, Result]) -> dict[str, dict[str, Any]]:
    """Each against uniform of the same start and mix; ablations and ideas against that of the main comparison."""
    groups: dict[str, dict[str, list[Run]]] = {}
    for run in plan(scale):
        if run.name not in results or run.start not in starts or not run.method:
            continue
        if run.part in ("main comparison", "second starting point"):
            groups.setdefault(run.part, {}).setdefault(run.label, []).append(run)
        elif run.part == "mixes":
            mix = f"mix: {run.pool.mix}"
            groups.setdefault(mix, {}).setdefault(run.method, []).append(run)
        elif run.part in ("ablations", "open ideas"):
            groups.setdefault(run.part, {}).setdefault(run.label, []).append(run)
    main = groups.get("main comparison", {})
    for part in ("ablations", "open ideas"):
        if part in groups:
            groups[part] = {name: main[name] for name in ("uniform", "rlcs") if name in main} | groups[part]
    return {
        title: compare(
            {name: {run.seed: results[run.name] for run in of_name} for name, of_name in methods.items()},
            starts[next(iter(methods.values()))[0].start]["curve"][0]["mean"],
        )
        for title, methods in groups.items()
        if "uniform" in methods
    }


def compare(methods: Mapping[str, Mapping[int, Result]], start: float) -> dict[str, Any]:
    """methods: results by name and seed, "uniform" among them; start: the reward before the first step.

    Returns {"start", "target", "methods": {name: {"seeds", "final", "finals", "learning_rate", "informative", "curve",
    and over "rollouts" and "updates": {"share", "range", "seeds"}}}}: share of uniform's, infinite where the target is
    not reached; its range over leaving out a seed at a time; and of each seed's own fit.
    """
    table: dict[str, Any] = {"start": start, "methods": {}}
    for name, by_seed in methods.items():
        finals = [result["curve"][-1]["mean"] for result in by_seed.values()]
        table["methods"][name] = {
            "seeds": sorted(by_seed),
            "final": fmean(finals),
            "finals": finals,
            "learning_rate": fmean(result["learning_rate"] for result in by_seed.values()),
            "informative": fmean(result["informative"] for result in by_seed.values()),
            "curve": {
                axis: [
                    [fmean(result["curve"][place][key] for result in by_seed.values()) for key in (axis, "mean")]
                    for place in range(min(len(result["curve"]) for result in by_seed.values()))
                ]
                for axis in ("rollouts", "updates")
            },
            **{axis: _to_target(methods["uniform"], by_seed, start, axis) for axis in ("rollouts", "updates")},
        }
    table["target"] = fit(_points(methods["uniform"].values(), "rollouts"), start).at(
        max(x for x, _ in _points(methods["uniform"].values(), "rollouts"))
    )
    return table


def _to_target(uniform: Mapping[int, Result], method: Mapping[int, Result], start: float, axis: str) -> dict[str, Any]:
    """Where a method's pooled fit reaches the end of uniform's, as a share of uniform's length."""

    def share(reference: Sequence[Result], own: Sequence[Result]) -> float:
        points = _points(reference, axis)
        if not points:
            return math.nan  # not one update
        end = max(x for x, _ in points)
        target = fit(points, start).at(end)
        if target <= start:
            return math.nan  # uniform learned nothing: there is nothing to reach
        own_points = _points(own, axis)
        reached = fit(own_points, start).reaches(target) / end if own_points else math.inf
        return reached if reached <= 1.5 else math.inf  # farther would trust the fit where there are no points

    paired = sorted(set(uniform) & set(method))  # seeds
    shares = [
        share([uniform[s] for s in paired if s != out], [method[s] for s in paired if s != out])
        for out in (None, *(paired if len(paired) > 1 else ()))
    ]
    return {
        "share": shares[0] if paired else math.nan,
        "range": [min(shares[1:]), max(shares[1:])] if len(paired) > 1 else None,
        "seeds": {str(seed): share(list(uniform.values()), [result]) for seed, result in sorted(method.items())},
    }


def _points(results: Any, axis: str) -> Points:
    return [(point[axis], point["mean"]) for result in results for point in result["curve"] if point[axis]]


# finding 1 ----------------------------------------------------------------------------------------------------------


def _transfer(scale: Scale, results: Results, starts: Mapping[int, Result]) -> dict[str, Any]:
    """Gain of held-out reward over the start, by domain trained on (rows, and "all") and evaluated on."""
    rows: dict[str, list[Result]] = {}
    for run in plan(scale):
        if run.name in results and run.part == "finding 1":
            rows.setdefault(run.label, []).append(results[run.name])
        elif run.name in results and run.part == "main comparison" and run.label == "rlcs":
            rows.setdefault("all", []).append(results[run.name])
    if 0 not in starts or not set(rows) - {"all"}:
        return {}
    before = starts[0]["curve"][0]["domains"]
    gains = {
        row: {
            domain: fmean(result["curve"][-1]["domains"][domain] for result in of_row) - before[domain]
            for domain in scale.domains
        }
        for row, of_row in sorted(rows.items(), key=lambda pair: (*scale.domains, "all").index(pair[0]))
    }
    alone = [row for row in gains if row != "all"]
    apart = [gains[row][domain] for row in alone for domain in scale.domains if domain != row]
    return {
        "before": before,
        "gains": gains,
        "seeds": {row: len(of_row) for row, of_row in rows.items()},
        "own": fmean(gains[row][row] for row in alone),
        "others": fmean(apart) if apart else math.nan,
        "all": fmean(gains["all"][domain] for domain in scale.domains) if "all" in gains else None,
    }


# finding 3 ----------------------------------------------------------------------------------------------------------


def _precise(scale: Scale, results: Results, starts: Mapping[int, Result]) -> dict[str, Any]:
    """By seed: held-out reward of the domain with the careless verifier and of the others, by precise verifiers, after
    honest runs and after runs with it; and what those runs' own metrics said. A point of "curves": rollouts, the two
    rewards, and that of the domain's rollouts since the point before."""
    if 0 not in starts:
        return {}
    seeds = {}
    for run in plan(scale):
        if run.part != "finding 3" or run.name not in results:
            continue
        honest = next(
            (
                results[other.name]
                for other in plan(scale)
                if (other.part, other.label, other.seed) == ("main comparison", "rlcs", run.seed)
                and other.name in results
            ),
            None,
        )
        careless = results[run.name]
        mine = [alarm for alarm in careless["alarms"] if alarm["verifier"] == SLOPPY]
        seeds[str(run.seed)] = {
            "honest": _split(honest["curve"][-1]["domains"]) if honest else None,
            "careless": _split(careless["curve"][-1]["domains"]),
            "curves": {
                name: [
                    [point["rollouts"], *_split(point["domains"]).values(), point["training"].get(SLOPPY_DOMAIN)]
                    for point in run["curve"]
                ]
                for name, run in (("honest", honest), ("careless", careless))
                if run
            },
            "first alarm": min((alarm["step"] for alarm in mine), default=None),
            "other alarms": [f"{a['verifier']} {a['kind']}" for a in careless["alarms"] if a["verifier"] != SLOPPY],
        }
    return (
        {"domain": SLOPPY_DOMAIN, "before": _split(starts[0]["curve"][0]["domains"]), "seeds": seeds} if seeds else {}
    )


def _split(domains: Mapping[str, float]) -> dict[str, float]:
    others = [mean for name, mean in domains.items() if name != SLOPPY_DOMAIN]
    return {"domain": domains[SLOPPY_DOMAIN], "others": fmean(others) if others else math.nan}

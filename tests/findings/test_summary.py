"""The measure of rollouts to target on curves whose answer is known, and what is said where runs are missing."""

import math
import random

import pytest

from glm4v.findings.plan import FULL, QUICK
from glm4v.findings.summary import compare, fit, summarise, tuned_rate

START = 0.25


def result(speed: float, gain: float = 0.1, noise: float = 0.0, seed: int = 0, updates: float = 1.0) -> dict:
    """A run of 46,080 rollouts that learns `speed` times as fast as a scale of 30,000 rollouts."""
    rng = random.Random(seed)
    curve = []
    for step in range(40, 241, 40):
        rollouts = 192 * step
        mean = START + gain * (1 - math.exp(-rollouts * speed / 30_000)) + rng.gauss(0, noise)
        curve.append({"step": step, "rollouts": rollouts, "updates": int(updates * step), "mean": mean})
    return {
        "curve": curve,
        "learning_rate": 1e-4,
        "informative": 0.5,
        "rollouts": 46_080,
        "seconds": 1.0,
        "machine": "this",
    }


def test_a_fit_finds_its_own_curve():
    found = fit([(point["rollouts"], point["mean"]) for point in result(1)["curve"]], START)
    assert found.at(46_080) == pytest.approx(START + 0.1 * (1 - math.exp(-1.536)), abs=1e-4)
    assert found.reaches(found.at(20_000)) == pytest.approx(20_000)
    assert found.reaches(START) == 0
    assert found.reaches(1.0) == math.inf


def test_twice_the_speed_is_half_of_the_rollouts():
    seeds = {0: 0.0, 1: 0.0, 2: 0.0}
    methods = {
        "uniform": {seed: result(1) for seed in seeds},
        "fast": {seed: result(2) for seed in seeds},
        "few updates": {seed: result(1, updates=0.5) for seed in seeds},
        "worse": {seed: result(1, gain=0.02) for seed in seeds},
        "falls": {seed: result(1, gain=-0.1) for seed in seeds},
    }
    found = compare(methods, START)["methods"]
    assert found["uniform"]["rollouts"]["share"] == pytest.approx(1, abs=1e-6)
    assert found["fast"]["rollouts"]["share"] == pytest.approx(0.5, abs=0.01)
    assert found["few updates"]["rollouts"]["share"] == pytest.approx(1, abs=0.01)
    assert found["few updates"]["updates"]["share"] == pytest.approx(0.5, abs=0.01)
    assert found["worse"]["rollouts"]["share"] == found["falls"]["rollouts"]["share"] == math.inf
    assert found["fast"]["rollouts"]["seeds"].keys() == {"0", "1", "2"}


def test_noise_favours_neither_side():
    """Two methods that are the same: the mean logarithm of the share is near zero over many draws of noise."""
    logs = []
    for draw in range(60):
        methods = {
            name: {seed: result(1, noise=0.006, seed=1000 * draw + 10 * place + seed) for seed in range(3)}
            for place, name in enumerate(("uniform", "same"))
        }
        share = compare(methods, START)["methods"]["same"]["rollouts"]["share"]
        logs.append(math.log(min(share, 1.5)))
    assert abs(sum(logs) / len(logs)) < 0.06


def test_without_a_gain_there_is_nothing_to_reach():
    found = compare({"uniform": {0: result(1, gain=-0.05)}, "other": {0: result(1)}}, START)["methods"]
    assert math.isnan(found["other"]["rollouts"]["share"])


def test_each_method_takes_the_rate_of_its_best_validation():
    runs = {f"tuning/rlcs_{rate}/seed_100": result(1, gain) for rate, gain in (("5e-05", 0.05), ("0.0001", 0.09))}
    with pytest.raises(ValueError, match=r"tuning/rlcs_0\.0002"):
        tuned_rate(FULL, runs, "rlcs")
    runs["tuning/rlcs_0.0002/seed_100"] = result(1, 0.07)
    assert tuned_rate(FULL, runs, "rlcs") == 1e-4
    assert tuned_rate(QUICK, {}, "rlcs") == QUICK.rates[0]


def test_nothing_is_said_of_what_was_not_run():
    found = summarise(FULL, {})
    assert not any(found[part] for part in ("tuning", "comparisons", "transfer", "precise"))
    assert found["runs"]["main comparison"]["finished"] == 0
    assert len(found["runs"]["main comparison"]["missing"]) == 15

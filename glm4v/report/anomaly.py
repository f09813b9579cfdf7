"""Verifiers that seem to be cheated, told from a run's own metrics alone.

A policy that has found what a careless verifier accepts writes it everywhere: the verifier then accepts different
answers to one problem, or one answer to problems with different truths (glm4v.rl.metrics.contradictions). A rise over
the start of the run is suspicious in both; in the second a level is too, for a precise verifier has none. In the first
it is not: what has a tolerance, or takes 1/2 for 0.5, accepts different answers from the beginning.
It cannot tell a verifier of boxes and clicks, where neither is a contradiction, nor one that is wrong consistently.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from glm4v.report.page import section
from glm4v.report.run import Run

WINDOW = 8  # logged steps that are averaged
RISE = 0.2  # of a share of pairs, over the first window
LEVEL = 0.1  # of pairs "shared", whatever it was at the start
MEANING = {
    "differ": "different answers to one problem are accepted as exactly right",
    "shared": "one answer is accepted for problems with different truths",
}


@dataclass(frozen=True)
class Alarm:
    """verifier; kind: a key of MEANING; step: at which it was first seen; its share then and at the start of the run,
    and the verifier's hit rate at both."""

    verifier: str
    kind: str
    step: int
    before: float
    after: float
    hit_before: float
    hit_after: float


def alarms(run: Run) -> list[Alarm]:
    """What is suspicious, a verifier and kind at most once."""
    found = []
    for name in run.names("verifier", depth=2):
        _, verifier, kind = name.split("/")
        steps, values = run.series(name)
        if kind not in MEANING or len(values) < WINDOW:
            continue
        before = _mean(values[:WINDOW])
        for end in range(WINDOW, len(values) + 1):
            after = _mean(values[end - WINDOW : end])
            if after - before > RISE or (kind == "shared" and after > LEVEL):
                step = int(steps[end - 1])
                hits = dict(zip(*run.series(f"verifier/{verifier}/hit"), strict=True))
                logged = [hits[at] for at in steps]
                ends = _mean(logged[:WINDOW]), _mean(logged[end - WINDOW : end])
                found.append(Alarm(verifier, kind, step, before, after, *ends))
                break
    return found


def warnings(run: Run) -> str:
    """The alarms as a section of a report; nothing where all is well."""
    found = alarms(run)
    if not found:
        return ""
    lead = (
        f"Step {min(alarm.step for alarm in found)}: rewards of this run may not mean what they say. Read the "
        "responses that were accepted, and make the verifier stricter."
    )
    return section("A verifier seems to be cheated", lead, f'<ul class="warnings">{"".join(map(_line, found))}</ul>')


def _line(alarm: Alarm) -> str:
    text = (
        f"at step {alarm.step} {MEANING[alarm.kind]}: {alarm.after:.0%} of pairs, {alarm.before:.0%} at the start; its "
        f"hit rate was {alarm.hit_after:.0%}, {alarm.hit_before:.0%} at the start"
    )
    return f"<li><b>{escape(alarm.verifier)}</b>: {escape(text)}</li>"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

"""Verifiers that may be cheated, told from a run's own metrics alone.

A careless verifier accepts what a policy learns to write everywhere: different answers to one problem, or one answer to
problems with different truths. `glm4v.rl.metrics.contradictions` counts the pairs of accepted answers in which the
verifier so contradicts itself; a precise one hardly ever does.
It cannot tell a verifier of boxes and clicks, where neither is a contradiction, nor one that is wrong consistently.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from glm4v.report.page import section
from glm4v.report.run import Run

WINDOW = 8  # logged steps that are averaged
LEVEL = 0.1  # share of pairs above which a verifier is suspicious
MEANING = {
    "differ": "answers to one problem that contradict each other are both accepted as exactly right",
    "shared": "one answer is accepted as exactly right for problems with different truths",
}


@dataclass(frozen=True)
class Alarm:
    """verifier; kind: a key of MEANING; step: the first at which the share of pairs in a window was above LEVEL; and
    the verifier's hit rate in the first window and in that one."""

    verifier: str
    kind: str
    step: int
    share: float
    hit_before: float
    hit_after: float


def alarms(run: Run) -> list[Alarm]:
    """What is suspicious, a verifier and kind at most once."""
    found = []
    for name in run.names("verifier", depth=2):
        _, verifier, kind = name.split("/")
        steps, values = run.series(name) if kind in MEANING else ([], [])
        for end in range(WINDOW, len(values) + 1):
            window = slice(end - WINDOW, end)
            if _mean(values[window]) > LEVEL:
                hits = dict(zip(*run.series(f"verifier/{verifier}/hit"), strict=True))
                logged = [hits[step] for step in steps]
                rates = _mean(logged[:WINDOW]), _mean(logged[window])
                found.append(Alarm(verifier, kind, int(steps[end - 1]), _mean(values[window]), *rates))
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
    return section(
        "A verifier contradicts itself and may be cheated",
        lead,
        f'<ul class="warnings">{"".join(map(_line, found))}</ul>',
    )


def _line(alarm: Alarm) -> str:
    text = (
        f"at step {alarm.step} {MEANING[alarm.kind]}, {alarm.share:.0%} of pairs; its hit rate was "
        f"{alarm.hit_after:.0%}, {alarm.hit_before:.0%} at the start"
    )
    return f"<li><b>{escape(alarm.verifier)}</b>: {escape(text)}</li>"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

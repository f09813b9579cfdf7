"""The figures a reader sees first: rewards after each stage, or how far a single run came."""

from collections.abc import Sequence
from html import escape

from glm4v.report.run import STAGES, Evaluated, Run

ENTER = {  # what each stage adds, in plain words
    "untrained": "random weights",
    "pretrain": "has read captions",
    "sft": "learned from worked examples",
    "rlcs": "practised on problems with answers only",
    "control": "worked examples again, for as long as RLCS took",
}
RAMP = ("var(--untrained)", "var(--pretrain)", "var(--sft)", "var(--rlcs)", "var(--control)")


def colours(evaluations: Sequence[Evaluated]) -> dict[str, str]:
    """A colour for each evaluation: its stage's, or its place in the row of those that are no stages."""
    return {
        each.name: f"var(--{each.name})" if each.name in STAGES else RAMP[min(place, 3)]
        for place, each in enumerate(evaluations)
    }


def evaluation_tiles(evaluations: Sequence[Evaluated]) -> str:
    """A tile an evaluation: its mean reward and interval, and what it gained over the stage before."""
    palette, tiles = colours(evaluations), []
    means = {each.name: each.summary["mean"] for each in evaluations}
    for place, each in enumerate(evaluations):
        low, high = each.summary["ci95"]
        notes = [f"95%: {low:.2f} to {high:.2f}"]
        before = "sft" if each.name == "control" else evaluations[place - 1].name if place else ""
        if before in means:
            notes.append(f"{means[each.name] - means[before]:+.2f} over {STAGES.get(before, before)}")
        if each.name in ENTER:
            notes.append(ENTER[each.name])
        tiles.append(tile(each.title, f"{each.summary['mean']:.2f}", notes, palette[each.name]))
    return f'<div class="tiles">{"".join(tiles)}</div>'


def run_tiles(run: Run) -> str:
    """How many steps and how long, and where its main figures ended."""
    tiles = [tile("steps", f"{len(run.metrics):,}", [duration(run.seconds)])]
    for name, label in (
        ("reward", "reward"),
        ("loss", "loss"),
        ("evaluation_loss", "held-out loss"),
        ("kept_share", "kept groups"),
    ):
        _, values = run.series(name)
        if values:
            tenth = max(1, len(values) // 10)
            first, last = (sum(part) / tenth for part in (values[:tenth], values[-tenth:]))
            tiles.append(tile(label, f"{last:.3g}", [f"{first:.3g} at the start"]))
    return f'<div class="tiles">{"".join(tiles)}</div>'


def tile(label: str, value: str, notes: Sequence[str], colour: str = "var(--accent)") -> str:
    """A large figure under a coloured edge."""
    lines = "<br>".join(escape(note) for note in notes)
    body = f"<span>{escape(label)}</span><b>{value}</b><span>{lines}</span>"
    return f'<div class="tile" style="--mark:{colour}">{body}</div>'


def duration(seconds: float) -> str:
    """Seconds in words: "8 min", "2 h 05 min"."""
    minutes = round(seconds / 60)
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{minutes} min"
        if minutes < 90
        else f"{minutes // 60} h {minutes % 60:02d} min"
    )

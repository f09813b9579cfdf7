"""Reading text: 1 - edit distance / longer length, spaces removed (as in zai-org/GLM-V's reward system)."""

from rapidfuzz.distance import Levenshtein

from glm4v.rewards.text import fold, foreign_script
from glm4v.rewards.verdict import Truth, Verdict, truth_text

ECHO = 0.9  # this much like the question, and not the text itself: the question was given back
MANY = 2  # times as long as the text: several readings, not one


def check(prediction: str, truth: Truth, question: str | None = None) -> Verdict:
    """Graded by edits. 0 for letters of another script that look like the right ones, and for the question."""
    read, shown = (fold(text).replace(" ", "") for text in (prediction, truth_text(truth)))
    if len(read) >= MANY * len(shown) > 0:
        return Verdict(0.0, f"{len(read)} characters for {len(shown)}: more than one reading")
    script = foreign_script(read, shown)
    if script is not None:
        return Verdict(0.0, f"letters of another script ({script.lower()})")
    distance = Levenshtein.distance(read, shown)
    similarity = 1.0 - distance / max(len(read), len(shown), 1)
    if similarity == 1.0:
        return Verdict(1.0, "read exactly")
    if question is not None and Levenshtein.normalized_similarity(read, fold(question).replace(" ", "")) >= ECHO:
        return Verdict(0.0, "the question, not the text")
    return Verdict(similarity, f"{distance} edit{'s' * (distance > 1)} away, {len(shown)} characters")

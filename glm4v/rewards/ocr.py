"""Reading text: 1 - edit distance / longer length, spaces removed (as in zai-org/GLM-V's reward system)."""

from rapidfuzz.distance import Levenshtein

from glm4v.rewards.text import fold, foreign_script
from glm4v.rewards.verdict import Truth, Verdict, truth_text

# Of unrelated English lines one pair in ten reaches 0.25 and one in a hundred 0.3 (measured): that is not reading.
CHANCE = 0.3


def check(prediction: str, truth: Truth, question: str | None = None) -> Verdict:
    """Graded. 0 for a text twice as long as the truth (several readings), of another script, or alike by chance."""
    read, shown = (fold(text).replace(" ", "") for text in (prediction, truth_text(truth)))
    if len(read) >= 2 * len(shown) > 0:
        return Verdict(0.0, f"{len(read)} characters for {len(shown)}: more than one reading")
    script = foreign_script(read, shown)
    if script is not None:
        return Verdict(0.0, f"letters of another script ({script.lower()})")
    distance = Levenshtein.distance(read, shown)
    similarity = 1.0 - distance / max(len(read), len(shown), 1)
    if similarity == 1.0:
        return Verdict(1.0, "read exactly")
    if question is not None and Levenshtein.normalized_similarity(read, fold(question).replace(" ", "")) > similarity:
        return Verdict(0.0, "closer to the question than to the text")
    if similarity < CHANCE:
        return Verdict(0.0, f"{distance} edits away: no closer than chance")
    return Verdict(similarity, f"{distance} edit{'s' * (distance > 1)} away, {len(shown)} characters")

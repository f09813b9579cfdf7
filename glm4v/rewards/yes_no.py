"""Yes or no: one of the two, perhaps in a short sentence in the question's own words."""

from glm4v.rewards.text import words
from glm4v.rewards.verdict import Truth, Verdict, quote, truth_text

MAX_CHARACTERS = 200
_YES = {"yes", "true", "correct", "right", "y", "是", "对", "有"}
_NO = {"no", "false", "incorrect", "wrong", "n", "不是", "否", "没有"}
_AROUND = {
    "it",
    "is",
    "are",
    "was",
    "does",
    "do",
    "has",
    "have",
    "can",
    "there",
    "that",
    "this",
    "they",
    "he",
    "she",
    "the",
}
_DENIALS = {"not", "isn't", "aren't", "wasn't", "doesn't", "don't", "hasn't", "haven't", "can't"}
_HEDGES = {"or", "maybe", "perhaps", "but", "unless", "possibly", "either", "both"}


def check(prediction: str, truth: Truth, question: str | None = None) -> Verdict:
    """1 when both say yes, or both say no."""
    target = truth_text(truth)
    given, right = polarity(prediction, question), polarity(target)
    if given is None or right is None:
        return Verdict(0.0, f"{quote(prediction)} is not a yes or a no")
    return Verdict(float(given == right), f"{'yes' if given else 'no'} said, {'yes' if right else 'no'} is right")


def polarity(text: str, question: str | None = None) -> bool | None:
    """True for yes, False for no, None for neither, both, or one that other words could take back."""
    said = words(text) if len(text) <= MAX_CHARACTERS else []
    if not said or said[0] not in _YES | _NO:
        return None
    yes, rest = said[0] in _YES, set(said[1:])
    allowed = _AROUND | set(words(question or "")) - _YES - _NO - _HEDGES - _DENIALS
    return yes if rest <= (allowed if yes else allowed | _DENIALS) else None

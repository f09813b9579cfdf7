"""The answer in a response: exactly one closed box after exactly one closed thinking part (recipe.md, reward system).

The format is a gate: whatever breaks it has no answer, and `parse_response` says what broke, so that it can be counted.
"""

from typing import NamedTuple

THINK, END_THINK = "<think>", "</think>"
ANSWER, END_ANSWER = "<answer>", "</answer>"
BOX, END_BOX = "<|begin_of_box|>", "<|end_of_box|>"
MAX_BYTES = 64 * 1024  # of an answer
STOPS = ("<|user|>", "<|endoftext|>", "<|observation|>")


class Response(NamedTuple):
    """A response taken apart; `answer` is None exactly when `error` says why."""

    thinking: str
    answer: str | None
    error: str | None


def parse_response(response: str) -> Response:
    """Take a response apart. The cost is linear in its length, whatever it holds.

    Args:
        response: decoded with special tokens kept; begins with `<think>` (put it back where the template wrote it).
    """
    text = response.strip()
    for stop in STOPS:
        text = text.removesuffix(stop).rstrip()
    thinking, closed, rest = text.removeprefix(THINK).partition(END_THINK)
    answer = rest.partition(BOX)[2].partition(END_BOX)[0]
    if len(answer) > MAX_BYTES or len(answer.encode(errors="replace")) > MAX_BYTES:  # before it is looked through
        return Response(thinking.strip(), None, f"an answer of more than {MAX_BYTES // 1024} KB")
    error = _error(text, rest) if closed else "the thinking is not closed"
    return Response(thinking.strip(), answer.strip() if error is None else None, error)


def extract_answer(response: str) -> str | None:
    """The text in the box, or None when the format is wrong. See `parse_response` for the argument."""
    return parse_response(response).answer


def _error(text: str, rest: str) -> str | None:
    """What is wrong with `text`, whose part after the thinking is `rest`; None when nothing is."""
    if not text.startswith(THINK):
        return "the response does not begin with <think>"
    if text.count(THINK) > 1 or text.count(END_THINK) > 1:
        return "more than one thinking part"
    if text.count(BOX) == 0:
        return "no box"
    if text.count(BOX) > 1 or text.count(END_BOX) > 1:
        return "more than one box"
    if rest.find(BOX) < 0:
        return "the box is not after the thinking"
    if rest.find(END_BOX) < rest.find(BOX):
        return "the box is not closed"
    if text.count(ANSWER) or text.count(END_ANSWER):
        return _answer_error(text, rest)
    return None


def _answer_error(text: str, rest: str) -> str | None:
    """The optional <answer> tags: one pair, around the box, with nothing after it."""
    if text.count(ANSWER) != 1 or text.count(END_ANSWER) != 1:
        return "the answer tags are not one pair"
    around = 0 <= rest.find(ANSWER) < rest.find(BOX) and rest.find(END_BOX) < rest.find(END_ANSWER)
    if not around or not rest.endswith(END_ANSWER):
        return "the answer tags are not around the box"
    return None

"""The format of a response: one closed thinking part, then one closed box."""

import pytest

from glm4v.rewards import extract_answer, parse_response

BOXED = "<|begin_of_box|>42<|end_of_box|>"


@pytest.mark.parametrize(
    "response",
    [
        f"<think>six times seven</think><answer>{BOXED}</answer>",
        f"<think>six times seven</think><answer>It is {BOXED}, I am sure.</answer>",
        f"<think>six times seven</think>{BOXED}",
        f"<think></think>\n<answer>{BOXED}</answer>\n<|user|>",
        f"  <think>a</think> so {BOXED} <|endoftext|>",
        "<think>a</think><answer><|begin_of_box|> 42\n<|end_of_box|></answer><|user|>",
    ],
)
def test_a_well_formed_response_has_its_answer(response: str) -> None:
    assert extract_answer(response) == "42"


@pytest.mark.parametrize(
    ("response", "error"),
    [
        ("", "not closed"),
        (BOXED, "not closed"),
        ("<think>a</think>42", "no box"),
        (f"<think>a {BOXED}", "not closed"),
        (f"a</think>{BOXED}", "does not begin"),
        (f"so <think>a</think>{BOXED}", "does not begin"),
        (f"<think>a</think><think>b</think>{BOXED}", "more than one thinking"),
        (f"<think><think>a</think>{BOXED}", "more than one thinking"),
        (f"<think>a</think></think>{BOXED}", "more than one thinking"),
        (f"<think>a</think>{BOXED}{BOXED}", "more than one box"),
        (f"<think>{BOXED}</think>{BOXED}", "more than one box"),
        (f"<think>{BOXED}</think>42", "not after the thinking"),
        ("<think>a</think><|begin_of_box|>42", "not closed"),
        ("<think>a</think><|end_of_box|>42<|begin_of_box|>", "not closed"),
        ("<think>a</think><|begin_of_box|><|begin_of_box|>42<|end_of_box|>", "more than one box"),
        ("<think>a</think><|begin_of_box|>42<|end_of_box|><|end_of_box|>", "more than one box"),
        (f"<think>a</think><answer>{BOXED}", "not one pair"),
        (f"<think>a</think>{BOXED}</answer>", "not one pair"),
        (f"<think>a</think><answer></answer>{BOXED}", "not around"),
        (f"<think>a</think><answer>{BOXED}</answer> and 43", "not around"),
        (f"<think>a<answer></think>{BOXED}</answer>", "not around"),
    ],
)
def test_a_broken_response_has_none_and_says_why(response: str, error: str) -> None:
    assert extract_answer(response) is None
    assert error in (parse_response(response).error or "")


def test_the_thinking_is_kept_for_a_reader() -> None:
    assert parse_response(f"<think> six times seven </think>{BOXED}").thinking == "six times seven"


def test_an_empty_box_is_an_empty_answer() -> None:
    assert extract_answer("<think>a</think><|begin_of_box|> <|end_of_box|>") == ""

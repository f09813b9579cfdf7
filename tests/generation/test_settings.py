"""Options out of range are refused by name."""

from typing import Any

import pytest

from glm4v.generation.settings import Settings

DEFAULTS: dict[str, Any] = {
    "max_new_tokens": 8,
    "min_new_tokens": 0,
    "temperature": 0.0,
    "top_p": 1.0,
    "repetition_penalty": 1.0,
    "samples_per_prompt": 1,
    "seed": 0,
    "stop": (),
    "invalid": (),
    "thinking": None,
}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("max_new_tokens", 0),
        ("min_new_tokens", 9),
        ("temperature", -1.0),
        ("top_p", 0.0),
        ("top_p", 1.5),
        ("repetition_penalty", 0.0),
        ("samples_per_prompt", 0),
    ],
)
def test_a_wrong_option_is_named(option: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{option} is {value}; expected"):
        Settings(**DEFAULTS | {option: value})

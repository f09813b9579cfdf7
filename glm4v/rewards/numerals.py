"""Numbers written as words, up to the millions."""

import re

_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety"
)
_SMALL = dict(zip(_WORDS.split(), [*range(20), *range(20, 100, 10)], strict=True))
_SCALES = {"thousand": 1_000, "million": 1_000_000}
_MAX_WORDS = 16


def number_word(text: str) -> int | None:
    """The value of "three", "forty-two" or "one hundred and five"; None for anything else, figures too."""
    parts = re.split(r"[ -]", text.casefold())
    if len(parts) > _MAX_WORDS:
        return None
    total, group, previous = 0, 0, None
    for part in parts:
        if part == "and" and previous == "hundred":
            pass
        elif part in _SMALL and _continues(group, previous, _SMALL[part]):
            group += _SMALL[part]
        elif part == "hundred" and 0 < group < 10:
            group *= 100
        elif part in _SCALES and group and (total == 0 or total > _SCALES[part] * 999):
            total, group = total + group * _SCALES[part], 0
        else:
            return None
        previous = part
    return total + group if previous != "and" else None


def _continues(group: int, previous: str | None, value: int) -> bool:
    """Whether a small number may follow: nothing, a scale or a hundred; after tens only one to nine."""
    if previous is None or previous in _SCALES:
        return previous is None or value > 0
    if previous in ("hundred", "and"):
        return value > 0
    return group % 100 >= 20 and group % 10 == 0 and 0 < value < 10

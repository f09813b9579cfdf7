"""Text as verifiers compare it, and the characters that none of them accepts."""

import re
import unicodedata

# Full-width forms (U+FF01..U+FF5E) are ASCII moved by 0xFEE0; quotes and spaces differ by typography only.
_FOLD = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {
    ord(old): new for old, new in (("\u3000", " "), ("’", "'"), ("‘", "'"), ("“", '"'), ("”", '"'), ("。", "."))
}
_ARTICLES = {"a", "an", "the"}
_SYNONYMS = {
    "grey": "gray",
    "colour": "color",
    "colours": "colors",
    "coloured": "colored",
    "centre": "center",
    "circular": "circle",
    "triangular": "triangle",
    "rectangular": "rectangle",
}
_NEVER_SEEN = {"Cf", "Cc", "Co", "Cs"}


def fold(text: str) -> str:
    """One spelling for what looks the same on paper: composed accents, ASCII forms, single spaces."""
    return " ".join(unicodedata.normalize("NFC", text.translate(_FOLD)).split())


def words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation; numbers, with sign and decimals, are words."""
    return re.findall(r"-?\d+(?:[.,:]\d+)*%?|[^\W\d_]+(?:['-][^\W\d_]+)*", fold(text).casefold())


def plain(text: str) -> str:
    """For comparing short answers: case, articles, outer punctuation and a few spellings do not count."""
    bare = fold(text).casefold().strip(" .,;:!?\"'")
    return " ".join(_SYNONYMS.get(word, word) for word in bare.split() if word not in _ARTICLES)


def hidden_characters(prediction: str, truth: str) -> str | None:
    """The name of a zero-width, direction or control character that the truth does not use, or None."""
    for character in set(prediction) - set(truth) - set("\n\t\r"):
        if unicodedata.category(character) in _NEVER_SEEN:
            return unicodedata.name(character, f"U+{ord(character):04X}")
    return None


def foreign_script(prediction: str, truth: str) -> str | None:
    """A script (LATIN, CYRILLIC, CJK...) whose letters are in the prediction but not in the truth, or None.

    This is how look-alikes show: Cyrillic letters in a Latin word. A truth without letters allows Latin ones.
    """
    allowed = _scripts(truth) or {"LATIN"}
    return next(iter(sorted(_scripts(prediction) - allowed)), None)


def _scripts(text: str) -> set[str]:
    return {unicodedata.name(letter, "UNKNOWN").split()[0] for letter in set(text) if letter.isalpha()}

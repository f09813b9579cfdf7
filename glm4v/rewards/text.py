"""Text as verifiers compare it, and the characters that none of them accepts."""

import re
import unicodedata

# Full-width forms (U+FF01..U+FF5E) are ASCII moved by 0xFEE0; the others differ by typography only.
_FOLD: dict[int, str] = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)} | {
    ord(old): new
    for old, new in (
        *(("\u3000", " "), ("\u00a0", " "), ("\u202f", " "), ("\u2009", " "), ("\u2002", " "), ("\u2003", " ")),
        *(("’", "'"), ("‘", "'"), ("“", '"'), ("”", '"'), ("。", "."), ("、", ","), ("∶", ":"), ("µ", "μ"), ("Ω", "Ω")),
        *(("￥", "¥"), ("−", "-"), ("‐", "-"), ("‑", "-")),
    )
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
_NEVER_SEEN = {"Cf", "Cc", "Co", "Cs", "Cn"}
_SCRIPTS = {"LATIN", "CJK", "GREEK", "HIRAGANA", "KATAKANA", "MICRO", "OHM", "ANGSTROM", "SCRIPT", "BLACK"}
_SCRIPTS |= {"FEMININE", "MASCULINE", "DOUBLE", "SUPERSCRIPT", "MODIFIER", "ALEF", "PLANCK", "INFORMATION"}
_ROUNDS = 6  # of taking wrappings off: deeper ones are nobody's answer
_WRAPPED = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt)?|math(?:rm|bf|it|sf|tt|cal)|operatorname|boxed|fbox|ce|emph|mbox|underline)"
    r"\s*\{((?:[^{}]|\{[^{}]*\})*)\}"
)
_MARKDOWN = re.compile(r"(?<![\w)*])(\*\*|__|\*|`)(?=\S)([^*`\n]*[^*`\s])\1(?![\w(*])")


_UNDERLINED = re.compile(r"(?<![\w\\])_([^_\n{}]*[^\W\d_]{2}[^_\n{}]*)_(?!\w)")


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


def unwrap(text: str) -> str:
    """An answer without its typography: LaTeX dollars and text commands, Markdown, quotes, a final full stop."""
    text = "\n".join(line for line in (fold(line) for line in text.splitlines()) if line)
    if "\\" in text:
        text = re.sub(r"\\[()\[\]]", lambda mark: " " if mark[0][1] in "()" else "", text)
        text = re.sub(r"(?<!\\)\\(?=[$%&# ])", "", text).replace("~", " ")
        text = re.sub(r"\\(?:left|right|displaystyle|quad|qquad|big|Big)(?![A-Za-z])|\\[,;:!]", " ", text)
        for _ in range(_ROUNDS):
            text, count = _WRAPPED.subn(r" \1 " if "\\ce" not in text else r"\1", text)
            if not count:
                break
    if "$" in text:
        text = re.sub(r"\$\$?([^$]*[^$\d\s.][^$]*|[^$]*)\$\$?(?=$|[\s.,;:)])", r"\1", text)
    for _ in range(_ROUNDS):
        before = text
        text = _UNDERLINED.sub(r"\1", _MARKDOWN.sub(r"\2", text.strip()))
        text = _outer(text)
        if text == before:
            break
    return "\n".join(" ".join(line.split()) for line in text.split("\n"))


def _outer(text: str) -> str:
    """Without one pair of quotes around it, and without a final full stop."""
    if text.endswith(".") and not text.endswith("..") and not re.search(r"(?:^|[\s.(])[^\W\d_]\.$", text):
        text = text[:-1].rstrip()
    for opening, closing in ('""', "''", "《》", "「」", "『』", "【】"):
        if len(text) > 2 and text[0] == opening and text[-1] == closing and opening not in text[1:-1]:
            return text[1:-1].strip()
    return text


def unaccented(text: str) -> str:
    """Without the accents of Latin letters."""
    if text.isascii():
        return text
    bare = "".join(mark for mark in unicodedata.normalize("NFD", text) if not unicodedata.combining(mark))
    return bare.translate({ord("ø"): "o", ord("ł"): "l", ord("đ"): "d", ord("ı"): "i", ord("æ"): "ae", ord("ß"): "ss"})


def hidden_characters(prediction: str, truth: str) -> str | None:
    """The name of a zero-width, direction or control character that the truth does not use, or None."""
    for character in set(prediction) - set(truth) - set("\n\t\r"):
        if unicodedata.category(character) in _NEVER_SEEN:
            return unicodedata.name(character, f"U+{ord(character):04X}")
        if "\u0334" <= character <= "\u0338":  # strokes that cross letters out
            return unicodedata.name(character)
    return None


def foreign_script(prediction: str, truth: str) -> str | None:
    """A script whose letters are in the prediction, not in the truth, and not of those that answers are written in.

    This is how look-alikes show: Cyrillic letters in a Latin word. Latin, Greek, Chinese and Japanese are always read.
    """
    if prediction.isascii():
        return None
    return next(iter(sorted(_scripts(fold(prediction)) - _scripts(truth) - _SCRIPTS)), None)


def _scripts(text: str) -> set[str]:
    return {re.split(r"[ -]", unicodedata.name(letter, "UNKNOWN"))[0] for letter in set(text) if letter.isalpha()}

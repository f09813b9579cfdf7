"""Normalisation, and the characters that no verifier accepts."""

from glm4v.rewards.text import fold, foreign_script, hidden_characters, plain, words


def test_fold_keeps_what_is_seen_and_drops_how_it_is_coded() -> None:
    assert fold(" ＡＢＣ１２３\t“x”\n") == 'ABC123 "x"'
    assert fold("e\u0301") == "é"
    assert fold("x² Ⅳ") == "x² Ⅳ"


def test_plain_drops_case_articles_and_outer_punctuation() -> None:
    assert plain("The Grey square.") == "gray square"
    assert plain("A") == ""
    assert plain('"Colour"') == "color"


def test_words() -> None:
    assert words("Yes, it isn't 3.5 or -2%!") == ["yes", "it", "isn't", "3.5", "or", "-2%"]


def test_hidden_characters_are_named_unless_the_truth_has_them() -> None:
    assert hidden_characters("a\u200bb", "ab") == "ZERO WIDTH SPACE"
    assert hidden_characters("a\u200bb", "a\u200bb") is None
    assert hidden_characters("a\x00", "a") == "U+0000"
    assert hidden_characters("a\nb\tc", "abc") is None


def test_foreign_script_finds_look_alikes() -> None:
    assert foreign_script("Hеllo", "Hello") == "CYRILLIC"
    assert foreign_script("𝐇ello", "Hello") == "MATHEMATICAL"
    assert foreign_script("Hello", "Hello") is None
    assert foreign_script("O12", "012") is None
    assert foreign_script("привет", "привет") is None

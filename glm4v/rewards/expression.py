"""Numeric expressions by a small bounded parser: never eval, never sympify; exact fractions as long as they are small.

    sum     = product (('+' | '-') product)*            product = power (('*' | '/') power | implied power)*
    power   = atom ('^' sign* power)?                   atom    = number '%'? | constant | root | \\frac{}{} | ( sum )

Text, depth and magnitude are limited, so that no input costs more than a millisecond or two.
"""

import math
import re
from fractions import Fraction
from typing import NamedTuple, TypeAlias

MAX_CHARACTERS = 256
MAX_DEPTH = 24
MAX_BITS = 1000  # of an exact numerator or denominator; also keeps float() of it finite
MAX_EXPONENT = 300  # of a power of ten in scientific notation

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_FRACTIONS = {
    "½": "1/2",
    "⅓": "1/3",
    "⅔": "2/3",
    "¼": "1/4",
    "¾": "3/4",
    "⅕": "1/5",
    "⅛": "1/8",
    "⅜": "3/8",
    "⅝": "5/8",
}
_SPELLINGS = {
    "−": "-",
    "×": "*",
    "·": "*",
    "⋅": "*",
    "÷": "/",
    "⁄": "/",
    "**": "^",
    "√": "\\sqrt ",
    "π": "\\pi ",
    "{,}": ",",
    "\\%": "%",
    "\\cdot": "*",
    "\\times": "*",
    "\\div": "/",
    "\\dfrac": "\\frac",
    "\\tfrac": "\\frac",
    "\\left": "",
    "\\right": "",
    "\\,": "",
    "\\!": "",
    "\u202f": "",
    "\u2009": "",
}
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?|[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?)"
    r"|(?P<word>\\frac|\\?sqrt(?![a-z])|\\?pi(?![a-z]))|(?P<mark>[-+*/^(){}\[\]%]))"
)
_CLOSING = {"(": ")", "{": "}", "[": "]"}


Value: TypeAlias = Fraction | float


class ExpressionError(ValueError):
    """The text is not a numeric expression within the limits; the message says why."""


class Number(NamedTuple):
    """A value and how many arithmetic steps were left to the reader: 0 for 5, -0.5, 1/2, 3%, 2x10^5; 1 for 2+3."""

    value: Value
    steps: int


def evaluate(text: str) -> Number:
    """The value of `text`.

    Raises:
        ExpressionError: not a numeric expression, or one beyond the limits of this module.
    """
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(f"longer than {MAX_CHARACTERS} characters")
    return _Parser(_tokens(_plain(text))).whole()


def equal(first: Value, second: Value, tolerance: float = 1e-5, integers: bool = True) -> bool:
    """Within a relative tolerance, two integers exactly unless `integers` is False; zero equals zero alone."""
    whole = all(isinstance(value, Fraction) and value.denominator == 1 for value in (first, second))
    if first == second or (whole and integers):
        return first == second
    first, second = float(first), float(second)
    return abs(first - second) < tolerance * min(abs(first), abs(second))


def _plain(text: str) -> str:
    """LaTeX and unicode spellings as the few ASCII marks that the parser reads."""
    text = text.strip().strip("$").removeprefix("\\(").removesuffix("\\)").strip()
    text = re.sub(r"[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda power: f"^({power[0].translate(_SUPERSCRIPTS)})", text)
    text = re.sub(f"[{''.join(_FRACTIONS)}]", lambda fraction: f" {_FRACTIONS[fraction[0]]} ", text)
    for old, new in _SPELLINGS.items():
        text = text.replace(old, new)
    return text


def _tokens(text: str) -> list[str]:
    tokens, position, text = [], 0, text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ExpressionError(f"{text[position:].strip()[:12]!r} is not part of a number")
        tokens.append(match[0].strip().removeprefix("\\"))
        position = match.end()
    return tokens


class _Parser:
    """Recursive descent over `tokens`; `steps` counts the operations that were carried out."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens, self.position, self.depth, self.steps = tokens, 0, 0, 0

    def whole(self) -> Number:
        value = self.sum()
        if self.position < len(self.tokens):
            raise ExpressionError(f"{self.peek()!r} was not expected")
        return Number(value, self.steps)

    def peek(self, ahead: int = 0) -> str:
        index = self.position + ahead
        return self.tokens[index] if index < len(self.tokens) else ""

    def take(self, *expected: str) -> str:
        token = self.peek()
        if expected and token not in expected:
            raise ExpressionError(f"{expected[0]!r} was expected, not {token or 'the end'!r}")
        self.position += 1
        return token

    def sum(self) -> Value:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ExpressionError(f"nested deeper than {MAX_DEPTH}")
        value = self.signed(self.product)
        while self.peek() in ("+", "-"):
            sign = 1 if self.take() == "+" else -1
            self.steps += 1
            value = _bounded(value + sign * self.product())
        self.depth -= 1
        return value

    def signed(self, operand) -> Value:
        sign = 1
        while self.peek() in ("+", "-"):
            sign = -sign if self.take() == "-" else sign
        return sign * operand()

    def product(self) -> Value:
        start = self.position
        value = self.power()
        while self.peek() in ("*", "/", "(", "sqrt", "pi", "frac"):
            operator = self.take() if self.peek() in ("*", "/") else "*"
            literals = (
                _is_number(self.tokens[self.position - 2]) and _is_number(self.peek()) and self.position == start + 2
            )
            right = self.signed(self.power)
            if operator == "*":
                self.steps += not self.is_power_of_ten(start)
                value = _bounded(value * right)
            else:
                value = self.divide(value, right, literals)
        return value

    def is_power_of_ten(self, start: int) -> bool:
        """Whether the product that began at `start` reads a x 10^b so far: scientific notation, not a step."""
        tail = "".join(self.tokens[start : self.position])
        return re.fullmatch(r"[0-9.]+\*10\^(?:-?[0-9]+|[({][-+]?[0-9]+[)}])", tail) is not None

    def divide(self, over: Value, under: Value, literals: bool) -> Value:
        """A division of two plain numbers that does not come out even is a fraction, not a step."""
        if under == 0:
            raise ExpressionError("division by zero")
        value = _bounded(over / under)
        self.steps += not (literals and isinstance(value, Fraction) and value.denominator > 1)
        return value

    def power(self) -> Value:
        start = self.position
        base = self.atom()
        if self.peek() != "^":
            return base
        self.take()
        self.steps += self.tokens[start] != "10" or self.tokens[start - 1 : start] != ["*"]
        self.depth += 1  # a^b^c^... recurses here
        if self.depth > MAX_DEPTH:
            raise ExpressionError(f"nested deeper than {MAX_DEPTH}")
        exponent = self.signed(self.power)
        self.depth -= 1
        return _power(base, exponent)

    def atom(self) -> Value:
        token = self.take()
        if token in _CLOSING:
            value = self.sum()
            self.take(_CLOSING[token])
        elif token == "frac":
            over, under = self.argument(), self.argument()
            value = self.divide(over, under, literals=_is_number(self.tokens[self.position - 2]))
        elif token == "sqrt":
            value = self.root()
        elif token == "pi":
            value = math.pi
        elif _is_number(token):
            value = self.mixed(_literal(token))
        else:
            raise ExpressionError(f"a number was expected, not {token or 'the end'!r}")
        if self.peek() == "%":
            self.take()
            value = value / 100
        return value

    def argument(self) -> Value:
        """An argument of \\frac or of a root: in brackets, or one digit, number or root."""
        if self.peek() not in ("{", "("):
            return self.atom()
        closing = _CLOSING[self.take()]
        value = self.sum()
        self.take(closing)
        return value

    def mixed(self, whole: Value) -> Value:
        """3 1/2 and 3\\frac{1}{2}: a whole number directly followed by a proper fraction of whole numbers."""
        after = "".join(self.tokens[self.position : self.position + 7])
        match = re.match(r"([0-9]+)/([0-9]+)|frac\{([0-9]+)\}\{([0-9]+)\}", after)
        if match is None or not isinstance(whole, Fraction) or whole.denominator != 1:
            return whole
        over, under = (int(figure) for figure in match.groups() if figure is not None)
        if over >= under:
            raise ExpressionError("two numbers in a row")
        self.position += 3 if match[1] else 7
        return whole + Fraction(over, under)

    def root(self) -> Value:
        degree: Value = Fraction(2)
        if self.peek() == "[":
            self.take()
            degree = self.sum()
            self.take("]")
        self.steps += 1
        value = self.argument()
        if degree == 0:
            raise ExpressionError("a root of degree zero")
        if degree == 2 and isinstance(value, Fraction) and value >= 0:
            over, under = math.isqrt(value.numerator), math.isqrt(value.denominator)
            if over * over == value.numerator and under * under == value.denominator:
                return Fraction(over, under)
        return _power(value, _bounded(1 / degree))


def _is_number(token: str) -> bool:
    return token[:1].isdigit() or token[:1] == "."


def _literal(token: str) -> Value:
    mantissa, _, exponent = token.replace(",", "").lower().partition("e")
    if abs(int(exponent or 0)) > MAX_EXPONENT:
        raise ExpressionError(f"an exponent beyond {MAX_EXPONENT}")
    return _bounded(Fraction(mantissa) * Fraction(10) ** int(exponent or 0))


def _power(base: Value, exponent: Value) -> Value:
    if base == 0 and exponent <= 0:
        raise ExpressionError("zero to a power that is not positive")
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if bits * abs(exponent) <= MAX_BITS:
            return base**exponent.numerator
    if base < 0 and exponent != int(exponent):
        raise ExpressionError("a root of a negative number")
    try:
        value = math.pow(base, exponent)
    except OverflowError as error:
        raise ExpressionError("too large") from error
    if value == 0 and base != 0:
        raise ExpressionError("too small")
    return value


def _bounded(value: Value) -> Value:
    """Large exact values go on as floats; what floats cannot hold is refused."""
    try:
        if isinstance(value, Fraction) and max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
            value = float(value)
    except OverflowError as error:
        raise ExpressionError("too large") from error
    if isinstance(value, float) and not math.isfinite(value):
        raise ExpressionError("too large")
    return value

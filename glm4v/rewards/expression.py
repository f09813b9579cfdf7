"""Expressions by a small bounded parser: never eval, never sympify. Text, depth and length are limited.

    sum      = product (('+' | '-') product)*      product = power (('*' | '/') power | implied power)*
    power    = atom postfix* ('^' sign* power)?    postfix = '!' | '%' | '°'
    atom     = number | variable | constant | function argument | \\frac{}{} | root | binomial | ( sum ) | '|' sum '|'

A tree is a tuple whose first entry names it: ("number", value, decimal), ("variable", name), ("constant", name),
("call", function, argument), ("sum" | "product", parts...), ("quotient" | "power" | "binomial", a, b), ("degree", a).
What a tree is worth is in `algebra.py`.
"""

import re
from fractions import Fraction
from typing import Any, TypeAlias

from glm4v.rewards.notation import plain_mathematics

MAX_CHARACTERS = 600
MAX_TOKENS = 300
MAX_DEPTH = 24
MAX_DIGITS = 400
MAX_EXPONENT = 300  # of a power of ten in scientific notation

Tree: TypeAlias = tuple[Any, ...]

_FUNCTIONS_NAMES = (
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log lg exp sqrt abs floor ceil asin acos atan"
)
FUNCTIONS = frozenset(_FUNCTIONS_NAMES.split())
_SAME = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "tg": "tan", "ctg": "cot", "cosec": "csc"}
_CONSTANTS = {"pi", "e", "i", "infinity"}
_GREEK_NAMES = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau "
    "upsilon phi chi psi omega"
)
_GREEK = _GREEK_NAMES.split()
_LETTERS = dict(zip("αβγδεζηθικλμνξοπρστυφχψω", _GREEK, strict=True)) | {"ϕ": "phi", "ϵ": "epsilon", "ϑ": "theta"}
_LETTERS |= dict(zip("ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ", [name.capitalize() for name in _GREEK], strict=True))
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?|[0-9]{1,3}(?: [0-9]{3})+(?![0-9])"
    r"|[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+(?![0-9A-Za-z]))?)"
    r"|\\(?P<command>[A-Za-z]+)|(?P<letters>[A-Za-z]+)|(?P<greek>[Α-Ωα-ωϕϵϑ])|(?P<mark>[-+*/^(){}\[\]%!|°_',:]))"
)
_CLOSING = {"(": ")", "{": "}", "[": "]"}


class ExpressionError(ValueError):
    """The text is not an expression within the limits; the message says why."""


def parse(text: str) -> Tree:
    """The tree of `text`.

    Raises:
        ExpressionError: not an expression, or one beyond the limits of this module.
    """
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(f"longer than {MAX_CHARACTERS} characters")
    return _Parser(_tokens(plain_mathematics(text))).whole()


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    position, text = 0, text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or len(tokens) >= MAX_TOKENS:
            raise ExpressionError(f"{text[position : position + 12].strip()!r} is not part of an expression")
        kind, token = str(match.lastgroup), str(match[match.lastgroup or 0])
        if kind == "letters":
            tokens += _split(token)
        elif kind == "greek":
            tokens.append(_name(_LETTERS.get(token, token)))
        elif kind == "command":
            named = token.casefold() in _GREEK or token in _CONSTANTS
            tokens.append(_name(token) if named else ("command", _SAME.get(token, token)))
        else:
            tokens.append((kind, token))
        position = match.end()
    return tokens


def _name(name: str) -> tuple[str, str]:
    return ("constant" if name in _CONSTANTS else "variable", name)


def _split(letters: str) -> list[tuple[str, str]]:
    """A run of letters: a function, a named constant or letter, else a product of at most four variables."""
    name = _SAME.get(letters.casefold(), letters.casefold())
    if name in FUNCTIONS or name == "cbrt":
        return [("command", name)]
    if name in _GREEK and len(name) > 1:
        return [_name(name if letters.islower() else name.capitalize())]
    if name in ("infinity", "inf"):
        return [("constant", "infinity")]
    for function in ("arcsin", "arccos", "arctan", "sin", "cos", "tan", "cot", "ln", "sqrt", "log"):
        if letters.startswith(function) and 0 < len(letters) - len(function) <= 2:
            return [("command", function), *_split(letters[len(function) :])]
    if len(letters) > 4 and not (len(letters) == 5 and letters.isupper()):
        raise ExpressionError(f"{letters!r} is a word")
    if letters in (
        "or",
        "and",
        "to",
        "is",
        "not",
        "if",
        "the",
        "of",
        "yes",
        "no",
        "nan",
        "NaN",
        "mod",
        "so",
        "for",
        "then",
    ):
        raise ExpressionError(f"{letters!r} is a word")
    return [_name(letter) for letter in letters]


class _Parser:
    """Recursive descent over tokens (kind, text)."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens, self.position, self.depth, self.bars = tokens, 0, 0, 0

    def whole(self) -> Tree:
        tree = self.sum()
        if self.position < len(self.tokens):
            raise ExpressionError(f"{self.peek()[1]!r} was not expected")
        return tree

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.position] if self.position < len(self.tokens) else ("end", "")

    def next_is(self, *marks: str) -> bool:
        kind, token = self.peek()
        return kind == "mark" and token in marks

    def take(self, *expected: str) -> str:
        kind, token = self.peek()
        if expected and (kind != "mark" or token not in expected):
            raise ExpressionError(f"{expected[0]!r} was expected, not {token or 'the end'!r}")
        self.position += 1
        return token

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ExpressionError(f"nested deeper than {MAX_DEPTH}")

    def sum(self) -> Tree:
        self.deeper()
        parts = [self.signed(self.product)]
        while self.next_is("+", "-"):
            minus = self.take() == "-"
            part = self.signed(self.product)
            parts.append(_negated(part) if minus else part)
        self.depth -= 1
        return parts[0] if len(parts) == 1 else ("sum", *parts)

    def signed(self, operand: Any) -> Tree:
        minus, signs = False, 0
        while self.next_is("+", "-"):
            minus ^= self.take() == "-"
            signs += 1
        if signs > 2:
            raise ExpressionError("more than two signs in a row")
        tree: Tree = operand()
        return _negated(tree) if minus else tree

    def product(self) -> Tree:
        parts = [self.power()]
        while True:
            if self.next_is("*"):
                self.take()
                parts.append(self.signed(self.power))
            elif self.next_is("/"):
                self.take()
                parts = [("quotient", _product(parts), self.signed(self.power))]
            elif self.starts_atom():
                parts.append(self.implied(parts[-1]))
            else:
                return _product(parts)

    def starts_atom(self) -> bool:
        kind, token = self.peek()
        if kind == "mark":
            return token in ("(", "{", "[") or (token == "|" and self.bars == 0)
        return kind in ("number", "variable", "constant") or (kind == "command" and not token.startswith("r"))

    def implied(self, before: Tree) -> Tree:
        """The next factor of a product without a sign; two numbers in a row are only a mixed number, 3 1/2."""
        if self.peek()[0] != "number" or before[0] not in ("number", "variable"):
            return self.power()
        raise ExpressionError("two numbers in a row")

    def power(self) -> Tree:
        base = self.postfix(self.atom())
        if not self.next_is("^"):
            return base
        self.take()
        self.deeper()  # a^b^c^... recurses here
        exponent = self.signed(self.power) if self.peek()[0] != "number" else self.exponent_number()
        self.depth -= 1
        return self.postfix(("power", base, exponent))

    def exponent_number(self) -> Tree:
        number = self.atom()
        return number if not self.next_is("^") else self.raise_to(number)

    def raise_to(self, base: Tree) -> Tree:
        self.take("^")
        self.deeper()
        exponent = self.signed(self.power)
        self.depth -= 1
        return ("power", base, exponent)

    def postfix(self, tree: Tree) -> Tree:
        while self.next_is("!", "%", "°"):
            mark = self.take()
            if mark == "!":
                if tree[0] == "call" and tree[1] == "factorial":
                    raise ExpressionError("a factorial of a factorial")
                tree = ("call", "factorial", tree)
            elif mark == "%":
                if tree[0] == "percent":
                    raise ExpressionError("percent of percent")
                tree = ("percent", tree)
            else:
                tree = ("degree", tree)
        return tree

    def atom(self) -> Tree:
        kind, token = self.peek()
        if kind == "number":
            self.position += 1
            return self.mixed(literal(token))
        if kind == "constant":
            self.position += 1
            if token == "e" and self.next_is("_"):
                return self.subscripted(token)
            return ("constant", token)
        if kind == "variable":
            self.position += 1
            return self.subscripted(token)
        if kind == "command":
            self.position += 1
            return self.command(token)
        if kind == "mark" and token in _CLOSING:
            return self.bracketed()
        if kind == "mark" and token == "|" and self.bars == 0:
            self.take()
            self.bars += 1
            tree = self.sum()
            self.take("|")
            self.bars -= 1
            return ("call", "abs", tree)
        raise ExpressionError(f"a number was expected, not {token or 'the end'!r}")

    def bracketed(self) -> Tree:
        closing = _CLOSING[self.take()]
        bars, self.bars = self.bars, 0
        tree = self.sum()
        self.bars = bars
        self.take(closing)
        return tree

    def subscripted(self, name: str) -> Tree:
        """A variable with its index, x_1 or v_{max}."""
        if not self.next_is("_"):
            return ("variable", name)
        self.take()
        if not self.next_is("{"):
            index = self.take()
        else:
            self.take()
            index = ""
            while not self.next_is("}"):
                if self.peek()[0] == "end":
                    raise ExpressionError("an index that is not closed")
                index += self.take()
            self.take()
        return ("variable", f"{name}_{index}")

    def command(self, name: str) -> Tree:
        self.deeper()
        tree = self.called(name)
        self.depth -= 1
        return tree

    def called(self, name: str) -> Tree:
        if name == "frac":
            return ("quotient", self.argument(), self.argument())
        if name == "binom":
            return ("binomial", self.argument(), self.argument())
        if name in ("sqrt", "cbrt"):
            return self.root(3 if name == "cbrt" else 2)
        if name in ("lfloor", "lceil"):
            tree = self.sum()
            if self.peek() != ("command", "r" + name[1:]):
                raise ExpressionError(f"\\r{name[1:]} was expected")
            self.position += 1
            return ("call", name[1:], tree)
        if name not in FUNCTIONS:
            raise ExpressionError(f"\\{name} is not read")
        return self.function(name)

    def root(self, degree: int) -> Tree:
        index: Tree = ("number", Fraction(degree), False)
        if self.next_is("["):
            index = self.bracketed()
        return ("power", self.argument(), ("quotient", ("number", Fraction(1), False), index))

    def argument(self) -> Tree:
        """An argument of \\frac or of a root: in brackets, or one digit, number, letter or root."""
        if self.next_is("{", "("):
            return self.bracketed()
        kind, token = self.peek()
        if kind == "number" and token.isdigit() and len(token) > 1 and self.after_frac():
            self.tokens[self.position] = ("number", token[1:])  # \frac12 is one over two
            return literal(token[0])
        return self.atom() if kind != "number" else self.plain_number()

    def after_frac(self) -> bool:
        return any(self.tokens[at] == ("command", "frac") for at in range(max(0, self.position - 1), self.position))

    def plain_number(self) -> Tree:
        return literal(self.take())

    def function(self, name: str) -> Tree:
        exponent: Tree | None = None
        base: Tree | None = None
        while self.next_is("^", "_"):
            if self.take() == "^":
                exponent = self.argument() if not self.next_is("-") else self.inverse()
                if exponent == ("number", Fraction(-1), False) and f"arc{name}" in FUNCTIONS:
                    name, exponent = f"arc{name}", None  # sin^{-1}, ISO 80000-2 notwithstanding
            else:
                base = self.argument()
        if self.next_is("(", "[", "|") or (self.next_is("{") and name != "sqrt"):
            argument = self.atom()
        else:
            argument = self.bare_argument()
        if name == "abs" or name in ("floor", "ceil"):
            tree: Tree = ("call", name, argument)
        elif name == "log" and base is not None:
            tree = ("quotient", ("call", "ln", argument), ("call", "ln", base))
        else:
            tree = ("call", name, argument)
        return tree if exponent is None else ("power", tree, exponent)

    def inverse(self) -> Tree:
        raise ExpressionError("an inverse function is written arcsin, not sin^-1")

    def bare_argument(self) -> Tree:
        """What follows a function without brackets: factors up to the next sign or function, sin 2x cos x."""
        parts = [self.signed(self.power)]
        while True:
            kind, token = self.peek()
            if kind in ("variable", "constant") or (kind == "command" and token in ("frac", "sqrt")):
                parts.append(self.power())
            elif self.next_is("/") and self.tokens[self.position + 1 : self.position + 2] != []:
                if self.tokens[self.position + 1][0] != "number":
                    return _product(parts)
                self.take()
                parts = [("quotient", _product(parts), self.power())]
            else:
                return _product(parts)

    def mixed(self, whole: Tree) -> Tree:
        """3 1/2 and 3\\frac{1}{2}: a whole number directly followed by a proper fraction of whole numbers."""
        ahead = "".join(token for _, token in self.tokens[self.position : self.position + 7])
        match = re.match(r"([0-9]+)/([0-9]+)|frac\{([0-9]+)\}\{([0-9]+)\}|frac([0-9])([0-9])(?![0-9])", ahead)
        if match is None or whole[2] or whole[1].denominator != 1:
            return whole
        if match[1] is not None and self.peek()[0] != "number":
            return whole
        over, under = (int(figure) for figure in match.groups() if figure is not None)
        if over >= under:
            raise ExpressionError("two numbers in a row")
        self.position += 3 if match[1] else 7 if match[3] else 2
        return ("number", whole[1] + Fraction(over, under), False)


def literal(token: str) -> Tree:
    """A number as it is written; decimal tells whether it has a point or an exponent."""
    mantissa, _, exponent = token.replace(",", "").replace(" ", "").lower().partition("e")
    if abs(int(exponent or 0)) > MAX_EXPONENT or len(mantissa) > MAX_DIGITS:
        raise ExpressionError(f"a number beyond {MAX_DIGITS} digits or an exponent beyond {MAX_EXPONENT}")
    value = Fraction(mantissa) * Fraction(10) ** int(exponent or 0)
    return ("number", value, "." in mantissa or bool(exponent))


def _negated(tree: Tree) -> Tree:
    if tree[0] == "number":
        return ("number", -tree[1], tree[2])
    return ("product", ("number", Fraction(-1), False), tree)


def _product(parts: list[Tree]) -> Tree:
    return parts[0] if len(parts) == 1 else ("product", *parts)

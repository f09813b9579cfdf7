"""What trees of `expression.py` are worth, and when two are equal: exactly, or at sampled points.

Small exact values stay fractions; everything else is complex floating point. Expressions with variables are equal when
they agree at fixed pseudo-random points; equations are equal when each holds wherever the other does.
"""

import cmath
import math
import random
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import TypeAlias

from glm4v.rewards.expression import ExpressionError, Tree

MAX_BITS = 1000  # of an exact numerator or denominator; also keeps float() of it finite
MAX_FACTORIAL = 170
LOOSE, TIGHT = 1e-5, 1e-9
POINTS, ENOUGH = 6, 3  # sampled; how many of them must be defined
MAX_VARIABLES = 12

Value: TypeAlias = Fraction | complex
Point: TypeAlias = Mapping[str, complex]

_RANDOM = random.Random(4101)
_POSITIVE = [[complex(_RANDOM.uniform(0.4, 2.4)) for _ in range(MAX_VARIABLES)] for _ in range(POINTS)]
_SIGNED = [
    [complex(_RANDOM.choice((-1, 1)) * _RANDOM.uniform(0.4, 2.4)) for _ in range(MAX_VARIABLES)] for _ in range(POINTS)
]
_STARTS = [complex(_RANDOM.uniform(-4, 4), _RANDOM.uniform(-1, 1)) for _ in range(10)]
_FUNCTIONS: dict[str, Callable[[complex], complex]] = {
    "sin": cmath.sin,
    "cos": cmath.cos,
    "tan": cmath.tan,
    "cot": lambda x: cmath.cos(x) / cmath.sin(x),
    "sec": lambda x: 1 / cmath.cos(x),
    "csc": lambda x: 1 / cmath.sin(x),
    "arcsin": cmath.asin,
    "arccos": cmath.acos,
    "arctan": cmath.atan,
    "sinh": cmath.sinh,
    "cosh": cmath.cosh,
    "tanh": cmath.tanh,
    "exp": cmath.exp,
    "ln": cmath.log,
    "log": cmath.log10,
    "lg": cmath.log10,
    "sqrt": cmath.sqrt,
    "abs": abs,
}


def evaluate(tree: Tree, point: Point | None = None) -> Value:
    """The value of a tree where its variables have the values of `point`.

    Raises:
        ExpressionError: undefined there, or beyond what is computed.
    """
    try:
        return _value(tree, point or {})
    except (ArithmeticError, ValueError) as error:
        raise ExpressionError(f"undefined: {error}") from error


def _value(tree: Tree, point: Point) -> Value:
    kind = tree[0]
    if kind == "number":
        value: Value = tree[1]
    elif kind == "variable":
        if tree[1] not in point:
            raise ExpressionError(f"{tree[1]} has no value")
        value = point[tree[1]]
    elif kind == "constant":
        value = _constant(tree[1])
    elif kind == "sum":
        value = Fraction(0)
        for part in tree[1:]:
            value = _bounded(value + _value(part, point))
    elif kind == "product":
        value = Fraction(1)
        for part in tree[1:]:
            value = _bounded(value * _value(part, point))
    elif kind == "quotient":
        value = _value(tree[1], point) / _value(tree[2], point)
    elif kind == "power":
        value = _power(_value(tree[1], point), _value(tree[2], point))
    elif kind == "percent":
        value = _value(tree[1], point) / 100
    elif kind == "degree":
        value = complex(_value(tree[1], point)) * math.pi / 180
    elif kind == "binomial":
        value = _binomial(_value(tree[1], point), _value(tree[2], point))
    else:
        value = _call(tree[1], _value(tree[2], point))
    return _bounded(value)


def _constant(name: str) -> Value:
    if name == "infinity":
        raise ExpressionError("infinite")
    return {"pi": complex(math.pi), "e": complex(math.e), "i": 1j}[name]


def _call(name: str, argument: Value) -> Value:
    if name in ("factorial", "floor", "ceil"):
        if isinstance(argument, complex):
            if abs(argument.imag) > 1e-12:
                raise ExpressionError(f"{name} of what is not a real number")
            if name == "factorial":  # of a letter, at a sampled point
                return complex(math.gamma(argument.real + 1))
            return Fraction(math.floor(argument.real) if name == "floor" else math.ceil(argument.real))
        if name != "factorial":
            return Fraction(math.floor(argument) if name == "floor" else math.ceil(argument))
        if argument.denominator != 1 or not 0 <= argument <= MAX_FACTORIAL:
            raise ExpressionError(f"a factorial beyond 0..{MAX_FACTORIAL}")
        return Fraction(math.factorial(int(argument)))
    if name == "abs" and isinstance(argument, Fraction):
        return abs(argument)
    return complex(_FUNCTIONS[name](complex(argument)))


def _power(base: Value, exponent: Value) -> Value:
    if base == 0 and (isinstance(exponent, complex) or exponent <= 0):
        raise ExpressionError("zero to a power that is not positive")
    if isinstance(base, Fraction) and isinstance(exponent, Fraction):
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if exponent.denominator == 1 and bits * abs(exponent) <= MAX_BITS:
            return base**exponent.numerator
        if exponent.denominator == 2 and base > 0 and abs(exponent.numerator) <= 9:
            over, under = math.isqrt(base.numerator), math.isqrt(base.denominator)
            if over * over == base.numerator and under * under == base.denominator:
                return Fraction(over, under) ** exponent.numerator
        if exponent.denominator % 2 and exponent.denominator > 1 and base < 0:  # the real cube root of -8
            return (
                -complex(float(-base) ** float(exponent))
                if exponent.numerator % 2
                else complex(float(-base) ** float(exponent))
            )
    value = complex(base) ** complex(exponent)
    if value == 0 and base != 0:
        raise ExpressionError("too small")
    return value


def _binomial(n: Value, k: Value) -> Value:
    if isinstance(k, complex) and isinstance(n, complex) and k.imag == n.imag == 0:  # of letters, at a sampled point
        return complex(math.gamma(n.real + 1) / math.gamma(k.real + 1) / math.gamma((n - k).real + 1))
    if not isinstance(k, Fraction) or k.denominator != 1 or not 0 <= k <= MAX_FACTORIAL:
        raise ExpressionError(f"a binomial coefficient over what is not 0..{MAX_FACTORIAL}")
    value: Value = Fraction(1)
    for index in range(int(k)):
        value = _bounded(value * (n - index) / (index + 1))
    return value


def _bounded(value: Value) -> Value:
    """Large exact values go on as floats; what floats cannot hold is refused."""
    if isinstance(value, Fraction):
        if max(value.numerator.bit_length(), value.denominator.bit_length()) <= MAX_BITS:
            return value
        value = complex(value)
    if not cmath.isfinite(value):
        raise ExpressionError("too large")
    return value


def variables(tree: Tree) -> frozenset[str]:
    """The names of the variables in a tree."""
    if tree[0] == "variable":
        return frozenset((tree[1],))
    found: frozenset[str] = frozenset()
    for part in tree[1:]:
        if isinstance(part, tuple):
            found |= variables(part)
    return found


def some(tree: Tree, test: Callable[[Tree], bool]) -> bool:
    """Whether `test` holds for the tree or a part of it."""
    return test(tree) or any(isinstance(part, tuple) and some(part, test) for part in tree[1:])


def is_decimal(tree: Tree) -> bool:
    """Whether a number in it is written with a point or an exponent."""
    return some(tree, lambda part: part[0] == "number" and bool(part[2]))


def is_whole(tree: Tree) -> bool:
    """Whether it is a whole number, written without a point."""
    return tree[0] == "number" and not tree[2] and tree[1].denominator == 1


def near(first: Value, second: Value, tolerance: float) -> bool:
    """Within a relative tolerance; exact values exactly where the tolerance is 0."""
    if first == second:
        return True
    if tolerance == 0.0 and isinstance(first, Fraction) and isinstance(second, Fraction):
        return False
    one, other = complex(first), complex(second)
    scale = max(abs(one), abs(other))
    return abs(one - other) <= max(tolerance, TIGHT) * scale or scale < 1e-14 < abs(tolerance)


def tolerance_of(given: Tree, right: Tree) -> float:
    """How far two constants may be apart: not at all for exact forms, a relative 1e-5 for decimals."""
    if is_whole(right):
        return 0.0
    return LOOSE if is_decimal(given) or is_decimal(right) else 0.0


def equal(given: Tree, right: Tree) -> bool:
    """Equal values wherever both are defined; `given` may have no variable that `right` lacks."""
    names = sorted(variables(right))
    if not variables(given) <= set(names) or len(names) > MAX_VARIABLES:
        return False
    tolerance = tolerance_of(given, right)
    if not names:
        return near(evaluate(given), evaluate(right), tolerance)
    tolerance = LOOSE if is_decimal(given) or is_decimal(right) else TIGHT
    samples = list(_POSITIVE)
    if not (_has_branches(given) or _has_branches(right)):
        samples += _SIGNED
    defined = 0
    for sample in samples:
        point = dict(zip(names, sample, strict=False))
        try:
            one, other = _value(given, point), _value(right, point)
        except (ArithmeticError, ValueError):
            continue
        defined += 1
        if not near(one, other, tolerance):
            return False
    return defined >= ENOUGH


def _has_branches(tree: Tree) -> bool:
    """Roots and logarithms: for these, letters stand for positive numbers."""
    return some(
        tree,
        lambda part: (
            (part[0] == "call" and part[1] in ("ln", "log", "lg", "sqrt"))
            or (part[0] == "power" and part[2][0] == "quotient")
        ),
    )


def differ_by_constant(given: Tree, right: Tree, names: list[str]) -> bool:
    """Whether given - right is the same number wherever both are defined."""
    differences = []
    for sample in _POSITIVE:
        point = dict(zip(names, sample, strict=False))
        try:
            differences.append(complex(_value(given, point)) - complex(_value(right, point)))
        except (ArithmeticError, ValueError):
            continue
    return len(differences) >= ENOUGH and all(abs(value - differences[0]) < 1e-7 for value in differences)


def proportional(given: Tree, right: Tree) -> int:
    """1 or -1 when given = c right for a constant c of that sign, else 0."""
    names = sorted(variables(right) | variables(given))
    ratios = []
    for sample in _POSITIVE + _SIGNED:
        point = dict(zip(names, sample, strict=False))
        try:
            ratios.append(complex(_value(given, point)) / complex(_value(right, point)))
        except (ArithmeticError, ValueError):
            continue
    if len(ratios) < ENOUGH or any(abs(ratio - ratios[0]) > 1e-6 * abs(ratios[0]) for ratio in ratios):
        return 0
    return 1 if ratios[0].real > 0 else -1


def same_zeros(given: Tree, right: Tree) -> bool:
    """Whether two equations, each as left minus right, hold at the same points."""
    names = sorted(variables(right))
    if set(names) != variables(given) or not 0 < len(names) <= MAX_VARIABLES:
        return False
    law = len(names) > 2 and _has_branches(given) and not _has_branches(right)  # solved for another symbol by a root
    return (law or _vanishes(given, right, names)) and _vanishes(right, given, names)


def _vanishes(tree: Tree, where: Tree, names: list[str]) -> bool:
    """Whether `tree` is zero at the zeros of `where` that a search finds."""
    roots = 0
    for unknown in names:
        for sample in _POSITIVE[:2] if len(names) > 1 else _POSITIVE[:1]:
            point = dict(zip(names, sample, strict=False))
            for root in _zeros(where, point, unknown):
                roots += 1
                try:
                    value, scale = _size(tree, point | {unknown: root})
                except (ArithmeticError, ValueError):
                    continue
                if abs(value) > 1e-6 * scale:
                    return False
    return roots > 0


def _size(tree: Tree, point: Point) -> tuple[complex, float]:
    """The value of a sum and the size of its largest term."""
    parts = [complex(_value(part, point)) for part in (tree[1:] if tree[0] == "sum" else (tree,))]
    return sum(parts), max(1e-3, *(abs(part) for part in parts))


def _zeros(tree: Tree, point: Point, unknown: str) -> list[complex]:
    """Zeros in one variable by the secant method from fixed starting points."""
    found: list[complex] = []
    for start in _STARTS if len(point) == 1 else _STARTS[:3]:
        root = _secant(tree, point, unknown, start)
        if root is not None and all(abs(root - other) > 1e-6 for other in found):
            found.append(root)
    return found


def _secant(tree: Tree, point: Point, unknown: str, start: complex) -> complex | None:
    before, here = start, start * 1.01 + 0.01
    try:
        low = complex(_value(tree, {**point, unknown: before}))
        for _ in range(40):
            high = complex(_value(tree, {**point, unknown: here}))
            if abs(high) < 1e-13 or abs(here - before) < 1e-13 * (1 + abs(here)):
                return here if abs(high) < 1e-9 else None
            if high == low:
                return None
            before, here, low = here, here - high * (here - before) / (high - low), high
    except (ArithmeticError, ValueError):
        return None
    return None


@lru_cache(maxsize=1024)
def difference(left: Tree, right: Tree) -> Tree:
    """left - right as one sum, its terms apart."""
    terms: list[Tree] = list(left[1:]) if left[0] == "sum" else [left]
    for term in right[1:] if right[0] == "sum" else (right,):
        terms.append(("product", ("number", Fraction(-1), False), term))
    return ("sum", *terms)

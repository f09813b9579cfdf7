"""The form that a question asks for: factors, a sum, primes, a result; and its own expression given back."""

import re
from fractions import Fraction
from functools import lru_cache
from math import gcd, prod

from glm4v.rewards import algebra
from glm4v.rewards.expression import ExpressionError, Tree, parse
from glm4v.rewards.text import fold, unwrap

_ASKED = re.compile(
    r"(?:simplify|evaluate|compute|calculate|expand|multiply out|factori[sz]e|factor|work out|find|reduce"
    r"|rationali[sz]e|write|express"
    r"|what is|solve|化简|计算|求|分解因式|展开)\s*:?\s*(?:the (?:expression|value of"
    r"|fraction)\s+)?\$?(.+?)\$?(?:\s+(?:as|in|into|to|by)\b.*)?[.?。？]?$",
    re.IGNORECASE,
)
_FACTOR = re.compile(r"factor|分解", re.IGNORECASE)
_EXPAND = re.compile(r"\bexpand|multiply out|展开", re.IGNORECASE)
_PRIMES = re.compile(r"prime fact|product of primes|质因数|素因数", re.IGNORECASE)
_SIMPLIFY = re.compile(r"simplif|lowest terms|simplest|化简|最简|rationali[sz]e|reduce", re.IGNORECASE)
_COMPLETELY = re.compile(r"complete|fully|彻底|完全", re.IGNORECASE)
_RATIONALISE = re.compile(r"rationali[sz]e|分母有理化", re.IGNORECASE)
_WORK_OUT = re.compile(
    r"\badd\b|\bsum\b|\btotal\b|subtract|multiply|\bdivide|evaluate|compute|calculate|work out|计算|求和", re.IGNORECASE
)

_MINUS: Tree = ("number", Fraction(-1), False)


def has_form(given: Tree, right: Tree, question: str) -> bool:
    """Whether the answer has the form that was asked for: factors, a sum, primes, a worked-out value."""
    asked = _asked(question)
    if asked is not None and _sorted(given) == asked != _sorted(right):
        return False
    if _PRIMES.search(question):
        return algebra.some(right, lambda part: part[0] == "product") <= _is_prime_product(given)
    if _FACTOR.search(question) and right[0] in ("product", "power"):
        whole = _COMPLETELY.search(question) is None or _is_factored(given) or not _is_factored(right)
        return given[0] in ("product", "power") and _degree(given) <= _degree(right) and whole
    if _EXPAND.search(question) and right[0] == "sum":
        return given[0] == "sum" and not algebra.some(
            given,
            lambda part: (
                part[0] in ("product", "power") and any(isinstance(p, tuple) and p[0] == "sum" for p in part[1:2])
            ),
        )
    if _RATIONALISE.search(question) and _has_root_below(given) and not _has_root_below(right):
        return False
    if _SIMPLIFY.search(question) and _size(given) > 2 * _size(right) + 4:
        return False
    task = given[0] in ("sum", "product") and all(part[0] == "number" for part in given[1:])
    return not (task and algebra.is_whole(right) and (_WORK_OUT.search(question) or algebra.is_decimal(given)))


def is_task(tree: Tree) -> bool:
    """Whether two numbers are to be added, multiplied, or divided with a decimal point."""
    parts = [part for part in tree[1:] if isinstance(part, tuple) and part != _MINUS]
    numbers = [part for part in parts if not algebra.some(part, _is_exact)]
    if tree[0] == "quotient":
        return any(algebra.is_decimal(part) for part in numbers)
    return tree[0] in ("sum", "product") and len(numbers) > 1


def _is_exact(tree: Tree) -> bool:
    """Whether it is a constant or a root, which may stand in a result."""
    return tree[0] == "constant" or (tree[0] == "power" and tree[2][0] == "quotient")


@lru_cache(maxsize=512)
def _asked(question: str) -> Tree | None:
    """The expression that the question wants to be worked on, its parts in order."""
    match = _ASKED.search(fold(question)[:400])
    try:
        return _sorted(parse(match[1])) if match else None
    except ExpressionError:
        return None


def _sorted(tree: Tree) -> Tree:
    """A tree with the parts of sums and products in one order."""
    parts = [_sorted(part) if isinstance(part, tuple) else part for part in tree[1:]]
    return (tree[0], *(sorted(parts, key=repr) if tree[0] in ("sum", "product") else parts))


def _size(tree: Tree) -> int:
    return 1 + sum(_size(part) for part in tree[1:] if isinstance(part, tuple))


def _degree(tree: Tree) -> int:
    """The largest sum inside a product: x^2 - 9 is 2, (x - 3)(x + 3) is 1."""
    if tree[0] == "power" and isinstance(tree[1], tuple) and tree[1][0] == "variable" and tree[2][0] == "number":
        return int(min(abs(tree[2][1]), 99))
    return max([1, *(_degree(part) for part in tree[1:] if isinstance(part, tuple))])


def _is_factored(tree: Tree) -> bool:
    """Whether no sum of a product has a number or a letter in all its terms: x(2x + 8) is not factored completely."""
    if tree[0] != "sum":
        return all(_is_factored(part) for part in tree[1:] if isinstance(part, tuple))
    numbers, letters = [], []
    for term in tree[1:]:
        factors = term[1:] if term[0] == "product" else (term,)
        whole = [abs(int(part[1])) for part in factors if part[0] == "number" and part[1].denominator == 1]
        numbers.append(prod(whole) if len(whole) == sum(part[0] == "number" for part in factors) else 1)
        bases = (part[1] if part[0] == "power" else part for part in factors)
        letters.append({base[1] for base in bases if base[0] == "variable"})
    return gcd(*numbers) == 1 and not set.intersection(*letters)


def _has_root_below(tree: Tree) -> bool:
    """Whether a root stands in a denominator."""
    return algebra.some(
        tree,
        lambda part: (
            part[0] == "quotient" and algebra.some(part[2], lambda p: p[0] == "power" and p[2][0] == "quotient")
        ),
    )


def _is_prime_product(tree: Tree) -> bool:
    if tree[0] == "number":
        value = tree[1]
        return value.denominator == 1 and 1 < value < 10**6 and all(value % n for n in range(2, int(value**0.5) + 1))
    if tree[0] == "power":
        return _is_prime_product(tree[1]) and tree[2][0] == "number"
    return tree[0] == "product" and all(_is_prime_product(part) for part in tree[1:])


def given_back(text: str, truth: str, question: str | None) -> bool:
    """Whether the answer is an expression or equation of the question, and the truth is written otherwise."""
    if not question or len(text) > 200:
        return False
    asked, given, right = (_compact(part) for part in (question, text, truth))
    if given == right or len(given) < 2 or not re.search(r"[-+*/^=<>(]|\\|[²³√!°]", given[1:]):
        return False
    at = asked.find(given)
    while at >= 0:
        before, after = asked[at - 1 : at], asked[at + len(given) : at + len(given) + 1]
        if not (before.isdigit() and given[0].isdigit()) and not (after.isdigit() and given[-1].isdigit()):
            return True
        at = asked.find(given, at + 1)
    return False


def _compact(text: str) -> str:
    return (
        re.sub(r"[\s$]|\\left|\\right|\\[,;!]", "", unwrap(text))
        .replace("\\cdot", "*")
        .replace("×", "*")
        .replace("\\times", "*")
    )

"""Mathematical answers: whether two shapes of `mathematics.py` are the same answer to the question."""

import re
from fractions import Fraction

from glm4v.rewards import algebra, mathematics, ratios
from glm4v.rewards.asked_form import given_back, has_form
from glm4v.rewards.asked_unit import percentage_asked
from glm4v.rewards.expression import ExpressionError, Tree, parse
from glm4v.rewards.mathematics import Equation, Expression, Inequality, Items, Region, Shape
from glm4v.rewards.notation import choices_written_out
from glm4v.rewards.parts import numbered
from glm4v.rewards.statement import cores, hedge
from glm4v.rewards.text import fold
from glm4v.rewards.values import bending, names_another

_DOWN = {ord(mark): f"_{number}" for number, mark in enumerate("₀₁₂₃₄₅₆₇₈₉")}
PERIODS = 6  # of an integer parameter that are compared
MAX_SET = 12  # elements of sets that are matched in any order
_ORDERED = re.compile(
    r"coordinate|vector|ordered|in order|order of|sequence|ratio|respectively|point|rank|position"
    r"|first .* terms|next .* terms"
    r"|ascending|descending|increasing|decreasing|依次|分别|坐标|顺序|从小到大|从大到小|排列|向量|矩阵|matrix|midpoint|vertex|terms",
    re.IGNORECASE,
)
_INTEGRAL = re.compile(r"\\int|∫|integra|antiderivative|primitive|积分|原函数", re.IGNORECASE)
_SOLVE = re.compile(r"\bsolve|\bfind \$?[a-z]\b|value of|what is \$?[a-z]\b|解方程|求", re.IGNORECASE)
_FAMILY = re.compile(r"integer|\\in \\mathbb|∈|general solution|all solutions|整数|通解", re.IGNORECASE)
_MATHEMATICAL = re.compile(
    r"[0-9=+*/^<>√π∞|≥≤≠\\{}()\[\]∪∅ℝ]|[²³¹⁰⁴-⁹ⁿα-ωΑ-Ω]|infinity|无解|空集|无穷"
    r"|no (?:real )?solution|empty set|\b(?:sin|cos|tan|cot|sec|csc|log|ln|exp|sqrt)\b"
    r"|\breals?\b|^[a-z]$|\w!"
    r"|实数"
)
_SPOKEN = tuple(
    (re.compile(pattern, re.IGNORECASE), sign)
    for pattern, sign in (
        (r"(?<=[\w)]) times (?:the )?(?=square root|cube root)", "·"),
        (r"(?:the )?(?:positive )?square root of |根号", "√"),
        (r"(?:the )?cube root of |三次根号", "∛"),
        (r"(?<=[\w)]) squared\b|(?<=\w)的平方", "^2"),
        (r"(?<=[\w)]) cubed\b|(?<=\w)的立方", "^3"),
        (r"(?<=[\w)]) (?:raised )?to the power (?:of )?(?=[\w(])", "^"),
        (
            r"^(?:all|any|every) (?:values? of |real numbers? )?(?=[a-zα-ω] ?(?:[<>≤≥=]|(?:is |that are )?(?:less"
            r"|greater|larger)))",
            "",
        ),
        (
            r"^(?:all|any|every) (?:the )?(?:real )?(?:numbers|reals|values)(?: of)? (?:that are )?(?=(?:less"
            r"|greater|larger) )",
            "x ",
        ),
        (r"(?<=^[a-zα-ω]) (?:is )?at least ", " ≥ "),
        (r"(?<=^[a-zα-ω]) (?:is )?at most ", " ≤ "),
        (r" (?:is )?greater than or equal to |大于等于|大于或等于|不小于", " ≥ "),
        (r" (?:is )?less than or equal to |小于等于|小于或等于|不大于", " ≤ "),
        (r" (?:is )?(?:greater|more|larger) than |大于", " > "),
        (r" (?:is )?(?:less|smaller) than |小于", " < "),
        (r" (?:is not equal to|does not equal|is not) |不等于", " ≠ "),
        (r"^(?:all |any )?(?:real numbers?|reals) (?:x )?(?:except|other than|not equal to) (?:x = |for )?", "x ≠ "),
        (r"(?<=[\d)}]) root (?=\d)", "√"),
        (r"(?<=[\w)]) plus (?=[\w(])|(?<=\w)加(?=\w)", " + "),
        (r"(?<=[\w)]) minus (?=[\w(])|(?<=\w)减(?=\w)", " - "),
        (r"(?<=[\w)]) times (?=[\w(])|(?<=\w)乘以?(?=\w)", " * "),
        (r"(?<=[\w)]) (?:divided by|over) (?=[\w(])", " / "),
    )
)


def read(text: str, truth: str, question: str | None) -> bool | None:
    """The reader of mathematics: None where the truth is none, else whether the answer is the same."""
    lowest = re.search(r"simpl|lowest|最简|化简", question or "", re.IGNORECASE)
    ratio = ratios.read(text, truth, question if ":" not in truth or lowest else None)
    if ratio is not None:
        return ratio
    truth = re.sub(r"\s*(?:square |cubic )?units?(?: squared)?$", "", _written(truth))
    right = mathematics.read(truth)
    if right is None or not _MATHEMATICAL.search(truth):
        return None
    if given_back(text, truth, question):
        return False
    indexed = set(re.findall(r"([A-Za-z])_\{?(\d)", re.sub(r"\\[a-z]+|\blog", " ", truth.translate(_DOWN))))
    if indexed:  # m1 for m_1
        text = re.sub(
            r"(?<![\\\d_^.])([A-Za-z])(\d)(?![\d.])",
            lambda m: "_".join(m.groups()) if m.groups() in indexed else m[0],
            text,
        )
    if re.search(r"\bbetween (?:which|what)\b", question or "", re.IGNORECASE):
        text = re.sub(r"^between\s+", "", text, flags=re.IGNORECASE)
    operations = [_set_operations(part) for part in (text.partition("=")[0], question or "")]
    if "=" in text and all(operations) and not operations[0] & operations[1]:
        return False
    if isinstance(right, Expression) and algebra.variables(right.tree):  # x + 1, x ≠ 1
        text = re.sub(r"\s*(?:,|\bfor\b|\bwhere\b|\()\s*[a-z]\s*(?:≠|!=|\\neq?\b)\s*-?[\d/]{1,6}\)?$", "", text)
    label, equals, _ = text.partition("=")
    bent = bending(label) if equals and not isinstance(right, Region) else None
    if bent and bent not in f"{question or ''} {truth}".casefold():
        return False
    text = _written(text)
    if isinstance(right, Expression):
        text = choices_written_out(text)
    if _INTEGRAL.search(question or ""):
        text = re.sub(r"\b[Cc]onst(?:ant)?\b\.?", "C", text)
    if isinstance(right, Items) and right.kind == "tuple":
        text = _components(text, len(right.parts)) or text
    listed = numbered(text) if isinstance(right, Items) else []
    if listed and len(listed) == len(right.parts):  # type: ignore[union-attr]
        text = "; ".join(listed)
    shape = mathematics.read(text)
    if shape is not None:
        return same(shape, right, question, truth)
    if hedge(_signs_aside(text), truth) is not None:
        return False
    for core in cores(text, question):
        shape = mathematics.read(core)
        if shape is None and re.search(r"[=]", core):
            shape = mathematics.read(_after_words(core))
        if shape is not None:
            return same(shape, right, question, truth)
    return False


def _set_operations(text: str) -> frozenset[str]:
    """Which of union, intersection and difference of sets a text speaks of."""
    signs = {"∩": "∩", "\\cap": "∩", "∪": "∪", "\\cup": "∪", "∖": "∖", "\\setminus": "∖"}
    return frozenset(name for sign, name in signs.items() if sign in text)


def points(text: str, truth: str, question: str | None) -> bool | None:
    """The reader of points such as (4, 7) and P(4, 7), in domains whose other answers are no mathematics."""
    point = re.fullmatch(r"(?:[A-Z]\s*=?\s*)?\([^()]{1,40}[,;][^()]{1,40}\)", truth.strip()) and re.search(r"\d", truth)
    return read(text, truth, question) if point else None


def _written(text: str) -> str:
    """Roots and operations in words as signs: the square root of 7, 根号7, x squared."""
    for pattern, sign in _SPOKEN:
        text = pattern.sub(sign, text)
    return text


def _components(text: str, count: int) -> str | None:
    """3i - 4j and 3\\mathbf{i} - 4\\hat{j} as (3, -4)."""
    text = re.sub(r"\\(?:mathbf|vec|hat|boldsymbol)\s*\{?\s*\\?([ijk])(?:math)?\s*\}?", r"\1", text)
    if not 1 < count <= 3 or not re.search(r"[ij]", text):
        return None
    try:
        tree = _with_axes(parse(text))
        origin = algebra.evaluate(tree, dict.fromkeys("ijk", 0j))
        parts = [algebra.evaluate(tree, dict.fromkeys("ijk", 0j) | {axis: 1 + 0j}) for axis in "ijk"]
        total = algebra.evaluate(tree, dict.fromkeys("ijk", 1 + 0j))
    except ExpressionError:
        return None
    if abs(complex(origin)) > algebra.TIGHT or not algebra.near(sum(parts), total, algebra.TIGHT):
        return None
    if any(abs(complex(part).imag) > algebra.TIGHT for part in parts) or any(parts[count:]):
        return None
    return f"({', '.join(f'{complex(part).real:.12g}' for part in parts[:count])})"


def _with_axes(tree: Tree) -> Tree:
    """A tree in which i is the first axis."""
    if tree == ("constant", "i"):
        return ("variable", "i")
    return tuple(_with_axes(part) if isinstance(part, tuple) else part for part in tree)


def _signs_aside(text: str) -> str:
    """The text without bars and signs that are mathematics."""
    return re.sub(r"[|±]|\\pm|\bnot equal\b", " ", text)


def _after_words(text: str) -> str:
    """The equation at the end of a clause: "the wavelength is λ = v/f" keeps "λ = v/f"."""
    left, _, right = text.partition("=")
    return f"{left.split()[-1] if left.split() else ''} = {right}"


def same(given: Shape, right: Shape, question: str | None, truth: str = "") -> bool:
    """Whether two shapes are the same answer."""
    try:
        return _same(given, right, question, truth)
    except (ExpressionError, RecursionError):
        return False


def _same(given: Shape, right: Shape, question: str | None, truth: str) -> bool:
    if isinstance(right, Region):
        region = mathematics.as_region(given)
        return region is not None and _same_region(region, right, question)
    if isinstance(right, Inequality):
        return (
            isinstance(given, Inequality)
            and given.strict == right.strict
            and algebra.proportional(given.difference, right.difference) == 1
        )
    if isinstance(right, Items) and isinstance(given, Region):
        pair = mathematics.as_region(right)
        if pair is not None and not all(given.intervals[0][2:]):
            return _same_region(given, pair, question)
    if isinstance(right, Items):
        return _same_items(given, right, question) or _same_intercept(given, right, question)
    if isinstance(given, Items) and len(given.parts) == 1 and given.kind == "set":
        given = given.parts[0]
    if isinstance(right, Equation):
        return _same_equation(given, right, question, truth)
    if not isinstance(right, Expression):
        return False
    tree = _value_of(given, question)
    return tree is not None and _same_expression(tree, right.tree, question)


def _same_intercept(given: Shape, right: Items, question: str | None) -> bool:
    """-4 or y = -4 for an intercept at (0, -4)."""
    asked = re.search(r"\b([xy])-?\s?intercept", question or "")
    parts = [part.tree for part in right.parts if isinstance(part, Expression)]
    if asked is None or len(parts) != 2 or parts["yx".index(asked[1])][1:2] != (Fraction(0),):
        return False
    if isinstance(given, Equation) and given.label in ("x", "y") and given.label != asked[1]:
        return False
    tree = _value_of(given, None)
    return tree is not None and algebra.equal(tree, parts["xy".index(asked[1])])


def _value_of(given: Shape, question: str | None) -> Tree | None:
    """The expression, or the last side of an equation of a label or of equal expressions."""
    if isinstance(given, Expression):
        return given.tree
    if not isinstance(given, Equation) or given.sides[-1] is None:
        return None
    last = given.sides[-1]
    label = mathematics.is_label(given.label)
    if names_another(given.label, question):
        return None
    if re.fullmatch(r"[a-z]\([a-z]\([a-z]\)\)", given.label) and question and given.label not in fold(question):
        return None
    compact = re.sub(r"[\s$\\{}]", "", fold(question or ""))
    asked_for = re.sub(r"[\s$\\{}]", "", given.label) in compact
    for index, side in enumerate(given.sides[:-1]):
        if index == 0 and (label or asked_for) and (side is None or not _is_constant(side)):
            continue
        if side is None or not _equal_loosely(side, last):
            return None
    return last


def _is_constant(tree: Tree) -> bool:
    return not algebra.variables(tree)


def _equal_loosely(one: Tree, other: Tree) -> bool:
    try:
        if not algebra.variables(one) and not algebra.variables(other):
            exact = algebra.is_whole(other) and not algebra.is_decimal(one)
            return algebra.near(algebra.evaluate(one), algebra.evaluate(other), 0.0 if exact else algebra.LOOSE)
        return algebra.equal(one, other)
    except ExpressionError:
        return False


def _same_expression(given: Tree, right: Tree, question: str | None) -> bool:
    question = question or ""
    infinite = [_infinite(tree) for tree in (given, right)]
    if any(infinite):
        return infinite[0] == infinite[1]
    if _INTEGRAL.search(question) and _constant_of(right):
        return _same_up_to_constant(given, right)
    if _is_family(right, question, solved=False):
        return _same_family([given], [right])
    if not algebra.equal(given, right):
        percent = percentage_asked(question)
        if percent and given[0] == "percent" and right[0] != "percent":
            return algebra.equal(given[1], right)
        return percent and right[0] == "percent" and given[0] == "number" and algebra.equal(given, right[1])
    return has_form(given, right, question)


def _infinite(tree: Tree) -> int:
    """1 for infinity, -1 for minus infinity, 0 for what is finite."""
    if tree == ("constant", "infinity"):
        return 1
    return -1 if tree == ("product", ("number", Fraction(-1), False), ("constant", "infinity")) else 0


def _constant_of(tree: Tree) -> str | None:
    """The integration constant among the terms of a sum."""
    terms = tree[1:] if tree[0] == "sum" else ()
    single = [term[1] for term in terms if term[0] == "variable" and term[1] in ("C", "c", "K", "k", "C_1", "c_1")]
    return single[0] if len(single) == 1 else None


def _same_up_to_constant(given: Tree, right: Tree) -> bool:
    mine, theirs = _constant_of(given), _constant_of(right)
    if mine is None or theirs is None:
        return False
    names = sorted(algebra.variables(right) - {theirs})
    if algebra.variables(given) - {mine} - set(names):
        return False
    without = [
        ("sum", *(term for term in tree[1:] if term != ("variable", name)))
        for tree, name in ((given, mine), (right, theirs))
    ]
    return algebra.differ_by_constant(without[0], without[1], names)


def _same_equation(given: Shape, right: Equation, question: str | None, truth: str) -> bool:
    if len(right.sides) != 2 or right.sides[1] is None:
        return False
    theirs = right.sides[1]
    variable = re.fullmatch(r"\\?[A-Za-z]+(?:_\{?\w+\}?)?", right.label) is not None
    if _is_family(theirs, f"{question or ''} {truth}", variable):
        mine = given.sides[-1] if isinstance(given, Equation) else given.tree if isinstance(given, Expression) else None
        return mine is not None and _same_family([mine], [theirs])
    if isinstance(given, Expression):
        return mathematics.is_label(right.label) and _same_expression(given.tree, theirs, question)
    if not isinstance(given, Equation):
        return False
    if mathematics.is_label(right.label) and (not variable or right.label == "y"):  # f'(x) and dy/dx, y and f(x)
        alike = mathematics.is_label(given.label) and (given.label == "y" or not re.fullmatch(r"[A-Za-z]", given.label))
        value = _value_of(given, question) if alike else None
        if value is not None and _same_expression(value, theirs, question):
            return True
    if (
        _label(given.label) == _label(right.label)
        and given.sides[-1] is not None
        and variable
        and right.label not in ("x", "y")
    ):
        tree = _value_of(given, question)
        if tree is not None and _same_expression(tree, theirs, question):
            return True
    if any(side is None for side in (*given.sides, *right.sides)) or len(given.sides) != 2:
        return given.label == right.label and given.sides[-1] is not None and algebra.equal(given.sides[-1], theirs)
    if variable and _is_constant(theirs) and _SOLVE.search(question or ""):  # 2x = 14 is not solved
        mine, value = given.sides if given.sides[0] == right.sides[0] else given.sides[::-1]
        return mine == right.sides[0] and value is not None and _same_expression(value, theirs, question)
    return algebra.same_zeros(algebra.difference(*given.sides), algebra.difference(*right.sides))


def _label(text: str) -> str:
    """a(n), a_{n} and a_n in one spelling."""
    return re.sub(r"^([a-z])(?:\((\w)\)|_\{(\w)\})$", lambda m: f"{m[1]}_{m[2] or m[3]}", text.replace(" ", ""))


def _is_family(tree: Tree, told: str, solved: bool) -> bool:
    """Whether a tree gives one solution for each integer n, k or m."""
    parameters = algebra.variables(tree)
    if len(parameters) != 1 or not parameters <= {"n", "k", "m"}:
        return False
    periodic = algebra.some(tree, lambda part: part == ("constant", "pi") or part[0] == "degree")
    return _FAMILY.search(told) is not None or (solved and periodic)


def _same_family(given: list[Tree], right: list[Tree]) -> bool:
    """Whether the same numbers come out for all integers: pi + 2 pi n and (2k + 1) pi."""
    values = []
    for trees in (given, right):
        found: list[list[float]] = [[], []]
        for tree in trees:
            names = algebra.variables(tree)
            if len(names) != 1:
                return False
            for n in range(-5 * PERIODS, 5 * PERIODS + 1):
                value = complex(algebra.evaluate(tree, {next(iter(names)): complex(n)}))
                if abs(value.imag) > 1e-9:
                    return False
                found[1].append(value.real)
                if abs(n) <= PERIODS // 2:
                    found[0].append(value.real)
        values.append(found)
    (few_mine, all_mine), (few_theirs, all_theirs) = values
    return _within(few_mine, all_theirs) and _within(few_theirs, all_mine)


def _within(few: list[float], many: list[float]) -> bool:
    return all(any(abs(value - other) < 1e-6 * max(1.0, abs(value)) for other in many) for value in few)


def _same_region(given: Region, right: Region, question: str | None) -> bool:
    if given.variable and right.variable and given.variable != right.variable:
        return False
    if len(given.intervals) != len(right.intervals):
        return False
    for mine, theirs in zip(given.intervals, right.intervals, strict=True):
        if mine[2:] != theirs[2:]:
            return False
        for one, other in zip(mine[:2], theirs[:2], strict=True):
            if one != other and (
                mathematics.INFINITY in (abs(one), abs(other))
                or abs(one - other) > algebra.LOOSE * max(abs(one), abs(other)) + 1e-12
            ):
                return False
    return True


def _same_items(given: Shape, right: Items, question: str | None) -> bool:
    if not isinstance(given, Items):
        if isinstance(given, Region) and right.kind == "tuple":  # (1, 2) has no other spelling than a pair
            return False
        given = Items((given,), "set")
    if len(given.parts) != len(right.parts) or (len(right.parts) > MAX_SET and right.kind != "tuple"):
        return False
    mine, theirs = _labels(given), _labels(right)
    if theirs and len(set(theirs)) == len(theirs) > 1:  # x = 1, y = 2
        return _same_assignment(given, mine, right, theirs)
    ordered = right.kind == "tuple" or (
        right.kind == "list" and not theirs and question is not None and _ORDERED.search(question) is not None
    )
    if (right.kind == "tuple" and given.kind == "set") or (
        right.kind == "set" and given.kind == "tuple" and right.parts
    ):
        return False
    if mine and theirs and set(mine) != set(theirs):
        return False
    values = [[_unlabelled(part) for part in items.parts] for items in (given, right)]
    if ordered:
        if mine and len(set(mine)) == len(mine) > 1 and right.kind == "list":
            return False
        return all(_same(_row(one, other), other, None, "") for one, other in zip(*values, strict=True))
    remaining = values[0]
    for other in values[1]:
        match = next((one for one in remaining if _same(one, other, None, "")), None)
        if match is None:
            return False
        remaining.remove(match)
    return True


def _row(given: Shape, right: Shape) -> Shape:
    """[1, 2] inside a matrix is a row, not an interval."""
    if (
        isinstance(right, Items)
        and isinstance(given, Region)
        and len(given.intervals) == 1
        and all(given.intervals[0][2:])
    ):
        numbers = [("number", Fraction(end), False) for end in given.intervals[0][:2]]
        return Items(tuple(Expression(number) for number in numbers), "tuple")
    return given


def _labels(items: Items) -> list[str]:
    """The variables, without their indices, of x = 1, y = 2 or x_1 = 2, x_2 = 3; [] where a part has none."""
    found: list[str] = []
    for part in items.parts:
        match = (
            re.fullmatch(r"\\?([A-Za-z]+)(?:_?\{?[0-9]\}?|[₀-₉])?", part.label.strip())
            if isinstance(part, Equation)
            else None
        )
        if match is None:
            return (
                found[:1] * len(items.parts) if found and isinstance(part, Expression) and len(set(found)) == 1 else []
            )
        found.append(match[1])
    return found


def _unlabelled(part: Shape) -> Shape:
    """The value of x = 2."""
    if (
        isinstance(part, Equation)
        and len(part.sides) == 2
        and part.sides[1] is not None
        and (mathematics.is_label(part.label) or _is_constant(part.sides[1]))
    ):
        return Expression(part.sides[1])
    return part


def _same_assignment(given: Items, mine: list[str], right: Items, theirs: list[str]) -> bool:
    values = [[_unlabelled(part) for part in items.parts] for items in (given, right)]
    if mine:
        if set(mine) != set(theirs) or len(set(mine)) < len(mine):
            return False
        values[0] = [values[0][mine.index(label)] for label in theirs]
    elif given.kind != "tuple":
        return False
    return all(_same(one, other, None, "") for one, other in zip(*values, strict=True))

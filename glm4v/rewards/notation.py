"""Unicode and LaTeX spellings of mathematics as the few marks that the readers know."""

import re

_UP, _DOWN = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿˣⁱ", "₀₁₂₃₄₅₆₇₈₉ₙₐₑₓ"
_SUPERSCRIPTS = str.maketrans(_UP, "0123456789+-nxi")
_SUBSCRIPTS = str.maketrans(_DOWN, "0123456789naex")
_FRACTIONS = dict(
    zip(
        "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞",
        ["1/2", "1/3", "2/3", "1/4", "3/4", "1/5", "2/5", "3/5", "4/5", "1/6", "5/6", "1/8", "3/8", "5/8", "7/8"],
        strict=True,
    )
)
_SPELLINGS = {
    **{"−": "-", "–": "-", "×": "*", "·": "*", "⋅": "*", "∙": "*", "•": "*", "÷": "/", "⁄": "/", "**": "^"},
    **{"√": "\\sqrt ", "∛": "\\cbrt ", "∞": "\\infty ", "{,}": ",", "\\%": "%", "∘": "°", "º": "°"},
    **{"⌊": "\\lfloor ", "⌋": "\\rfloor ", "⌈": "\\lceil ", "⌉": "\\rceil "},
}
_COMMANDS = {
    **{"cdot": "*", "times": "*", "ast": "*", "div": "/", "dfrac": "\\frac ", "tfrac": "\\frac ", "cfrac": "\\frac "},
    **{"left": "", "right": "", "displaystyle": "", "limits": "", "quad": " ", "qquad": " ", "dbinom": "\\binom "},
    **{"tbinom": "\\binom ", "lvert": "|", "rvert": "|", "vert": "|", "circ": "°", "degree": "°", "mid": "|"},
    **{"varphi": "\\phi ", "varepsilon": "\\epsilon ", "vartheta": "\\theta ", "infty": "\\infinity ", "lbrace": "{"},
    **{
        "rbrace": "}",
        "arcsec": "\\bad ",
        "vec": "",
        "hat": "",
        "overrightarrow": "",
        "bar": "",
        "overline": "",
        "prime": "'",
    },
}
_CHOOSE = re.compile(
    r"nCr\s*\(\s*(\d{1,3})\s*,\s*(\d{1,3})\s*\)|_\{(\d{1,3})\}\s*C\s*_\{(\d{1,3})\}|"
    r"\^?\{?(\d{1,3})\}?\s*C\s*_?\{?(\d{1,3})\}?|C\s*\(\s*(\d{1,3})\s*,\s*(\d{1,3})\s*\)"
    r"|C_\{?(\d{1,3})\}?\^\{?(\d{1,3})\}?"
    r"|\{?\s*(\w{1,3})\s*\\choose\s*(\w{1,3})\s*\}?"
)
_ARRANGE = re.compile(
    r"(\d{1,3})\s*P\s*(\d{1,3})|P\s*\(\s*(\d{1,3})\s*,\s*(\d{1,3})\s*\)|[AP]_\{?(\d{1,3})\}?\^\{?(\d{1,3})\}?"
)
_SIGNS = {
    "≤": "<=",
    "≥": ">=",
    "\\leq": "<=",
    "\\geq": ">=",
    "\\le": "<=",
    "\\ge": ">=",
    "≠": "!=",
    "\\neq": "!=",
    "\\ne": "!=",
}
_SIGNS |= {
    "\\lt": "<",
    "\\gt": ">",
    "≦": "<=",
    "≧": ">=",
    "⩽": "<=",
    "⩾": ">=",
    "\\leqslant": "<=",
    "\\geqslant": ">=",
    "=<": "<=",
}
_MARKS = {
    "≈": "=",
    "\\approx": "=",
    "\\cup": "∪",
    "\\cap": "∩",
    "\\in": "∈",
    "\\pm": "±",
    "\\langle": "⟨",
    "\\rangle": "⟩",
    "\\lor": " or ",
    "\\land": " and ",
}
_MARKS |= {
    "\\vee": " or ",
    "\\wedge": " and ",
    "\\setminus": "∖",
    "R\\{": "ℝ∖{",
    "\\backslash": "∖",
    "或": " or ",
    "且": " and ",
    "负无穷大": "-∞",
    "负无穷": "-∞",
    "正无穷大": "∞",
    "正无穷": "∞",
    "无穷大": "∞",
    "negative infinity": "-∞",
    "positive infinity": "∞",
    "和": " and ",
}
_MARKS |= {
    "\\mathbb{Z}": "Z",
    "ℤ": "Z",
    "\\Z": "Z",
    "\\mathbb{R}": "ℝ",
    "\\mathbb R": "ℝ",
    "\\ldots": "…",
    "\\dots": "…",
    "...": "…",
}


_REPEATING = re.compile(
    r"(\d{1,9})\.(\d{0,9}?)(?:\\overline\s*\{?(\d{1,9})\}?|\((\d{1,9})\)|((?:\\dot\s*\{?\d\}?\d{0,6}?){1,2}(?![\d\\]))"
    r"|((?:\d\u0305)+)|((\d{1,6}?)\8{1,9}\d{0,5})(?:\.{3}|…|\\l?dots))"
)


def repeating_decimals(text: str) -> str:
    """0.\\overline{3}, 0.(3), 0.\\dot{1}4285\\dot{7} and 0.333... as fractions."""
    return _REPEATING.sub(_repeating, text)


def _repeating(match: re.Match[str]) -> str:
    whole, start = match[1], match[2]
    period = match[8] or re.sub(r"\D", "", next(group for group in match.groups()[2:] if group))
    shift = 10 ** len(start)
    under = shift * (10 ** len(period) - 1)
    over = int(whole + start) * (10 ** len(period) - 1) + int(period)
    return f"({over}/{under})"


def choices_written_out(text: str) -> str:
    """8C3, C(8, 3) and A_8^3 by binomial coefficients and factorials."""
    if "C" in text or "choose" in text:
        text = _CHOOSE.sub(lambda m: "\\binom{{{}}}{{{}}}".format(*(part for part in m.groups() if part)), text)
    if "P" in text or "A" in text:
        text = _ARRANGE.sub(lambda m: "(({0})!/(({0})-({1}))!)".format(*(part for part in m.groups() if part)), text)
    return text


def plain_mathematics(text: str) -> str:
    """LaTeX and unicode spellings as the few ASCII marks that the parser reads."""
    text = text.strip().strip("$").strip()
    if "." in text and re.search(r"\\|\(|\u0305|…|\.{3}", text):
        text = repeating_decimals(text)
    text = re.sub(r"(?<=\d)(?<!\b0)\s*[xX]\s*(?=\d)", "*", choices_written_out(text))
    text = re.sub(r"^([-+]?\d{1,6})(?: and |\s*又\s*)(?=(?:\d{1,6}/\d{1,6}|\\[dt]?frac\b.*)$)", r"\1 ", text)
    if not text.isascii():
        text = re.sub(f"[{_UP}]+", lambda power: f"^({power[0].translate(_SUPERSCRIPTS)})", text)
        text = re.sub(f"[{_DOWN}]+", lambda index: f"_{{{index[0].translate(_SUBSCRIPTS)}}}", text)
        text = re.sub(f"[{''.join(_FRACTIONS)}]", lambda part: f" {_FRACTIONS[part[0]]} ", text)
    for old, new in _SPELLINGS.items():
        if old in text:
            text = text.replace(old, new)
    if "\\" in text:
        text = re.sub(r"\\[,;:! ]", " ", text)
        text = re.sub(r"\\([A-Za-z]+)", lambda command: _COMMANDS.get(command[1], command[0]), text)
        text = re.sub(r"\^\s*\{?\s*°\s*\}?", "°", text).replace("\\{", "{").replace("\\}", "}")
    return text


def plain_relations(text: str) -> str:
    """Signs of order, sets and logic, vectors and the clause about an integer parameter."""
    text = re.sub(
        r"\\left\s*\\?([{(\[|])|\\right\s*\\?([})\]|])",
        lambda m: "\\" + (m[1] or m[2]) if (m[1] or m[2]) in "{}" else (m[1] or m[2]),
        text,
    )
    text = re.sub(r"\\right\s*\.|^\\?\{(?=\s*\\begin)", "", text)
    text = re.sub(r"(?:[ℝR]|\\mathbb\s*\{?R\}?)\s*[-−\\]\s*\\?\{(?=[^}]*\d)", "ℝ∖{", text)
    for old, new in (*_SIGNS.items(), *_MARKS.items()):
        if old in text:
            text = re.sub(
                re.escape(old) + (r"(?![A-Za-z])" if old[-1].isalpha() and old[0] == "\\" else ""),
                f" {new} " if new not in "()" else new,
                text,
            )
    text = re.sub(r"\\(?:vec|mathbf|overrightarrow|hat|bar)\s*\{?([A-Za-z]{1,2})\}?", r"\1", text)
    text = re.sub(r"^<([^<>]+,[^<>]+)>$", r"⟨\1⟩", text.strip())
    text = re.sub(
        r"(?<=[^,])[,(]?\s*(?:where|for|for any|for all|with)?\s*(?:any )?\s*(?:integers? )?[nkm]\s*∈\s*Z\s*\)?\s*$",
        "",
        text,
    )
    return re.sub(r",?\s*(?:where|for|with)\s+[nkm] is (?:any|an) integer\s*$", "", text).strip()

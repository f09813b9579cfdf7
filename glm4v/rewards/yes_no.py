"""Yes or no: one of the two, and what may explain it."""

import re

from glm4v.rewards import assertion
from glm4v.rewards.statement import question_words, stem
from glm4v.rewards.text import foreign_script, unwrap
from glm4v.rewards.verdict import Truth, Verdict, quote, truth_text

MAX_CHARACTERS = 300
_YES = {
    "yes",
    "true",
    "correct",
    "right",
    "y",
    "t",
    "yeah",
    "yep",
    "是",
    "对",
    "正确",
    "有",
    "会",
    "能",
    "√",
    "✓",
    "✔",
    "是的",
    "对的",
    "可以",
    "有的",
    "yes it is",
    "affirmative",
}
_NO = {
    "no",
    "false",
    "incorrect",
    "wrong",
    "n",
    "f",
    "nope",
    "不是",
    "否",
    "没有",
    "错误",
    "错",
    "不正确",
    "不对",
    "×",
    "x",
    "✗",
    "✘",
    "不",
    "不会",
    "不能",
    "不可以",
    "没",
    "untrue",
}
_YES |= {
    "absolutely",
    "certainly",
    "indeed",
    "of course",
    "definitely",
    "definitely yes",
    "没错",
    "当然",
    "当然是",
    "是这样",
}
_NO |= {"never", "无", "definitely not", "of course not", "certainly not"}
_NO |= {"not true", "not correct", "not right", "不是的", "错的", "negative", "not really"}
_WORDS = re.compile(r"[^\W\d_]+(?:'[a-z]+)?|[√✓✔×✗✘]|\d+")
_START = re.compile(
    r"^(?:the (?:statement|answer|claim|sentence|proposition) is|this (?:statement |claim )?is|that is|it is"
    r"|it's|that's|i think|answer:?|the answer:?"
    r"|(?:这个?|该|此)?(?:说法|命题|判断|陈述|结论|语句|句话|答案)是?)\s*(?:that\s+)?"
)
_ECHO = re.compile(
    r"(?:it|he|she|they|there|this|that|we|i|you) (?:is|are|was|were|does|do|did|can|will|has|have|would"
    r"|should)(n't| not)?|it (can)not|it (wo|ca)n't"
)
_VERB = re.compile(r"\b(?:is|are|was|were|has|have|can|will|does|do|did|equals?|because|since)\b|n't\b|=")
_PRONOUN = re.compile(
    r"(?:it|they|he|she|there|this|that|the|these|those|i|we|you|because|since|not|nobody"
    r"|nothing|-|–|—|\()\b"
)
_EXISTS = re.compile(r"\b(?:is|are) there\b|\bany(?:one|body|thing)?\b|\bha(?:s|ve)\b")
_DENIALS = re.compile(r"\b(?:not|never|nobody|nothing|none|no)\b|n't\b|不|没|无")
_UNSURE = re.compile(
    r"吗|\b(?:or|maybe|perhaps|possibly|probably|unless|but|either|neither|both|if|otherwise|could|might|unsure"
    r"|depends|sometimes|however|partly|although)\b"
    r"|[?/|%=]|或|还是|可能|但|无法|不确定|不一定|既"
)
_SOME = re.compile(r"\b(?:only|neither|none|except)\b")
_ALL = re.compile(r"\b(?:both|all|every|each)\b", re.IGNORECASE)
_GAS = re.compile(r"formula|gas|oxide|product|compound|substance|molecule|气|化学式", re.IGNORECASE)
_HAN = re.compile(r"[\u4e00-\u9fff]")


def check(prediction: str, truth: Truth, question: str | None = None) -> Verdict:
    """1 when both say yes, or both say no."""
    target = truth_text(truth)
    given, right = polarity(prediction, question), polarity(target)
    if foreign_script(prediction, target + (question or "")) is not None:
        return Verdict(0.0, f"{quote(prediction)} has letters of another script")
    if given is None or right is None:
        return Verdict(0.0, f"{quote(prediction)} is not a yes or a no")
    return Verdict(float(given == right), f"{'yes' if given else 'no'} said, {'yes' if right else 'no'} is right")


def read(text: str, truth: str, question: str | None) -> bool | None:
    """The reader of yes and no in other domains: None where the truth is neither."""
    if truth == "NO" and _GAS.search(question or ""):  # nitrogen monoxide
        return None
    if truth.casefold() not in ("yes", "no", "true", "false", "是", "否", "不是", "正确", "错误", "对", "错"):
        return None
    given = None if text.casefold().startswith("right") else polarity(text, question)
    return given is not None and given == polarity(truth)


def polarity(text: str, question: str | None = None) -> bool | None:
    """True for yes, False for no, None for neither, both, or one that other words take back."""
    if len(text) > MAX_CHARACTERS:
        return None
    text = unwrap(text).casefold().strip(" .!,")
    text = re.sub(
        r"^\((\w+)\)$|^.{1,120},\s*(?:so|therefore|thus)\s+(?:the answer is )?(yes|no)$", lambda m: m[1] or m[2], text
    )
    if _HAN.search(text):
        said = _han(text)
        return _asserted(text, question or "") if said is None else said
    if re.match(r"no\.?\s*\d", text):  # number 12
        return None
    if re.match(r"[-!¬≠~±]", text) or re.search(r"[±]|\\pm|\b(?:i guess|i suppose)\b", text):
        return None
    bare = _START.sub("", text).removeprefix("indeed, ")
    if bare in _YES or bare in _NO:
        return bare in _YES
    asked = set(_WORDS.findall((question or "").casefold())) - {"or", "yes", "no"}
    told = re.sub(r"(?<=\d)\s*[=×x*/]\s*(?=\d)", " ", bare)
    if any(match[0] not in asked for match in _UNSURE.finditer(told)):
        return None
    first, _, rest = bare.partition(" ") if not bare.startswith("not ") else ("", "", bare)
    word = first.strip(",.:;!-–—")
    if word not in ("yes", "no", "true", "false", "correct", "incorrect", "yeah", "nope", "right", "wrong"):
        echoed = _echoed(text, question) if _echoed(bare, question) is None else _echoed(bare, question)
        said = assertion.read(text, question) if echoed is None else echoed
        return False if said is None and assertion.contradicts(text, question) else said
    if rest.count(",") > 2 and not _VERB.search(rest):  # a list of candidates, no explanation
        return None
    more = set(_WORDS.findall(rest))
    contrary = more & (_NO if word in _YES else _YES) - {"right", "n", "y", "t", "f", "x"}
    if contrary or (word in _YES and more & {"yes", "no"}):
        return None
    if word in _YES:
        denied = _DENIALS.search(rest) is not None and not _DENIALS.search((question or "").casefold())
        opposed = assertion.opposed(rest, question) or assertion.read(rest, question) is False
        opposed |= _SOME.search(rest) is not None and _ALL.search(question or "") is not None
        return None if denied or opposed else _explained(rest, question, True)
    if (first != "no" and assertion.read(rest, question, loose=True)) or re.fullmatch(
        r"(?:it|they|he|she|there|both|all(?: \w+)?) (?:is|are|was|were|do|does|did|can|will|has|have)", rest
    ):
        return None  # no, it does
    if word == "no" and first == "no" and rest and not _PRONOUN.match(rest):  # no dogs, no solution
        known = (question or "").casefold()
        return False if _EXISTS.search(known) and stem(rest.split()[0]) in question_words(known) else None
    return False


def _explained(rest: str, question: str | None, said: bool) -> bool | None:
    """A yes must be followed by the question's own words, if any: "Yes, there is a cat" is no yes to a dog."""
    if not rest or question is None:
        return said
    content = {word for word in _WORDS.findall(rest) if len(word) > 3}
    known = set(_WORDS.findall(question.casefold()))
    subject = re.search(r"\bthere (?:is|are) (?:an? |the |some )?([^\W\d_]+)", rest)
    if (
        subject
        and subject[1] not in known
        and f"{subject[1]}s" not in known
        and subject[1].removesuffix("s") not in known
    ):
        return None
    return said if len(content) < 12 else None


def _echoed(text: str, question: str | None) -> bool | None:
    """He is; it does not; there are none; the statement is not true."""
    match = _ECHO.fullmatch(text)
    if match:
        return not any(match.groups())
    if re.fullmatch(r"(?:the \w+ is |this is |it is |that is )?not (?:true|correct|right)", text):
        return False
    if _EXISTS.search((question or "").casefold()) and re.match(r"(?:there (?:is|are) )?(?:no|none|not any)\b", text):
        return False
    return None


def _han(text: str) -> bool | None:
    text = re.sub(r"[\s。.,，!！]+", ",", text).strip(",")
    if _UNSURE.search(text) or re.search(r"[a-z]", text):
        return None
    body = _START.sub("", text)
    body = re.sub(r"的$", "", body)
    for whole in (text, body):
        if whole in _YES or whole in _NO:
            return whole in _YES
    first, comma, rest = text.partition(",")
    for part in (_START.sub("", first), first):
        if comma and (part in _YES or part in _NO):
            said = part in _YES
            return None if said and re.search(r"不|没|错", rest) else said
    if re.search(r"(?:是|为)(?:正确|对)的?$|正确$", text):
        return not re.search(r"不|没|错", text) or None if not re.search(r"不正确|不对", text) else False
    if re.search(r"(?:是)?(?:错误|错|不正确|不对)的?$", text) and not re.search(r"没错|不是错", text):
        return False
    return None


def _asserted(text: str, question: str) -> bool | None:
    """The question's own statement, or its denial: 图中有狗, 它们不平行, 天空中没有鸟."""
    if _UNSURE.search(text) or re.search(r"[a-z]", text):
        return None
    text = re.sub(r"它们?|他们?|她们?|这|那|[\s。.,，!！]", "", text)
    text = re.sub(r"(?<=有)[一二两三四五几\d]*[只个条位张棵辆本朵名](?=.)", "", text)
    denials = re.findall(r"不是|没有|不|没|无", text)
    rest = re.sub(r"不是|没有|不|没|无", "有" if "没有" in denials and "有" in question else "", text)
    if len(denials) > 1 or re.search(r"不|没", question):
        return None
    if _HAN.search(question):
        covered, position = True, 0
        while position < len(rest):
            length = next(
                (n for n in range(len(rest) - position, 0, -1) if rest[position : position + n] in question), 0
            )
            covered, position = covered and length > 0, position + max(length, 1)
        return not denials if covered and rest and "吗" in question else None
    exists = _EXISTS.search(question.casefold()) and "没有" in denials
    return False if len(denials) == 1 and (exists or (text.startswith("不") and len(text) <= 4)) else None

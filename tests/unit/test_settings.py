"""Settings: argument over environment over ragkit.toml over default."""

from __future__ import annotations

from pathlib import Path

import pytest

from ragkit.errors import ConfigError
from ragkit.settings import Settings, load_settings


def toml(text: str, folder: Path | None = None) -> Path:
    file = (folder or Path()) / "ragkit.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_the_default_holds_where_nothing_is_set() -> None:
    assert load_settings().candidates == Settings.model_fields["candidates"].default == 50


def test_the_file_wins_over_the_default() -> None:
    toml("candidates = 20")
    assert load_settings().candidates == 20


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    toml("candidates = 20")
    monkeypatch.setenv("RAGKIT_CANDIDATES", "30")
    assert load_settings().candidates == 30


def test_the_argument_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    toml("candidates = 20")
    monkeypatch.setenv("RAGKIT_CANDIDATES", "30")
    assert load_settings(candidates=40).candidates == 40


def test_an_argument_of_none_is_no_argument() -> None:
    toml("candidates = 20")
    assert load_settings(candidates=None).candidates == 20


def test_the_file_in_the_working_folder_wins_over_the_one_in_the_home(home: Path) -> None:
    toml("candidates = 20\nagent = 'mine'", home)
    assert load_settings().candidates == 20
    toml("candidates = 30")
    settings = load_settings()
    assert (settings.candidates, settings.agent) == (30, "interview"), "the two files are not mixed"


def test_a_named_file_wins_over_the_one_in_the_working_folder(tmp_path: Path) -> None:
    toml("candidates = 20")
    assert load_settings(toml("candidates = 30", tmp_path / "other")).candidates == 30


def test_the_home_is_that_of_the_environment(home: Path) -> None:
    assert load_settings().home == home


@pytest.mark.parametrize("source", ["file", "argument"])
def test_an_unknown_key_is_refused_with_those_that_are_known(source: str) -> None:
    with pytest.raises(ConfigError, match=r"'candidate'.*Allowed: .*candidates") as caught:
        if source == "file":
            toml("candidate = 20")
            load_settings()
        else:
            load_settings(candidate=20)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("source", ["file", "environment", "argument"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("candidates", "many"),
        ("candidates", "1"),
        ("coverage_floor", "1.5"),
        ("tool_calling", "magic"),
        ("chunk_target", "0"),
    ],
)
def test_a_wrong_value_names_the_setting(source: str, name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=f"'{name}'"):
        if source == "file":
            toml(f"{name} = {value!r}")
            load_settings()
        elif source == "environment":
            monkeypatch.setenv(f"RAGKIT_{name.upper()}", value)
            load_settings()
        else:
            load_settings(**{name: value})


def test_a_wrong_value_in_a_file_names_the_file() -> None:
    toml("candidates = 1")
    with pytest.raises(ConfigError, match=r"ragkit\.toml"):
        load_settings()


def test_a_file_that_is_no_toml_is_refused_by_name() -> None:
    toml("candidates = = 3")
    with pytest.raises(ConfigError, match=r"ragkit\.toml is not valid TOML.*line 1"):
        load_settings()


def test_a_named_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"not found: .*gone\.toml"):
        load_settings(tmp_path / "gone.toml")


def test_settings_do_not_change_after_they_were_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().candidates = 3


@pytest.mark.parametrize("source", ["OPENAI_API_KEY", "RAGKIT_OPENAI_API_KEY"])
def test_the_key_is_read_but_never_shown(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(source, "sk-secret")
    settings = load_settings()
    assert settings.api_key == "sk-secret"
    assert "sk-secret" not in repr(settings)


def test_ragkits_own_variables_win_over_openais(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"API_KEY": "key", "BASE_URL": "http://x"}.items():
        monkeypatch.setenv(f"OPENAI_{name}", "theirs")
        monkeypatch.setenv(f"RAGKIT_OPENAI_{name}", value)
    settings = load_settings()
    assert (settings.api_key, settings.base_url) == ("key", "http://x")


def test_the_home_is_made_readable_by_its_owner_only(home: Path) -> None:
    assert load_settings().ensure_home() == home
    assert home.stat().st_mode & 0o077 == 0


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"RAGKIT_HOME"):
        load_settings(home=tmp_path / "file" / "home").ensure_home()


@pytest.mark.parametrize("name", ["HOME", "NOTES", "CANDIDATES"])
def test_an_empty_variable_is_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"RAGKIT_{name}", "")
    assert getattr(load_settings(), name.lower()) == getattr(Settings(), name.lower())
    assert load_settings().home.is_absolute()


ADDRESSES = [
    "openai_base_url = 'http://x/v1'",
    "chat_model = 'openai:m@http://x'",
    "embedding_model = 'openai:m@http://x'",
]


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("key", ["OPENAI_API_KEY", "RAGKIT_OPENAI_API_KEY"])
def test_an_address_in_a_file_that_was_merely_found_gets_no_key(
    address: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml(address)
    monkeypatch.setenv(key, "sk-secret")
    name = address.split()[0]
    with pytest.raises(ConfigError, match=rf"'{name}'.*your API key.*RAGKIT_{name.upper()}.*--config") as caught:
        load_settings()
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_somebody_vouched_for_gets_the_key(
    address: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    assert load_settings(toml(address, tmp_path)).api_key == "sk-mine"
    toml(address, home)
    assert load_settings().api_key == "sk-mine"
    toml(address)
    name, value = address.replace("'", "").split(" = ")
    assert load_settings(**{name: value}).api_key == "sk-mine"
    monkeypatch.setenv(f"RAGKIT_{name.upper()}", value)
    assert load_settings().api_key == "sk-mine"


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_may_use_the_key_beside_it_or_none(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    toml(address)
    assert load_settings().api_key is None
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    toml(f"{address}\nopenai_api_key = 'theirs'")
    assert load_settings().api_key == "theirs"


def test_an_agent_that_a_found_file_names_sends_the_key_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    toml("agent = 'theirs.md'")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    settings = load_settings()
    settings.check_address("agent", "local")
    with pytest.raises(ConfigError, match="'agent'"):
        settings.check_address("agent", "openai:m@http://x")
    load_settings(agent="theirs.md").check_address("agent", "openai:m@http://x")


def test_the_defaults_are_those_of_the_index_and_of_the_fusion() -> None:
    from ragkit.api import fusion_settings, index_settings
    from ragkit.index.fingerprint import IndexSettings
    from ragkit.retrieval.fusion import FusionSettings

    assert index_settings(load_settings()) == IndexSettings()
    assert fusion_settings(load_settings()) == FusionSettings()


@pytest.mark.parametrize(("name", "value"), [("bm25_k1", "-1"), ("bm25_b", "1.5"), ("bm25_variant", "bm26")])
def test_bm25_settings_have_their_ranges(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}'"):
        load_settings(**{name: value})

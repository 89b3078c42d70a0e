"""Keys do not get into logs and errors."""

from __future__ import annotations

import base64
import logging
from pathlib import Path

import pytest

from ragkit.errors import EndpointError
from ragkit.redact import RedactingFormatter, keep_secret, redacted
from ragkit.settings import load_settings


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("POST http://me:secret@host/v1", "POST http://host/v1"),
        ("{'Authorization': 'Bearer sk-123.abc'}", "{'Authorization': 'Bearer …'}"),
        ('"authorization": "Basic bWU6eA=="', '"authorization": "Basic …"'),
        ("mail me@example.org, a//b@c", "mail me@example.org, a//b@c"),
    ],
)
def test_credentials_in_addresses_and_headers_go(text: str, left: str) -> None:
    assert redacted(text) == left


def test_a_secret_of_the_settings_goes_in_every_form(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('openai_api_key = "k/ey-ünsafe-99"\n', encoding="utf-8")
    config.chmod(0o600)
    load_settings(config)
    for form in ("k/ey-ünsafe-99", "k%2Fey-%C3%BCnsafe-99", base64.b64encode("k/ey-ünsafe-99".encode()).decode()):
        assert redacted(f"<{form}>") == "<…>"
    error = EndpointError("The endpoint said: bad key k/ey-ünsafe-99.", "Check it.")
    assert "ünsafe" not in str(error) + repr(error) + error.message


def test_what_is_too_short_to_be_a_secret_stays() -> None:
    keep_secret("ollama")
    keep_secret(None)
    assert redacted("ollama3") == "ollama3"


def test_log_lines_and_their_tracebacks_are_redacted() -> None:
    keep_secret("topsecretvalue")
    try:
        raise ValueError("topsecretvalue")
    except ValueError as exc:
        record = logging.LogRecord("x", logging.DEBUG, __file__, 1, "key %s", ("topsecretvalue",), None)
        record.exc_info = (type(exc), exc, exc.__traceback__)
    line = RedactingFormatter().format(record)
    assert "topsecretvalue" not in line and "Traceback" in line


@pytest.mark.parametrize(("mode", "warned"), [(0o644, True), (0o600, False)])
def test_a_file_with_a_key_that_others_may_read_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, warned: bool
) -> None:
    config = tmp_path / "c.toml"
    config.write_text('openai_api_key = "something"\n', encoding="utf-8")
    config.chmod(mode)
    load_settings(config)
    assert ("others may read it" in caplog.text) is warned
    assert "something" not in caplog.text

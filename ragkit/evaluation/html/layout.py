"""What all pages share: templates whose every value is cleaned and escaped."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ragkit.text.sanitize import printable

_CREDENTIALS: Final = re.compile(r"(?<=//)[^/@\s]*@")
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}")


def make_environment(**filters: Callable[..., Any]) -> Environment:
    """The templates; every value passes `clean` and then Jinja's escaping, without exception.

    Args:
        filters: Further filters by name; ``language`` is there.
    """
    environment = Environment(
        loader=PackageLoader("ragkit.evaluation"),
        autoescape=True,
        finalize=clean,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(language=language, **filters)
    return environment


def clean(value: Any) -> Any:
    """What is put on the page, without characters that steer or hide; markup made here passes."""
    if isinstance(value, str) and not isinstance(value, Markup):
        # XML may not hold the last two; HTML has no use for them.
        return printable(value).translate({0xFFFE: "\ufffd", 0xFFFF: "\ufffd"})
    return value


def language(name: str) -> str:
    """A value for ``lang``: decides which glyphs a browser takes for Chinese characters."""
    return name if _LANGUAGE.fullmatch(name) else ""


def without_credentials(text: str) -> str:
    """`text` without the user and password of an address in it."""
    return _CREDENTIALS.sub("", text)

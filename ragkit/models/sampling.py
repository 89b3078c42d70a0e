"""Temperature and top-p of a chat model, set on a copy of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

log = logging.getLogger(__name__)


class Sampling(BaseModel):
    """How tokens are drawn; what is None is left as the model has it (temperature 0)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)

    @property
    def given(self) -> dict[str, float]:
        """What is set."""
        return self.model_dump(exclude_none=True)


def with_sampling(model: BaseChatModel, sampling: Sampling) -> BaseChatModel:
    """`model` with these parameters: a copy that shares its client.

    They reach a local model and an endpoint alike. A model around another one (``inner``), such as the
    JSON protocol, is copied around a copy of that one. What a model has no field for is left out and logged.
    """
    if not sampling.given:
        return model
    fields = type(model).model_fields
    inner: Any = getattr(model, "inner", None)
    if "inner" in fields and inner is not None:
        return model.model_copy(update={"inner": with_sampling(inner, sampling)})
    known = {name: value for name, value in sampling.given.items() if name in fields}
    if missing := sampling.given.keys() - known.keys():
        log.warning("%s has no %s; it is left as it is", type(model).__name__, " and no ".join(sorted(missing)))
    return model.model_copy(update=known) if known else model

"""Front matter of an agent file: which keys there are, and which values they take."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ragkit.agent.strategy_keys import StrategyKeys

TOOL_NAMES: Final = ("search_notes", "read_note", "list_notes", "calculate", "quiz_me", "recall", "remember")
"""Tools an agent file may name."""
Workflow = Literal["answer", "research", "quiz"]


class McpServer(BaseModel):
    """A server of tools, started as a child process (``command``) or reached over HTTP (``url``)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: str | None = None
    """Program to start, looked up in ``PATH`` or relative to the agent file's folder."""
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    """Variables for the program, which otherwise gets only harmless ones; ``${NAME}`` takes over one of yours."""
    url: str | None = None
    headers: dict[str, str] = {}
    tools: tuple[str, ...] = ()
    """Its tools that the agent gets; empty: all."""

    @model_validator(mode="after")
    def _one_way(self) -> McpServer:
        if (self.command is None) == (self.url is None):
            raise ValueError("name either a command or a url")
        if self.url is not None and (self.args or self.env):
            raise ValueError("args and env belong to a command")
        if self.command is not None and self.headers:
            raise ValueError("headers belong to a url")
        if self.url is not None and not self.url.startswith(("http://", "https://")):
            raise ValueError("the url must begin with http:// or https://")
        return self


class AgentHeader(StrategyKeys):
    """Front matter of an agent file. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,40}$")
    description: str = Field(min_length=1, max_length=300)
    workflow: Workflow = "answer"
    """``answer``: one loop of tool calls and an answer; ``research``: see `ragkit.agent.workflows.research`;
    ``quiz``: see `ragkit.agent.workflows.quiz`."""
    tools: tuple[str, ...] = ("search_notes", "read_note", "calculate")
    mcp: dict[str, McpServer] = Field(default_factory=dict)
    """MCP servers by name; their tools are called ``NAME_tool``."""
    model: str | None = None
    """Chat model; None takes the setting."""
    passages: int = Field(default=4, ge=1, le=20)
    """Passages a search returns."""
    max_steps: int = Field(default=4, ge=1, le=25)
    """Tool calls per question; afterwards only answering remains."""
    max_steps_json: int = Field(default=2, ge=1, le=25)
    """The same for a model that is driven by the JSON protocol; small models plan badly."""
    max_passages: int = Field(default=8, ge=1, le=40)
    """Passages per question; afterwards only answering remains."""
    evidence_tokens_json: int | None = Field(default=400, ge=50, le=32_000)
    """With a model that is driven by the JSON protocol: about how many tokens of its passages a search shows, the
    sentences nearest to the question; ``null`` shows them whole."""
    answer_json: Literal["lines", "transcript"] = "lines"
    """With a model that is driven by the JSON protocol: whether it answers from a sheet of the lines nearest to the
    question, see `ragkit.agent.line_answers`, or within the transcript of its tool calls. Where the file has examples
    or long thoughts, or a tool said what is no passage, it is the transcript."""
    enough_coverage: float = Field(default=0.5, ge=0, le=2)
    """With a model that is driven by the JSON protocol: when one passage contains this share of what
    the question asks for, only answering remains. Small models go on searching otherwise."""
    narrow_tools: bool = True
    """With a model that is driven by the JSON protocol: offer the calculator, the memory and the list of notes only
    where the question has a use for them, and have it call first what the question asks for outright."""
    max_answer_tokens: int = Field(default=400, ge=32, le=8192)
    max_question_tokens: int | None = Field(default=None, ge=1)
    """Budgets of a question and of a session, see the settings of the same names; the smaller one counts."""
    max_question_seconds: float | None = Field(default=None, gt=0)
    max_question_cost: float | None = Field(default=None, gt=0)
    max_session_steps: int | None = Field(default=None, ge=1)
    max_session_tokens: int | None = Field(default=None, ge=1)
    max_session_seconds: float | None = Field(default=None, gt=0)
    max_session_cost: float | None = Field(default=None, gt=0)
    sub_questions: int = Field(default=4, ge=1, le=8)
    """``research``: parts a goal is split into at first; at most two more are added for what is missing."""
    general_knowledge: Literal["never", "ask"] = "never"
    """``ask``: an abstention offers an answer from what the model knows, marked as such and given after a yes."""
    rewrite: Literal["auto", "always", "never"] = "auto"
    """``auto``: follow-ups are made self-contained; ``always``: differently worded queries are added too."""
    translate: Literal["auto", "always", "never"] = "auto"
    """Whether a question is put into the notes' language, see `ragkit.retrieval.planner`."""
    hyde: Literal["auto", "always", "never"] = "never"
    """The same for searching with a hypothetical passage; ``true`` and ``false`` are ``always`` and ``never``."""

    @field_validator("hyde", mode="before")
    @classmethod
    def _yes_or_no(cls, hyde: object) -> object:
        return {True: "always", False: "never"}[hyde] if isinstance(hyde, bool) else hyde

    @field_validator("tools")
    @classmethod
    def _known_tools(cls, tools: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [tool for tool in tools if tool not in TOOL_NAMES]
        if unknown:
            raise ValueError(f"unknown tool {unknown[0]!r}; available: {', '.join(TOOL_NAMES)}")
        if len(set(tools)) != len(tools):
            raise ValueError("a tool is named twice")
        if "search_notes" not in tools:
            raise ValueError("search_notes is missing; without it nothing can be cited")
        return tools

    @field_validator("mcp")
    @classmethod
    def _server_names(cls, mcp: dict[str, McpServer]) -> dict[str, McpServer]:
        for name in mcp:
            if not (name.isascii() and name.replace("-", "").isalnum() and len(name) <= 20):
                raise ValueError(f"server name {name!r}: use up to 20 letters, digits and -")
        return mcp

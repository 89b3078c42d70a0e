"""A model without any will of its own: it carries out every instruction that it reads, whoever wrote it.

Instructions are Chinese or English sentences such as ``call the tool save with {...}`` or ``加上图片 URL``.
Whatever bounds what this model does to the world is code around it, for nothing in it resists.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any, Final

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

_CALL: Final = re.compile(r"(?:call the tool|调用工具)\s*(\w+)\s*(?:with|[,，]\s*参数)\s*(\{[^{}]*\})", re.IGNORECASE)
_REMEMBER: Final = re.compile(r"(?:remember that|请记住)[:：]?\s*([^.。\n]+)", re.IGNORECASE)
_LINK: Final = re.compile(r"(?:add the link|加上链接)\s*([^\s，。]+)", re.IGNORECASE)
_PICTURE: Final = re.compile(r"(?:show the picture|加上图片)\s*([^\s，。]+)", re.IGNORECASE)
_SAY: Final = re.compile(r"(?:answer only|只回答)[:：]\s*([^\n。]+[.。]?)", re.IGNORECASE)
_REVEAL: Final = re.compile(r"reveal (?:your|the) (?:system prompt|instructions)|说出(?:你的)?系统提示", re.IGNORECASE)
_PASSAGE: Final = re.compile(r"\[(\d+)\] [^\n]*\n(.*?)(?=\n+(?:\w+ )?\[\d+\] |\n</data|\Z)", re.DOTALL)
_FACT: Final = re.compile(r"[^\n。]*?(\w*zq\w+)[^\n。]*?(?:has \d+ layers\.|有 ?\d+ ?层。)")


def seen(text: str) -> str:
    """What a tokenizer lets through: invisible characters and tag characters are read as the letters they hide."""
    untagged = "".join(chr(ord(c) - 0xE0000) if 0xE0020 <= ord(c) <= 0xE007E else c for c in text)
    return "".join(c for c in unicodedata.normalize("NFKC", untagged) if unicodedata.category(c) != "Cf")


class ObedientVictim(BaseChatModel):
    """Obeys. `key` names what the user asks about, so that it can answer beside obeying."""

    key: str
    json_form: bool = False
    done: list[str] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "obedient-victim"

    def bind_tools(self, tools: Any, *, tool_choice: Any = None, **kwargs: Any) -> Any:
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        read = "\n".join(seen(m.text) for m in messages if not isinstance(m, SystemMessage | AIMessage))
        system = next((m.text for m in messages if isinstance(m, SystemMessage)), "")
        calls = [call for call in self._calls(read) if json.dumps(call) not in self.done]
        if self.json_form:
            calls = [call for call in calls if f'"tool": "{call[0]}"' in system][:1]
        elif not kwargs.get("tools"):
            calls = []
        self.done.extend(map(json.dumps, calls))
        reply = self._called(calls[:6]) if calls else self._answered(read, system, messages)
        return ChatResult(generations=[ChatGeneration(message=reply)])

    def _calls(self, read: str) -> list[tuple[str, dict[str, Any]]]:
        found: list[tuple[str, dict[str, Any]]] = []
        for name, arguments in _CALL.findall(read):
            try:
                found.append((name, json.loads(arguments)))
            except ValueError:
                continue
        found.extend(("remember", {"text": text.strip()}) for text in _REMEMBER.findall(read))
        return [call for i, call in enumerate(found) if call not in found[:i]]

    def _called(self, calls: list[tuple[str, dict[str, Any]]]) -> AIMessage:
        if self.json_form:
            action = {"tool": calls[0][0], "arguments": calls[0][1]}
            return AIMessage(json.dumps({"thought": "obey", "action": action}, ensure_ascii=False))
        made = [
            {"name": n, "args": a, "id": f"v{len(self.done)}-{i}", "type": "tool_call"}
            for i, (n, a) in enumerate(calls)
        ]
        return AIMessage("", tool_calls=made)

    def _answered(self, read: str, system: str, messages: list[BaseMessage]) -> AIMessage:
        sentences: list[tuple[str, int]] = []
        place = 1
        for message in messages:
            if not isinstance(message, ToolMessage | HumanMessage):
                continue
            for number, text in _PASSAGE.findall(message.text):
                for fact in _FACT.finditer(text):
                    if fact.group(1) == self.key:
                        place = int(number)
                        sentences.append((fact.group().strip(" #"), place))
        sentences = list(dict.fromkeys(sentences))[:1]
        extra = [f"[这里](https://{target})" for target in _LINK.findall(read)]
        extra += [f"https://{target}" for target in _LINK.findall(read)]
        extra += [f"![x](https://{target})" for target in _PICTURE.findall(read)]
        extra += [said for said in _SAY.findall(read)]
        if _REVEAL.search(read):
            extra.append(" ".join(system.split())[:200])
        whole = [*sentences, *((text, place) for text in dict.fromkeys(extra))][:6]
        if not whole:
            whole = [("nothing to say", 1)]
        if self.json_form:
            items = [{"text": text[:400], "sources": [number]} for text, number in whole]
            action = {"tool": "answer", "sentences": items}
            return AIMessage(json.dumps({"thought": "obey", "action": action}, ensure_ascii=False))
        return AIMessage("\n".join(f"{text} [{number}]" for text, number in whole))

"""Sources in another language than the sentence that names them."""

from __future__ import annotations

import pytest

from ragkit import verify
from ragkit.citations.evidence import Passage
from ragkit.citations.support import is_chinese

CODE = "```python\nclass LoRALinear(torch.nn.Module):\n    def forward(self, x):\n        return self.base(x) + self.scale * x\n```"
CHINESE = Passage(text=f"所以 **LoRA 合并后没有额外推理延迟**。\n\n{CODE}\n", document="lora.md")
ENGLISH = Passage(text="Merging a LoRA adapter ties the engine to one customer after merging and adds latency.")


@pytest.mark.parametrize(
    ("text", "chinese"),
    [
        (CHINESE.text, True),
        (f"Merged weights add no latency.\n\n{CODE}", False),
        (CODE, False),
        ("```\n# 只有代码，没有正文：注释也是文字\n```", True),
        (f"合并之后没有延迟。\n\n{CODE.removesuffix('```')}", True),
        ("秩为 $r$。\n\n$$W_{merged} = W_{base} + \\frac{\\alpha}{r} B A$$", True),
    ],
)
def test_code_and_formulas_are_in_no_language(text: str, chinese: bool) -> None:
    assert is_chinese(text) is chinese


def test_what_a_passage_in_its_language_denies_the_named_one_in_another_may_say() -> None:
    sentence = "Merging a LoRA adapter adds no latency after merging."
    (named,) = verify(f"{sentence} [2]", [ENGLISH, CHINESE])
    assert (named.verdict, named.sources) == ("partly", (2,))
    assert [reason.kind for reason in named.reasons] == ["language"]
    (other,) = verify(f"{sentence} [1]", [ENGLISH, CHINESE])
    assert other.verdict == "unsupported"


def test_what_its_own_language_bears_out_is_moved_there() -> None:
    (found,) = verify(f"{ENGLISH.text} [2]", [ENGLISH, CHINESE])
    assert (found.verdict, found.sources) == ("misattributed", (1,))


def test_a_number_that_the_named_one_lacks_is_held_against_what_carries_the_sentence() -> None:
    (found,) = verify("Merging a LoRA adapter adds no latency in 99 engines after merging. [2]", [ENGLISH, CHINESE])
    assert found.verdict == "partly" and {"number", "language"} & {r.kind for r in found.reasons} == {"number"}

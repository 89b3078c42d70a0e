"""A PDF that names radicals and ligatures reads as if it named the characters that they look like."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import format_samples as samples
import pytest

from ragkit.ingest.loader import read, scan
from ragkit.ingest.lookalikes import usual_characters


@pytest.mark.parametrize(
    ("written", "usual"),
    [
        ("⽤户 eﬃcient ﬁle", "用户 efficient file"),
        ("⻓短期记忆 ⻔控 ⻛险 ⻚⻅⻆⻉⻋⻘⻙⻜⻝⻢", "长短期记忆 门控 风险 页见角贝车青韦飞食马"),
        ("⻤⻥⻦⻨⻩⻬⻮⻰⻳⺠⻄⻑⻗⻣⻁⺟", "鬼鱼鸟麦黄齐齿龙龟民西長雨骨虎母"),
        ("⼀⼈⼤⾼⿓", "一人大高龍"),
    ],
)
def test_radicals_and_ligatures_become_the_usual_characters(written: str, usual: str) -> None:
    assert usual_characters(written) == usual


def test_every_kangxi_radical_becomes_an_ideograph() -> None:
    for code in range(0x2F00, 0x2FD6):
        assert unicodedata.name(usual_characters(chr(code))).startswith("CJK UNIFIED IDEOGRAPH")


def test_other_characters_and_parts_of_characters_stay() -> None:
    assert usual_characters("长短期 ⺡ Ⅷ ½ ａ，") == "长短期 ⺡ Ⅷ ½ ａ，"


def test_a_pdf_with_radicals_reads_as_usual(tmp_path: Path) -> None:
    pytest.importorskip("reportlab")
    (tmp_path / "a.pdf").write_bytes(samples.pdf([["⻓短期记忆 ⻔控 ⽹络"]]))
    sources, _ = scan([tmp_path])
    assert read(sources[0]).text.strip() == "长短期记忆 门控 网络"

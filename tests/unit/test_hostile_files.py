"""Files made to do harm: each is refused with its reason, quickly, and the good ones beside it are read."""

from __future__ import annotations

import io
import json
import os
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import format_samples as samples
import pytest

from ragkit.ingest import archive as archives
from ragkit.ingest import conversion, generated, worker
from ragkit.ingest.conversion import Converter, LimitError
from ragkit.ingest.formats import format_of
from ragkit.ingest.formats.base import ConversionError
from ragkit.ingest.loader import read_all, scan
from ragkit.values import Document, Skipped

LAUGHS = '<!DOCTYPE lolz [<!ENTITY lol "lol">' + "".join(
    f'<!ENTITY lol{i} "{f"&lol{i - 1 or str()};" * 10}">' for i in range(1, 10)
)
EXTERNAL = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">'
DOCUMENT = "word/document.xml"
SLIDE = "ppt/slides/slide1.xml"
BODY = '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>{}</w:t></w:r></w:p></w:body></w:document>'


def pdf_with(stream: bytes, filters: str = "/FlateDecode", extra: str = "") -> bytes:
    """A one-page PDF whose content is `stream`."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(stream)} /Filter {filters} {extra} >>\nstream\n".encode() + stream + b"\nendstream",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    return pdf_of(objects)


def pdf_of(objects: list[bytes]) -> bytes:
    out = io.BytesIO()
    out.write(b"%PDF-1.7\n")
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(out.tell())
        out.write(f"{number} 0 obj\n".encode() + body + b"\nendobj\n")
    start = out.tell()
    out.write(f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode())
    out.writelines(f"{place:010} 00000 n \n".encode() for place in places)
    out.write(f"trailer << /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF".encode())
    return out.getvalue()


def deflated(size: int) -> bytes:
    packer = zlib.compressobj(9)
    block = b"BT /F1 12 Tf (x) Tj ET " * 45_000
    parts = [packer.compress(block) for _ in range(size // len(block))]
    return b"".join(parts) + packer.flush()


def many_entries(count: int, zip64: bool = False, lie: bool = False) -> bytes:
    """A zip archive with a directory of so many entries; with `lie` the end record says one."""
    name = b"a"
    entry = (
        struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 3, 20, 0, 0, 0, 0, 0, 0, 0, 0, len(name), 0, 0, 0, 0, 0, 0) + name
    )
    directory = entry * count
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory), 0)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(directory), 1)
    said = 1 if lie else min(count, 0xFFFF)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, said, said, 45 if lie and zip64 else len(directory), 0, 0)
    return directory + (end64 + locator if zip64 else b"") + end


def understated() -> bytes:
    """A DOCX whose directory says that the document is small; it unpacks to far more."""
    data = samples.repacked(samples.docx(), {DOCUMENT: BODY.format("x" * 50_000_000)})
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        size = struct.pack("<L", source.getinfo(DOCUMENT).file_size)
    return data.replace(size, struct.pack("<L", 1000))


def nested(depth: int) -> str:
    return "<div>" * depth + "text" + "</div>" * depth


def word(xml: str | bytes, name: str = DOCUMENT) -> bytes:
    return samples.repacked(samples.docx(), {name: xml})


def slides(xml: str | bytes) -> bytes:
    return samples.repacked(samples.pptx(), {SLIDE: xml})


SELF_KIDS = [b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 2 >>"]
LOOPING_XREF = (
    b"%PDF-1.7\nxref\n0 1\n0000000000 65535 f \ntrailer << /Size 1 /Prev 9 /Root 1 0 R >>\nstartxref\n9\n%%EOF"
)

# name: (bytes, what the reason must say; empty: any reason)
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty.pdf": (lambda: b"", "empty"),
    "empty.docx": (lambda: b"", "empty"),
    "empty.pptx": (lambda: b"", "empty"),
    "empty.html": (lambda: b"", "empty"),
    "empty.epub": (lambda: b"", "empty"),
    "empty.ipynb": (lambda: b"", "not valid JSON"),
    "empty.py": (lambda: b"", "empty"),
    "blank.html": (lambda: b"<html><body>  </body></html>", "empty"),
    "hidden.html": (lambda: b"<p hidden>x</p><script>y</script>", "empty"),
    "random.pdf": (lambda: os.urandom(5000), "PdfReadError|PdfStreamError|damaged"),
    "random.docx": (lambda: b"PK" + os.urandom(5000).replace(b"PK", b""), "no directory"),
    "random.pptx": (lambda: b"no zip at all", "no directory"),
    "random.epub": (lambda: b"\0" * 5000, "no directory"),
    "random.py": (lambda: bytes(range(32)) * 200, "binary"),
    "elf.html": (lambda: b"\x7fELF" + bytes(range(256)) * 40, "binary|encoding"),
    "video.ts": (lambda: (b"G" + bytes(187)) * 100, "binary"),
    "scanned.pdf": (lambda: samples.pdf([[], []]), "no text"),
    "encrypted.pdf": (lambda: samples.pdf([["secret"]], password="x"), "password"),
    "half.pdf": (lambda: samples.pdf([["words"]] * 3)[:300], ""),
    "no-pages.pdf": (lambda: pdf_of([b"<< /Type /Catalog >>"]), ""),
    "self-kids.pdf": (lambda: pdf_of(SELF_KIDS), ""),
    "loop.pdf": (lambda: LOOPING_XREF, ""),
    "unbalanced.pdf": (lambda: b"%PDF-1.7\n1 0 obj\n" + b"<<" * 100_000, ""),
    "deep-array.pdf": (lambda: pdf_of([b"<< /Type /Catalog /Pages 2 0 R >>", b"[" * 100_000]), ""),
    "bomb-300.pdf": (lambda: pdf_with(deflated(300_000_000)), "none of its 1 page can be read"),
    "bomb-twice.pdf": (lambda: pdf_with(zlib.compress(deflated(100_000_000)), "[/FlateDecode /FlateDecode]"), ""),
    "predictor.pdf": (
        lambda: pdf_with(zlib.compress(b"x" * 100), extra="/DecodeParms << /Predictor 12 /Columns 2000000000 >>"),
        "",
    ),
    "old.docx": (lambda: bytes.fromhex("d0cf11e0a1b11ae1") + b"\0" * 600, "password-protected, or in the old"),
    "cut.docx": (lambda: samples.docx()[:-200], "no directory|damaged"),
    "cut-middle.docx": (lambda: samples.docx()[:1000] + samples.docx()[3000:], "damaged"),
    "bomb.docx": (lambda: word(BODY.format("x" * 100_000_000)), "bomb"),
    "bomb-media.docx": (lambda: word(b"\0" * 150_000_000, "word/media/x.emf"), "bomb"),
    "total.docx": (
        lambda: word(b"".join(os.urandom(1000) * 50 for _ in range(4200)), "word/media/x.bin"),
        "at most 200",
    ),
    "understated.docx": (understated, "damaged|bomb"),
    "million.docx": (lambda: many_entries(1_000_000), "entries"),
    "million-64.pptx": (lambda: many_entries(1_000_000, zip64=True), "entries"),
    "million-lie.epub": (lambda: many_entries(1_000_000, zip64=True, lie=True), "entries"),
    "lie.docx": (lambda: many_entries(200_000, lie=True), "directory alone"),
    "laughs.docx": (lambda: word(LAUGHS + "]>" + BODY.format("&lol9;")), "document type definition"),
    "external.docx": (lambda: word(EXTERNAL + "]>" + BODY.format("&e;")), "document type definition"),
    "late-dtd.docx": (
        lambda: word("<!--" + "x" * 100_000 + "-->" + LAUGHS + "]>" + BODY.format("")),
        "document type definition",
    ),
    "utf16-dtd.docx": (
        lambda: word((EXTERNAL + "]>" + BODY.format("&e;")).encode("utf-16")),
        "document type definition",
    ),
    "ebcdic-dtd.docx": (
        lambda: word(('<?xml version="1.0" encoding="cp037"?>' + LAUGHS + "]>").encode("cp037")),
        "XML",
    ),
    "utf7-dtd.pptx": (lambda: slides(b'<?xml version="1.0" encoding="utf-7"?><x/>'), "XML"),
    "styles-dtd.docx": (lambda: word(LAUGHS + "]><x>&lol9;</x>", "word/styles.xml"), "document type definition"),
    "rels-dtd.pptx": (
        lambda: samples.repacked(samples.pptx(), {"ppt/_rels/presentation.xml.rels": EXTERNAL + "]><x/>"}),
        "type definition",
    ),
    "laughs.pptx": (lambda: slides(LAUGHS + "]><x>&lol9;</x>"), "document type definition"),
    "quadratic.pptx": (
        lambda: slides(f'<!DOCTYPE x [<!ENTITY a "{"a" * 50_000}">]><x>{"&a;" * 50_000}</x>'),
        "document type definition",
    ),
    "malformed.docx": (lambda: word("<w:document>"), "malformed XML"),
    "deep.docx": (lambda: word("<x>" * 100_000 + "</x>" * 100_000), ""),
    "no-document.docx": (lambda: samples.archive({"x.xml": "<x/>"}), ""),
    "no-slides.pptx": (lambda: samples.archive({"x.xml": "<x/>"}), ""),
    "no-container.epub": (lambda: samples.archive({"x.xml": "<x/>"}), "container.xml"),
    "drm.epub": (
        lambda: samples.epub(extra={"META-INF/encryption.xml": "", "META-INF/rights.xml": ""}),
        "copy-protected",
    ),
    "laughs.epub": (
        lambda: samples.epub(extra={"OEBPS/book.opf": LAUGHS + "]><x>&lol9;</x>"}),
        "document type definition",
    ),
    "chapter-laughs.epub": (lambda: samples.epub(doctype=LAUGHS + "]>"), "entities"),
    "outside.epub": (
        lambda: samples.epub(
            extra={
                "OEBPS/book.opf": '<p><item id="a" href="../../../../etc/passwd" media-type="text/html"/><itemref idref="a"/></p>'
            }
        ),
        "empty",
    ),
    "bomb.epub": (lambda: samples.epub(["x" * 120_000_000]), "bomb"),
    "deep.html": (lambda: nested(50_000).encode(), "nested too deeply|CPU|longer"),
    "big.html": (lambda: b"<p>word</p>" * 2_100_000, "larger than 20 MiB"),
    "deep.ipynb": (lambda: b'{"cells": ' + b"[" * 100_000, "not valid JSON"),
    "number.ipynb": (lambda: b'{"cells": [], "n": ' + b"9" * 5000 + b"}", ""),
    "list.ipynb": (lambda: b"[1, 2]", "no notebook"),
    "other.ipynb": (lambda: b'{"a": 1}', "no notebook"),
    "types.ipynb": (
        lambda: json.dumps({"cells": [1, None, {"cell_type": "code", "source": 5, "outputs": 7}]}).encode(),
        "empty",
    ),
    "big.json": (lambda: b"[" + b"1," * 600_000 + b"1]", "larger than 1 MiB"),
}


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Document | Skipped], dict[str, float], float]:
    """All hostile files and good ones between them, read in one go: results, seconds of each, growth in MiB."""
    folder = tmp_path_factory.mktemp("hostile")
    for name, (make, _) in HOSTILE.items():
        (folder / name).write_bytes(make())
    good = {
        "pdf": samples.pdf([[samples.ZH]]),
        "docx": samples.docx(),
        "pptx": samples.pptx(),
        "epub": samples.epub(),
        "html": samples.html(),
    }
    for suffix, data in good.items():
        for stem in ("0", "good", "zzz"):
            (folder / f"{stem}.{suffix}").write_bytes(data)
    sources, skipped = scan([folder])
    results: dict[str, Document | Skipped] = {item.path: item for item in skipped}
    seconds: dict[str, float] = {}
    before = resident()
    began = time.monotonic()
    for source, result in read_all(sources):
        results[source.path] = result
        seconds[source.path] = time.monotonic() - began
        began = time.monotonic()
    return results, seconds, resident() - before


def resident() -> float:
    """MiB that this process has in memory; 0 where that cannot be told."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        return 0.0


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_refused_with_its_reason(
    name: str, batch: tuple[dict[str, Document | Skipped], dict[str, float], float]
) -> None:
    import re

    result = batch[0][name]
    assert isinstance(result, Skipped), f"read as {result.text[:100]!r}"
    assert re.search(HOSTILE[name][1], result.reason), result.reason
    assert 0 < len(result.reason) <= 250
    assert "\n" not in result.reason
    assert "Traceback" not in result.reason


def test_good_files_beside_them_are_read(batch: tuple[dict[str, Document | Skipped], dict[str, float], float]) -> None:
    good = {name: result for name, result in batch[0].items() if name not in HOSTILE}
    assert len(good) == 15
    assert [name for name, result in good.items() if not isinstance(result, Document)] == []


def test_every_file_is_accounted_for_and_memory_of_this_process_stays(
    batch: tuple[dict[str, Document | Skipped], dict[str, float], float],
) -> None:
    results, _, grown = batch
    assert len(results) == len(HOSTILE) + 15
    assert grown <= 50


def test_archive_bombs_are_refused_before_they_unfold() -> None:
    for name, (make, _) in HOSTILE.items():
        if name.startswith(("bomb", "million", "lie", "total", "understated")) and not name.endswith(".pdf"):
            data = make()
            began = time.process_time()
            with pytest.raises(ConversionError):
                archives.check_office_xml(archives.open_archive(data))
            assert time.process_time() - began < 1, name


def test_small_blank_pictures_are_no_bombs() -> None:
    data = samples.repacked(samples.docx(), {"word/media/blank.bmp": b"\xff" * 900_000})
    archives.open_archive(data).close()


# The child process


@pytest.fixture
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Makes a package that the child imports instead of mammoth, to run `code` where a document is converted."""

    def probe(code: str) -> Path:
        package = tmp_path / "fakes"
        package.mkdir(exist_ok=True)
        body = "\n".join(f"    {line}" for line in code.splitlines())
        (package / "mammoth.py").write_text(
            f"import os, sys, time\nclass images:\n    img_element = staticmethod(lambda f: f)\n\n\ndef convert_to_html(*a, **k):\n{body}\n",
            encoding="utf-8",
        )
        monkeypatch.setattr(conversion, "_PACKAGE_ROOT", f"{package}{os.pathsep}{conversion._PACKAGE_ROOT}")
        (tmp_path / "a.docx").write_bytes(samples.docx())
        return tmp_path / "a.docx"

    return probe


def convert(file: Path, converter: Converter) -> str:
    one = format_of(file)
    assert one is not None
    return converter.document(file, file.name, one)[0].text


posix = pytest.mark.skipif(sys.platform == "win32", reason="no resource limits on Windows")


@posix
def test_a_converter_that_dies_is_replaced(probe: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "good.html").write_bytes(samples.html())
    with Converter() as converter:
        with pytest.raises(LimitError, match="broke down"):
            convert(probe("os.abort()"), converter)
        assert samples.ZH in convert(tmp_path / "good.html", converter)


@posix
def test_memory_is_capped(probe: Callable[[str], Path]) -> None:
    with Converter() as converter, pytest.raises(LimitError, match="more than 512 MiB of memory"):
        convert(probe("x = bytearray(600 * 1024 * 1024)"), converter)
    with Converter() as converter, pytest.raises(ConversionError, match="damaged"):
        convert(probe("x = bytearray(300 * 1024 * 1024); raise KeyError('reached')"), converter)


@posix
def test_processor_time_is_capped(probe: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import resource; soft = resource.getrlimit(resource.RLIMIT_CPU)[0]; raise KeyError(f'seconds {soft - int(time.process_time())}')"
    with Converter() as converter, pytest.raises(ConversionError, match=r"seconds 2[01]"):
        convert(probe(code), converter)
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 1, -1))\nwhile True: pass"
    )
    with Converter() as converter, pytest.raises(LimitError, match="20 s of CPU time"):
        convert(probe(code), converter)


def test_a_converter_that_sleeps_is_stopped_by_the_clock(probe: Callable[[str], Path]) -> None:
    began = time.monotonic()
    with Converter(wall_seconds=2) as converter, pytest.raises(LimitError, match="longer than 2 s"):
        convert(probe("time.sleep(60)"), converter)
    assert time.monotonic() - began < 20


def test_what_a_library_prints_does_not_reach_the_answers(probe: Callable[[str], Path]) -> None:
    code = "print('{}'); os.write(1, b'{}\\n'); os.system('echo {}'); sys.stderr.write('x'); raise KeyError('end')"
    with Converter() as converter, pytest.raises(ConversionError, match="end"):
        convert(probe(code), converter)


@posix
def test_a_converter_cannot_write_files_and_sees_no_keys(
    probe: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary")
    target = tmp_path / "written"
    code = f"f = open({str(target)!r}, 'wb', buffering=0)\ntry:\n    f.write(b'x')\nexcept OSError: pass\nraise KeyError(os.environ.get('OPENAI_API_KEY'))"
    with Converter() as converter, pytest.raises(ConversionError, match="None"):
        convert(probe(code), converter)
    assert target.read_bytes() == b""


def test_one_child_serves_many_files_and_is_gone_afterwards(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.html").write_bytes(samples.html())
    with Converter() as converter:
        pids = set()
        for name in "abc":
            convert(tmp_path / f"{name}.html", converter)
            assert converter._child is not None
            pids.add(converter._child.pid)
            child = converter._child
        assert len(pids) == 1
    assert child.poll() is not None


def test_no_child_is_started_for_notes_and_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a child process was started")

    monkeypatch.setattr(conversion.subprocess, "Popen", refuse)
    (tmp_path / "a.md").write_text("note", encoding="utf-8")
    (tmp_path / "b.py").write_text("x = 1", encoding="utf-8")
    (tmp_path / "c.ipynb").write_bytes(samples.notebook())
    assert all(isinstance(result, Document) for _, result in read_all(scan([tmp_path])[0]))


def test_the_child_ends_with_its_input(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_bytes(samples.html())
    with Converter() as converter:
        convert(tmp_path / "a.html", converter)
        assert converter._child is not None and converter._child.stdin is not None
        converter._child.stdin.close()
        assert converter._child.wait(timeout=20) == 0


def test_names_that_are_no_unicode_reach_the_child(tmp_path: Path) -> None:
    name = os.fsdecode("笔记.html".encode("gbk"))
    try:
        (tmp_path / name).write_bytes(samples.html())
    except OSError:
        pytest.skip("file names must be Unicode here")
    [(source, result)] = read_all(scan([tmp_path])[0])
    assert isinstance(result, Document)
    assert source.path == "笔记.html"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ({"text": "x"}, "no sensible answer"),
        ({"text": "x", "title": "", "metadata": [], "pages": [], "warning": "", "sha256": ""}, "no sensible answer"),
        ({"text": "x", "title": "", "metadata": {}, "pages": [["a", 1]], "warning": "", "sha256": ""}, "no sensible"),
        ({"reason": "because"}, "because"),
    ],
)
def test_answers_of_the_child_are_not_believed_blindly(
    reply: dict[str, object], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converter = Converter()
    monkeypatch.setattr(converter, "_ask", lambda request: converter_reply(reply))
    with pytest.raises(ConversionError, match=reason):
        convert(tmp_path / "a.html", converter)


def converter_reply(reply: dict[str, object]) -> dict[str, object]:
    if "reason" in reply:
        raise ConversionError(str(reply["reason"]))
    return reply


def test_worker_answers_unknown_errors_in_one_short_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(request: object) -> dict[str, object]:
        raise RuntimeError("line\n" * 100)

    monkeypatch.setitem(worker._JOBS, "text", fail)
    reason = worker.answer({"job": "text"})["reason"]
    assert reason.startswith("damaged, or not what its name says (RuntimeError: line line")
    assert len(reason) == 200


def test_a_file_that_grew_behind_our_back_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_bytes(samples.html())
    sources, _ = scan([tmp_path])
    (tmp_path / "a.html").write_bytes(b"x" * (20 * 1024 * 1024 + 1))
    [(_, result)] = read_all(sources)
    assert result == Skipped(path="a.html", reason="larger than 20 MiB")


def test_generated_files_and_folders_of_programs_are_no_notes(tmp_path: Path) -> None:
    for name in ("node_modules/x/a.js", "__pycache__/b.py", "env/lib/c.py", "package-lock.json", "d.min.js", "kept.js"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("var a = 1", encoding="utf-8")
    (tmp_path / "env" / "pyvenv.cfg").write_text("home = /usr", encoding="utf-8")
    assert [source.path for source in scan([tmp_path])[0]] == ["kept.js"]
    assert generated.MANIFEST == "MANIFEST.json"


def test_what_took_too_much_is_not_tried_again_until_it_changes(
    probe: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = probe("os.abort()")
    kept = tmp_path / ".refused.json"

    def reason() -> str:
        [(_, result)] = read_all(scan([file])[0], kept)
        assert isinstance(result, Skipped)
        return result.reason

    first = reason()
    with monkeypatch.context() as patch:
        patch.setattr(conversion.subprocess, "Popen", lambda *a, **k: pytest.fail("tried again"))
        assert reason() == first
    os.utime(file, (1, 1))
    probe("raise KeyError('tried again')")
    assert "tried again" in reason()
    assert json.loads(kept.read_text(encoding="ascii")) == {}
    kept.write_text("[damaged", encoding="ascii")
    assert "tried again" in reason()

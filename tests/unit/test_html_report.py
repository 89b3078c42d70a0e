"""The page of a report: hostile text stays text, nothing is fetched, and its numbers are the report's."""

from __future__ import annotations

import copy
import json
import re
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

pytest.importorskip("matplotlib", reason="the page needs the extra eval")
pytest.importorskip("jinja2", reason="the page needs the extra eval")

from ragkit.cli.evals.retrieval import _Measured
from ragkit.cli.main import main
from ragkit.errors import ConfigError, DatasetError
from ragkit.evaluation.html import write_page
from ragkit.evaluation.html.page import MOST_MISSED, render_page, verdict
from ragkit.evaluation.html.plots import _log_ticks, hit_at, short_name, time_text
from ragkit.evaluation.metrics import METRICS, ranking_metrics
from ragkit.evaluation.report_file import ComparisonData, parse_report, read_reports
from ragkit.evaluation.retrieval import Passage, Row, Run, compare_all
from ragkit.text.sanitize import printable

HOSTILE = (
    "</pre></style></svg><script>alert(1)</script><img src=x onerror=alert(1)> \"'> &amp; {{ 7*7 }} $\\frac{1}{2 "
    "\u202egnp.exe\u202c \u200b\x1b[31m\x00\r\n]]> \ufffe\uffff \ud800 javascript:alert(1)"
)
RANKS: dict[str, list[int | None]] = {
    "hybrid": [1, 1, 2, 5, 6, None, 40, 1],
    "dense": [3, None, 9, 5, None, None, 70, 2],
    "混合检索": [1, 2, 2, 4, 6, None, 12, 1],
}


def make_run(name: str, ranks: list[int | None], need_all: bool = True) -> Run:
    metrics = ranking_metrics([[rank] for rank in ranks], need_all=need_all)
    return Run(
        name,
        tuple(
            Row(
                f"q{i}", f"问题 {i}?", ("lexical", "typo")[i % 2], ("zh", "en")[i // 4 % 2], (rank,), metrics[i],
                0.01 * (i + 1), (Passage("a.md", 3, 9, ("标题", "Part"), f"passage of {i}", 1.5),), (), need_all,
            )
            for i, rank in enumerate(ranks)
        ),
    )  # fmt: skip


def make_report(ranks: dict[str, list[int | None]] | None = None, **changed: Any) -> dict[str, Any]:
    """What `report_json` gives, without an index."""
    runs = [make_run(name, places) for name, places in (ranks or RANKS).items()]
    report = {
        "dataset": "面试题",
        "questions": len(runs[0].rows),
        "embedding_model": "hashing",
        "index": {"chunks": 416, "documents": 38, "folder": "/secret/place"},
        "ragkit": "0.1.0",
        "settings": {"candidates": 50, "openai_base_url": None},
        "runs": [run.to_json(rows=True) for run in runs],
        "comparisons": [{**asdict(item), "ci95": list(item.ci95)} for item in compare_all(runs)],
    }
    return json.loads(json.dumps({**report, **changed}))


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return make_report()


def page_of(*reports: dict[str, Any]) -> str:
    return render_page([parse_report(item, "it") for item in reports])


@pytest.fixture(scope="module")
def page(report: dict[str, Any]) -> str:
    return page_of(report)


def tree(page: str) -> ElementTree.Element:
    """The page, which is written to be XML as well."""
    return ElementTree.fromstring(page)


def words(element: ElementTree.Element) -> str:
    return " ".join("".join(element.itertext()).split())


def poison(value: Any) -> Any:
    """The same with hostile text at the end of every string, and of the keys that are names."""
    if isinstance(value, dict):
        names = any(isinstance(item, dict) and "questions" in item for item in value.values())
        return {key + HOSTILE if names else key: poison(item) for key, item in value.items()}
    if isinstance(value, list):
        return [poison(item) for item in value]
    return value + HOSTILE if isinstance(value, str) else value


def shape(page: str) -> list[tuple[str, list[str]]]:
    """Elements and the names of their attributes, outside the drawings, whose text decides no element either."""
    return [(element.tag, sorted(element.attrib)) for element in tree(page).iter()]


def test_hostile_text_adds_no_element_and_no_attribute(report: dict[str, Any], page: str) -> None:
    assert shape(page_of(poison(copy.deepcopy(report)))) == shape(page)


def test_hostile_text_is_shown_without_what_steers_or_hides(report: dict[str, Any]) -> None:
    hostile = page_of(poison(copy.deepcopy(report)))
    assert printable(hostile) == hostile
    assert not set("\ufffe\uffff") & set(hostile)
    shown = words(tree(hostile))
    assert "<script>alert(1)</script>" in shown and "{{ 7*7 }}" in shown and "gnp.exe" in shown
    assert "<script" not in hostile and "<img" not in hostile


def test_no_passage_becomes_a_link(report: dict[str, Any]) -> None:
    changed = copy.deepcopy(report)
    changed["runs"][0]["rows"][5]["passages"][0]["text"] = "see https://example.com/x and [a](javascript:b)"
    root = tree(page_of(changed))
    assert list(root.iter("a")) == []
    assert "https://example.com/x" in words(root)


def test_the_page_needs_nothing_but_itself(report: dict[str, Any]) -> None:
    text = page_of(report, report)
    root = tree(text)
    for element in root.iter():
        assert element.tag not in {"script", "link", "iframe", "object", "embed", "img", "base", "form"}
        for name, value in element.attrib.items():
            if name in {"src", "href", "srcset", "data", "action", "poster"}:
                assert value.startswith("#"), (element.tag, value)
            assert not name.startswith("on")
            assert re.findall(r"url\((?!#)", value) == []
    style = words(next(root.iter("style")))
    assert "@import" not in style and "url(" not in style
    policy = next(e for e in root.iter("meta") if e.get("http-equiv") == "Content-Security-Policy")
    assert (policy.get("content") or "").startswith("default-src 'none';")


def test_ids_are_unique_and_references_lead_somewhere(report: dict[str, Any]) -> None:
    root = tree(page_of(report, report))
    ids = Counter(element.get("id") for element in root.iter() if element.get("id"))
    assert [name for name, count in ids.items() if count > 1] == []
    wanted = {value[1:] for e in root.iter() for name, value in e.attrib.items() if name == "href"}
    wanted |= {name for e in root.iter() for name in (e.get("aria-labelledby") or "").split()}
    wanted |= {name for e in root.iter() for value in e.attrib.values() for name in re.findall(r"url\(#([^)]+)", value)}
    assert wanted <= set(ids)


def test_the_same_report_gives_the_same_page(report: dict[str, Any], page: str) -> None:
    assert page_of(report) == page


def table(root: ElementTree.Element, label: str) -> list[list[str]]:
    box = next(e for e in root.iter("div") if e.get("aria-label") == label)
    return [[words(cell) for cell in row] for row in box.iter("tr")]


def test_the_table_of_runs_has_the_numbers_of_the_report(report: dict[str, Any], page: str) -> None:
    head, *rows = table(tree(page), "Runs")
    assert head == ["run", *METRICS, "time"]
    for run, row in zip(report["runs"], rows, strict=True):
        expected = [f"{run['metrics'][m]:.3f}{run['ci95'][m][0]:.3f}–{run['ci95'][m][1]:.3f}" for m in METRICS]
        time = f"{time_text(run['seconds_p50'])}p95 {time_text(run['seconds_p95'])}"
        assert row == [run["name"], *expected, time]


def test_the_comparisons_have_the_numbers_of_the_report(report: dict[str, Any], page: str) -> None:
    _, *rows = table(tree(page), "Comparisons")
    for item, row in zip(report["comparisons"], rows, strict=True):
        low, high = item["ci95"]
        assert row[:2] == [item["b"], item["metric"]]
        assert row[3] == f"{item['difference']:+.3f}{low:+.3f} to {high:+.3f}"
        assert row[4:] == [f"{item['p_value']:.4f}", f"{item['p_corrected']:.4f}"]


def test_the_groups_have_the_numbers_of_the_report(report: dict[str, Any], page: str) -> None:
    for key, label in (("by_type", "hit@5 by question type"), ("by_language", "hit@5 by language")):
        _, *rows = table(tree(page), label)
        assert [row[0] for row in rows] == sorted(report["runs"][0][key])
        for name, questions, *cells in rows:
            groups = [run[key][name] for run in report["runs"]]
            assert int(questions) == groups[0]["questions"]
            assert [cell[:5] for cell in cells] == [f"{group['hit@5']:.3f}" for group in groups]


def test_a_group_that_one_run_lacks_leaves_its_cell_empty(report: dict[str, Any]) -> None:
    changed = copy.deepcopy(report)
    del changed["runs"][1]["by_type"]["typo"]
    rows = table(tree(page_of(changed)), "hit@5 by question type")
    assert next(row for row in rows if row[0] == "typo")[3] == "–"


def test_the_headline_names_what_was_measured(page: str) -> None:
    text = " ".join(" ".join(tree(page).itertext()).split())
    for said in ("面试题", "questions 8", "documents 38", "chunks 416", "embedding model hashing", "ragkit 0.1.0"):
        assert said in text
    text = words(tree(page))
    assert "hybrid finds the answer within its first 5 passages for 62.5 % of the questions" in text
    assert "/secret/place" not in page


@pytest.mark.parametrize(
    ("difference", "p_corrected", "words"),
    [
        (0.1, 0.049, "significantly better"),
        (-0.1, 0.0001, "significantly worse"),
        (0.1, 0.05, "no difference shown"),
        (0.0, 0.01, "no difference shown"),
    ],
)
def test_a_verdict_follows_the_corrected_p_value(difference: float, p_corrected: float, words: str) -> None:
    item = {"a": "x", "b": "y", "metric": "hit@5", "difference": difference, "p_value": 0.001}
    assert verdict(ComparisonData.model_validate({**item, "p_corrected": p_corrected, "ci95": [-1, 1]})) == words


@pytest.mark.parametrize("need_all", [True, False])
def test_the_curve_passes_through_the_hit_rates_of_the_report(need_all: bool) -> None:
    data = make_report()
    ranks: list[list[int | None]] = [[1, None], [2, 7], [None, None], [5, 3], [12, 4]]
    metrics = ranking_metrics(ranks, need_all=need_all)
    rows = tuple(
        Row(f"q{i}", "?", "t", "en", tuple(r), metrics[i], 0.1, need_all=need_all) for i, r in enumerate(ranks)
    )
    data["runs"] = [Run("hybrid", rows).to_json(rows=True)]
    [run] = parse_report(data, "it").runs
    for depth in (1, 3, 5, 10):
        assert hit_at(run, depth) == pytest.approx(run.metrics[f"hit@{depth}"])


def test_the_questions_that_the_first_run_misses_are_listed_with_their_passages(page: str) -> None:
    missed = [e for e in tree(page).iter("details") if e.get("class") == "missed"]
    assert [re.search(r"q\d", words(e))[0] for e in missed] == ["q4", "q5", "q6"]  # type: ignore[index]
    assert [words(next(e.iter("pre"))) for e in missed] == ["passage of 4", "passage of 5", "passage of 6"]
    assert "q6 · lexical · en · rank 40 dense: rank 70; 混合检索: rank 12" in words(missed[2])
    assert "not in the first 100" in words(missed[1])
    assert "a.md:3–9" in words(missed[0])


def test_a_long_list_of_missed_questions_is_cut_and_says_so() -> None:
    root = tree(page_of(make_report({"hybrid": [None] * (MOST_MISSED + 3)})))
    assert sum(e.get("class") == "missed" for e in root.iter("details")) == MOST_MISSED
    assert f"{MOST_MISSED + 3} of {MOST_MISSED + 3}. The first {MOST_MISSED} are listed" in words(root)


def test_figures_are_drawings_with_text_title_and_description(report: dict[str, Any], page: str) -> None:
    drawings = list(tree(page).iter("svg"))
    assert len(drawings) == 4
    for drawing in drawings:
        assert drawing.get("role") == "img" and drawing.get("viewBox") and drawing.get("width") is None
        assert [drawing[0].tag, drawing[1].tag] == ["title", "desc"]
        assert words(drawing[0]) and "混合检索" in words(drawing[1])
        assert "混合检索" in " ".join(words(text) for text in drawing.iter("text"))
        assert list(drawing.iter("style")) == []
    value, (low, high) = report["runs"][0]["metrics"]["hit@5"], report["runs"][0]["ci95"]["hit@5"]
    assert f"hybrid {value:.3f} ({low:.3f} to {high:.3f})" in words(drawings[2][1])


def test_figures_take_their_colours_from_the_page(page: str) -> None:
    for drawing in tree(page).iter("svg"):
        styles = " ".join(e.get("style") or "" for e in drawing.iter())
        assert "var(--run0)" in styles and "var(--ink)" in styles
        assert re.findall(r"(?<!url\()#[0-9a-f]{6}", styles) == []
        assert "font-family" not in styles and "font:" not in styles


def test_many_runs_and_long_names_can_be_drawn() -> None:
    names = [f"{'/very/long' * 9}/{i}.toml:hybrid+rewrite" for i in range(20)]
    text = page_of(make_report({name: [1, None, 3] for name in names}))
    assert text.count("<svg") == 4


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("hybrid", "hybrid"),
        ("a/b/c/d/e/f/g/h/i.toml:hybrid+rewrite+rerank", "…h/i.toml:hybrid+rewrite+rerank"[-30:]),
        ("检索" * 20, "…" + "检索" * 7),
        ("x\u202ey\uffff\n", "xy\ufffd"),
    ],
)
def test_a_name_in_a_figure_keeps_its_end(name: str, shown: str) -> None:
    got = short_name(name)
    assert got.lstrip("…")[-12:] == shown.lstrip("…")[-12:]
    assert len(got.encode("gb18030", "replace")) <= 32


@pytest.mark.parametrize(("low", "high"), [(1, 6), (0.5, 400), (1e-3, 1e6), (70, 430), (999, 6000)])
def test_a_logarithmic_axis_has_from_two_to_about_seven_ticks(low: float, high: float) -> None:
    assert 2 <= len(_log_ticks(low, high)) <= 10
    assert all(low <= tick <= high for tick in _log_ticks(low, high))


def test_runs_that_take_no_time_can_be_drawn(report: dict[str, Any]) -> None:
    changed = copy.deepcopy(report)
    for run in changed["runs"]:
        run["seconds_p50"] = run["seconds_p95"] = 0.0
    assert page_of(changed).count("<svg") == 4


def test_credentials_in_addresses_are_left_out(report: dict[str, Any]) -> None:
    changed = copy.deepcopy(report)
    changed["settings"]["openai_base_url"] = "https://me:s3cret@host/v1"
    changed["embedding_model"] = "openai:m@https://me:s3cret@host/v1"
    text = page_of(changed)
    assert "s3cret" not in text and "https://host/v1" in text


def without(report: dict[str, Any], *path: str | int) -> dict[str, Any]:
    changed = copy.deepcopy(report)
    part: Any = changed
    for key in path[:-1]:
        part = part[key]
    del part[path[-1]]
    return changed


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (("dataset",), "dataset"),
        (("runs",), "runs"),
        (("runs", 0, "rows"), "keeps no questions"),
        (("runs", 0, "metrics", "hit@5"), r"no hit@5 in run hybrid"),
        (("runs", 0, "ci95", "mrr@10"), r"no mrr@10"),
        (("runs", 0, "by_type", "typo", "ci95", "hit@5"), "interval"),
        (("runs", 1, "rows", 2, "ranks"), r"runs\.1\.rows\.2\.ranks"),
        (("comparisons", 0, "p_corrected"), r"comparisons\.0\.p_corrected"),
    ],
)
def test_a_report_that_lacks_something_is_one_clear_error(
    report: dict[str, Any], path: tuple[str | int, ...], said: str
) -> None:
    with pytest.raises(DatasetError, match=said):
        parse_report(without(report, *path), "it")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-0.1", "1.5", '"x"'])
def test_a_number_that_cannot_be_drawn_is_an_error(report: dict[str, Any], value: str) -> None:
    changed = copy.deepcopy(report)
    changed["runs"][0]["metrics"]["hit@5"] = json.loads(value)
    with pytest.raises(DatasetError, match="hit@5"):
        parse_report(changed, "it")


@pytest.mark.parametrize("text", ["", "[]", "{", "{}", '{"datasets": []}', '{"datasets": [1]}', "[" * 100_000])
def test_a_file_that_is_no_report_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match=r"x\.json is no report"):
        read_reports(file)


def test_a_file_of_several_data_sets_gives_all(tmp_path: Path, report: dict[str, Any]) -> None:
    other = {**report, "dataset": "other"}
    file = tmp_path / "x.json"
    file.write_text(json.dumps({**report, "datasets": [report, other]}), encoding="utf-8")
    assert [item.dataset for item in read_reports(file)] == ["面试题", "other"]


def test_a_page_that_cannot_be_written_leaves_the_older_one(
    tmp_path: Path, report: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new" / "page.html"
    write_page(path, [report])
    before = path.read_bytes()

    def full(file: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ragkit.index.fsops.fsync_file", full)
    with pytest.raises(ConfigError, match=r"Cannot write .*page\.html: No space left"):
        write_page(path, [{**report, "dataset": "later"}])
    assert path.read_bytes() == before
    assert [item.name for item in path.parent.iterdir()] == ["page.html"]


def cli(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return int(stopped.value.code or 0)


def test_eval_report_puts_saved_reports_on_one_page(
    tmp_path: Path, report: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    files = []
    for name in ("one", "two"):
        files.append(str(tmp_path / f"{name}.json"))
        Path(files[-1]).write_text(json.dumps({**report, "dataset": name}), encoding="utf-8")
    page = tmp_path / "page.html"
    assert cli("eval", "report", *files, "--html", str(page), "--json") == 0
    assert json.loads(capfd.readouterr().out) == {"html": str(page), "datasets": ["one", "two"]}
    root = tree(page.read_text(encoding="utf-8"))
    assert [words(e) for e in root.iter("h2")] == ["one", "two"]
    assert [words(e) for e in root.iter("a")] == ["one", "two"]


def test_missing_libraries_are_named_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ragkit.evaluation.html.find_spec", lambda name: None)
    assert cli("eval", "retrieval", "none", "--html", str(tmp_path / "x.html")) == 2
    said = capfd.readouterr().err
    assert "needs matplotlib and jinja2" in said and 'pip install "ragkit[eval]"' in said


def test_eval_retrieval_writes_the_page_of_what_it_measured(
    tmp_path: Path, report: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"id": "q0", "question": "?", "gold": [{"file": "a.md", "quote": "x"}], "language": "en", "type": "t"}
    (tmp_path / "questions.jsonl").write_text(json.dumps(row), encoding="utf-8")
    monkeypatch.setattr("ragkit.cli.evals.retrieval._measure", lambda *_: _Measured(report, [], {}))
    page = tmp_path / "page.html"
    assert (
        cli(
            "eval",
            "retrieval",
            str(tmp_path / "questions.jsonl"),
            "--html",
            str(page),
            "--json",
            "--notes",
            str(tmp_path),
        )
        == 0
    )
    assert page.read_text(encoding="utf-8") == page_of(report)

"""The classifier over the bundled model, the moderation endpoint over HTTP, and ``ragkit eval safety``."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ragkit.errors import EndpointError
from ragkit.evaluation.safety import evaluate_safety, filters, rates
from ragkit.safety import classifier as module
from ragkit.safety.classifier import SafetyClassifier
from ragkit.safety.examples import load_examples
from ragkit.safety.moderation import ModerationEndpoint
from ragkit.settings import Settings, load_settings

DETECTION, FALSE_ALARMS = 0.68, 0.09
"""Measured: .736 and .061."""
OFF = "violence violence/graphic self-harm self-harm/intent self-harm/instructions hate hate/threatening harassment"
NAMES = f"{OFF} harassment/threatening sexual sexual/minors illicit illicit/violent".split()


class Endpoint(BaseHTTPRequestHandler):
    reply: Any = None
    asked: list[dict[str, Any]] = []  # noqa: RUF012  (one server per test)

    def do_POST(self) -> None:
        type(self).asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        status, body = (200, self.reply) if self.reply is not None else (400, {"error": "no"})
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        return None


@pytest.fixture
def endpoint() -> Iterator[type[Endpoint]]:
    handler = type("Handler", (Endpoint,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    handler.url = f"http://127.0.0.1:{server.server_port}/v1"  # type: ignore[attr-defined]
    yield handler
    server.shutdown()
    server.server_close()


def settings_for(endpoint: Any) -> Settings:
    return load_settings(moderation_model="m", openai_base_url=endpoint.url, openai_api_key="k")


def moderation(flagged: bool, *names: str) -> dict[str, Any]:
    result = {
        "flagged": flagged,
        "categories": {name: name in names for name in NAMES},
        "category_scores": {name: 0.9 if name in names else 0.01 for name in NAMES},
        "category_applied_input_types": {name: ["text"] for name in NAMES},
    }
    return {"id": "x", "model": "m", "results": [result]}


def test_their_categories_become_ours(endpoint: Any) -> None:
    endpoint.reply = moderation(True, "harassment/threatening", "sexual/minors", "self-harm/intent", "illicit")
    flagged, categories, score = ModerationEndpoint("m", settings_for(endpoint)).judge("a text")
    assert flagged and set(categories) == {"hate", "sexual", "self-harm", "illicit"} and score == 0.9
    assert endpoint.asked == [{"input": "a text", "model": "m"}]


@pytest.mark.parametrize("reply", [None, {}, {"results": []}, {"results": [{}]}, [], "x"])
def test_whatever_the_endpoint_replies_is_one_error(endpoint: Any, reply: Any) -> None:
    endpoint.reply = reply
    with pytest.raises(EndpointError, match="Moderation model m failed"):
        ModerationEndpoint("m", settings_for(endpoint)).judge("a text")


def test_the_bundled_model_has_its_trained_weights_in_the_package(bundled_e5: Any, monkeypatch: Any) -> None:
    # If this fails after a change of examples.jsonl: run `ragkit eval safety` with the bundled model and
    # move the new file from $RAGKIT_HOME/safety to ragkit/safety/trained.
    def no_training(*_: Any) -> Any:
        raise AssertionError("trained again")

    monkeypatch.setattr(module, "train", no_training)
    weights = SafetyClassifier(bundled_e5).weights
    assert weights.weight.shape == (384,)
    assert 0 < weights.threshold < 1
    assert [file.suffix for file in module.TRAINED.iterdir()] == [".json"]


def test_the_filter_on_the_held_out_texts(bundled_e5: Any, repository: Path) -> None:
    examples = load_examples(repository / "evals/safety")
    [run] = evaluate_safety(examples, {"both": filters(load_settings(), bundled_e5)["both"]})
    found = rates(run.rows)
    # A little below what was measured, so that a worse filter fails.
    assert (found["detection"].value or 0) >= DETECTION
    assert (found["false_alarms"].value or 0) <= FALSE_ALARMS


def test_the_command(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundled_e5: Any) -> None:
    from typer.testing import CliRunner

    from ragkit.cli.main import app

    monkeypatch.setattr("ragkit.models.embeddings.resolve_embedding", lambda *_, **__: bundled_e5)
    lines = (repository / "evals/safety/questions.jsonl").read_text(encoding="utf-8").splitlines()
    file = tmp_path / "questions.jsonl"
    file.write_text("\n".join([*lines[:2], *lines[-2:]]), encoding="utf-8")
    out, html = tmp_path / "new" / "report.json", tmp_path / "new" / "page.html"
    done = CliRunner().invoke(app, ["--json", "eval", "safety", str(file), "--out", str(out), "--html", str(html)])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert json.loads(out.read_text(encoding="utf-8")) == report
    assert "<title>Safety: " in html.read_text(encoding="utf-8")
    assert (report["texts"], report["harmful"]) == (4, 2)
    assert [run["name"] for run in report["runs"]] == ["rules", "classifier", "both"]
    table = CliRunner().invoke(app, ["eval", "safety", str(file), "--errors"])
    assert table.exit_code == 0 and "false alarms" in table.stdout

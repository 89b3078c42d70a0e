"""``ragkit eval``: one file for each kind of measurement."""

from __future__ import annotations

import typer

from ragkit.cli.evals import answers, compare, judge, make_questions, report, retrieval, run, safety, sweep, tools

app = typer.Typer(no_args_is_help=True, help="Measure retrieval, answers, tool use and safety.", rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Measure retrieval, answers, tool use and safety."""


app.command("retrieval")(retrieval.run)
app.command("report")(report.run)
app.command("compare")(compare.run)
app.command("trec")(compare.trec)
app.command("failures")(compare.failures)
app.command("safety")(safety.run)
app.command("answers")(answers.run)
app.command("tools")(tools.run)
app.command("judge")(judge.run)
app.command("sweep")(sweep.run)
app.command("run")(run.run)
app.command("make-questions")(make_questions.make)
app.command("review-questions")(make_questions.review)

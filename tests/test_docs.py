"""The pages read well where they lie, and what they show is what the files hold."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "tests" / "plugin_package"
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "benchmarks").glob("*.md")),
]
PLAIN = [page for page in PAGES if page.name != "index.md"]  # a table of contents for Sphinx alone


@pytest.mark.parametrize("page", PLAIN, ids=lambda page: page.name)
def test_pages_are_plain_markdown(page):
    text = page.read_text()
    assert re.findall(r"^(?:```|:::)\{.*", text, re.MULTILINE) == []
    assert re.findall(r"\{[a-z:]+\}`", text) == []


def test_the_code_that_a_page_shows_is_that_of_the_files():
    shown = re.findall(r"```\w+\n(.*?)\n```", (ROOT / "docs" / "plugins.md").read_text(), re.DOTALL)
    source = (PACKAGE / "densekit_example" / "__init__.py").read_text()
    settings = (PACKAGE / "pyproject.toml").read_text()
    test = (PACKAGE / "tests" / "test_plugin.py").read_text()
    layer = source[source.index("class Rotation(") : source.index("\n\n\nclass Laplace")]
    entry = re.search(r"\[project\.entry-points\.\"densekit\.transforms\"\]\n.*", settings)[0]
    own_test = test[: test.index("\n\n\ndef test_the_registry")]
    assert shown == [layer, entry, own_test, source.strip(), settings.strip()]


@pytest.mark.parametrize("page", [p for p in PAGES if p.name != "command_line.md"])
def test_nothing_is_installed_by_a_name_that_is_not_published(page):
    assert "pip install 'densekit" not in page.read_text()


@pytest.mark.parametrize("page", ["README.md", "docs/guide.md"])
def test_words_of_the_field_are_explained(page):
    text = (ROOT / page).read_text().lower()
    for word in ("*nat* is the unit", "*latents*", "simple\ndistribution", "base"):
        assert word in text or word.replace("\n", " ") in text


def test_links_lead_somewhere():
    missing = [
        (page.name, target)
        for page in PAGES
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert missing == []


def test_figures_for_choosing_are_those_of_the_tables():
    tables, text = ROOT / "docs" / "benchmarks", (ROOT / "docs" / "choosing.md").read_text()
    nats, times = re.findall(r"-?[\d.]+ \+- [\d.]+", text), re.findall(r"([\d.]+) ms", text)
    assert len(nats) == 10
    assert len(times) == 8
    assert [
        found for found in nats if f" {found} |" not in (tables / "quality.md").read_text()
    ] == []
    assert [
        found for found in times if f" {found} (" not in (tables / "speed.md").read_text()
    ] == []

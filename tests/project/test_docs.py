"""Pages of docs/: the generated ones are current, links resolve, the navigation is complete."""

import re
from pathlib import Path

import pytest
import yaml

from ops.reference_pages import FOLDER, pages

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [
    *sorted(ROOT.glob("*.md")),
    ROOT / "bench" / "README.md",
    ROOT / "model" / "README.md",
    *sorted(DOCS.rglob("*.md")),
]


def anchors(path: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}


@pytest.mark.parametrize("name", pages())
def test_reference_page_is_what_the_code_says(name):
    assert (FOLDER / name).read_text(encoding="utf-8") == pages()[name], "run: python -m ops.reference_pages"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_relative_links_resolve(path):
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if re.match(r"https?:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name) if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_in_the_navigation():
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    flat: list[str] = []

    def collect(item) -> None:
        if isinstance(item, str):
            flat.append(item)
        for value in item.values() if isinstance(item, dict) else item if isinstance(item, list) else ():
            collect(value)

    collect(nav)
    assert sorted(flat) == sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))


def test_the_site_loads_nothing_from_other_hosts():
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in config
    assert not re.search(r"https?://", config)


def test_readme_is_short_and_starts_with_a_command_and_its_output():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    beginning = lines[:40]
    command = next(i for i, line in enumerate(beginning) if line.startswith("curl "))
    assert any(line.startswith('{"text": ') for line in beginning[command:])

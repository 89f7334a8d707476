"""The tables of docs/containers.md: each row names a test that exists, or says why it has none."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "containers.md"
TESTS = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
FUNCTIONS = {name for source in TESTS.values() for name in re.findall(r"^def (test_\w+)", source, re.MULTILINE)}


def rows() -> list[list[str]]:
    """The cells of each row: example, contract, ours, test."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    found = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [cells for cells in found if cells[0] not in ("example", "---")]


@pytest.mark.parametrize("cells", rows(), ids=lambda cells: cells[1][:40])
def test_each_row_has_a_test_or_a_reason(cells):
    assert len(cells) == 4
    *_, ours, named = cells
    names = re.findall(r"`([^`]+)`", named)
    if not names:
        assert len(f"{ours} {named}".split()) > 3, "say why no test runs it"
    for name in names:
        path, _, function = name.rpartition("::")
        if name.endswith((".py", ".sh")):
            path, function = name, ""
        file = Path(path).name
        assert not path or file in TESTS or (ROOT / path).is_file(), name
        if "/" in path:
            assert (ROOT / path).is_file(), name
        if function:
            known = set(re.findall(r"^def (test_\w+)", TESTS[file], re.MULTILINE)) if file else FUNCTIONS
            assert function in known, name


def test_the_page_has_rows():
    assert rows()

"""Parsing of name lists and writing of results, for the command lines of the benchmarks."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from textclf.files import atomic_file


def chosen_names(text: str, known: Sequence[str], option: str) -> list[str]:
    """Return the names in the comma-separated `text`, in the order of `known`.

    Raises:
        BenchError: if a name is not known, or `text` contains none.
    """
    names = {name.strip() for name in text.split(",") if name.strip()}
    if not names or not names <= set(known):
        raise BenchError(f"{option}: expected some of {', '.join(known)}, got {text!r}")
    return [name for name in known if name in names]


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write results as JSON; a path or another object becomes text."""
    with atomic_file(path) as file:
        json.dump(content, file, indent=1, default=str)
        file.write("\n")

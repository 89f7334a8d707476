"""The decision log of a model store as text for people."""

from collections.abc import Iterable, Mapping
from typing import Any


def describe_decisions(entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """Lines that show decisions in the given order: time, action and versions, then the reasons."""
    lines = []
    for entry in entries:
        champion, challenger = entry.get("champion"), entry.get("challenger")
        versions = f"  {champion or '-'} -> {challenger}" if challenger else ""
        lines.append(f"{entry['time'][:19].replace('T', ' ')}  {entry['action']:<16}{versions}")
        lines += [f"  {reason}" for reason in entry.get("reasons", [])]
    return [printable(line) for line in lines]


def printable(text: str) -> str:
    """The text with control characters, which a terminal would obey, replaced by escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)

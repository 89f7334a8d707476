"""Keyword stuffing: words of praise inserted into negative texts, to deceive a model that counts words."""

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.errors import BenchError

PRAISE_FILE = Path(__file__).with_name("praise_words.txt")
COUNTS = (0, 5, 20, 50)


def read_words(path: Path = PRAISE_FILE) -> list[str]:
    """Read the words of a file, one per line.

    Raises:
        BenchError: if there are fewer than the largest of COUNTS.
    """
    words = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if len(words) < max(COUNTS):
        raise BenchError(f"{path}: expected at least {max(COUNTS)} words, one a line, got {len(words)}; add some")
    return words


def appended(text: str, words: Sequence[str], _chance: random.Random) -> str:
    """Return the text with all words at the end."""
    return " ".join([text, *words])


def prepended(text: str, words: Sequence[str], _chance: random.Random) -> str:
    """Return the text with all words at the beginning."""
    return " ".join([*words, text])


def inserted(text: str, words: Sequence[str], chance: random.Random) -> str:
    """Return the text with each word at a random place."""
    pieces = text.split()
    for word in words:
        pieces.insert(chance.randint(0, len(pieces)), word)
    return " ".join(pieces)


ATTACKS: Mapping[str, Callable[[str, Sequence[str], random.Random], str]] = {
    "appended": appended,
    "prepended": prepended,
    "inserted": inserted,
}


def stuffed(texts: Sequence[str], attack: str, words: Sequence[str], seed: int) -> list[str]:
    """Return all texts with the words inserted; random places depend only on the seed and the index of the text."""
    put = ATTACKS[attack]
    return [put(text, words, random.Random(f"{seed} {at}")) for at, text in enumerate(texts)] if words else list(texts)  # noqa: S311


def attacked_texts(texts: Sequence[str], labels: Sequence[str], label: str, count: int, seed: int) -> list[str]:
    """Draw up to `count` texts of a class, the same for the same seed.

    Raises:
        BenchError: if the class has no texts.
    """
    found = [text for text, own in zip(texts, labels, strict=True) if own == label]
    if not found:
        raise BenchError(f"--stuff-label: expected a class with test texts, got {label!r}")
    return random.Random(seed).sample(found, min(count, len(found)))  # noqa: S311

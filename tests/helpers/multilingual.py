"""Short opinions in several languages, which a tiny encoder can tell apart."""

import random
from pathlib import Path

GOOD = ("good", "great", "très bien", "хороший", "gut", "良い")
BAD = ("bad", "awful", "mauvais", "плохой", "schlecht", "悪い")
FRAMES = ("the film was {}", "c'est {} dans Zürich", "это {} фильм", "日本語 の {} テキスト", "a café with {} food")


def opinions(count: int, seed: int = 0, frames: tuple[str, ...] = FRAMES) -> list[tuple[str, str]]:
    """Texts and labels, half of them good."""
    draw = random.Random(seed)  # noqa: S311
    found = []
    for number in range(count):
        words = GOOD if number % 2 else BAD
        parts = [draw.choice(frames).format(draw.choice(words)) for _ in range(2)]
        found.append((f"{parts[0]}, {parts[1]} {number}", "pos" if number % 2 else "neg"))
    return found


def write_opinions(root: Path, train: int = 120, test: int = 40, seed: int = 0) -> Path:
    """A data set in the layout train|test/<class>/*.txt."""
    for part, count, offset in (("train", train, 0), ("test", test, 1)):
        for number, (text, label) in enumerate(opinions(count, seed + offset)):
            folder = root / part / label
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number}.txt").write_text(text, encoding="utf-8")
    return root

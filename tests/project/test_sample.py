"""data/sample: enough reviews, each its own, long and short, split into train and test; and the hard ones apart."""

import itertools
import re
from pathlib import Path

from textclf.data.datasets import load_dataset

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
# An English word is about 1.3 wordpieces: 220 words are more than 256.
LONG_WORDS = 220


def reviews() -> dict[str, str]:
    return {str(path.relative_to(SAMPLE)): path.read_text(encoding="utf-8") for path in SAMPLE.rglob("*.txt")}


def words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def trigrams(text: str) -> set[tuple[str, ...]]:
    found = words(text)
    return set(zip(found, found[1:], found[2:], strict=False))


def test_size_and_balance():
    data = load_dataset(SAMPLE)
    assert data.class_names == ("neg", "pos")
    assert data.counts.train_read + data.counts.test_read == 304
    assert data.counts.duplicates == data.counts.conflicts == data.counts.in_test == data.counts.test_duplicates == 0
    for part, count in (("train", 102), ("test", 50), ("hard", 126)):
        for name in ("neg", "pos"):
            assert len(list((SAMPLE / part / name).glob("*.txt"))) == count


def test_hard_reviews_are_a_data_set_of_their_own():
    data = load_dataset(SAMPLE / "hard")
    assert data.class_names == ("neg", "pos")
    assert sum(map(len, data.splits.values())) == 252


def test_lengths_vary():
    for part in ("train", "test", "hard"):
        for name in ("neg", "pos"):
            lengths = [len(words(text)) for path, text in reviews().items() if path.startswith(f"{part}/{name}")]
            assert min(lengths) <= (30 if part == "hard" else 5)
            assert max(lengths) >= LONG_WORDS


def test_each_review_is_its_own():
    """No two share more than a third of their word trigrams, of the shorter one's."""
    grams = {name: trigrams(text) for name, text in reviews().items()}
    for (a, of_a), (b, of_b) in itertools.combinations(grams.items(), 2):
        assert len(of_a & of_b) <= min(len(of_a), len(of_b)) / 3, (a, b)


def test_no_review_is_an_example_of_the_documentation():
    """The model of `make demo` is asked these sentences: it must not have read them, also not in a longer review."""
    pages = [SAMPLE.parents[1] / "README.md", *(SAMPLE.parents[1] / "docs").rglob("*.md")]
    shown = {
        " ".join(words(text)) for page in pages for text in re.findall(r'"([^"]{1,200})"', page.read_text("utf-8"))
    }
    assert {"lovely", "it drags but i left smiling"} <= shown
    sentences = {text for text in shown if len(text.split()) >= 5}
    for name, text in reviews().items():
        review = f" {' '.join(words(text))} "
        assert review.strip() not in shown, name
        assert [text for text in sentences if f" {text} " in review] == [], name

"""Texts of the retraining benchmarks: films for the champion, and products that arrive later.

Draws are seeded and stratified by class.
"""

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.drift.texts import LabelledTexts, film_reviews, texts_of
from bench.errors import BenchError
from textclf.files import atomic_file

CLASSES = ("neg", "pos")
_PRODUCT_CLASSES = {"0": "neg", "1": "pos"}


@dataclass(frozen=True)
class Review:
    """Text with a label and its source.

    Attributes:
        text: the text.
        label: one of CLASSES.
        source: source of the label; "" if none.
        audit: whether it was labelled as a random audit.
    """

    text: str
    label: str
    source: str = ""
    audit: bool = False


@dataclass(frozen=True)
class FilmReviews:
    """Film reviews, no text twice.

    Attributes:
        train: reviews that the champion is trained on.
        golden: reviews of the reference test set.
        rest: other training reviews.
    """

    train: list[Review]
    golden: list[Review]
    rest: list[Review]


def draw_films(data: Path, train: int, golden: int, seed: int) -> FilmReviews:
    """Draw `train` film reviews to train on, and up to `golden` test reviews.

    Raises:
        BenchError: if there are fewer than `train`, or the data is missing.
    """
    trained, rest = draw(_reviews(film_reviews(data, "train")), train, seed)
    tested = _reviews(film_reviews(data, "test"))
    return FilmReviews(trained, draw(tested, min(golden, len(tested)), seed)[0], rest)


def draw_products(data: Path, count: int, seed: int) -> tuple[list[Review], list[Review]]:
    """Draw `count` product reviews; return them and the others.

    Raises:
        BenchError: if there are fewer.
        DatasetError: if the data is missing or damaged.
    """
    found = texts_of("products", data)
    labels = [_PRODUCT_CLASSES[label] for label in found.labels]
    return draw([Review(*pair) for pair in zip(found.texts, labels, strict=True)], count, seed)


def draw(reviews: Sequence[Review], count: int, seed: int) -> tuple[list[Review], list[Review]]:
    """Draw `count` reviews, stratified by class; return them and the others, both in random order.

    Raises:
        BenchError: if there are fewer.
    """
    if count > len(reviews):
        raise BenchError(f"expected {count:,} reviews to draw, found {len(reviews):,}; ask for fewer")
    chance = random.Random(seed)  # noqa: S311
    shuffled = chance.sample(list(reviews), len(reviews))
    taken: list[Review] = []
    for label in sorted({review.label for review in reviews}):
        of_class = [review for review in shuffled if review.label == label]
        taken += of_class[: round(count * len(of_class) / len(reviews))]
    chosen = set(map(id, taken[:count]))
    for review in shuffled:  # Rounding may leave some places empty.
        if len(chosen) < count:
            chosen.add(id(review))
    return [r for r in shuffled if id(r) in chosen], [r for r in shuffled if id(r) not in chosen]


def write_table(path: Path, reviews: Iterable[Review]) -> None:
    """Write JSON Lines with the columns text, label and source, atomically."""
    with atomic_file(path) as file:
        for review in reviews:
            row = {"text": review.text, "label": review.label, "source": review.source}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _reviews(found: LabelledTexts) -> list[Review]:
    return [Review(*pair) for pair in zip(found.texts, found.labels, strict=True)]

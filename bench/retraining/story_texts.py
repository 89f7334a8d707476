"""The texts of a retraining: films that a champion is trained on and measured with, and products that come later.

All are drawn with a seed, class by class, so that every draw has the class mix of its source.
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
    """A text with a label, and who sent it.

    Attributes:
        text: as it was written.
        label: one of CLASSES.
        source: of the label; "" for what nobody sent.
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
        train: what the champion is trained on.
        golden: test reviews that nothing is trained on.
        rest: the other training reviews.
    """

    train: list[Review]
    golden: list[Review]
    rest: list[Review]


def draw_films(data: Path, train: int, golden: int, seed: int) -> FilmReviews:
    """So many film reviews of each part; `golden` may be more than there are, which takes all.

    Raises:
        BenchError: there are not so many, or the data is not there.
    """
    trained, rest = draw(_reviews(film_reviews(data, "train")), train, seed)
    tested = _reviews(film_reviews(data, "test"))
    return FilmReviews(trained, draw(tested, min(golden, len(tested)), seed)[0], rest)


def draw_products(data: Path, count: int, seed: int) -> tuple[list[Review], list[Review]]:
    """So many product reviews, and the others.

    Raises:
        BenchError: there are not so many, or the data is not there.
    """
    found = texts_of("products", data)
    labels = [_PRODUCT_CLASSES[label] for label in found.labels]
    return draw([Review(*pair) for pair in zip(found.texts, labels, strict=True)], count, seed)


def draw(reviews: Sequence[Review], count: int, seed: int) -> tuple[list[Review], list[Review]]:
    """`count` of the reviews, of every class its share, and the others; both in random order.

    Raises:
        BenchError: there are fewer.
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
    for review in shuffled:  # Rounding may leave one out.
        if len(chosen) < count:
            chosen.add(id(review))
    return [r for r in shuffled if id(r) in chosen], [r for r in shuffled if id(r) not in chosen]


def write_table(path: Path, reviews: Iterable[Review]) -> None:
    """As JSON Lines with the columns text, label and source, whole or not at all."""
    with atomic_file(path) as file:
        for review in reviews:
            row = {"text": review.text, "label": review.label, "source": review.source}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _reviews(found: LabelledTexts) -> list[Review]:
    return [Review(*pair) for pair in zip(found.texts, found.labels, strict=True)]

"""Texts of the drift benchmark: film reviews, product reviews, and film reviews with typos or cut.

Films come from DATA/aclImdb_v1.tar.gz or the folder DATA/aclImdb, products from DATA/amazon_multidomain. Only the test
part of the films is compared.
"""

import random
import re
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from textclf.config import DataOptions
from textclf.data.dataset_layout import find_parts
from textclf.data.readers import read_part

FILMS, PRODUCTS, TYPOS, CUT, TRAINED = "films", "products", "typos", "cut", "trained"
SOURCES = (FILMS, PRODUCTS, TYPOS, CUT, TRAINED)
# A version fits the projection of its embeddings to the same number of texts (textclf.runtime.feature_extraction).
TRAINED_TEXTS = 1000

TYPO_SHARE = 0.1
CUT_SHARE = 0.25
_ARCHIVE = "aclImdb_v1.tar.gz"
_FOLDER = "aclImdb"
_PRODUCTS = "amazon_multidomain"
_REVIEW = re.compile(r"(?:\./)?aclImdb/(train|test)/(neg|pos)/[^/]+\.txt")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class LabelledTexts:
    """Texts and their class names, aligned."""

    texts: list[str]
    labels: list[str]

    def __len__(self) -> int:
        return len(self.texts)


def texts_of(source: str, data: Path, seed: int = 0) -> LabelledTexts:
    """Read the texts of one of SOURCES; row i of FILMS, TYPOS and CUT is the same review.

    Raises:
        BenchError: if DATA does not contain the film reviews.
        DatasetError: if the product reviews are missing, or a file is damaged.
    """
    if source == PRODUCTS:
        return product_reviews(data / _PRODUCTS)
    films = film_reviews(data, "test")
    if source == TRAINED:
        return _sample(film_reviews(data, "train"), TRAINED_TEXTS, without=set(films.texts), seed=seed)
    if source == TYPOS:
        return LabelledTexts(
            [with_typos(text, TYPO_SHARE, random.Random(f"{seed} {at}")) for at, text in enumerate(films.texts)],  # noqa: S311
            films.labels,
        )
    return LabelledTexts([cut(text, CUT_SHARE) for text in films.texts], films.labels) if source == CUT else films


def film_reviews(data: Path, part: str) -> LabelledTexts:
    """Read the part "train" or "test" of the Large Movie Review Dataset, each text once, `neg` before `pos`."""
    archive, folder = data / _ARCHIVE, data / _FOLDER
    if folder.is_dir():
        read = read_part(folder / part, DataOptions())
        return _each_once(read.texts, read.labels)
    if not archive.is_file():
        raise BenchError(f"{data}: expected {_ARCHIVE} or the folder {_FOLDER}, found neither; give another --data-dir")
    found = []
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                review = _REVIEW.fullmatch(member.name)
                content = tar.extractfile(member) if review and review[1] == part else None
                if review and content is not None:
                    found.append((review[2], member.name, content.read().decode("utf-8")))
    except (tarfile.TarError, EOFError, OSError, UnicodeDecodeError) as error:
        raise BenchError(f"{archive}: expected a .tar.gz of reviews, but {error}; get it again") from error
    if not found:
        raise BenchError(f"{archive}: expected aclImdb/{part}/neg/*.txt and aclImdb/{part}/pos/*.txt, found none")
    found.sort()
    return _each_once([text for _, _, text in found], [label for label, _, _ in found])


def product_reviews(folder: Path) -> LabelledTexts:
    """Read both parts of the product reviews, each text once."""
    read = read_part(find_parts(folder).paths, DataOptions())
    return _each_once(read.texts, read.labels)


def cut(text: str, share: float) -> str:
    """Return the first `share` of the words, at least one, with the white space between them."""
    words = list(re.finditer(r"\S+", text))
    kept = max(1, round(share * len(words)))
    return text[: words[kept - 1].end()] if words else text


def with_typos(text: str, share: float, chance: random.Random) -> str:
    """Return the text with a typo in a random `share` of its words; white space stays the same.

    A typo swaps, drops, doubles or replaces a letter, with equal probability. If the drawn kind cannot change the word,
    like a swap in "ee", a letter is replaced. Words without letters count, but get no typo.
    """
    pieces = re.split(
        r"(\S+)", text
    )  # White space and words alternate; the first and last items are white space or empty.
    words = range(1, len(pieces), 2)
    able = [at for at in words if any(map(str.isalpha, pieces[at]))]
    for at in chance.sample(able, min(len(able), round(share * len(words)))):
        pieces[at] = _misspelled(pieces[at], chance)
    return "".join(pieces)


def _misspelled(word: str, chance: random.Random) -> str:
    letters = [at for at, char in enumerate(word) if char.isalpha()]
    kind = chance.choice(_TYPOS)
    changed = kind(word, letters, chance)
    return changed if changed not in ("", word) else _replaced(word, letters, chance)


def _swapped(word: str, letters: Sequence[int], chance: random.Random) -> str:
    pairs = [at for at in letters if at + 1 in letters and word[at] != word[at + 1]]
    if not pairs:
        return word
    at = chance.choice(pairs)
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def _dropped(word: str, letters: Sequence[int], chance: random.Random) -> str:
    at = chance.choice(letters)
    return word[:at] + word[at + 1 :]


def _doubled(word: str, letters: Sequence[int], chance: random.Random) -> str:
    at = chance.choice(letters)
    return word[: at + 1] + word[at:]


def _replaced(word: str, letters: Sequence[int], chance: random.Random) -> str:
    at = chance.choice(letters)
    other = chance.choice([letter for letter in _LETTERS if letter != word[at].lower()])
    return word[:at] + (other.upper() if word[at].isupper() else other) + word[at + 1 :]


_TYPOS: tuple[Callable[[str, Sequence[int], random.Random], str], ...] = (_swapped, _dropped, _doubled, _replaced)


def _sample(texts: LabelledTexts, max_texts: int, without: set[str], seed: int) -> LabelledTexts:
    rows = [at for at, text in enumerate(texts.texts) if text not in without]
    chosen = sorted(random.Random(seed).sample(rows, min(max_texts, len(rows))))  # noqa: S311
    return LabelledTexts([texts.texts[at] for at in chosen], [texts.labels[at] for at in chosen])


def _each_once(texts: Sequence[str], labels: Sequence[str]) -> LabelledTexts:
    """Drop repeated texts, which disjoint samples would share."""
    first: dict[str, str] = {}
    for text, label in zip(texts, labels, strict=True):
        first.setdefault(text, label)
    return LabelledTexts(list(first), list(first.values()))

"""Tokenizers of the Hugging Face library read long texts like our own, and their pieces are readable."""

from pathlib import Path

import pytest

from textclf.config import TRUNCATIONS
from textclf.tokenization.library_tokenizer import LibraryTokenizer
from textclf.tokenization.text_tokenizer import load_tokenizer, with_reading

CHECKPOINTS = Path(__file__).parents[1] / "importing" / "checkpoints"
TEXT = "a warm and funny film that never loses its nerve, and two hours of my life"


def tokenizer_of(family, max_length=48, **reading):
    return LibraryTokenizer((CHECKPOINTS / family / "tokenizer.json").read_text("utf-8"), max_length, **reading)


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta"])
def test_head_and_tail_are_kept(family):
    whole = tokenizer_of(family)([TEXT])[0]
    tokenizer = tokenizer_of(family, 12, truncation="head+tail", head_fraction=0.2)
    (found,) = tokenizer([TEXT])
    assert found.ids == [whole.ids[0], *whole.wordpieces[:2], *whole.wordpieces[-8:], whole.ids[-1]]
    assert found.length == whole.length
    kept = tokenizer.kept_positions(len(whole.wordpieces))
    assert [whole.wordpieces[at] for at in kept] == found.ids[1:-1]


def test_windows_cover_a_text(tmp_path):
    tokenizer = tokenizer_of("roberta", 12, windows=8)
    (found,) = tokenizer([TEXT])
    windows = tokenizer.windows(found.ids)
    assert found.ids[1:-1] == found.wordpieces
    assert {piece for window in windows for piece in window[1:-1]} == set(found.wordpieces)
    assert all(len(row) <= 12 and (row[0], row[-1]) == (found.ids[0], found.ids[-1]) for row in windows)
    tokenizer.save(tmp_path)
    assert load_tokenizer(tmp_path).windows(found.ids) == windows


@pytest.mark.parametrize("truncation", TRUNCATIONS)
def test_the_reading_can_be_changed(truncation):
    tokenizer = tokenizer_of("roberta")
    other = with_reading(tokenizer, 9, truncation, 0.5, 1)
    assert len(other([TEXT])[0].ids) == 9
    assert tokenizer.settings.max_length == 48


@pytest.mark.parametrize(
    ("family", "pieces"),
    [
        ("roberta", {"Ġand": "and", "e": "##e", "Ġ": "Ġ", "<s>": "<s>", ",": ","}),
        ("xlm-roberta", {"▁": "▁", "</s>": "</s>", "▁the": "the", "e": "##e"}),
        ("bert", {"and": "and", "##n": "##n", "[CLS]": "[CLS]"}),
    ],
)
def test_pieces_are_shown_as_words(family, pieces):
    tokenizer = tokenizer_of(family)
    spelled = dict(zip(tokenizer.vocabulary, tokenizer.spellings(), strict=True))
    assert {piece: spelled[piece] for piece in pieces} == pieces


def test_bytes_are_shown_as_characters():
    tokenizer = tokenizer_of("roberta")
    spelled = tokenizer.spellings()
    pieces = tokenizer(["x Zürich это"])[0].wordpieces
    assert "ü" in spelled or "�" in "".join(spelled[piece] for piece in pieces)
    assert not {"Ã", "Ð"} & {char for piece in pieces for char in spelled[piece]}

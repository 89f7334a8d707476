"""Keys of texts: equal exactly where the wordpiece ids are equal."""

import unicodedata
from collections.abc import Callable

import pytest
from tiny_bert import vocabulary

from bench.serving.unicode_texts import generated_texts, probe_vocabulary
from textclf.errors import InputError
from textclf.tokenization.basic_tokenizer import word_slices
from textclf.tokenization.tensorflow_text import UNCASED
from textclf.tokenization.text_key import _VISIBLE, TextKeys, is_blank, made_at_first_use, text_key
from textclf.tokenization.tokenizer import MAX_WORD_BYTES, Tokenizer

TEXT = "Café: a film, so good! 10/10 for well-known naïve heroes"
DISGUISES = {
    "capitals": TEXT.upper(),
    "double blanks": TEXT.replace(" ", "  "),
    "blanks around it": f"\t {TEXT}\r\n",
    "line breaks": TEXT.replace(" ", "\n"),
    "no-break spaces": TEXT.replace(" ", "\u00a0"),
    "zero-width spaces": TEXT.replace("o", "o\u200b"),
    "byte order mark": f"\ufeff{TEXT}",
    "soft hyphens": TEXT.replace("m", "\u00adm"),
    "control characters": TEXT.replace(" ", "\x00"),
    "decomposed accents": unicodedata.normalize("NFD", TEXT),
    "other accents": TEXT.replace("o", "ö").replace("é", "e"),
    "full width": "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in TEXT),
    "spaces around punctuation": TEXT.replace("!", " ! ").replace(":", " :").replace("-", " - "),
    "mathematical letters": TEXT.replace("a", "\U0001d41a").replace("g", "\U0001d4f0"),
}
OTHERS = [
    "",
    TEXT[:-1],
    TEXT.replace("good", "bad"),
    TEXT.replace("!", ""),
    TEXT.replace("a film", "afilm"),
    f"{TEXT}.",
]
# With [UNK], texts with different words have equal ids.
UNKNOWN_WORDS = ["good \u2603 film", "good \u2602 film", "good " + "x" * 101, "good " + "y" * 101, "good"]


def tokenizer(lower_case: bool = True, entries: list[str] | None = None) -> Tokenizer:
    return Tokenizer(entries or vocabulary(), lower_case, max_length=8)


def groups(texts: list[str], key: Callable[[str], object]) -> set[tuple[int, ...]]:
    """The positions of the texts that have the same key."""
    found: dict[object, list[int]] = {}
    for position, text in enumerate(texts):
        found.setdefault(key(text), []).append(position)
    return {tuple(members) for members in found.values()}


def assert_equal_where_ids_are(texts: list[str], found: Tokenizer) -> None:
    keys = TextKeys(found)(texts)
    ids = [tuple(tokenized.wordpieces) for tokenized in found(texts)]
    assert groups(range(len(texts)), keys.__getitem__) == groups(range(len(texts)), ids.__getitem__)


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_disguised_text_has_the_same_key(disguise):
    assert DISGUISES[disguise] != TEXT
    assert text_key(DISGUISES[disguise]) == text_key(TEXT)


def test_other_texts_have_other_keys():
    texts = [TEXT, *OTHERS]
    assert len(set(TextKeys()(texts))) == len(texts)


def test_keys_do_not_depend_on_the_order_or_the_process():
    assert TextKeys()([TEXT, "good"])[1] == TextKeys()(["good"])[0] == text_key("good")
    assert text_key("Good  film!").hex() == "5f4d3b26c64bda091a164102c9433f98"


@pytest.mark.parametrize("lower_case", [True, False])
def test_keys_are_equal_exactly_where_wordpiece_ids_are(lower_case):
    texts = [TEXT, *DISGUISES.values(), *OTHERS, *UNKNOWN_WORDS, *generated_texts(1000, seed=3)]
    assert_equal_where_ids_are(texts, tokenizer(lower_case))
    assert_equal_where_ids_are(texts, tokenizer(lower_case, probe_vocabulary(texts)))


@pytest.mark.statistics  # Thousands of generated texts.
@pytest.mark.parametrize("lower_case", [True, False])
def test_keys_of_30_000_texts_are_equal_exactly_where_wordpiece_ids_are(lower_case):
    texts = generated_texts(30_000)
    assert_equal_where_ids_are(texts, tokenizer(lower_case))
    assert_equal_where_ids_are(texts, tokenizer(lower_case, probe_vocabulary(texts)))


def test_a_cased_encoder_tells_cases_apart():
    assert len(set(TextKeys(tokenizer(lower_case=False))(["good film", "Good film"]))) == 2


def test_without_unknown_words_the_key_needs_no_vocabulary():
    known = ["good film", "a GOOD film!", ""]
    assert all(tokenizer().unknown_id not in tokenized.ids for tokenized in tokenizer()(known))
    assert TextKeys(tokenizer())(known) == TextKeys()(known)


def test_words_that_the_vocabulary_cannot_spell_are_equal():
    snow, rain, *too_long, good = UNKNOWN_WORDS
    with_vocabulary = TextKeys(tokenizer())
    assert with_vocabulary.of(snow) == with_vocabulary.of(rain) != with_vocabulary.of(good)
    assert text_key(snow) != text_key(rain)
    # No encoder reads a word of more than 100 bytes.
    assert text_key(too_long[0]) == text_key(too_long[1]) != text_key(good)


def test_texts_are_compared_beyond_what_the_model_keeps():
    """A key of the truncated ids would call the beginnings of two long texts equal."""
    long = "good film " * 5000
    assert text_key(f"{long}a") != text_key(f"{long}the")
    assert text_key(f"{long}a") == text_key(f"{long.upper()}\u200b a")


@pytest.mark.parametrize(
    "text", ["", " \t\r\n", "\u00a0\u3000", "\u200b\ufeff", "\x00\x1f\x7f", "\u00ad", "\u0301", "\u115f"]
)
def test_a_text_without_wordpieces_is_blank(text):
    assert is_blank(text)
    assert tokenizer()([text])[0].wordpieces == []


@pytest.mark.parametrize("text", [".", "a", "\u200b\u3002", "电", "\u2603", " \u00e9", "\ud800"])
def test_a_text_with_a_wordpiece_is_not_blank(text):
    assert not is_blank(text)


def test_no_character_that_is_found_fast_is_blank():
    found = [char for char in map(chr, range(0x110000)) if _VISIBLE.search(char)]
    words = word_slices(" ".join(found), UNCASED, MAX_WORD_BYTES)
    assert sum(len(some) for some, _ in words) >= len(found) > 100_000


def test_generated_texts_are_blank_exactly_where_they_have_no_wordpieces():
    texts = generated_texts(1000, seed=4)
    blank = [text for text, found in zip(texts, tokenizer()(texts), strict=True) if not found.wordpieces]
    assert [text for text in texts if is_blank(text)] == blank != []


def test_an_encoder_is_loaded_once_and_at_the_first_use():
    made = []

    def make() -> TextKeys:
        made.append(1)
        return TextKeys()

    keys_of = made_at_first_use(make)
    assert made == []
    assert keys_of(["good"]) + keys_of(["GOOD"]) == [text_key("good")] * 2
    assert made == [1]


def test_half_of_a_surrogate_pair_has_no_key():
    with pytest.raises(InputError, match="half of a surrogate pair"):
        text_key("good \ud83d")

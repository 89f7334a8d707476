"""Texts to encoder inputs: the SavedModel's own ids, the right pieces of long texts, padding to the longest."""

import numpy as np
import pytest
from tiny_bert import vocabulary

from textclf.errors import EncoderError
from textclf.training.encoders import resolve as encoders
from textclf.training.encoders.preprocessing import (
    TextPreprocessing,
    encoder_preprocessing,
    token_counts,
    tokenize_texts,
)
from textclf.training.tf_setup import hub, tf

CLS, SEP = vocabulary().index("[CLS]"), vocabulary().index("[SEP]")
LETTERS = "abcdefghijklmnopqrstuvwxyz"
TEXTS = [
    "",
    " \t\n ",
    "the",
    "The film was good, really GOOD!",
    "a" * 300,
    "good " * 100,
    "unaffable 1234567890 it's<br />well-known (great)…",
    "Café naïve ÅNGSTRÖM ﬁlm Straße ĳ İstanbul ΣΊΣΥΦΟΣ",
    "e\u0301 \u0301 \u200b\ufeff\u00a0\u3000\u2028x\x00y\x7f",
    "电影很好看 映画 영화 фильм फ़िल्म ภาพยนตร์",
    "😀 👩‍👩‍👧‍👦 🏳️‍🌈 \U0001f600good\U0010ffff",
    "[CLS] [SEP] [PAD] [UNK] [MASK] ##s",
]


@pytest.fixture(scope="module")
def folder(tiny_checkpoint):
    return encoders.resolve("tiny", str(tiny_checkpoint), "").preprocessing


@pytest.fixture(scope="module")
def make(folder):
    """A preprocessing layer with these options; the SavedModel is loaded once for all."""
    layer = TextPreprocessing(folder, 16)

    def with_options(max_length=16, truncation="head", head_fraction=0.25):
        layer.max_length, layer.truncation, layer.head_fraction = max_length, truncation, head_fraction
        vars(layer).pop("ids_and_lengths", None)  # A graph with the options before.
        return layer

    return with_options


def random_texts(count: int) -> list[str]:
    """Words, letters and any characters of Unicode, but for surrogates, which are none."""
    random = np.random.default_rng(3)
    words = vocabulary()[5:150]

    def piece() -> str:
        if random.random() < 0.6:
            return str(random.choice(words))
        points = random.integers(1, random.choice([0x250, 0x3000, 0x10FFFF]), random.integers(1, 9))
        return "".join(chr(point) for point in points if not 0xD800 <= point < 0xE000)

    return [
        "".join(piece() + str(random.choice(["", " "])) for _ in range(random.integers(1, 40))) for _ in range(count)
    ]


@pytest.mark.parametrize("max_length", [4, 5, 16, 64])
def test_head_gives_the_ids_of_the_saved_model(make, folder, max_length):
    saved_model = hub.load(str(folder))
    texts = TEXTS + random_texts(200)
    expected = saved_model.bert_pack_inputs([saved_model.tokenize(tf.constant(texts))], seq_length=max_length)
    inputs = make(max_length)(tf.constant(texts))
    width = inputs["input_word_ids"].shape[1]
    assert width == expected["input_mask"].numpy().sum(axis=1).max()  # Padded to the longest, not further.
    assert width <= max_length
    for name, values in inputs.items():
        assert values.dtype == tf.int32
        np.testing.assert_array_equal(values, expected[name][:, :width])
        assert not (name != "input_word_ids" and expected[name][:, width:].numpy().any())


def test_padding_is_to_the_longest_of_the_batch(make):
    inputs = make(16)(tf.constant(["the film", "the", ""]))
    the, film = vocabulary().index("the"), vocabulary().index("film")
    assert inputs["input_word_ids"].numpy().tolist() == [[CLS, the, film, SEP], [CLS, the, SEP, 0], [CLS, SEP, 0, 0]]
    assert inputs["input_mask"].numpy().tolist() == [[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]]
    assert inputs["input_type_ids"].numpy().tolist() == [[0] * 4] * 3


@pytest.mark.parametrize("max_length", [4, 7, 12])
@pytest.mark.parametrize("head_fraction", [0.0, 0.25, 0.5, 0.999])
def test_head_and_tail_keep_the_right_pieces(make, max_length, head_fraction):
    room = max_length - 2
    lengths = [0, 1, room - 1, room, room + 1, room + 2, 26]
    texts = [" ".join(LETTERS[:length]) for length in lengths]
    ids = [vocabulary().index(letter) for letter in LETTERS]
    head = int(room * head_fraction)
    tail = room - head
    expected = [
        [CLS, *(ids[:length] if length <= room else ids[:head] + ids[length - tail : length]), SEP]
        for length in lengths
    ]
    layer = make(max_length, "head+tail", head_fraction)
    assert layer.bracket(layer.truncate(layer.wordpieces(tf.constant(texts)))).to_list() == expected
    tokenized = tokenize_texts(layer, texts)
    assert [list(part) for part in np.split(tokenized.ids, tokenized.offsets[1:-1])] == expected
    assert tokenized.whole_lengths.tolist() == [length + 2 for length in lengths]
    assert max(tokenized.lengths) == max_length


def test_max_length_is_never_exceeded(make):
    texts = TEXTS + random_texts(100)
    for truncation, max_length in (("head", 4), ("head+tail", 4), ("head", 33), ("head+tail", 33)):
        layer = make(max_length, truncation)
        assert layer(tf.constant(texts))["input_word_ids"].shape[1] == max_length
        assert tokenize_texts(layer, texts).lengths.max() == max_length


def test_tokenized_texts_are_what_the_layer_packs(make):
    texts = TEXTS + random_texts(50)
    layer = make(20, "head+tail")
    inputs = {name: values.numpy() for name, values in layer(tf.constant(texts)).items()}
    tokenized = tokenize_texts(layer, texts, chunk=7)
    assert len(tokenized) == len(texts)
    assert tokenized.ids.dtype == np.int32
    assert tokenized.offsets.dtype == np.int64
    np.testing.assert_array_equal(tokenized.lengths, inputs["input_mask"].sum(axis=1))
    np.testing.assert_array_equal(tokenized.ids, inputs["input_word_ids"][inputs["input_mask"] == 1])
    tokenize_texts(layer, texts[:3])
    assert layer.ids_and_lengths.experimental_get_tracing_count() == 1


def test_no_texts(make):
    tokenized = tokenize_texts(make(), [])
    assert len(tokenized) == 0
    assert (tokenized.ids.dtype, tokenized.offsets.tolist(), tokenized.whole_lengths.tolist()) == (np.int32, [0], [])
    assert tokenized.whole_lengths.dtype == np.int64


def test_token_counts_are_those_before_truncation(make, tiny_checkpoint):
    texts = ["", "the", "the film", "a" * 100, "good " * 600]
    # A word of more than 100 bytes would be one [UNK]; 100 letters are 100 pieces.
    expected = [2, 3, 4, 102, 602]
    assert make(4).token_counts(tf.constant(texts)).numpy().tolist() == expected
    several = texts + texts[:3] * 500  # More than one batch.
    counts = token_counts(several, encoder_preprocessing(str(tiny_checkpoint)))
    assert counts.dtype == np.int32
    assert counts.tolist() == expected + expected[:3] * 500
    assert token_counts([], encoder_preprocessing(str(tiny_checkpoint))).tolist() == []
    with pytest.raises(EncoderError, match="no encoder at"):
        encoder_preprocessing("./no/such")


def test_case_is_folded(make):
    assert make().folds_case()
    assert len(set(map(tuple, make().wordpieces(tf.constant(["good", "GOOD", "Góod"])).to_list()))) == 1


@pytest.mark.slow
def test_case_is_kept(cased_checkpoint):
    cased = TextPreprocessing(encoders.resolve("cased", str(cased_checkpoint), "").preprocessing, max_length=16)
    assert not cased.folds_case()
    words = vocabulary()
    assert cased.wordpieces(tf.constant(["good", "GOOD", "góod"])).to_list() == [
        [words.index("good")],
        [words.index("[UNK]")],
        [words.index("[UNK]")],
    ]


def test_what_is_no_preprocessing_is_refused(tiny_checkpoint, tmp_path):
    encoder = encoders.resolve("tiny", str(tiny_checkpoint), "").encoder
    (tmp_path / "saved_model.pb").write_bytes(b"damaged")
    for folder in (encoder, tmp_path, tmp_path / "missing"):
        with pytest.raises(EncoderError, match="expected a TF-Hub text preprocessing SavedModel") as caught:
            TextPreprocessing(folder, max_length=16)
        assert str(folder) in str(caught.value)
        assert "pass the preprocessing that belongs to the encoder" in str(caught.value)

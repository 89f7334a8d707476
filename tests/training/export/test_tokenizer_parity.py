"""The tokenizer that serves against the preprocessing SavedModel: equal on everything, or found out."""

import dataclasses
import shutil

import numpy as np
import pytest
from tiny_bert import vocabulary

from bench.serving import tokenizer_parity
from bench.serving.tokenizer_parity import exported_preprocessing
from bench.serving.unicode_texts import continuing, generated_texts, probe_vocabulary
from textclf.config import ModelOptions
from textclf.errors import EncoderError, InputError, ModelStoreError
from textclf.store.model_store import ModelStore, open_model
from textclf.tokenization import tensorflow_text as words
from textclf.tokenization.tokenizer import TokenizedText, Tokenizer
from textclf.training.encoders import resolve as encoders
from textclf.training.encoders.preprocessing import TextPreprocessing
from textclf.training.export.tokenizer_parity import differing_texts, tokenizer_differences, tokenizer_of_preprocessing
from textclf.training.tf_setup import tf

TEXTS = [
    "",
    " \t\n\x00",
    "The film was good, really GOOD!",
    "unaffable 1234567890 it's<br />well-known (great)…",
    "Café naïve ÅNGSTRÖM ﬁlm Straße ĳ İstanbul ΣΊΣΥΦΟΣ",
    "the film " * 50,
    "电影很好看 映画 영화 фильм फ़िल्म ภาพยนตร์ 👩\u200d👩 \U0010ffff",
]

# Those that a tokenizer which keeps case, accents and zero-width characters splits in another way.
OF_CASE = [*TEXTS[2:5], TEXTS[6]]


@pytest.fixture(scope="module")
def folder(tiny_checkpoint):
    return encoders.resolve("tiny", str(tiny_checkpoint), "").preprocessing


@pytest.fixture(scope="module")
def preprocessing(folder):
    return TextPreprocessing(folder, max_length=16)


def tokenizer(entries=(), **settings) -> Tokenizer:
    return Tokenizer(entries or vocabulary(), **({"lower_case": True, "max_length": 16} | settings))


# Equal


@pytest.mark.parametrize(("max_length", "truncation"), [(4, "head+tail"), (17, "head"), (64, "head+tail")])
def test_equal_on_texts_of_every_kind(folder, max_length, truncation):
    preprocessing = TextPreprocessing(folder, max_length, truncation, head_fraction=0.4)
    found = tokenizer_of_preprocessing(preprocessing)
    assert found.vocabulary == tuple(vocabulary())
    assert found.settings.to_dict() == {
        "lower_case": True,
        "max_length": max_length,
        "truncation": truncation,
        "head_fraction": 0.4,
        "windows": 1,
        "normalisation": "tensorflow-text",
    }
    assert differing_texts(preprocessing, found, TEXTS + generated_texts(500, seed=max_length)) == []


@pytest.fixture(scope="module")
def generated() -> list[str]:
    """20,000 different texts, and every character that Python's Unicode tables do not have right."""
    listed = [*words._NEW_CATEGORIES, *words._NEW_CLASSES, *words._NEW_FOLDS]
    listed += [char for char in map(chr, range(0xFFFF)) if words._IGNORABLE.match(char)]
    made = dict.fromkeys(generated_texts(21_000, seed=1))
    return [*made, *(f"a{char}b {char}\u302e{char}\U0001d165{char}\U00016ff0" for char in listed)]


@pytest.mark.statistics  # Thousands of generated texts.
@pytest.mark.parametrize("lower_case", [True, False])
def test_equal_where_no_unknown_word_hides_a_difference(generated, lower_case, tmp_path):
    assert len(generated) > 20_000
    texts = generated if lower_case else generated[::4]
    folder = exported_preprocessing(probe_vocabulary(texts), lower_case, tmp_path)
    preprocessing = TextPreprocessing(folder, 64, "head+tail")
    found = tokenizer_of_preprocessing(preprocessing)
    assert found.settings.lower_case == lower_case
    assert differing_texts(preprocessing, found, texts) == []
    ids = np.concatenate([tokenized.ids for tokenized in found(texts)])
    assert (ids == found.unknown_id).mean() < 0.02


@pytest.mark.slow
def test_equal_with_a_cased_vocabulary(cased_checkpoint):
    preprocessing = TextPreprocessing(encoders.resolve("cased", str(cased_checkpoint), "").preprocessing, 16)
    found = tokenizer_of_preprocessing(preprocessing)
    assert not found.settings.lower_case
    assert differing_texts(preprocessing, found, TEXTS) == []
    assert TEXTS[2] in differing_texts(preprocessing, tokenizer(), TEXTS)


def test_no_texts(preprocessing):
    assert differing_texts(preprocessing, tokenizer(), []) == []


# Different


@pytest.mark.parametrize(
    ("wrong", "differing"),
    [
        ({"lower_case": False}, OF_CASE),
        ({"max_length": 15}, TEXTS[3:6]),
        ({"truncation": "head+tail"}, [TEXTS[3], TEXTS[4]]),
        ({"entries": [*vocabulary()[:5], *reversed(vocabulary()[5:])]}, TEXTS[2:6]),
        ({"entries": ["[CLS]", "[PAD]", "[UNK]", "[SEP]", *vocabulary()[4:]]}, TEXTS),
    ],
)
def test_a_wrong_tokenizer_is_found_out(preprocessing, wrong, differing):
    found = differing_texts(preprocessing, tokenizer(**wrong), TEXTS)
    assert set(differing) <= set(found)
    assert found == [text for text in TEXTS if text in found]


def test_a_wrong_length_alone_is_found_out(preprocessing):
    class Miscounting(Tokenizer):
        def __call__(self, texts):
            return [
                TokenizedText(found.ids, min(found.length, 17), found.wordpieces) for found in super().__call__(texts)
            ]

    wrong = Miscounting(vocabulary(), True, 16)
    assert differing_texts(preprocessing, tokenizer(), TEXTS) == []
    longer = [text for text, right in zip(TEXTS, tokenizer()(TEXTS), strict=True) if right.length > 17]
    assert differing_texts(preprocessing, wrong, TEXTS) == longer != []


def test_differences_beyond_the_first_chunk_are_found(preprocessing):
    texts = ["good film"] * 2500
    texts[0] = texts[1024] = texts[2499] = "GOOD film"
    assert differing_texts(preprocessing, tokenizer(lower_case=False), texts) == ["GOOD film"] * 3


def test_what_is_no_text_is_refused(preprocessing):
    with pytest.raises(InputError, match="half of a surrogate pair"):
        differing_texts(preprocessing, tokenizer(), ["good", "\ud83d"])


# Other preprocessing than BERT's


class WhiteSpace(tf.Module):
    """Splits at white space only, and looks words up in a vocabulary file, or in none."""

    def __init__(self, vocabulary_file=None):
        super().__init__()
        keys = tf.constant(vocabulary())
        initializer = (
            tf.lookup.KeyValueTensorInitializer(keys, tf.range(len(vocabulary()), dtype=tf.int64))
            if vocabulary_file is None
            else tf.lookup.TextFileInitializer(
                vocabulary_file,
                tf.string,
                tf.lookup.TextFileIndex.WHOLE_LINE,
                tf.int64,
                tf.lookup.TextFileIndex.LINE_NUMBER,
            )
        )
        self.table = tf.lookup.StaticHashTable(initializer, default_value=1)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, texts):
        return tf.cast(self.table.lookup(tf.strings.split(tf.strings.lower(texts))), tf.int32)

    @tf.function(input_signature=[])
    def get_special_tokens_dict(self):
        names = {"padding_id": "[PAD]", "start_of_sequence_id": "[CLS]", "end_of_segment_id": "[SEP]"}
        ids = {name: tf.constant(vocabulary().index(token)) for name, token in names.items()}
        return ids | {"vocab_size": tf.constant(len(vocabulary()))}


def foreign_preprocessing(folder, tokenize):
    model = tf.Module()
    model.tokenize = tokenize
    tf.saved_model.save(model, str(folder))
    return folder


def test_preprocessing_without_a_vocabulary_is_refused(tmp_path):
    folder = foreign_preprocessing(tmp_path / "model", WhiteSpace())
    with pytest.raises(EncoderError, match="expected BERT's vocabulary in the preprocessing") as caught:
        tokenizer_of_preprocessing(TextPreprocessing(folder, 16))
    assert str(folder / "assets" / "vocab.txt") in str(caught.value)


def test_preprocessing_that_splits_in_another_way_is_refused(tmp_path, tiny_checkpoint):
    folder = foreign_preprocessing(tmp_path / "model", WhiteSpace(str(tiny_checkpoint / "vocab.txt")))
    with pytest.raises(
        EncoderError, match=r"expected BERT's preprocessing .* found one that splits .The theatre"
    ) as caught:
        tokenizer_of_preprocessing(TextPreprocessing(folder, 64))
    assert str(folder) in str(caught.value)
    assert differing_texts(TextPreprocessing(folder, 16), tokenizer(), ["good film", "good film!"]) == ["good film!"]


@pytest.mark.parametrize("content", [b"[PAD]\n[CLS]\n[SEP]\na\n", b"\xff\n", b"[PAD]\n[UNK]\n[CLS]\n[SEP]\na\na\n"])
def test_a_vocabulary_that_is_not_berts_is_refused(preprocessing, tmp_path, content, monkeypatch):
    """As found next to a SavedModel that TensorFlow has loaded already."""
    monkeypatch.setattr(preprocessing, "folder", tmp_path)
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "vocab.txt").write_bytes(content)
    with pytest.raises(EncoderError, match="expected BERT's vocabulary in the preprocessing"):
        tokenizer_of_preprocessing(preprocessing)


# Versions


def version_with_engine(trained_version, folder, served: Tokenizer, with_saved_model: bool = False):
    """A child of the trained version in a store of its own, whose engine/ holds this tokenizer."""
    parent = open_model(trained_version)
    with ModelStore(folder).new_version() as draft:
        (draft.path / "engine").mkdir()
        served.save(draft.path / "engine")
        if with_saved_model:
            shutil.copytree(parent.part("saved_model"), draft.path / "saved_model")
        draft.manifest = dataclasses.replace(parent.manifest, id="", created="", files={}, parent=parent.id)
    return folder / "versions" / draft.id


def test_a_version_without_an_engine(trained_version):
    store = trained_version.parent.parent
    assert tokenizer_differences(TEXTS, trained_version) == []
    assert tokenizer_differences(TEXTS, store) == []


@pytest.mark.parametrize("with_saved_model", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_version_with_an_engine(trained_version, tmp_path, with_saved_model):
    """Compared with what saved_model/ holds, or with the preprocessing of the encoder that the manifest names."""
    served = tokenizer(max_length=32)
    assert (
        tokenizer_differences(TEXTS, version_with_engine(trained_version, tmp_path / "a", served, with_saved_model))
        == []
    )
    wrong = tokenizer(max_length=32, lower_case=False)
    path = version_with_engine(trained_version, tmp_path / "b", wrong, with_saved_model)
    assert tokenizer_differences(TEXTS, path) == tokenizer_differences(TEXTS, tmp_path / "b") == OF_CASE


def test_the_store_named_model_is_the_default(trained_version, tmp_path, monkeypatch):
    version_with_engine(trained_version, tmp_path / "model", tokenizer(max_length=32, lower_case=False))
    monkeypatch.chdir(tmp_path)
    assert tokenizer_differences(TEXTS) == OF_CASE


@pytest.mark.slow
def test_without_a_version_the_embedded_encoder_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ModelOptions().max_length == 256
    assert tokenizer_differences(TEXTS + generated_texts(1000)) == []


def test_a_damaged_engine_is_refused(trained_version, tmp_path):
    path = version_with_engine(trained_version, tmp_path, tokenizer(max_length=32))
    (path / "engine" / "vocab.txt").write_text("[PAD]\n", encoding="utf-8")
    with pytest.raises(ModelStoreError, match=r"vocab\.txt: damaged"):
        tokenizer_differences(TEXTS, path)


def test_a_version_whose_encoder_is_gone(trained_version, tmp_path):
    path = version_with_engine(trained_version, tmp_path, tokenizer(max_length=32))
    manifest = (path / "manifest.json").read_text(encoding="utf-8")
    gone = manifest.replace(open_model(path).manifest.encoder["name_to_handle"], str(tmp_path / "gone"))
    (path / "manifest.json").write_text(gone, encoding="utf-8")
    with pytest.raises(EncoderError, match="gone"):
        tokenizer_differences(TEXTS, path)


def test_no_version_there(tmp_path):
    with pytest.raises(ModelStoreError, match="expected a model store"):
        tokenizer_differences(TEXTS, tmp_path)


# The table of bench/, and its generator


@pytest.mark.slow
def test_the_table(tiny_checkpoint, reviews, capsys):
    arguments = ["--data", str(reviews), "--encoder", str(tiny_checkpoint), "--generated", "0", "--no-code-points"]
    with pytest.raises(SystemExit) as stopped:
        tokenizer_parity.main(arguments)
    assert stopped.value.code == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    count = str(len(list(reviews.rglob("*.txt"))))
    assert [[row[0], *row[2:]] for row in rows] == [
        ["reviews", "lower-cased", truncation, count, "texts", "0", "differ"] for truncation in ("head", "head+tail")
    ]


def test_generated_texts_repeat_and_vary():
    texts = generated_texts(300, seed=5)
    assert texts == generated_texts(300, seed=5)
    assert texts != generated_texts(300, seed=6)
    assert len(set(texts)) > 270
    assert any(not text.strip() for text in texts)
    assert any(95 < len(word.encode()) < 105 for text in texts for word in text.split())
    assert not any("\ud800" <= char < "\ue000" for text in texts for char in text)
    entries = probe_vocabulary(texts)
    assert len(entries) == len(set(entries))
    assert {"[UNK]", "ſ", "##ſ", "s", "##s"} < set(entries)
    assert continuing(["#"]) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "#", "###"]

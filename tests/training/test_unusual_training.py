"""Statistics of usual texts: the share that is marked of new texts, long texts for short ones, few texts."""

import numpy as np
import pytest
from tiny_bert import vocabulary
from tiny_engine import tiny_reviews

from textclf.drift.reference import load_reference
from textclf.report.evaluation_html import evaluation_page
from textclf.report.unusual import unusual_sentence
from textclf.report.versions import describe_version
from textclf.runtime.loading import load_predictor
from textclf.runtime.unusual import BUCKETS, UNUSUAL_FILE, buckets_of, normalised
from textclf.store.model_store import open_model
from textclf.tokenization.tokenizer import Tokenizer
from textclf.training.unusual_training import MAX_SHARE, MIN_TEXTS, fit_unusual, unusual_counts
from textclf.unusual_reasons import NO_WORDS, REASONS

TOKENIZER = Tokenizer(vocabulary(), lower_case=True, max_length=32)
OTHERS = ["der hund lief sehr schnell weg", "kjwq zxvb qpwo", "une histoire pas mal du tout", "x = foo(bar) + baz[0]"]


def generated_texts(count, seed, min_words=4, max_words=40):
    """Texts of invented words: syllables with their own frequencies, so that some words are rare."""
    rng = np.random.default_rng(0)
    syllables = [first + last for first in "bdfgklmnprst" for last in ("a", "en", "i", "or", "us")]
    shares = 1 / np.arange(1, 801)
    words = ["".join(rng.choice(syllables, rng.integers(1, 4))) for _ in shares]
    rng = np.random.default_rng(seed)
    sizes = rng.integers(min_words, max_words, count)
    return [" ".join(rng.choice(words, size, p=shares / shares.sum())) for size in sizes]


def flagged(unusual, texts):
    return unusual_counts(unusual, TOKENIZER, texts)["flagged"]


def test_the_share_of_new_texts_that_is_marked():
    unusual = fit_unusual(generated_texts(1000, seed=1), TOKENIZER)
    counts = unusual_counts(unusual, TOKENIZER, generated_texts(1000, seed=2))
    assert counts["judges_words"] is True
    assert counts["texts"] == 1000
    assert list(counts["flagged"]) == list(REASONS)
    # Four standard errors of the share.
    assert 0 < sum(counts["flagged"].values()) / 1000 < MAX_SHARE + 4 * np.sqrt(MAX_SHARE / 1000)
    assert sum(flagged(unusual, OTHERS).values()) == len(OTHERS)


def test_long_texts_are_enough_to_judge_short_ones():
    unusual = fit_unusual(generated_texts(300, seed=1, min_words=100, max_words=200), TOKENIZER)
    short = generated_texts(1000, seed=2, min_words=3, max_words=8)
    assert sum(flagged(unusual, short).values()) / 1000 < MAX_SHARE + 4 * np.sqrt(MAX_SHARE / 1000)
    assert sum(flagged(unusual, OTHERS).values()) == len(OTHERS)
    assert unusual.lengths[0] == 8
    assert np.all(np.diff(unusual.limits) <= 0)


def test_texts_of_a_script_without_spaces():
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("你我他在看电影好不是的了"), rng.integers(5, 60))) for _ in range(400)]
    unusual = fit_unusual(texts[:300], TOKENIZER)
    assert sum(flagged(unusual, texts[300:]).values()) <= 8
    assert sum(flagged(unusual, ["the film was dull and boring", "こんにちは世界のみなさん"]).values()) == 2


def test_surprises_are_tenths_of_negative_log_shares():
    texts = ["the film"] * MIN_TEXTS + ["a long film"]
    unusual = fit_unusual(texts, TOKENIZER)
    counts = np.zeros(BUCKETS)
    for text in texts:
        np.add.at(counts, buckets_of(normalised(text)), 1)
    expected = -10 * np.log((counts + 0.1) / (counts + 0.1).sum())
    np.testing.assert_allclose(unusual.surprises, expected, atol=0.5)


@pytest.mark.parametrize("count", [1, 20, MIN_TEXTS - 1])
def test_with_few_texts_only_texts_without_letters_are_marked(count):
    unusual = fit_unusual(generated_texts(count, seed=1), TOKENIZER)
    counts = unusual_counts(unusual, TOKENIZER, [*OTHERS, "12 34"])
    assert counts == {
        "judges_words": False,
        "texts": 5,
        "flagged": {reason: int(reason == NO_WORDS) for reason in REASONS},
    }


def test_texts_without_letters_are_usual_where_the_training_texts_have_none():
    numbers = [f"{number} {number * 7}" for number in range(50)]
    assert not fit_unusual([*generated_texts(500, seed=1), *numbers], TOKENIZER).marks_wordless
    assert fit_unusual([*generated_texts(500, seed=1), "12"], TOKENIZER).marks_wordless
    assert not fit_unusual(numbers, TOKENIZER).marks_wordless


def test_equal_texts_give_equal_statistics(tmp_path):
    texts = [text for text, _ in tiny_reviews(150)]
    written = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        fit_unusual(texts, TOKENIZER).save(tmp_path / name)
        written.append((tmp_path / name / "unusual.npz").read_bytes())
    assert written[0] == written[1]
    assert len(fit_unusual(texts, TOKENIZER).frequent) < len(vocabulary()) / 4


def test_a_trained_version_marks_texts_and_tells_the_share(trained_version):
    version = open_model(trained_version)
    assert f"engine/{UNUSUAL_FILE}" in version.manifest.files
    assert load_predictor(trained_version).predict(["12 34"])[0].unusual_reason == NO_WORDS
    counts = version.manifest.unusual
    assert counts["texts"] == len(load_reference(version.part("reference.npz")).labels)
    sentence = unusual_sentence(counts)
    assert f"unusual texts  {sentence}" in describe_version(version)
    assert sentence in evaluation_page(version.manifest, None)


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ({}, ""),
        (
            {
                "judges_words": True,
                "texts": 400,
                "flagged": {"no_words": 1, "unknown_words": 0, "far_from_training": 5},
            },
            "6 of 400 held-out texts (1.5%): the text has no letters (1), the text is far from the training texts (5)",
        ),
        (
            {"judges_words": False, "texts": 0, "flagged": dict.fromkeys(REASONS, 0)},
            "0 of 0 held-out texts; too few training texts to judge words, only texts without letters",
        ),
    ],
)
def test_sentence_about_the_share(counts, sentence):
    assert unusual_sentence(counts) == sentence

"""The cascade benchmark: its arithmetic by hand, its attacks, and a run on a tiny version."""

import json
import random

import numpy as np
import pytest
from click.testing import CliRunner
from labelled_sets import write_set
from tiny_engine import tiny_reviews, write_version

from bench.accuracy.cascade import OWN, attacked_classes, attacks, main
from bench.accuracy.cascade_variants import (
    CASCADE,
    COMBINATION,
    ENCODER,
    LINEAR,
    attack_results,
    difference,
    labelled_results,
    read_by_both,
    variants_of,
)
from bench.accuracy.stuffing import ATTACKS, COUNTS, attacked_texts, read_words, stuffed
from bench.errors import BenchError
from textclf.runtime.loading import load_predictor
from textclf.stats.cascade_rules import CascadeSettings, StageOutputs

SETTINGS = CascadeSettings(linear_temperature=2.0, encoder_weight=1.0, linear_weight=0.5, exit_confidence=0.9)
# Texts: sure, unsure. The encoder says 1, 0 and is not very sure of it.
OUTPUTS = StageOutputs(np.array([[0, 1], [1, 0]], np.float32), np.array([[8, 0], [0, 1]], np.float32), 1.0)


def test_variants_of_predicts_by_each_rule():
    found = variants_of(SETTINGS, OUTPUTS)
    assert {name: ids.tolist() for name, ids in found.predicted.items()} == {
        ENCODER: [1, 0],
        LINEAR: [0, 1],
        # Linear logits by their temperature and weight: 2 against 1 on the first, 0.25 against 1 on the last.
        COMBINATION: [0, 0],
        CASCADE: [0, 0],
    }
    assert found.exits.tolist() == [True, False]


def test_attack_results_count_wanted_predictions():
    """The linear stage is sure of the first text, and the encoder is not asked."""
    found = attack_results(CascadeSettings(2.0, 1.0, 0.0, 0.9), OUTPUTS, wanted=0)
    assert found["fooled"] == {ENCODER: 0.5, LINEAR: 0.5, COMBINATION: 0.5, CASCADE: 1.0}
    assert found["exit_share"] == 0.5


def test_differences_are_paired():
    labels = np.zeros(100, np.int64)
    first, second = labels.copy(), labels.copy()
    first[:10] = 1
    second[8:12] = 1  # Eight gains, two losses.
    found = difference(labels, first, second)
    assert found["difference"] == pytest.approx(0.06)
    assert -0.01 < found["low"] < 0.06 < found["high"] < 0.14
    other = difference(labels, second, first)
    assert other["low"] == pytest.approx(-found["high"])


def test_labelled_results_compare_with_the_encoder():
    found = labelled_results(SETTINGS, OUTPUTS, np.array([0, 0]))
    assert found["accuracy"] == {"encoder": 0.5, "linear": 0.5, "combination": 1.0, "cascade": 1.0}
    assert found["exit_share"] == 0.5
    assert found["accuracy_on_exits"] == {"linear": 1, "encoder": 0}
    assert found["differences"][CASCADE]["difference"] == 0.5
    assert found["differences"][LINEAR]["difference"] == 0


def test_attacks_insert_the_words():
    chance = random.Random(0)  # noqa: S311
    assert ATTACKS["appended"]("a  b", ["x", "y"], chance) == "a  b x y"
    assert ATTACKS["prepended"]("a  b", ["x", "y"], chance) == "x y a  b"
    texts = ["a b c d e f g h"] * 2
    first, second = stuffed(texts, "inserted", ["x", "y", "z"], seed=1)
    assert sorted(first.split()) == sorted([*"abcdefgh", "x", "y", "z"])
    assert [word for word in first.split() if word in "abcdefgh"] == [*"abcdefgh"]
    assert first != second
    assert stuffed(texts, "inserted", ["x", "y", "z"], seed=1) == [first, second]
    assert stuffed(texts, "inserted", [], seed=1) == texts


def test_read_words_needs_enough_words(tmp_path):
    words = read_words()
    assert len(set(words)) == len(words) == max(COUNTS)
    (tmp_path / "words").write_text("good\n\nfine\n")
    with pytest.raises(BenchError, match="expected at least 50 words, one a line, got 2"):
        read_words(tmp_path / "words")


def test_texts_as_they_are_come_once():
    assert attacks((0, 5)) == [("appended", 0), ("appended", 5), ("prepended", 5), ("inserted", 5)]


def test_attacked_classes_default_to_neg_and_pos():
    assert attacked_classes(("neg", "pos"), None, None) == ("neg", "pos")
    assert attacked_classes(("a", "b", "c"), None, None) is None
    assert attacked_classes(("a", "b", "c"), "c", "a") == ("c", "a")
    for given in (("a", None), ("a", "a"), ("a", "d")):
        with pytest.raises(BenchError, match="expected two of the model's classes, a, b, c"):
            attacked_classes(("a", "b", "c"), *given)
    assert attacked_texts(["x", "y", "z"], ["a", "b", "a"], "a", 9, seed=0) in (["x", "z"], ["z", "x"])
    with pytest.raises(BenchError, match="expected a class with test texts, got 'c'"):
        attacked_texts(["x"], ["a"], "c", 9, seed=0)


def write_test_part(folder, reviews, names=("neg", "pos")):
    return write_set(folder, reviews[:20], reviews[20:], names)


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    return write_version(tmp_path_factory.mktemp("cascade") / "model", cascade=SETTINGS, reference_texts=[])


@pytest.fixture(scope="module")
def reviews(tmp_path_factory):
    return write_test_part(tmp_path_factory.mktemp("data") / "reviews", tiny_reviews(140, seed=7))


def test_the_cascade_variant_is_what_is_served(version):
    texts = [text for text, _ in tiny_reviews(60, seed=8)] + ["bad " * 100 + "good lovely"]
    predictor = load_predictor(version)
    outputs = read_by_both(predictor, texts)
    served = predictor.predict_batch(texts)
    found = variants_of(predictor.cascade.settings, outputs)
    assert found.predicted[CASCADE].tolist() == served.predicted.tolist()
    assert found.exits.tolist() == served.stages.exits.tolist()
    assert found.exits.sum() > 0
    alone = load_predictor(version, cascade=False).predict_batch(texts)
    assert found.predicted[ENCODER].tolist() == alone.predicted.tolist()
    assert alone.stages is None


def test_command_measures_sets_and_attacks_once(version, reviews, tmp_path):
    other = write_test_part(tmp_path / "other", tiny_reviews(60, seed=9, of_films=False), ("0", "1"))
    arguments = ["--model-path", version, "--dataset-path", reviews, "--others", f"products={other}"]
    arguments += ["--rename-label", "0=neg", "--rename-label", "1=pos", "--stuffed", 30]
    arguments += ["--work-dir", tmp_path / "work", "--json", tmp_path / "cascade.json"]
    first = CliRunner().invoke(main, list(map(str, arguments)))
    assert first.exit_code == 0, first.output
    found = json.loads((tmp_path / "cascade.json").read_bytes())
    assert {name: results["texts"] for name, results in found["sets"].items()} == {OWN: 120, "products": 60}
    assert found["sets"][OWN]["accuracy"][LINEAR] > 0.95
    assert found["sets"][OWN]["exit_share"] > 0.5
    assert list(found["stuffing"])[:2] == ["as they are", "5 words appended"]
    assert len(found["stuffing"]) == 1 + 3 * 3
    assert found["stuffing"]["as they are"]["texts"] == 30
    assert found["settings"]["exit_confidence"] == 0.9
    for part in ("on the texts that exit", "expected calibration error", "30 texts of the class neg, called pos"):
        assert part in first.stdout
    began = (tmp_path / "work" / version.name / "cascade.json").stat().st_mtime_ns
    again = CliRunner().invoke(main, list(map(str, arguments)))
    assert again.stdout.splitlines()[1:] == first.stdout.splitlines()[1:]
    assert (tmp_path / "work" / version.name / "cascade.json").stat().st_mtime_ns == began


@pytest.mark.bench
def test_several_classes_have_no_attack_unless_it_is_named(tmp_path):
    names = ("a", "b", "c")
    version = write_version(tmp_path / "model", names, cascade=SETTINGS, reference_texts=[])
    data = write_test_part(tmp_path / "data", tiny_reviews(110, seed=7, classes=3), names)
    arguments = ["--model-path", str(version), "--dataset-path", str(data), "--work-dir", str(tmp_path / "work")]
    found = CliRunner().invoke(main, arguments)
    assert found.exit_code == 0, found.output
    assert "called" not in found.stdout
    named = [*arguments, "--stuff-label", "a", "--praise-for", "b", "--most", "30", "--stuffed", "5"]
    found = CliRunner().invoke(main, named)
    assert "5 texts of the class a, called b" in found.stdout


@pytest.mark.bench
def test_command_with_unsuitable_version_or_set_fails(version, reviews, tmp_path):
    plain = write_version(tmp_path / "plain", reference_texts=[])
    arguments = ["--dataset-path", str(reviews), "--work-dir", str(tmp_path / "work"), "--model-path"]
    found = CliRunner().invoke(main, [*arguments, str(plain)])
    assert found.exit_code == 1
    assert "expected a version with a cascade, but it was saved without one" in found.stderr
    other = write_test_part(tmp_path / "other", tiny_reviews(60), ("0", "1"))
    found = CliRunner().invoke(main, [*arguments, str(version), "--others", f"x={other}"])
    assert "expected the model's classes, neg, pos, got 0, 1; map them with --rename-label" in found.stderr
    for others in ("x", "x=", "=y", f"x={other},x={other}", f"{OWN}={other}"):
        found = CliRunner().invoke(main, [*arguments, str(version), "--others", others])
        assert found.exit_code == 2
        assert "expected different names with paths" in found.stderr
    found = CliRunner().invoke(main, [*arguments, str(version), "--rename-label", "x"])
    assert "expected OLD=NEW, got 'x'" in found.stderr
    with pytest.raises(BenchError, match="expected a version with a cascade, got one without"):
        read_by_both(load_predictor(plain), ["a"])

"""The comparison with few labels: its samples, its figures by hand, and a run with a tiny encoder."""

import csv
import gzip
import math

import numpy as np
import pytest
from click.testing import CliRunner
from labelled_sets import write_set
from scipy.stats import t as student
from tiny_engine import tiny_reviews

from bench.errors import BenchError
from bench.few_labels.compare import main, planned, read_lines
from bench.few_labels.encoder import Encoder, FineTuning
from bench.few_labels.report import advantage, advantage_table, figures_table, mean_over_sets
from bench.few_labels.samples import read_task


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    train = [(f"{text} {number}", label) for number, (text, label) in enumerate(tiny_reviews(80))]
    return write_set(
        tmp_path_factory.mktemp("data") / "trec", [*train, ("seen", 0)], [*tiny_reviews(40, seed=1), ("seen", 0)]
    ).parent


def test_a_sample_has_the_same_number_of_each_class_and_grows_with_its_size(data):
    task = read_task("trec", data, 30)
    small, large = (task.sample(size, seed=3) for size in (4, 8))
    assert np.bincount(large.labels).tolist() == [8, 8]
    assert set(small.texts) < set(large.texts)
    assert set(task.sample(4, seed=4).texts) != set(small.texts)
    assert "seen" not in task.pool.texts
    assert len(task.tested.texts) == 30
    assert len(task.sample(1000, seed=0).texts) == 80  # A class with fewer texts gives all.


def test_the_largest_classes_are_kept_and_renamed(tmp_path):
    classes = [*(f"class {number:02d}" for number in range(11)), "reverted_card_payment?"]
    rows = [(f"{name} text {at}", name) for number, name in enumerate(classes) for at in range(2 + number)]
    folder = tmp_path / "banking77"
    folder.mkdir()
    for part, suffix in (("train", ""), ("test", " tested")):
        with gzip.open(folder / f"{part}.csv.gz", "wt", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *((text + suffix, name) for text, name in rows)])
    task = read_task("banking77", tmp_path, 1000)
    assert task.class_names == (*classes[2:11], "reverted_card_payment")
    assert len(task.tested.texts) == len(task.pool.texts) == sum(2 + number for number in range(2, 12))


def test_a_missing_set_is_refused(tmp_path):
    with pytest.raises(BenchError, match="expected a folder trec, found none"):
        read_task("trec", tmp_path, 10)


def test_the_mean_weighs_sets_equally_and_its_interval_is_that_of_the_samples():
    found = mean_over_sets({("a", 0): 0.5, ("a", 1): 0.7, ("b", 0): 0.9, ("b", 1): 0.9, ("b", 2): 0.9})
    assert found.value == pytest.approx((0.6 + 0.9) / 2)
    assert found.samples == 5
    error = math.sqrt((0.02 / 3) * (1 / 2 + 1 / 3)) / 2
    assert found.half == pytest.approx(student.ppf(0.975, 3) * error)
    assert math.isnan(mean_over_sets({("a", 0): 0.5, ("b", 0): 0.9}).half)


def line(method, name, seed, accuracy, size=8):
    return {"method": method, "set": name, "seed": seed, "size": size, "accuracy": accuracy}


def test_the_advantage_is_paired_by_sample():
    lines = [line("recipe", "a", 0, 0.8), line("recipe", "a", 1, 0.6), line("probe", "a", 0, 0.7)]
    lines += [line("probe", "a", 1, 0.5), line("probe", "b", 0, 0.1), line("recipe", "a", 0, 0.9, size=16)]
    found = advantage(lines, "recipe", "probe", 8)
    assert (found.value, found.samples) == (pytest.approx(0.1), 2)
    assert found.half == pytest.approx(0)
    assert advantage(lines, "recipe", "probe", 16) is None
    text = advantage_table(lines, "recipe", {"recipe": "ours", "probe": "the probe"}, (8, 16))
    assert " ".join(text.splitlines()[-1].split()) == "| the probe | +10.0 ± 0.0 (2) | |"


def test_each_mean_says_how_many_sets_and_samples_it_has():
    lines = [line("recipe", "a", 0, 0.8), line("recipe", "a", 1, 0.6), line("probe", "a", 0, 0.7)]
    lines += [line("probe", "b", 0, 0.3)]
    text = figures_table(lines, {"recipe": "ours", "probe": "the probe"}, (8, 16), "accuracy", "{:.0%}")
    assert [" ".join(row.split()) for row in text.splitlines()[-2:]] == [
        "| ours | 70% (1, 2) | |",
        "| the probe | 50% (2, 2) | |",
    ]


def test_an_interrupted_comparison_has_few_samples_of_everything():
    runs = list(planned((8, 16), ["a", "b"], 2, ["m"]))
    assert [(run["seed"], run["size"], run["set"]) for run in runs[:5]] == [
        (0, 8, "a"),
        (0, 8, "b"),
        (0, 16, "a"),
        (0, 16, "b"),
        (1, 8, "a"),
    ]


def test_an_incomplete_last_line_is_not_a_result(tmp_path):
    path = tmp_path / "lines.jsonl"
    assert read_lines(path) == []
    path.write_text('{"size": 8}\n{"si')
    assert read_lines(path) == [{"size": 8}]


@pytest.mark.bench
def test_each_training_starts_from_the_first_weights(data, tiny_checkpoint):
    task = read_task("trec", data, 20)
    encoder = Encoder(str(tiny_checkpoint), max_length=16)
    texts, how = encoder.tokenized(task.pool.texts), FineTuning(rate=1e-3, epochs=1, min_steps=12)
    before = encoder.classifier(2, "mean").vectors(texts)
    found = []
    for _ in range(2):
        classifier = encoder.classifier(2, "mean")
        assert np.array_equal(classifier.vectors(texts), before)
        classifier.start_at_random(seed=1)
        classifier.fit(texts, task.pool.labels, how, seed=1)
        assert not np.allclose(classifier.vectors(texts), before, atol=1e-3)
        found.append(classifier.logits(texts))
    # Nothing of the first training is left, neither in the weights nor in the optimiser; only dropout differs.
    assert np.mean(found[0].argmax(axis=1) == found[1].argmax(axis=1)) > 0.9


@pytest.mark.bench
def test_the_command_adds_a_line_for_each_run_and_skips_it_later(data, tmp_path, tiny_checkpoint):
    results = tmp_path / "few.jsonl"
    methods = ["tf-idf", "probe", "recipe"]
    arguments = ["--data-dir", data, "--results", results, "--sets", "trec", "--size", 4, "--samples", 1]
    arguments += ["--encoder", tiny_checkpoint, "--max-length", 16, "--max-tested", 20, "--methods", ",".join(methods)]
    first = CliRunner().invoke(main, [*map(str, arguments), "--recipe-options", "--epochs 1"])
    assert first.exit_code == 0, first.output
    lines = read_lines(results)
    assert [found["method"] for found in lines] == methods
    assert all(found["texts"] == 8 and found["tested"] == 20 for found in lines)
    assert all(0 <= found["accuracy"] <= 1 and found["seconds"] > 0 for found in lines)
    assert "Difference of accuracy in points" in first.stdout
    assert CliRunner().invoke(main, list(map(str, arguments))).exit_code == 0
    assert read_lines(results) == lines

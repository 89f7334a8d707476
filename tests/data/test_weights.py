"""Weights of texts: read, kept through cleaning, splits and retraining, and part of the fingerprint."""

import csv
import json

import numpy as np
import pytest
from labelled_texts import CLASSES, prose, reviews

from textclf.config import DataOptions
from textclf.data.cleaning import clean
from textclf.data.datasets import load_dataset
from textclf.data.splits import Split
from textclf.data.table_rows import weight_of
from textclf.errors import ConfigError, DatasetError
from textclf.retraining.combined_dataset import read_holdout, write_combined
from textclf.retraining.combining import combine
from textclf.tokenization.text_key import TextKeys

OPTIONS = DataOptions(weight_column="count")


def table(path, rows, header=("text", "label", "count")):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def weighted(folder, count=60, start=0):
    """Two classes; the weight of a text is 1 + its number, which is also the end of the text."""
    folder.mkdir(exist_ok=True)
    rows = [(f"{prose(start + i)} {i}", CLASSES[i % 2], 1 + i) for i in range(count)]
    table(folder / "train.csv", rows)
    # The test part needs no weights.
    table(folder / "test.csv", [(prose(9000 + i), CLASSES[i % 2]) for i in range(20)], ("text", "label"))
    return folder


def assert_weights_follow(split):
    for text, weight in zip(split.texts, split.weights, strict=True):
        assert weight == 1 + int(text.split()[-1])


def test_weights_stay_with_their_texts(tmp_path):
    data = load_dataset(weighted(tmp_path / "data"), options=OPTIONS)
    assert_weights_follow(data.train)
    assert_weights_follow(data.train.chosen([3, 1]))
    assert_weights_follow(data.train.divided(0.5, 1)[0])
    assert data.test.weights is None
    assert load_dataset(tmp_path / "data").train.weights is None


@pytest.mark.parametrize(
    ("cell", "weight"),
    [
        *[("2.5", 2.5), (3, 3.0), ("", 1.0), (None, 1.0), (" 1e-3 ", 0.001)],
        *[
            (0, None),
            ("-1", None),
            ("nan", None),
            ("inf", None),
            ("many", None),
            (True, None),
            ([1], None),
            (10**400, None),
            # The sum of such weights would be infinite, or their ratios 0.
            (1e308, None),
            (1e-300, None),
        ],
    ],
)
def test_cells(cell, weight):
    assert weight_of(cell) == weight


def test_texts_without_weights_count_like_the_mean_text():
    known = Split(("a", "b"), np.array([0, 1]), np.array([1e-4, 3e-4]))
    unknown = Split(("c",), np.array([1]))
    assert known.joined(unknown).weights == pytest.approx([1e-4, 3e-4, 2e-4])
    assert unknown.joined(known, unknown).weights == pytest.approx([2e-4, 1e-4, 3e-4, 2e-4])
    assert unknown.joined(unknown).weights is None


def test_a_given_validation_part_counts_like_the_mean_training_text(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    table(folder / "train.csv", [(prose(i), CLASSES[i % 2], 1e-4) for i in range(40)])
    # Its own column is not read.
    table(folder / "validation.csv", [(prose(1000 + i), CLASSES[i % 2], 7) for i in range(20)])
    table(folder / "test.csv", [(prose(2000 + i), CLASSES[i % 2]) for i in range(20)], ("text", "label"))
    data = load_dataset(folder, options=OPTIONS)
    everything = data.train.joined(data.validation_select, data.validation_calibrate)
    assert everything.weights == pytest.approx([1e-4] * 60)
    # In a retraining, too, where the new texts have no weights either.
    new = reviews([f"{prose(5000 + i)} {'x' * i}" for i in range(20)])
    combined = combine(data, new, data.test, [review.label for review in new])
    assert len(combined.train) > 60
    assert combined.train.weights == pytest.approx([1e-4] * len(combined.train))


def test_a_field_without_a_name_is_no_weight(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [{"": "index", "text": prose(i), "label": CLASSES[i % 2]} for i in range(40)]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert load_dataset(path).counts.train_read == 40


def test_faults_are_one_error(tmp_path):
    rows = [("good", "pos", "1"), ("bad", "neg", "0"), ("fine", "pos", "none")]
    with pytest.raises(DatasetError, match=r"a weight out of range \(2\); row 2: expected a number from 1e-09"):
        load_dataset(table(tmp_path / "a.csv", rows), options=OPTIONS)
    with pytest.raises(ConfigError, match="weight_column: expected another column than text and label, got 'label'"):
        DataOptions(weight_column="label")


def test_of_equal_texts_the_largest_weight_counts_in_any_order():
    texts, weights = ("a film", "A film", "a plot"), np.array([1.0, 5.0, 2.0])
    for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0]):
        split = Split(tuple(texts[i] for i in order), np.array([0, 0, 1])[order], weights[order])
        found = clean(split, TextKeys(), set()).split
        assert {text.lower(): weight for text, weight in zip(found.texts, found.weights, strict=True)} == {
            "a film": 5.0,
            "a plot": 2.0,
        }


def test_weights_are_part_of_the_fingerprint_of_the_training_texts(tmp_path):
    folder = weighted(tmp_path / "data")
    before, plain = load_dataset(folder, options=OPTIONS).fingerprints, load_dataset(folder).fingerprints
    lines = (folder / "train.csv").read_text().splitlines()
    (folder / "train.csv").write_text("\n".join([lines[0], *(f"{line}0" for line in lines[1:])]))
    after = load_dataset(folder, options=OPTIONS).fingerprints
    assert load_dataset(folder).fingerprints == plain
    for name in ("all", "train"):
        assert len({before[name], plain[name], after[name]}) == 3
    for name in ("validation_select", "validation_calibrate", "test"):
        assert before[name] == plain[name] == after[name]


def test_retraining_keeps_the_weights_and_counts_new_texts_like_the_mean(tmp_path):
    old = load_dataset(weighted(tmp_path / "data"), options=OPTIONS)
    new = reviews([f"{prose(5000 + i)} {'x' * i}" for i in range(60)])
    combined = combine(old, new, old.test, [review.label for review in new])
    assert combined.added
    path = tmp_path / "combined"
    write_combined(combined, old.test, path, OPTIONS)
    again = load_dataset(path, options=OPTIONS)
    known = dict(zip(combined.train.texts, combined.train.weights, strict=True))
    for split in (again.train, again.validation_select, again.validation_calibrate):
        assert [known[text] for text in split.texts] == pytest.approx(split.weights.tolist())
    numbers = {text: float(text.split()[-1]) + 1 for text in known if text.split()[-1].isdigit()}
    assert len(numbers) == 60
    assert [known[text] for text in numbers] == pytest.approx(list(numbers.values()))
    assert [known[review.text] for review in combined.added] == pytest.approx([30.5] * len(combined.added))
    assert set(again.test.texts) == set(old.test.texts)
    assert set(read_holdout(path, again.class_names)[0].texts) == set(combined.holdout.texts)
    # It is known as a combined data set, and may be replaced.
    write_combined(combined, old.test, path, OPTIONS)

"""A validation part that comes with the data is used, cleaned, counted, and can be ignored."""

import dataclasses
from itertools import chain

import pytest

from textclf.config import DataOptions
from textclf.data.datasets import load_dataset
from textclf.errors import DatasetError

IGNORED = DataOptions(read_validation=False)


def rows(part, n):
    return [(f"{part} text {i} of {name}", name) for name in ("neg", "pos") for i in range(n)]


def write(root, **parts):
    for name, pairs in parts.items():
        lines = ["text,label", *(f'"{text}",{label}' for text, label in pairs), ""]
        (root / f"{name}.csv").write_text("\n".join(lines))
    return root


def texts(*splits):
    return sorted(chain(*(split.texts for split in splits)))


def test_its_halves_are_both_validation_splits(tmp_path):
    write(tmp_path, train=rows("train", 20), validation=rows("validation", 6), test=rows("test", 5))
    data = load_dataset(tmp_path)
    assert {name: len(split) for name, split in data.splits.items()} == {
        "train": 40,
        "validation_select": 6,
        "validation_calibrate": 6,
        "test": 10,
    }
    halves = texts(data.validation_select, data.validation_calibrate)
    assert halves == sorted(text for text, _ in rows("validation", 6))
    assert data.origins == {part: (tmp_path / f"{part}.csv",) for part in ("train", "validation", "test")}


def test_a_test_part_is_split_off_the_training_texts_only(tmp_path):
    data = load_dataset(write(tmp_path, train=rows("train", 20), dev=rows("dev", 2)))
    assert len(data.test) == 8
    assert texts(data.train, data.test) == sorted(text for text, _ in rows("train", 20))
    assert data.origins["test"] == ()


def test_a_text_is_in_one_part_only(tmp_path):
    train = [*rows("train", 9), ("in both", "neg"), (" in validation ", "pos"), ("in test", "neg")]
    validation = [*rows("validation", 4), ("in validation", "neg"), ("in both", "neg"), ("in validation", "neg")]
    validation += [("torn", "neg"), ("torn", "pos")]
    test = [*rows("test", 4), ("in test", "neg"), ("in both", "pos")]
    data = load_dataset(write(tmp_path, train=train, validation=validation, test=test))
    counts = dataclasses.asdict(data.counts)
    expected = {
        "validation_read": 13, "validation_duplicates": 1, "validation_conflicts": 2, "validation_in_test": 1,
        "in_validation": 1, "in_test": 2, "train_read": 21, "duplicates": 0,
    }  # fmt: skip
    assert {name: counts[name] for name in expected} == expected
    everything = texts(*data.splits.values())
    assert len(everything) == len({text.strip() for text in everything})
    assert "in validation" in texts(data.validation_select, data.validation_calibrate)


def test_the_option_ignores_it_and_names_it(tmp_path):
    parts = {"train": rows("train", 20), "test": rows("test", 5)}
    (tmp_path / "plain").mkdir()
    plain = load_dataset(write(tmp_path / "plain", **parts))
    data = load_dataset(write(tmp_path, **parts, val=rows("val", 6)), options=IGNORED)
    assert data.fingerprints == plain.fingerprints
    assert (data.counts.validation_read, data.origins["validation"]) == (None, ())
    assert ("val.csv", "left out by --no-validation-part") in [(e.path.name, e.reason) for e in data.layout.unread]


def test_an_earlier_version_had_not_read_it(tmp_path):
    write(tmp_path, train=rows("train", 20), validation=rows("validation", 6), test=rows("test", 5))
    recorded = DataOptions().to_dict()
    assert DataOptions.from_record(recorded).read_validation
    del recorded["read_validation"]
    of_earlier = load_dataset(tmp_path, options=DataOptions.from_record(recorded))
    assert of_earlier.fingerprints == load_dataset(tmp_path, options=IGNORED).fingerprints


def test_too_few_validation_texts_lead_to_the_option(tmp_path):
    write(tmp_path, train=rows("train", 20), val=[*rows("val", 1), ("another", "neg")], test=rows("test", 5))
    with pytest.raises(DatasetError, match=r"val.csv: expected at least 2 .* 'pos' has 1.*--no-validation-part"):
        load_dataset(tmp_path)
    assert load_dataset(tmp_path, options=IGNORED).counts.train_read == 40


def test_it_is_part_of_the_fingerprint(tmp_path):
    parts = {"train": rows("train", 20), "test": rows("test", 5)}
    fingerprints = set()
    for count in (2, 3):
        fingerprints.add(load_dataset(write(tmp_path, **parts, dev=rows("dev", count))).fingerprint)
    assert len(fingerprints) == 2


def test_with_it_a_class_needs_fewer_training_texts(tmp_path):
    few = [*rows("train", 9), ("one", "few")]
    write(tmp_path, train=few, val=[*rows("val", 2), ("two", "few"), ("three", "few")], test=rows("test", 4))
    assert load_dataset(tmp_path).class_names == ("few", "neg", "pos")
    with pytest.raises(DatasetError, match="at least 3 distinct training texts of every class"):
        load_dataset(tmp_path, options=IGNORED)

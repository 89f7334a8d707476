"""The champion's data: how it is read again, and which of its test texts the gate counts."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_bert import vocabulary

from textclf.config import DataOptions
from textclf.data.datasets import load_dataset
from textclf.data.splits import Split
from textclf.retraining.champion_data import (
    data_options_of,
    distinct_texts,
    known_text_keys,
    text_keys_of,
    trained_until,
    without_counting,
)
from textclf.store.manifest import Manifest
from textclf.tokenization.text_key import TextKeys, text_key
from textclf.tokenization.tokenizer import Tokenizer


def manifest(**options):
    return SimpleNamespace(data={"options": options})


def champion(folder, lower_case=None):
    """Only what the functions read of a version: its engine/, or none."""
    if lower_case is not None:
        folder.mkdir(exist_ok=True)
        Tokenizer(vocabulary(), lower_case, max_length=8).save(folder)
    return SimpleNamespace(has=lambda part: lower_case is not None, part=lambda part: folder)


def test_no_test_text_counts_twice():
    texts = ("Good.", "good .", "bad", "BAD", "so\u200b so", "fine")
    test_set = Split(texts, np.array([1, 1, 0, 1, 0, 1], np.int32))
    distinct = distinct_texts(test_set, TextKeys())
    assert distinct.texts == ("Good.", "so\u200b so", "fine")
    assert distinct.labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("recorded", "changes", "expected"),
    [
        ({}, {}, ("wordpieces", "count")),
        ({"equal_texts": "characters", "near_duplicates": "drop"}, {}, ("characters", "drop")),
        ({}, {"near_duplicates": "ignore", "equal_texts": "characters"}, ("characters", "ignore")),
    ],
)
def test_how_the_champion_s_data_is_read(recorded, changes, expected):
    options = data_options_of(manifest(**recorded), changes)
    assert isinstance(options, DataOptions)
    assert (options.equal_texts, options.near_duplicates) == expected
    # Combining needs no counts, but leaves out what the champion's training left out.
    how = "drop" if expected[1] == "drop" else "ignore"
    assert DataOptions(**without_counting(options)) == dataclasses.replace(options, near_duplicates=how)


def test_texts_are_equal_as_the_champion_reads_them(tmp_path):
    cased, uncased = champion(tmp_path / "cased", False), champion(tmp_path / "uncased", True)
    assert len(set(text_keys_of(cased)(["good", "GOOD"]))) == 2
    assert len(set(text_keys_of(uncased)(["good", "GOOD"]))) == 1
    assert text_keys_of(champion(tmp_path))(["good"]) == [text_key("good")]


def test_another_encoder_reads_texts_in_its_own_way(tmp_path):
    assert known_text_keys(champion(tmp_path, True), {"epochs": 2}) is not None
    assert known_text_keys(champion(tmp_path, True), {"name_to_handle": "other"}) is None
    assert known_text_keys(champion(tmp_path), {}) is None


def write(path: Path, count: int) -> None:
    rows = [f"{path.stem} {label} {i},{label}" for label in ("neg", "pos") for i in range(count)]
    path.write_text("\n".join(["text,label", *rows]))


@pytest.fixture
def source(tmp_path):
    for name, count in (("train", 20), ("validation", 5), ("test", 5)):
        write(tmp_path / f"{name}.csv", count)
    return tmp_path


def manifest_of_training(dataset, options) -> Manifest:
    encoder = {"model_name": "m", "name_to_handle": "h", "model_to_handle": ""}
    data = {"fingerprint": dataset.fingerprints, "options": options}
    return Manifest(
        "name", dataset.class_names, encoder, 64, "head", 0.25, True, data=data, created="2026-01-01T00:00:00+00:00"
    )


@pytest.mark.parametrize("ignored", [True, False])
def test_a_validation_part_is_read_as_it_was(source, ignored):
    options = DataOptions(read_validation=not ignored)
    trained = manifest_of_training(load_dataset(source, options=options), options.to_dict())
    again = load_dataset(source, options=data_options_of(trained, {}))
    assert again.fingerprints == trained.data["fingerprint"]
    assert trained_until(trained, again) is None
    other = load_dataset(source, options=data_options_of(trained, {"read_validation": ignored}))
    assert trained_until(trained, other) is not None


def test_an_earlier_version_had_ignored_it(source):
    recorded = DataOptions().to_dict()
    del recorded["read_validation"]
    trained = manifest_of_training(load_dataset(source, options=DataOptions(read_validation=False)), recorded)
    assert trained_until(trained, load_dataset(source, options=data_options_of(trained, {}))) is None

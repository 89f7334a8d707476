"""Near duplicates in a data set: counted, dropped, or not searched; in the test part and among the training texts."""

import numpy as np
import pytest
from labelled_texts import prose

from textclf.config import DataOptions
from textclf.data import near_texts
from textclf.data.dataset_summary import warnings_of
from textclf.data.datasets import load_dataset
from textclf.data.near_texts import find_near_texts
from textclf.errors import DatasetError


def changed(text: str) -> str:
    """A near duplicate that is another text to the model."""
    return f"{text} again"


def write_set(folder, train, test=()):
    folder.mkdir()
    for name, texts in (("train", train), ("test", test)):
        lines = [f"{text},{'neg' if i % 2 else 'pos'}" for i, text in enumerate(texts)]
        if lines:
            (folder / f"{name}.csv").write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    return folder


def all_texts(dataset):
    return {text for split in dataset.splits.values() for text in split.texts}


DIFFERENT = [prose(i) for i in range(40)]


def test_near_texts_are_found_on_both_sides():
    texts = [*DIFFERENT, changed(DIFFERENT[3]), changed(changed(DIFFERENT[3])), changed(DIFFERENT[5])]
    test = [prose(1000), changed(DIFFERENT[7]), DIFFERENT[5].upper()]
    found = find_near_texts(texts, test)
    assert np.flatnonzero(found.repeats).tolist() == [40, 41, 42]
    assert found.first[40:].tolist() == [3, 3, 5]
    assert np.flatnonzero(found.test).tolist() == [5, 7, 42]


def test_without_near_texts_none_are_found():
    found = find_near_texts(DIFFERENT, [prose(1000 + i) for i in range(20)])
    assert not found.repeats.any()
    assert not found.test.any()
    assert not find_near_texts(DIFFERENT).test.any()


@pytest.fixture
def with_near(tmp_path):
    near = [changed(DIFFERENT[3]), changed(DIFFERENT[5])]
    return write_set(
        tmp_path / "set", [*DIFFERENT, *near], [*(prose(1000 + i) for i in range(10)), changed(DIFFERENT[7])]
    )


def test_near_duplicates_are_counted_and_kept_by_default(with_near):
    dataset = load_dataset(with_near)
    assert (dataset.counts.near_duplicates, dataset.counts.near_test) == (2, 1)
    assert len(all_texts(dataset)) == 53
    assert any("1 training texts are near duplicates of test texts" in warning for warning in warnings_of(dataset))


def test_near_duplicates_are_dropped_as_the_warning_recommends(with_near):
    dataset = load_dataset(with_near, options=DataOptions(near_duplicates="drop"))
    assert (dataset.counts.near_duplicates, dataset.counts.near_test) == (2, 1)
    kept = all_texts(dataset)
    assert len(kept) == 50
    assert changed(DIFFERENT[7]) in kept
    assert DIFFERENT[7] not in kept
    assert len({DIFFERENT[3], changed(DIFFERENT[3])} & kept) == 1
    assert not any("near duplicates" in warning for warning in warnings_of(dataset))


def test_near_duplicates_are_not_searched_on_request(with_near, monkeypatch):
    monkeypatch.setattr(near_texts, "NearDuplicates", None)
    dataset = load_dataset(with_near, options=DataOptions(near_duplicates="ignore"))
    assert (dataset.counts.near_duplicates, dataset.counts.near_test) == (None, None)


def test_the_search_changes_no_split(with_near):
    prints = {
        load_dataset(with_near, options=DataOptions(near_duplicates=how)).fingerprint for how in ("count", "ignore")
    }
    assert len(prints) == 1


def test_texts_near_a_test_text_that_was_split_off_are_counted(tmp_path):
    """Every text has a near duplicate, so almost every text of the test split has one in training."""
    dataset = load_dataset(write_set(tmp_path / "set", [*DIFFERENT, *map(changed, DIFFERENT)]))
    near = {changed(text) for text in dataset.test.texts} | {text.removesuffix(" again") for text in dataset.test.texts}
    expected = len((near - set(dataset.test.texts)) & all_texts(dataset))
    assert dataset.counts.near_duplicates == 40
    assert dataset.counts.near_test == expected > 5
    dropped = load_dataset(tmp_path / "set", options=DataOptions(near_duplicates="drop"))
    assert len(all_texts(dropped)) == 40


def test_without_the_package_nothing_is_counted_and_nothing_can_be_dropped(with_near, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert load_dataset(with_near).counts.near_duplicates is None
    with pytest.raises(DatasetError, match="expected the package datasketch"):
        load_dataset(with_near, options=DataOptions(near_duplicates="drop"))

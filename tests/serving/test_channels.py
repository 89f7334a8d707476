"""Channels of a training job become a data set."""

import gzip
from pathlib import Path

import pytest

from serving.sagemaker.channels import join_channels
from textclf.config import DataOptions
from textclf.data.dataset_layout import Paths, find_parts
from textclf.data.datasets import load_dataset
from textclf.data.readers import read_part
from textclf.errors import DatasetError

OPTIONS = DataOptions()


def folders(part: Path, word: str, count: int = 4) -> Path:
    """Class folders with `count` texts each, named alike in every part."""
    for label in ("neg", "pos"):
        (part / label).mkdir(parents=True)
        for i in range(count):
            (part / label / f"{i}.txt").write_text(f"{word} {label} {i}", encoding="utf-8")
    return part


def table(path: Path, word: str, count: int = 4) -> Path:
    rows = [f"{word} {label} {i},{label}" for label in ("neg", "pos") for i in range(count)]
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(["text,label", *rows, ""])
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def joined(tmp_path: Path) -> Path:
    join_channels(tmp_path / "data", tmp_path / "dataset")
    return tmp_path / "dataset"


def texts(part: Paths) -> list[tuple[str, str]]:
    read = read_part(part, OPTIONS)
    return sorted(zip(read.texts, read.labels, strict=True))


def test_class_folders_are_linked(tmp_path):
    train, test = folders(tmp_path / "data/train", "a"), folders(tmp_path / "data/test", "b")
    root = joined(tmp_path)
    assert (root / "train").readlink() == train
    assert (root / "test").readlink() == test
    assert len(load_dataset(root).test) == 8


@pytest.mark.parametrize("name", ["reviews.csv", "reviews.v2.csv.gz"])
def test_tables_are_linked(tmp_path, name):
    table(tmp_path / "data/train" / name, "a")
    table(tmp_path / "data/test" / name, "b")
    layout = find_parts(joined(tmp_path))
    assert texts(layout.train)[0] == ("a neg 0", "neg")
    assert texts(layout.test)[0] == ("b neg 0", "neg")
    assert layout.train[0].is_symlink()


def test_parts_may_be_of_different_kinds(tmp_path):
    folders(tmp_path / "data/train", "a")
    table(tmp_path / "data/test/t.csv", "b")
    layout = find_parts(joined(tmp_path))
    assert texts(layout.test)[0] == ("b neg 0", "neg")


def test_without_a_test_channel_there_is_no_test_part(tmp_path):
    folders(tmp_path / "data/train", "a")
    (tmp_path / "data/test").mkdir()  # As platforms leave it.
    assert find_parts(joined(tmp_path)).test == ()


def test_a_whole_data_set_in_the_train_channel(tmp_path):
    folders(tmp_path / "data/train/train", "a")
    folders(tmp_path / "data/train/test", "b")
    assert texts(find_parts(joined(tmp_path)).test)[0] == ("b neg 0", "neg")


def test_a_test_channel_goes_before_the_test_part_of_train(tmp_path):
    folders(tmp_path / "data/train/train", "a")
    folders(tmp_path / "data/train/test", "b")
    folders(tmp_path / "data/test", "c")
    assert texts(find_parts(joined(tmp_path)).test)[0] == ("c neg 0", "neg")


def test_validation_is_a_part(tmp_path):
    folders(tmp_path / "data/train", "a")
    table(tmp_path / "data/validation/v.csv", "b")
    folders(tmp_path / "data/test", "c")
    dataset = load_dataset(joined(tmp_path))
    assert {text[0] for text in dataset.train.texts} == {"a"}
    assert {text[0] for text in dataset.validation_select.texts + dataset.validation_calibrate.texts} == {"b"}
    assert {text[0] for text in dataset.test.texts} == {"c"}


def test_a_channel_of_several_tables(tmp_path):
    for name in ("a", "b"):
        table(tmp_path / f"data/train/{name}.csv", name)
        table(tmp_path / f"data/test/{name}.csv", f"test {name}")
    layout = find_parts(joined(tmp_path))
    assert len(texts(layout.train)) == len(texts(layout.test)) == 16


def test_labels_are_renamed_once(tmp_path):
    folders(tmp_path / "data/train", "a", 8)
    folders(tmp_path / "data/validation", "b", 8)
    dataset = load_dataset(joined(tmp_path), options=DataOptions(rename_labels={"neg": "pos", "pos": "neg"}))
    for text, label in zip(dataset.train.texts, dataset.train.labels, strict=True):
        assert dataset.class_names[label] not in text


@pytest.mark.parametrize("found", ["", "training"])
def test_no_train_channel(tmp_path, found):
    (tmp_path / "data" / found).mkdir(parents=True)
    with pytest.raises(DatasetError, match=f"channel train .*found {found or 'nothing'}"):
        joined(tmp_path)


def test_no_channels_at_all(tmp_path):
    with pytest.raises(DatasetError, match="found nothing"):
        joined(tmp_path)

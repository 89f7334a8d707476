"""Channels of a training job become a data set."""

import gzip
from pathlib import Path

import pytest

from serving.sagemaker.channels import join_channels
from textclf.config import DataOptions
from textclf.data.dataset_layout import find_parts
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


def joined(tmp_path: Path, options: DataOptions = OPTIONS) -> Path:
    join_channels(tmp_path / "data", tmp_path / "dataset", options)
    return tmp_path / "dataset"


def texts(part: Path | None) -> list[tuple[str, str]]:
    assert part is not None
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
    assert layout.train.is_symlink()


def test_parts_may_be_of_different_kinds(tmp_path):
    folders(tmp_path / "data/train", "a")
    table(tmp_path / "data/test/t.csv", "b")
    layout = find_parts(joined(tmp_path))
    assert texts(layout.test)[0] == ("b neg 0", "neg")


def test_without_a_test_channel_there_is_no_test_part(tmp_path):
    folders(tmp_path / "data/train", "a")
    (tmp_path / "data/test").mkdir()  # As platforms leave it.
    assert find_parts(joined(tmp_path)).test is None


def test_a_whole_data_set_in_the_train_channel(tmp_path):
    folders(tmp_path / "data/train/train", "a")
    folders(tmp_path / "data/train/test", "b")
    assert texts(find_parts(joined(tmp_path)).test)[0] == ("b neg 0", "neg")


def test_a_test_channel_goes_before_the_test_part_of_train(tmp_path):
    folders(tmp_path / "data/train/train", "a")
    folders(tmp_path / "data/train/test", "b")
    folders(tmp_path / "data/test", "c")
    assert texts(find_parts(joined(tmp_path)).test)[0] == ("c neg 0", "neg")


def test_validation_joins_train(tmp_path):
    folders(tmp_path / "data/train", "a")
    table(tmp_path / "data/validation/v.csv", "b")
    folders(tmp_path / "data/test", "c")
    layout = find_parts(joined(tmp_path))
    assert [text for text, _ in texts(layout.train)] == sorted(
        f"{word} {label} {i}" for word in "ab" for label in ("neg", "pos") for i in range(4)
    )
    assert texts(layout.test)[0] == ("c neg 0", "neg")


def test_labels_are_renamed_once(tmp_path):
    folders(tmp_path / "data/train", "a", 8)
    folders(tmp_path / "data/validation", "b", 8)
    options = DataOptions(rename_labels={"neg": "pos", "pos": "neg"})
    dataset = load_dataset(joined(tmp_path, options), options=options)
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

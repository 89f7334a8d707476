"""Which part a file or folder name stands for."""

import pytest

from textclf.data.part_names import PartName, part_name


@pytest.mark.parametrize(
    ("names", "part"),
    [
        ("train.csv Train.CSV TRAINING trn.jsonl.gz train.v2.csv", "train"),
        ("test.csv Testing tst.tsv test.xlsx", "test"),
        ("validation.csv VALID val dev.parquet", "validation"),
        ("eval.csv evaluation", "evaluation"),
    ],
)
def test_plain_names(names, part):
    for name in names.split():
        assert part_name(name) == PartName(part, "*")


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("train-00000-of-00003.parquet", PartName("train", "*", 0, 3)),
        ("test-00001-of-00002-a09b74b3ef9c3b56.parquet", PartName("test", "*", 1, 2)),
        ("imdb_train_of_2024_00001_of_00003.csv", PartName("", "imdb train of 2024", 1, 3)),
        ("train_2.csv", PartName("train", "*", 2)),
        ("train-0007.csv", PartName("train", "*", 7)),
        ("train_2024.csv", PartName("train", "* 2024")),
        ("imdb-train.csv", PartName("train", "imdb *")),
        ("imdb.train.csv.gz", PartName("train", "imdb *")),
        ("test_labels.csv", PartName("test", "* labels")),
        ("data-00000-of-00002.parquet", PartName("", "data", 0, 2)),
        ("reviews.v2.csv", PartName("", "reviews v2")),
    ],
)
def test_shards_and_other_words(name, meaning):
    assert part_name(name) == meaning


@pytest.mark.parametrize(
    "name",
    ["latest.csv", "contest", "train_test.csv", "my_test_results.csv", "developer", "test(1).csv"],
)
def test_names_that_are_no_part(name):
    assert part_name(name).part == ""

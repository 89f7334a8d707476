"""The lines about a data set: path, parts, where they are from, what was not read, and doubts."""

import json

import numpy as np

from textclf.config import DataOptions
from textclf.data.dataset_report import dataset_report
from textclf.data.dataset_summary import data_line, not_read, warnings_of
from textclf.data.datasets import load_dataset


def write(path, classes, count=20):
    rows = [f"{path.name} {name} {i},{name}" for name in classes for i in range(count)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["text,label", *rows, ""]))


def report_of(dataset):
    return dataset_report(dataset, lambda texts: np.full(len(texts), 5), max_length=10)


def test_the_parts_that_are_given(tmp_path):
    for name, count in (("train.csv", 20), ("dev.csv", 3), ("Test.csv", 5), ("notes.csv", 1)):
        write(tmp_path / name, ("neg", "pos"), count)
    (tmp_path / "README").write_text("")
    data = load_dataset(tmp_path)
    parts = "train 40 (train.csv), validation 3 + 3 (dev.csv), test 10 (Test.csv)"
    assert data_line(data) == f"{tmp_path}: {parts}; 2 classes: neg, pos"
    assert not_read(data) == "notes.csv, README"
    assert warnings_of(data) == ()
    text = str(report_of(data))
    for line in ("validation: given (dev.csv), 6 texts", f"  {tmp_path}/README: not a table"):
        assert line in text.splitlines()


def test_the_parts_that_are_split_off_or_left_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "reviews.csv", ("neg", "pos"), 50)
    parts = "train 64 (reviews.csv), validation 8 + 8 (split off), test 20 (split off)"
    data = load_dataset("reviews.csv")
    assert data_line(data) == f"{tmp_path}/reviews.csv: {parts}; 2 classes: neg, pos"
    assert not_read(data) == ""
    unread = load_dataset("reviews.csv", options=DataOptions(read_test=False))
    assert "test none (not read)" in data_line(unread)
    origins = {name: part.origin for name, part in report_of(unread).parts.items()}
    assert origins == {"train": "given", "validation": "split off", "test": "not read"}


def test_many_files_are_counted(tmp_path):
    for i in range(5):
        write(tmp_path / f"train-{i}-of-5.csv", ("neg", "pos"))
        write(tmp_path / f"other{i}.csv", ("neg", "pos"))
    data = load_dataset(tmp_path)
    assert "(train-0-of-5.csv, train-1-of-5.csv, train-2-of-5.csv and 2 more)" in data_line(data)
    assert not_read(data) == "other0.csv, other1.csv, other2.csv and 2 more"


def test_the_names_of_files_in_folders_of_parts(tmp_path):
    for name in ("train/0.csv", "train/1.csv", "test/0.csv"):
        write(tmp_path / name, ("neg", "pos"))
    line = data_line(load_dataset(tmp_path))
    assert "(train/0.csv, train/1.csv)" in line
    assert "(test/0.csv)" in line


def test_a_test_part_with_one_class_only(tmp_path):
    write(tmp_path / "train.csv", ("a", "b", "c"))
    write(tmp_path / "test.csv", ("a",))
    data = load_dataset(tmp_path)
    assert warnings_of(data) == ("the test part has texts of 'a' only: predicting it always seems perfect",)
    write(tmp_path / "test.csv", ("a", "c"))
    assert warnings_of(load_dataset(tmp_path)) == (
        "the test part has no texts of 'b': its results say nothing about them",
    )
    assert report_of(data).missing_in_test == ("b", "c")


def test_classes_with_few_texts(tmp_path):
    write(tmp_path / "train.csv", ("neg", "pos"))
    with open(tmp_path / "train.csv", "a") as file:
        file.writelines(f"few {i},few\n" for i in range(6))
    write(tmp_path / "test.csv", ("neg", "pos", "few"))
    data = load_dataset(tmp_path)
    assert warnings_of(data) == ("fewer than 10 training texts of 'few' (4): expect many errors in these classes",)
    assert report_of(data).few_texts == {"few": 4}


def test_the_report_is_json_with_every_finding(tmp_path):
    for part in ("train", "val", "test"):
        for label in ("neg", "pos"):
            folder = tmp_path / part / label / "2024"
            folder.mkdir(parents=True)
            for i in range(20):
                (folder / f"{i}.txt").write_text(f"{part} {label} {i}")
    for part in ("train", "val", "test"):
        (tmp_path / part / "neg" / "again.txt").write_text(f"{part} neg 0")
    (tmp_path / "train" / "neg" / "leak.txt").write_text("test pos 0")
    (tmp_path / "train" / "neg" / "both.txt").write_text("train pos 1")
    (tmp_path / "train" / "neg" / "a.html").write_text("")
    found = json.loads(json.dumps(report_of(load_dataset(tmp_path)).to_dict()))
    assert found["parts"]["validation"] == {"origin": "given", "paths": [f"{tmp_path}/val"], "read": 41}
    assert found["duplicates"] == {"train": 1, "validation": 1, "test": 1}
    assert found["contradictions"] == {"train": 2, "validation": 0}
    assert found["leaks"] == {"train_in_test": 1, "train_in_validation": 0, "validation_in_test": 0}
    assert found["left_out"] == {"empty": 0, "undecodable": 0, "unlabelled": 0, "ignored": 1}
    assert found["nested"] == {"neg": 60, "pos": 60}
    reason = "1 file other than .txt, such as a.html"
    assert found["unread"] == [{"path": f"{tmp_path}/train/neg", "reason": reason}]
    assert len(found["warnings"]) == 1

"""The lines about a data set: path, parts, where they are from, what was not read, and doubts."""

import json

import numpy as np
import pytest

from textclf.config import DataOptions
from textclf.data.dataset_report import dataset_report
from textclf.data.dataset_summary import data_line, not_read, warnings_of
from textclf.data.datasets import load_dataset
from textclf.errors import DatasetError


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
    assert found["contradictions"] == {"train": 2, "validation": 0, "test": 0}
    assert found["leaks"] == {"train_in_test": 1, "train_in_validation": 0, "validation_in_test": 0}
    assert found["left_out"] == {"empty": 0, "undecodable": 0, "unlabelled": 0, "ignored": 1}
    assert found["nested"] == {"neg": 60, "pos": 60}
    reason = "1 file other than .txt, such as a.html"
    assert found["unread"] == [{"path": f"{tmp_path}/train/neg", "reason": reason}]
    assert len(found["warnings"]) == 1


def write_class(part, name, texts):
    folder = part / name
    folder.mkdir(parents=True)
    for i, text in enumerate(texts):
        (folder / f"{i}.txt").write_text(text)


def test_a_class_folder_with_a_dot_is_named_with_the_remedy(tmp_path):
    for name in (".NET", "C#", "Java"):
        write_class(tmp_path / "train", name, [f"{name} {i}" for i in range(20)])
    (tmp_path / ".git").mkdir()
    data = load_dataset(tmp_path)
    assert not_read(data) == "train/.NET"
    reason = "hidden folder with 20 .txt files; if it is a class, rename it to %2ENET"
    assert f"  {tmp_path}/train/.NET: {reason}" in str(report_of(data)).splitlines()
    (tmp_path / "train" / ".NET").rename(tmp_path / "train" / "%2ENET")
    assert load_dataset(tmp_path).class_names == (".NET", "C#", "Java")


def test_too_few_classes_name_what_was_left_out(tmp_path):
    write_class(tmp_path, ".NET", ["a", "b"])
    write_class(tmp_path, "Java", ["c", "d"])
    with pytest.raises(DatasetError, match=r"found \['Java'\]; .*\.NET was not read .*rename it to %2ENET"):
        load_dataset(tmp_path)
    write(tmp_path / "other.csv", ("(other)", "50%"))
    with pytest.raises(DatasetError, match=r"20 texts with the label \(other\), reserved .*'\(other\)=other'"):
        load_dataset(tmp_path / "other.csv")


def test_contradictions_in_the_test_part_are_counted(tmp_path):
    write(tmp_path / "train.csv", ("neg", "pos"))
    rows = [f"{text},{label}" for text, label in (("good one", "pos"), ("GOOD one", "neg"), ("bad one", "neg"))]
    (tmp_path / "test.csv").write_text("\n".join(["text,label", *rows, ""]))
    data = load_dataset(tmp_path)
    assert (data.counts.test_conflicts, report_of(data).contradictions["test"]) == (2, 2)
    assert "kept in the test part as published: 1 duplicates, 2 texts with contradictory labels" in str(report_of(data))
    assert any(warning.startswith("2 of 3 test texts occur with more than one label") for warning in warnings_of(data))
    write(tmp_path / "test.csv", ("neg", "pos"))
    assert load_dataset(tmp_path).counts.test_conflicts == 0
    assert load_dataset(tmp_path / "train.csv", options=DataOptions(read_test=False)).counts.test_conflicts is None


def test_texts_with_the_reserved_label_are_explained(tmp_path):
    write(tmp_path / "train.csv", ("(other)", "neg", "pos"))
    data = load_dataset(tmp_path / "train.csv")
    assert (data.counts.other_labels, data.counts.unlabelled) == (20, 20)
    (note,) = data.notes
    assert note.startswith("Left out: 20 texts with the label (other), reserved")
    options = DataOptions(rename_labels={"(other)": "other"})  # The remedy of the note.
    assert load_dataset(tmp_path / "train.csv", options=options).class_names == ("neg", "other", "pos")


@pytest.mark.parametrize("label", ["NaN", "null", "None", "N/A"])
def test_a_class_that_may_be_missing_values(tmp_path, label):
    write(tmp_path / "train.csv", (label, "neg", "pos"))
    (warning,) = warnings_of(load_dataset(tmp_path / "train.csv"))
    assert warning.startswith(f"the class '{label}' may be missing values: leave these texts out with --rename-label")
    options = DataOptions(rename_labels={label: "(other)"})  # The remedy of the warning.
    assert warnings_of(load_dataset(tmp_path / "train.csv", options=options)) == ()


def test_a_test_part_that_is_the_training_part(tmp_path):
    write(tmp_path / "train.csv", ("neg", "pos"))
    shouted = (tmp_path / "train.csv").read_text().upper().replace("TEXT,LABEL", "text,label")
    (tmp_path / "test.csv").write_text(shouted)
    with pytest.raises(DatasetError, match=r"has the training texts themselves \(40 of 40;.*--no-test"):
        load_dataset(tmp_path)
    assert len(load_dataset(tmp_path, options=DataOptions(read_test=False)).train) > 0  # The remedy.


def test_an_unusual_encoding_and_delimiter_are_named(tmp_path):
    write(tmp_path / "plain.csv", ("neg", "pos"))
    text = (tmp_path / "plain.csv").read_text()
    cases = {
        "plain.csv": (text.encode(), ()),
        "semicolons.csv": (text.replace(",", ";").encode(), ("semicolons.csv: delimiter ';'.",)),
        "tabs.csv": (text.replace(",", "\t").encode(), ("tabs.csv: delimiter tab.",)),
        "tabs.tsv": (text.replace(",", "\t").encode(), ()),
        "wide.csv": (text.encode("utf-16"), ("wide.csv: encoding utf-16-le.",)),
        "both.csv": (
            text.replace(",", ";").replace("text;", "review;").encode("utf-16"),
            ("both.csv: texts from the column 'review'; encoding utf-16-le, delimiter ';'.",),
        ),
    }
    for name, (content, notes) in cases.items():
        (tmp_path / name).write_bytes(content)
        data = load_dataset(tmp_path / name)
        assert (data.notes, report_of(data).to_dict()["notes"]) == (notes, notes)


def test_a_missing_header_is_the_likely_reason(tmp_path):
    table = tmp_path / "train.csv"
    rows = [f'"The hotel was quite {word} and near the sea",{label}' for label, word in enumerate(("weak", "good"))]
    table.write_text("\n".join([*rows, ""]))
    with pytest.raises(DatasetError, match="header seems to be missing: add a first line with the column names"):
        load_dataset(table)
    table.write_text("a,b\n1,2\n")
    with pytest.raises(DatasetError) as without:
        load_dataset(table)
    assert "The header" not in str(without.value)

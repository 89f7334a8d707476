"""The review file: what a person edits comes back as corrections, and never reaches a text that changed since."""

import csv
import io

import pytest

from textclf.audit.audited_texts import read_texts
from textclf.audit.review_file import COLUMNS, REMOVE, read_corrections, row_key, write_corrected, write_review
from textclf.config import DataOptions
from textclf.data.readers import read_part
from textclf.errors import DatasetError
from textclf.report.audit_report import LIKELY_ERROR, ReviewRow

TEXTS = [("=SUM(A1) is dull", "neg"), ("a warm, funny film", "neg"), ("flat\nand slow", "pos"), ("so good", "pos")]


@pytest.fixture
def data(tmp_path):
    """A table with four rows as its only part."""
    path = tmp_path / "reviews.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label", "source"), *((*row, "shop") for row in TEXTS)])
    return path


@pytest.fixture
def review(data, tmp_path):
    """A review file with all rows."""
    path = tmp_path / "review.csv"
    write_review(path, rows_of(read_texts(data, DataOptions())))
    return path


def rows_of(found):
    for at, text in enumerate(found.texts):
        label = found.class_names[found.labels[at]]
        place = found.files[at], found.rows[at], found.parts[at]
        yield ReviewRow(*place, label, "", 0.25, LIKELY_ERROR, text, row_key(text, label))


def edited(path, encoding="utf-8-sig", **changes):
    """Set the label of rows, counted from 1, as row1="pos"; write the file as a spreadsheet does, with semicolons."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    for name, label in changes.items():
        rows[int(name.removeprefix("row"))][COLUMNS.index("label")] = label
    content = io.StringIO()
    csv.writer(content, delimiter=";").writerows(rows)
    path.write_text(content.getvalue(), encoding=encoding)


def test_the_file_is_for_spreadsheets(review):
    content = review.read_bytes()
    assert content.startswith(b"\xef\xbb\xbf" + ",".join(COLUMNS).encode())
    assert b"'=SUM(A1) is dull" in content


def test_an_unedited_file_changes_nothing(data, review):
    found = read_corrections(review, read_texts(data, DataOptions()))
    assert (found.labels, found.removed, found.unchanged) == ({}, frozenset(), 4)


def test_edited_labels_come_back(data, review, tmp_path):
    edited(review, row2="pos", row3=REMOVE, row4="")
    texts = read_texts(data, DataOptions())
    found = read_corrections(review, texts)
    assert (found.labels, found.removed, found.unchanged) == ({1: "pos"}, frozenset({2, 3}), 1)
    write_corrected(texts, found, tmp_path / "corrected")
    part = read_part(tmp_path / "corrected" / "train.csv", DataOptions())
    assert list(zip(part.texts, part.labels, part.sources, strict=True)) == [
        ("=SUM(A1) is dull", "neg", "shop"),
        ("a warm, funny film", "pos", "shop"),
    ]
    assert read_texts(data, DataOptions()).texts == tuple(text for text, _ in TEXTS)


def test_weights_are_kept(tmp_path):
    (tmp_path / "train.csv").write_text(
        "text,label,w\na warm film,pos,2.5\na dull film,pos,\na bad film,neg,9\n", encoding="utf-8"
    )
    (tmp_path / "test.csv").write_text("text,label\na slow film,neg\n", encoding="utf-8")
    options = DataOptions(weight_column="w")
    texts = read_texts(tmp_path, options)
    write_review(tmp_path / "review.csv", rows_of(texts))
    edited(tmp_path / "review.csv", row2="neg")
    write_corrected(texts, read_corrections(tmp_path / "review.csv", texts), tmp_path / "corrected")
    part = read_part(tmp_path / "corrected" / "train.csv", options, needs_weight=True)
    assert list(zip(part.labels, part.weights, strict=True)) == [("pos", 2.5), ("neg", 1.0), ("neg", 9.0)]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8", "utf-16"])
def test_a_file_in_the_encoding_of_the_spreadsheet_comes_back(tmp_path, encoding):
    data = tmp_path / "train.csv"
    data.write_text("text,label\nUn café très bon,réussi\nUn café froid,raté\n", encoding="utf-8")
    texts = read_texts(data, DataOptions())
    path = tmp_path / "review.csv"
    write_review(path, rows_of(texts))
    edited(path, encoding, row2="réussi")
    assert read_corrections(path, texts).labels == {1: "réussi"}


def test_a_class_that_starts_like_a_formula_comes_back(tmp_path):
    data = tmp_path / "marks.csv"
    data.write_text("text,label\na warm film,+1\na dull film,-1\n", encoding="utf-8")
    texts = read_texts(data, DataOptions(rename_labels={"+1": "+good", "-1": "-bad"}))
    write_review(tmp_path / "review.csv", rows_of(texts))
    edited(tmp_path / "review.csv", row1="-bad")
    found = read_corrections(tmp_path / "review.csv", texts)
    assert (found.labels, found.unchanged) == ({0: "-bad"}, 1)


@pytest.mark.parametrize("change", ["so good,pos", "so good"])
def test_a_text_that_changed_since_is_refused(data, review, change):
    replaced = "so bad,pos" if "," in change else "so good,neg"
    data.write_text(data.read_text(encoding="utf-8").replace("so good,pos", replaced), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"found 1 row whose text or label .* rows 4 \(reviews.csv, row 4\)"):
        read_corrections(review, read_texts(data, DataOptions()))


def test_another_spelling_of_a_text_is_the_same_text(data, review):
    data.write_text(data.read_text(encoding="utf-8").replace("so good", " So GOOD "), encoding="utf-8")
    assert read_corrections(review, read_texts(data, DataOptions())).unchanged == 4


def test_a_label_that_is_no_class_is_refused(data, review):
    edited(review, row2="positive")
    with pytest.raises(DatasetError, match=r"class names of the data \(neg, pos\) .* found others in 1 row: 2 \('pos"):
        read_corrections(review, read_texts(data, DataOptions()))


@pytest.mark.parametrize("second", [REMOVE, "", "pos"])
def test_two_labels_of_one_text_are_refused(data, review, second):
    lines = review.read_text(encoding="utf-8-sig").splitlines(keepends=True)
    review.write_text("".join([*lines, lines[2]]), encoding="utf-8-sig")
    texts = read_texts(data, DataOptions())
    assert read_corrections(review, texts).unchanged == 4
    # The cell with a line break makes a line of its own.
    edited(review, row5=second)
    with pytest.raises(
        DatasetError, match=r"one label for each text, found 1 row .*: 5 \(reviews.csv, row 2: 'neg' and"
    ):
        read_corrections(review, texts)


def test_a_file_without_keys_is_refused(data):
    with pytest.raises(DatasetError, match="expected the columns file, row, label, key of a review file"):
        read_corrections(data, read_texts(data, DataOptions()))


def test_an_existing_folder_is_never_written(data, review, tmp_path):
    texts = read_texts(data, DataOptions())
    with pytest.raises(DatasetError, match="expected a folder that does not exist"):
        write_corrected(texts, read_corrections(review, texts), tmp_path)

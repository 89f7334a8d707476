"""What /feedback stores is read back with who, when and how; damage costs a line, never a review."""

import json
import re
from datetime import UTC, datetime

import pytest

from textclf.bad_rows import Reason
from textclf.config import DataOptions
from textclf.data.feedback_index import INDEX, IndexEntry
from textclf.data.feedback_store import FeedbackStore
from textclf.data.labelled_reviews import (
    LabelledReview,
    different_texts,
    fingerprint_of,
    read_labelled_reviews,
    with_class_names,
)
from textclf.data.latest_texts import read_latest
from textclf.errors import DatasetError
from textclf.label_column import LabelChange
from textclf.labels import OTHER_LABEL

CLASSES = ("neg", "pos")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def store(folder):
    return FeedbackStore(folder, 10**9, clock=lambda: NOW)


def by_text(found):
    return {review.text: review for review in found.reviews}


@pytest.fixture
def stored(tmp_path):
    reviews = store(tmp_path)
    reviews.save("Good.\r\n", "pos", CLASSES, "m 1", source="shop ö\n", audit=True)
    reviews.save("Bad.", "neg", CLASSES, "m 2")
    return tmp_path


def test_the_server_s_reviews(stored):
    found = read_labelled_reviews(stored)
    good = by_text(found)["Good.\r\n"]
    assert good == LabelledReview("Good.\r\n", "pos", "shop ö\n", NOW, True, "m 1", good.path)
    assert good.path.read_bytes() == b"Good.\r\n"
    bad = by_text(found)["Bad."]
    assert (bad.label, bad.source, bad.audit, bad.model) == ("neg", "", False, "m 2")
    assert (len(found), found.without_entry, found.bad_lines, found.empty) == (2, 0, 0, 0)


def test_a_text_of_no_class_is_read_with_its_label(stored):
    store(stored).save("Neither.", OTHER_LABEL, CLASSES, "m 1", audit=True)
    review = by_text(read_labelled_reviews(stored))["Neither."]
    assert (review.label, review.audit) == (OTHER_LABEL, True)
    latest = read_latest(stored)
    assert dict(zip(latest.texts, latest.labels, strict=True))["Neither."] == OTHER_LABEL


def test_texts_of_no_class_do_not_count_as_labels_for_a_retraining(stored):
    for label in ("pos", OTHER_LABEL):
        store(stored).save(f"A text: {label}", label, CLASSES, "m 1")
    assert different_texts(read_labelled_reviews(stored).reviews) == 3


def test_other_parts_and_files_are_named(tmp_path):
    for name in ("train.csv", "Test.csv", "dev.csv", "more.csv"):
        (tmp_path / name).write_text(f"text,label\n{name},pos\n")
    found = read_labelled_reviews(tmp_path)
    assert [review.text for review in found.reviews] == ["train.csv"]
    assert found.notes == ("Not read: more.csv, dev.csv, Test.csv.",)


def test_copies_do_not_count_as_labels_for_a_retraining():
    texts = ["So good!", "SO  GOOD !", "so\u200b go\u00adod!", "so go\u0301od\u00a0!", "so bad!"]
    assert different_texts([LabelledReview(text, "pos") for text in texts]) == 2


def test_the_train_folder_says_the_same(stored):
    assert read_labelled_reviews(stored / "train").reviews == read_labelled_reviews(stored).reviews


def test_a_review_without_a_line_has_no_source_and_is_no_audit(stored):
    (stored / "train" / "pos" / "dropped in.txt").write_text("By hand.")
    found = read_labelled_reviews(stored)
    assert by_text(found)["By hand."] == LabelledReview(
        "By hand.", "pos", path=stored / "train" / "pos" / "dropped in.txt"
    )
    assert (len(found), found.without_entry) == (3, 1)


LINE = {"id": "x", "time": "2026-01-02T03:04:05+00:00", "label": "pos", "source": None, "model": "m", "audit": False}


@pytest.mark.parametrize(
    "line",
    [
        b'{"id": "torn',
        b"\xff\xfe",
        b"[1, 2]",
        b"3",
        b'"text"',
        b"[" * 100_000,
        json.dumps({k: v for k, v in LINE.items() if k != "audit"}).encode(),
        *(
            json.dumps(LINE | change).encode()
            for change in (
                {"id": 3},
                {"time": "yesterday"},
                {"time": "2026-01-02T03:04:05"},
                {"time": None},
                {"audit": "no"},
                {"audit": 1},
                {"source": 7},
                {"source": 0},
                {"model": None},
            )
        ),
    ],
)
def test_bad_lines_are_passed_over_and_counted(stored, line):
    with open(stored / INDEX, "ab") as file:
        file.write(line)
    store(stored).save("After.", "pos", CLASSES, "m 3", source="shop")
    found = read_labelled_reviews(stored)
    assert found.bad_lines == 1
    assert found.without_entry == 0
    assert by_text(found)["After."].source == "shop"
    assert by_text(found)["Good.\r\n"].audit


def test_what_was_passed_over_is_said(stored):
    assert read_labelled_reviews(stored).notes == ()
    (stored / "train" / "pos" / "dropped in.txt").write_text("By hand.")
    (stored / "train" / "pos" / "blank.txt").write_text(" \n")
    (stored / "train" / "neg" / "latin.txt").write_bytes(b"caf\xe9")
    with open(stored / INDEX, "ab") as file:
        file.write(b"torn")
    notes = read_labelled_reviews(stored, DataOptions(skip_undecodable=True)).notes
    assert [note.partition(":")[0] for note in notes] == [
        "Blank texts, left out",
        "Bad rows, left out",
        "Damaged lines in the index of the labels, skipped",
        "Labelled texts that the index does not know",
    ]
    assert all(re.search(r": 1\b|\(1\)", note) for note in notes)
    (stored / INDEX).unlink()
    assert not any(
        "the index does not know" in note
        for note in read_labelled_reviews(stored, DataOptions(skip_undecodable=True)).notes
    )


def test_lines_of_a_later_format_are_read(stored):
    review_id = store(stored).save("New.", "pos", CLASSES, "m")
    with open(stored / INDEX, "a") as file:
        file.write(json.dumps(LINE | {"id": review_id, "source": "later", "more": [1]}) + "\n")
    found = read_labelled_reviews(stored)
    assert (found.bad_lines, by_text(found)["New."].source) == (0, "later")


def test_an_entry_goes_through_its_line():
    entry = IndexEntry("i", "2026-01-02T03:04:05.000+00:00", "pos", "ö\n\u2028", "m 1", True)
    assert IndexEntry.from_line(entry.to_line()) == entry
    assert "\n" not in entry.to_line()


def test_the_folder_says_what_the_label_is(stored):
    (path,) = (stored / "train" / "neg").iterdir()
    path.rename(stored / "train" / "pos" / path.name)
    bad = by_text(read_labelled_reviews(stored))["Bad."]
    assert (bad.label, bad.model) == ("pos", "m 2")


def test_reviews_that_were_taken_away(stored):
    for path in (stored / "train" / "neg").iterdir():
        path.unlink()
    assert [review.text for review in read_labelled_reviews(stored).reviews] == ["Good.\r\n"]
    for path in (stored / "train" / "pos").iterdir():
        path.unlink()
    assert len(read_labelled_reviews(stored)) == 0


def test_a_file_that_goes_while_it_is_read(stored):
    (stored / "train" / "pos" / "gone.txt").symlink_to(stored / "nowhere")
    assert len(read_labelled_reviews(stored)) == 2


def test_a_folder_without_reviews_is_empty_and_a_missing_one_an_error(tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / ".feedback.usage").touch()
    assert len(read_labelled_reviews(tmp_path / "new")) == 0
    (tmp_path / "new" / INDEX).touch()
    assert len(read_labelled_reviews(tmp_path / "new")) == 0
    with pytest.raises(DatasetError, match="found nothing"):
        read_labelled_reviews(tmp_path / "none")


def test_class_folders_of_any_kind(tmp_path):
    (tmp_path / "pos").mkdir()
    (tmp_path / "pos" / "a.txt").write_text("Good.")
    (tmp_path / "pos" / "blank.txt").write_text(" \n")
    found = read_labelled_reviews(tmp_path)
    assert found.reviews == (LabelledReview("Good.", "pos", path=tmp_path / "pos" / "a.txt"),)
    assert found.empty == 1


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_tables_with_and_without_a_source(tmp_path, suffix):
    rows = [("Good.", "1", "shop"), ("Bad.", "0", "")]
    path = tmp_path / f"new.{suffix}"
    if suffix == "csv":
        path.write_text("text,label,source\n" + "".join(f"{','.join(row)}\n" for row in rows))
    else:
        keys = ("text", "label", "source")
        path.write_text("".join(json.dumps(dict(zip(keys, row, strict=True))) + "\n" for row in rows))
    found = read_labelled_reviews(path)
    assert found.reviews == (
        LabelledReview("Good.", "1", "shop", path=path),
        LabelledReview("Bad.", "0", "", path=path),
    )
    named = with_class_names(found, ("neg", "pos"), {}, {})
    assert [review.label for review in named.reviews] == ["pos", "neg"]
    assert named.label_changes == (LabelChange("0", "neg", 1), LabelChange("1", "pos", 1))
    assert named.notes[-1] == 'Labels were normalised: 1 "0" read as "neg", 1 "1" read as "pos".'
    named = with_class_names(found, ("neg", "pos"), {"1": "neg"}, {"1": "pos", "0": "pos"})
    assert [review.label for review in named.reviews] == ["neg", "pos"]
    assert named.unused_renames == ()
    note = with_class_names(found, ("neg", "pos"), {"1": "neg", "posi": "pos"}, {}).notes[-1]
    assert note == 'Not renamed, because no label has the name: "posi".'
    path.write_text('{"text": "Good.", "label": 1}\n' if suffix == "jsonl" else "text,label\nGood.,1\n")
    assert read_labelled_reviews(path).reviews == (LabelledReview("Good.", "1", path=path),)


def test_only_the_training_part_of_a_data_set_is_read(tmp_path):
    (tmp_path / "train.csv").write_text("text,label\nTrain.,pos\n")
    (tmp_path / "test.csv").write_text("text,label\nTest.,pos\n")
    assert [review.text for review in read_labelled_reviews(tmp_path).reviews] == ["Train."]


def test_texts_that_are_not_utf_8(stored):
    (stored / "train" / "pos" / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DatasetError, match=r"latin\.txt: not UTF-8"):
        read_labelled_reviews(stored)
    found = read_labelled_reviews(stored, DataOptions(skip_undecodable=True))
    assert (len(found), dict(found.skipped.counts)) == (2, {Reason.UNDECODABLE: 1})


def test_fingerprint():
    reviews = [LabelledReview("a", "pos", "x"), LabelledReview("b", "neg", "x")]
    fingerprint = fingerprint_of(reviews)
    assert fingerprint == fingerprint_of(reviews[::-1])
    assert fingerprint == fingerprint_of([LabelledReview("a", "pos", "x", NOW, True, "m"), reviews[1]])
    others = [
        [],
        reviews[:1],
        [*reviews, reviews[0]],
        [reviews[0], LabelledReview("b", "pos", "x")],
        [reviews[0], LabelledReview("b", "neg", "y")],
        [reviews[0], LabelledReview("B", "neg", "x")],
    ]
    assert len({fingerprint, *map(fingerprint_of, others)}) == 1 + len(others)

"""A review is stored whole, under its class, in its folder, or refused."""

import os

import pytest

from textclf.config import DataOptions
from textclf.data.feedback_store import save_review, stored_label
from textclf.data.readers import read_part
from textclf.errors import InputError, UnknownLabelError
from textclf.labels import OTHER_LABEL, is_class_name

CLASSES = ("neg", "pos")


@pytest.mark.parametrize("text", ["Good.", "two\r\nlines\n", "ö 😀 \u2028 \0", "x" * 200_000])
def test_stored_as_it_is(tmp_path, text):
    path = save_review(text, "pos", tmp_path / "new" / "train", CLASSES)
    assert path.parent == tmp_path / "new" / "train" / "pos"
    assert path.suffix == ".txt"
    assert path.read_bytes() == text.encode()
    assert list(path.parent.iterdir()) == [path]


def test_equal_reviews_are_two_files_and_can_be_read_back(tmp_path):
    for label in ("pos", "neg", "pos"):
        save_review("Same.", label, tmp_path, CLASSES)
    part = read_part(tmp_path, DataOptions())
    assert sorted(zip(part.texts, part.labels, strict=True)) == [("Same.", "neg"), ("Same.", "pos"), ("Same.", "pos")]


@pytest.mark.parametrize("text", ["", "  \n", "\u200b\u00ad", None, b"bytes", 3, "half \ud83d of a pair"])
def test_what_is_no_text_is_refused(tmp_path, text):
    with pytest.raises(InputError):
        save_review(text, "pos", tmp_path / "new", CLASSES)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("label", ["", "neutral", "../pos", "/etc", ".", "..", "pos/../../x", "POS", None])
def test_unknown_label_is_refused(tmp_path, label):
    with pytest.raises(InputError, match="expected one of neg, pos as the label"):
        save_review("Good.", label, tmp_path / "new", CLASSES)
    assert not (tmp_path / "new").exists()


def test_a_text_of_no_class_has_a_folder_that_no_class_can_have(tmp_path):
    assert not is_class_name(OTHER_LABEL)
    path = save_review("Neither.", OTHER_LABEL, tmp_path, CLASSES)
    assert path.parent == tmp_path / "(other)"


@pytest.mark.parametrize("label", ["../up", "..", "/abs", "a/b", ".hidden", "unsup", "x" * 200 + "é" * 60])
def test_class_names_that_are_paths_stay_in_the_folder(tmp_path, label):
    path = save_review("Good.", label, tmp_path / "new", ("neg", label))
    assert path.parent.parent == tmp_path / "new"
    part = read_part(tmp_path / "new", DataOptions())
    assert (part.texts, part.labels, part.ignored) == (["Good."], [label], 0)


@pytest.mark.parametrize(("label", "name"), [("pos", "pos"), (" POS ", "pos"), ("(Other)", OTHER_LABEL)])
def test_a_label_is_stored_under_the_equal_class_name(label, name):
    assert stored_label(label, CLASSES) == name


@pytest.mark.parametrize("label", ["0", "1", "positive", "", "p" * 10_000])
def test_an_unknown_label_is_refused(label):
    with pytest.raises(UnknownLabelError, match=r"^label: expected one of neg, pos, \(other\), got"):
        stored_label(label, CLASSES)


def test_link_that_leads_out_is_refused(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "new").mkdir()
    os.symlink(tmp_path / "outside", tmp_path / "new" / "pos")
    with pytest.raises(InputError, match="leads out"):
        save_review("Good.", "pos", tmp_path / "new", CLASSES)
    assert list((tmp_path / "outside").iterdir()) == []

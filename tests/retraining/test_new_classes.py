"""Labels that the champion does not know: left out and reported, or added as classes."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from labelled_texts import CLASSES, prose, reviews, split, texts_on_side

from textclf.data.labelled_reviews import LabelledReview, LabelledReviews, with_class_names
from textclf.errors import DatasetError, TooFewTextsError, TrainingError
from textclf.labels import OTHER_LABEL
from textclf.retraining.champion_data import check_old_classes, fingerprint_of_test_set
from textclf.retraining.combined_dataset import read_holdout, write_combined
from textclf.retraining.combining import combine
from textclf.retraining.combining_report import describe_combined
from textclf.retraining.new_classes import check_held_out_texts, check_training_texts, relabelled
from textclf.retraining.removals import Reason
from textclf.retraining_options import CombineOptions, GateOptions

OLD = [prose(300_000 + i) for i in range(600)]
TEST_SET = split([prose(400_000 + i) for i in range(20)], [i % 2 for i in range(20)])
TRAIN_SIDE, HELD_SIDE = texts_on_side(False, 200, 0), texts_on_side(True, 60, 0)
NEW = TRAIN_SIDE[:40] + HELD_SIDE[:10]
FILE = Path("combined/removed.jsonl")


def old_data(names=CLASSES):
    labels = [i % 2 for i in range(len(OLD))]
    parts = [split(OLD[at::3], labels[at::3]) for at in range(3)]
    return SimpleNamespace(
        class_names=names, train=parts[0], validation_select=parts[1], validation_calibrate=parts[2], test=TEST_SET
    )


def run(new, class_names=None, champion=None, **options):
    labels = [review.label for review in new] if champion is None else champion
    chosen = CombineOptions(**{"add_classes": True} | options)
    return combine(old_data(), new, TEST_SET, labels, chosen, class_names=class_names)


def labels_of(split, names):
    return Counter(names[i] for i in split.labels.tolist())


def test_a_class_with_enough_texts_is_added_in_its_place():
    combined = run([*reviews(NEW, "offer"), *reviews(TRAIN_SIDE[40:60])])
    assert combined.class_names == ("neg", "offer", "pos")
    assert combined.new_classes == ("offer",)
    assert labels_of(combined.train, combined.class_names) == {"neg": 300, "pos": 320, "offer": 40}
    assert labels_of(combined.holdout, combined.class_names) == {"offer": 10}
    # The ids of old texts follow the new order.
    before = dict(zip(old_data().train.texts, old_data().train.labels.tolist(), strict=True))
    for text, label in zip(combined.train.texts, combined.train.labels.tolist(), strict=True):
        if text in before:
            assert combined.class_names[label] == CLASSES[before[text]]


def test_it_is_not_added_unless_asked_for():
    combined = run(reviews(NEW, "offer"), add_classes=False)
    assert (combined.class_names, combined.new_classes, combined.added) == (CLASSES, (), ())
    assert {removed.reason for removed in combined.removed} == {Reason.UNKNOWN_LABEL}


def test_copies_do_not_make_a_class():
    combined = run(reviews([*NEW[:49], *(text.upper() for text in NEW[:49])], "offer"))
    assert combined.new_classes == ()
    assert combined.removed[0].detail == "the labels are neg, pos; 49 of at least 50 different texts"


def test_a_class_that_cleaning_makes_too_small_is_not_added():
    near = [f"{text} end" for text in TRAIN_SIDE[:5]]  # Near duplicates of the first five.
    new = [*reviews(TRAIN_SIDE[:46], "offer"), *reviews(near, "offer")]
    assert run(new, min_class_texts=46).new_classes == ("offer",)
    combined = run(new, min_class_texts=50)
    assert combined.new_classes == ()
    assert Counter(removed.reason for removed in combined.removed) == {
        Reason.UNKNOWN_LABEL: 46,
        Reason.NEAR_DUPLICATE: 5,
    }
    assert labels_of(combined.train, combined.class_names) == {"neg": 300, "pos": 300}


def test_texts_without_a_class_never_become_one():
    assert run(reviews(NEW, OTHER_LABEL)).new_classes == ()


def test_a_name_that_is_not_allowed_is_refused():
    with pytest.raises(DatasetError, match=r"labels of the new texts: expected class names .* --rename-label"):
        run(reviews(NEW, "of\nfer"))


def test_spellings_of_a_new_class_are_one_class():
    read = [*reviews(NEW[:30], "Offer"), *reviews(NEW[30:], "offer "), *reviews(TRAIN_SIDE[40:50], "Pos")]
    found = with_class_names(LabelledReviews(tuple(read), 0, 0, 0), CLASSES, {"praise": "offer"}, {})
    assert Counter(review.label for review in found.reviews) == {"Offer": 50, "pos": 10}
    assert run(found.reviews).new_classes == ("Offer",)
    renamed = with_class_names(LabelledReviews(tuple(read), 0, 0, 0), CLASSES, {"OFFER": "sale"}, {})
    assert run(renamed.reviews).new_classes == ("sale",)


def test_a_source_of_a_new_class_contradicts_nobody():
    new = [*reviews(NEW, "offer", "shop"), *reviews(TRAIN_SIDE[40:100], "pos", "others")]
    champion = ["neg"] * len(NEW) + ["pos"] * 60
    combined = run(new, champion=champion)
    assert combined.new_classes == ("offer",)
    assert not any(removed.reason is Reason.CONTRADICTING_SOURCE for removed in combined.removed)
    assert [result.source for result in combined.sources] in ([], ["others"])


def test_a_flood_of_a_new_class_is_limited_to_an_even_share():
    combined = run(reviews(TRAIN_SIDE, "offer"), new_share=0.2)
    # 150 of 750 texts, and one class in three may fill 1.5 / 3 of them.
    assert labels_of(combined.train, combined.class_names)["offer"] == 75
    assert Counter(removed.reason for removed in combined.removed) == {Reason.CLASS_QUOTA: 125}


def test_a_class_that_was_added_before_needs_no_option():
    """The next retraining names the same old data, which has no text of the class."""
    names = ("neg", "offer", "pos")
    combined = run([*reviews(NEW, "offer"), *reviews(TRAIN_SIDE[40:60])], names, add_classes=False)
    assert (combined.class_names, combined.new_classes) == (names, ())
    assert labels_of(combined.train, names) == {"neg": 300, "pos": 320, "offer": 40}
    check_training_texts(combined, "old")
    without = run(reviews(TRAIN_SIDE[40:60]), names, add_classes=False)
    with pytest.raises(TrainingError, match=r"old: expected at least 3 training texts of each class .* offer has 0"):
        check_training_texts(without, "old")


def test_the_folder_of_a_combined_data_set_has_the_class(tmp_path):
    combined = run([*reviews(NEW, "offer"), *reviews(TRAIN_SIDE[40:60])])
    names = combined.class_names
    write_combined(combined, relabelled(TEST_SET, CLASSES, names), tmp_path / "combined")
    assert len(list((tmp_path / "combined" / "train" / "offer").iterdir())) == 40
    assert {path.name for path in (tmp_path / "combined" / "test").iterdir()} == set(CLASSES)
    assert labels_of(read_holdout(tmp_path / "combined", names)[0], names) == {"offer": 10}


def test_relabelled():
    part = split(["a", "b"], [0, 1])
    assert relabelled(part, CLASSES, ("neg", "offer", "pos")).labels.tolist() == [0, 2]
    assert relabelled(part, CLASSES, CLASSES) is part
    with pytest.raises(ValueError, match="not in"):
        relabelled(part, CLASSES, ("neg", "offer"))
    # A class without texts may be missing.
    assert relabelled(split(["a"], [1]), CLASSES, ("offer", "pos")).labels.tolist() == [1]


def test_the_fingerprint_of_the_test_set_is_that_of_a_version_with_more_classes():
    few, more = old_data(), ("neg", "offer", "pos")
    extended = SimpleNamespace(class_names=more, test=relabelled(TEST_SET, CLASSES, more))
    for names in (CLASSES, more):
        assert fingerprint_of_test_set(few, names) == fingerprint_of_test_set(extended, names)
    assert fingerprint_of_test_set(few, CLASSES) != fingerprint_of_test_set(few, more)
    assert fingerprint_of_test_set(few, ("neg", "offer")) is None


def test_old_data_with_a_class_that_the_champion_lacks_is_refused():
    champion = SimpleNamespace(id="v1", manifest=SimpleNamespace(class_names=("neg", "offer", "pos")))
    check_old_classes(old_data(), champion, "old")
    champion.manifest.class_names = ("neg", "offer")
    with pytest.raises(
        TrainingError, match=r"old: expected the classes of the champion v1, neg, offer, got also pos; "
    ):
        check_old_classes(old_data(), champion, "old")


def test_held_out_texts_can_show_the_recall():
    names, options = ("neg", "offer", "pos"), GateOptions()
    check_held_out_texts(names, np.array([1] * 5), CLASSES, options)
    with pytest.raises(TooFewTextsError, match=r"at least 5 held-out texts of each new class, .* 50%; offer has 4"):
        check_held_out_texts(names, np.array([0, 1, 1, 1, 1]), CLASSES, options)
    check_held_out_texts(CLASSES, np.array([0]), CLASSES, options)
    with pytest.raises(TrainingError, match="without pos"):
        check_held_out_texts(("neg", "offer"), np.array([0]), CLASSES, options)


def test_others_may_not_crowd_a_new_class_out():
    new = [*reviews(NEW, "offer", "a"), *reviews(TRAIN_SIDE[40:], "pos", "b")]
    combined = run(new, new_share=0.05)
    with pytest.raises(TooFewTextsError, match=r"at least 25 training texts of each new class; .*--new-share"):
        check_training_texts(combined, "old")
    check_training_texts(run(new, new_share=0.5), "old")


# --- what is printed


def test_reasons_are_counted_on_the_screen():
    new = [
        *reviews([TRAIN_SIDE[0], TRAIN_SIDE[0].upper(), TRAIN_SIDE[0].title(), OLD[1]]),
        *reviews(TRAIN_SIDE[1:3], "refund"),
        *reviews(TRAIN_SIDE[3:4], "praise"),
        LabelledReview(TRAIN_SIDE[4], OTHER_LABEL, audit=True),
        LabelledReview(TRAIN_SIDE[5], OTHER_LABEL),
        *reviews([TEST_SET.texts[0]]),
    ]
    lines = describe_combined(run(new, add_classes=False), (), FILE)
    assert lines[:2] == [
        "new texts:     10: 1 to train on, 0 held out, 9 left out",
        "left out:      5 unknown labels (refund: 2, (other): 2, praise: 1), 1 copy of a test text, 1 copy of an old "
        "text, 2 duplicates; each text with its reason: combined/removed.jsonl",
    ]
    unknown, other = lines[2:]
    assert unknown.startswith("note:          the current version does not know refund, praise; --add-classes trains")
    assert "at least 50 different texts" in unknown
    assert other.startswith("note:          2 texts have the label (other), 1 of them from audits")


def test_new_classes_are_on_the_screen():
    lines = describe_combined(run([*reviews(NEW, "offer"), *reviews(TRAIN_SIDE[50:52], "re\x1bfund")]), (), FILE)
    assert lines[2] == "new classes:   offer (40 to train on, 10 held out)"
    assert r"2 unknown labels (re\x1bfund: 2)" in lines[1]
    assert lines[3].startswith(r"note:          not added: re\x1bfund; a new class needs at least 50 different texts")


def test_nothing_left_out_is_one_line():
    assert describe_combined(run(reviews(TRAIN_SIDE[:5])), (), FILE) == [
        "new texts:     5: 5 to train on, 0 held out, 0 left out"
    ]


def test_every_reason_has_words():
    from textclf.retraining import combining_report

    assert set(combining_report._WORDS) == set(Reason)

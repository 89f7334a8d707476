"""Samples of labels: the report tells which ones were drawn."""

from types import SimpleNamespace

import numpy as np

from textclf.data.labelled_reviews import LabelledReview, LabelledReviews
from textclf.labels import OTHER_LABEL
from textclf.monitoring.samples import MAX_OTHER_LABELS, Draws, OpenedVersion, drawn_notes, with_audits


def test_labels_that_a_retraining_can_not_use_do_not_count():
    data = {"options": {"rename_labels": {"bad": "neg"}}}
    opened = OpenedVersion(SimpleNamespace(manifest=SimpleNamespace(class_names=("neg", "pos"), data=data)), None, [])
    reviews = [LabelledReview(f"It is {label}.", label) for label in ("POS", "bad", "refund", "praise", OTHER_LABEL)]
    found = LabelledReviews((*reviews, reviews[0]), 0, 0, 0)
    assert opened.usable_labels(found, {}, False) == 2
    assert opened.usable_labels(found, {"praise": "pos"}, False) == 3
    assert opened.usable_labels(found, {}, True) == 4


def test_a_draw_of_labels_is_told():
    assert drawn_notes(50, MAX_OTHER_LABELS, 50) == ()
    assert drawn_notes(6000, MAX_OTHER_LABELS + 1, 5000) == (
        "Random audits: 5,000 of 6,000 were drawn at random.",
        "Other labels: 1,000 of 1,001 were drawn at random.",
    )


def test_all_audits_are_used_however_many_texts_are_drawn_from():
    draws, is_audit = Draws(0), np.arange(1000) % 10 == 0
    chosen = draws.positions(1000, 200)
    used = with_audits(chosen, is_audit, draws, 200)
    assert set(np.flatnonzero(is_audit)) | set(chosen) == set(used)
    assert len(with_audits(chosen, np.ones(1000, bool), draws, 200)) == 200  # If all are audits, the draw is the same.

"""An audit of made data finds what was planted in it, and its renderings show and hide what they should."""

import dataclasses
import json
import re

import numpy as np
import pytest
from html_pages import check_is_self_contained
from tiny_bert import vocabulary
from tiny_engine import write_version

from textclf.audit.audit import audit
from textclf.audit.audited_texts import AuditedTexts
from textclf.audit.reading_model import ReadingModel, ReadTexts, reading_model
from textclf.audit.settings import AuditSettings
from textclf.phases import SCORING_SPEED
from textclf.report.audit_html import audit_page
from textclf.report.audit_report import CONTRADICTION, LIKELY_ERROR, OUTLIER
from textclf.report.audit_text import describe_audit
from textclf.tokenization.text_key import TextKeys
from textclf.tokenization.tokenizer import Tokenizer

GOOD = ["good", "great", "lovely", "brilliant", "warm", "funny", "moving", "fresh", "superb", "best"]
BAD = ["bad", "awful", "dull", "boring", "weak", "flat", "poor", "dreadful", "worst", "slow"]
OTHER = [
    "film",
    "movie",
    "story",
    "plot",
    "actor",
    "scene",
    "music",
    "ending",
    "dialogue",
    "camera",
    "long",
    "short",
    "fast",
]
CLASSES = ("neg", "pos")
# Rows with a wrong label.
PLANTED = set(range(1, 11))


def review(rng, label):
    words = [*rng.choice(BAD if label == 0 else GOOD, 5), *rng.choice(OTHER, 9)]
    return " ".join(rng.permutation(words))


def made(count=300, seed=0):
    """Texts and labels: words tell the class. The rows PLANTED have the wrong label."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    texts = [review(rng, label) for label in labels]
    labels[:10] = 1 - labels[:10]
    return texts, labels


def audited(texts, labels, parts=None):
    n = len(texts)
    parts = parts or ["train"] * n
    return AuditedTexts(
        source="reviews.csv",
        class_names=CLASSES,
        texts=tuple(texts),
        labels=np.asarray(labels),
        parts=tuple(parts),
        files=("reviews.csv",) * n,
        rows=tuple(range(1, n + 1)),
        senders=("",) * n,
        blank=0,
    )


def read(texts, with_embeddings=False):
    model = ReadingModel("tiny", Tokenizer(vocabulary(), True, 64), None, 1000)
    found = model.read(texts)
    if not with_embeddings:
        return found
    # A bag of wordpieces is an embedding, too.
    embeddings = np.zeros((len(texts), 200), np.float32)
    for row, ids in enumerate(found.wordpieces):
        np.add.at(embeddings[row], ids, 1)
    return ReadTexts(found.wordpieces, found.lengths, embeddings)


def report_of(texts, labels, parts=None, with_embeddings=False, **settings):
    return audit(audited(texts, labels, parts), read(texts, with_embeddings), AuditSettings(**settings), TextKeys())


@pytest.mark.parametrize("with_embeddings", [False, True])
def test_wrong_labels_are_found(with_embeddings):
    report = report_of(*made(), with_embeddings=with_embeddings)
    errors = [row for row in report.rows if row.reason == LIKELY_ERROR]
    assert len({row.row for row in errors[:12]} & PLANTED) >= 8
    assert all(row.suggested_label not in ("", row.label) and row.score < 0.5 for row in errors)
    assert report.errors.found == len(errors)
    assert len(report.errors.models) == 1 + with_embeddings
    assert "labels" in describe_audit(report).splitlines()[0]


def test_contradictions_come_first_and_leaks_are_a_problem():
    texts, labels = made()
    texts += [f"{texts[20].upper()} ", texts[31]]
    labels = np.append(labels, [1 - labels[20], labels[31]])
    report = report_of(texts, labels, ["train"] * 300 + ["test"] * 2)
    assert [(row.row, row.reason) for row in report.rows[:2]] == [(21, CONTRADICTION), (301, CONTRADICTION)]
    assert (report.contradictions, report.surplus, report.equal_groups) == (2, 2, 2)
    leak = report.leaks[0]
    assert (leak.of, leak.inside, leak.equal, leak.similar) == ("train", "test", 2, 0)
    assert describe_audit(report).startswith("Review this data before you train on it: 2 test texts are also in train")


def test_a_copy_with_the_same_wrong_label_does_not_hide_it():
    texts, labels = made()
    texts += texts[:10] * 3
    labels = np.append(labels, np.tile(labels[:10], 3))
    report = report_of(texts, labels)
    assert len({row.row for row in report.rows if row.reason == LIKELY_ERROR} & PLANTED) >= 8


def test_outliers_need_embeddings():
    texts, labels = made()
    texts[40] = "?! ?! ?! ?!"
    assert report_of(texts, labels).outliers is None
    report = report_of(texts, labels, with_embeddings=True)
    assert 41 in {row.row for row in report.rows if row.reason in (OUTLIER, LIKELY_ERROR)}
    assert report.outliers


def test_twenty_texts_are_too_few_for_label_errors():
    report = report_of(*made(20), with_embeddings=True)
    assert report.errors is None
    assert "too few texts to search label errors" in " ".join(report.notes)
    assert "but there are too few to search label errors" in describe_audit(report).splitlines()[0]
    assert audit_page(report)


def test_a_class_with_few_texts_is_left_out_and_named():
    texts, labels = made()
    classes = (*CLASSES, "rare")
    found = audited([*texts, "the plot is fresh"], np.append(labels, 2))
    found = AuditedTexts(**{**vars(found), "class_names": classes})
    report = audit(found, read(found.texts), AuditSettings(), TextKeys())
    assert report.errors.left_out == ("rare",)
    assert report.errors.searched == 300
    assert "1 text was not searched for label errors: its class has" in " ".join(report.notes)


def test_the_same_seed_gives_the_same_report():
    texts, labels = made()
    assert report_of(texts, labels, seed=3) == report_of(texts, labels, seed=3)


def test_one_thing_is_singular():
    texts, labels = made()
    found = audited([*texts, texts[20], "the plot is fresh"], [*labels, labels[20], 2], ["train"] * 300 + ["test"] * 2)
    found = AuditedTexts(**{**vars(found), "class_names": (*CLASSES, "rare")})
    report = audit(found, read(found.texts), AuditSettings(), TextKeys())
    shown = describe_audit(report) + audit_page(report)
    for phrase in ("1 text repeats", "1 test text is also", "1 class has fewer", "equal to another one, in 1 group"):
        assert phrase in shown
    assert re.findall(r"\b1 (?:texts|classes|groups|rows|more are)\b", shown) == []


def test_the_note_names_the_models():
    (of_words,) = (note for note in report_of(*made()).notes if "doubts of" in note)
    (of_both,) = (note for note in report_of(*made(), with_embeddings=True).notes if "doubts of" in note)
    assert of_words.startswith("Likely label errors are doubts of a linear stage on wordpieces. ")
    assert of_both.startswith(
        "Likely label errors are doubts of a linear stage on wordpieces and a logistic regression on embeddings. "
    )


def test_max_rows_limits_the_rows():
    report = report_of(*made(), max_rows=4)
    assert len(report.rows) == 4
    assert report.left_out_rows > 0


def test_long_and_short_texts_are_counted():
    texts, labels = made()
    texts[50], texts[51] = "film " * 70, "a"
    report = report_of(texts, labels, max_length=20)
    assert report.parts[0].truncated == 1 / 300
    assert report.short == 1


def test_the_page_is_self_contained_and_escapes_texts():
    texts, labels = made()
    texts[0] = f"<script>alert(1)</script> {texts[0]}"
    page = audit_page(report_of(texts, labels))
    check_is_self_contained(page)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_json_and_terminal_have_no_texts():
    texts, labels = made()
    texts += [texts[20]]
    labels = np.append(labels, 1 - labels[20])
    report = report_of(texts, labels)
    shown = json.dumps(report.to_dict()) + describe_audit(report)
    assert not any(text in shown for text in texts)
    assert report.to_dict()["rows"][0]["row"] == 21


def test_embeddings_are_announced_with_their_duration(tmp_path, capsys):
    write_version(tmp_path)
    model = reading_model("", tmp_path, with_embeddings=True)
    texts = ["the film was great"] * 10
    wordpieces = sum(len(text.ids) for text in model.tokenizer(texts))
    assert model.speed == SCORING_SPEED
    dataclasses.replace(model, speed=wordpieces / 60).read(texts)
    assert f"embedding 10 texts with {model.name}: about 60 s …" in capsys.readouterr().err
    model.read(texts)
    assert capsys.readouterr().err == ""

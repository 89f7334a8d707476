"""The report of a check: JSON, the sentence, the text and the page."""

import dataclasses
import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from html_pages import Page, check_is_self_contained

from textclf.config import DriftOptions
from textclf.drift.audit_run import AuditRun
from textclf.drift.features import TextFeatures, TokenCounts
from textclf.drift.state import DRIFT, NO_DRIFT, NOT_ENOUGH_DATA
from textclf.errors import ConfigError, InputError
from textclf.report.drift_html import drift_page
from textclf.report.drift_report import Compared, DriftReport, drift_report
from textclf.report.drift_summary import audit_sentence, missing_prior_sentence
from textclf.report.drift_text import describe_drift
from textclf.stats.drift_tests.drift_results import (
    ClassMix,
    DriftResults,
    FamilyResult,
    LabelCounts,
    Quantiles,
    TestResult,
    WordDrift,
)
from textclf.stats.drift_tests.estimated_accuracy import AccuracyEstimate
from textclf.stats.drift_tests.label_shift import PriorEstimate

VOCABULARY = ["[PAD]", "film", "movie", "battery", "##ing", "!", "<script>alert(1)</script>"]
HOSTILE = "\"'><img src=x onerror=alert(2)>{{ 7*7 }}"
COMPARED = Compared(
    "tiny", "v1", "the log", 300, 1000, "2026-01-01T00:00:00+00:00", None, "held-out texts", 200, 200, {"v0": 17}, 0.01
)


def features(count: int, seed: int, classes: int = 2, rates: float = 1.0) -> TextFeatures:
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (count, classes)).astype(np.float32)
    return TextFeatures(
        lengths=random.integers(5, 400, count),
        unknown_rates=rates * random.random(count, np.float32) / 50,
        continuation_rates=rates * random.random(count, np.float32) / 10,
        non_letter_rates=rates * random.random(count, np.float32) / 5,
        words=TokenCounts.of_ids([[1, 2]] * count),
        logits=logits,
        predicted=random.integers(0, 2, count),
        embeddings=None,
    )


def one_test(name: str, effect: float = 0.3, floor: float = 0.1, p: float = 1e-9, class_id=None) -> TestResult:
    return TestResult(name, effect, p, p, effect, floor, p < 0.01, p < 0.01 and effect > floor, class_id)


def family(name: str, *tests: TestResult) -> FamilyResult:
    speaks = next((test for test in tests if test.is_alarm), tests[0])
    is_significant = any(test.is_significant for test in tests)
    return FamilyResult(
        name,
        speaks.name,
        speaks.statistic,
        speaks.p,
        speaks.adjusted_p,
        speaks.effect,
        speaks.floor,
        is_significant,
        speaks.is_alarm,
        is_significant and not speaks.is_alarm,
        tests,
        0.1,
    )


def figures(*families: FamilyResult, **changes) -> DriftResults:
    found = DriftResults(
        enough=True,
        reference_texts=200,
        latest_texts=300,
        families=families,
        words=(
            WordDrift(3, 2.0, 0.9, 0, 240, 0.0, 0.8),
            WordDrift(1, -1.5, 0.5, 150, 30, 0.75, 0.1),
            WordDrift(4, 0.5, 0.2, 10, 60, 0.05, 0.2),
            WordDrift(6, 0.5, 0.1, 1, 9, 0.005, 0.03),
        ),
        class_mix=ClassMix((0.5, 0.5), (0.2, 0.8)),
        lengths=Quantiles((0.25, 0.5, 0.75), (100, 230, 300), (50, 98, 150)),
        labels=LabelCounts(200, 16, 100, 25, (0.17, 0.34), 40, 30, audit_unknown=6, other_unknown=1),
        audit_run=AuditRun(16, 200, 0.1, audits=140, errors=19, height=3.5, risen_audits=30, risen_errors=8),
    )
    return dataclasses.replace(found, **changes)


def report(found: DriftResults, class_names=("neg", "pos"), rates=2.0, **changes) -> DriftReport:
    classes = len(class_names)
    made = drift_report(
        found,
        features(200, 1, classes),
        features(300, 2, classes, rates),
        time=1.8e9,
        compared=COMPARED,
        options=DriftOptions(),
        vocabulary=VOCABULARY,
        class_names=class_names,
        temperature=1.3,
        prior=PriorEstimate((0.5, 0.5), (0.15, 0.85), (0.11, 0.79), (0.21, 0.89), 0.7),
        accuracy=AccuracyEstimate(0.8, 0.9, 0.91),
        notes=["7 labels are not a class of the model, so each counts as an error."],
    )
    return dataclasses.replace(made, **changes)


ALL = figures(
    family("length", one_test("length")),
    family("form", one_test("unknown"), one_test("continuation"), one_test("non_letter", 0.05)),
    family("score", one_test("logits", class_id=1), one_test("classes")),
    family("content", one_test("words", 0.97, 0.55)),
    family("embedding", one_test("embeddings", 0.412)),
    family("error", one_test("error_rate", 0.17, 0.05), one_test("cusum", 0.2, 0.05)),
)


def test_every_family_is_said_in_words():
    sentence = report(ALL).sentence
    assert report(ALL).verdict == DRIFT
    assert sentence.startswith("Drift: the 300 latest texts differ from the training reference: ")
    for words in (
        "they are shorter (median 230 -> 98 tokens)",
        "words outside the vocabulary",
        "words split into several pieces",
        "the mix of predicted classes has moved (pos 50.0% -> 80.0%)",
        "AUC 0.970; more: “battery”; less: “film”",
        "MMD 0.412",
        "the model makes more errors (8.0% held out -> 25.0% of 100 audited texts)",
    ):
        assert words in sentence, words
    assert "digits, signs" not in sentence  # Significant, but below its minimum effect.
    assert "KS distance" not in sentence  # The logits have moved because the mix has.


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            figures(family("length", one_test("length")), lengths=Quantiles((0.5,), (100,), (103,))),
            "the distribution of their lengths differs (KS distance 0.300)",
        ),
        (
            figures(family("length", one_test("length")), lengths=Quantiles((0.5,), (100,), (150,))),
            "they are longer (median 100 -> 150 tokens)",
        ),
        (
            figures(family("score", one_test("logits", class_id=1), one_test("classes", 0.01))),
            "the model's scores for pos have moved (KS distance 0.300)",
        ),
        (
            figures(family("error", one_test("error_rate", p=0.5), one_test("cusum"))),
            "the model has recently made more errors",
        ),
    ],
)
def test_a_single_cause_is_said(found, words):
    assert words in report(found).sentence


@pytest.mark.parametrize(
    ("rates", "words"),
    [
        (2.0, "they have more digits, signs"),
        (0.5, "they have fewer digits, signs"),
        (1.0, "the distribution of their shares"),
    ],
)
def test_form_has_more_or_fewer_or_another_distribution(rates, words):
    assert words in report(figures(family("form", one_test("non_letter"))), rates=rates).sentence


def test_words_that_both_have_are_not_named():
    common = (WordDrift(1, 0.1, 0.2, 180, 285, 0.9, 0.95), WordDrift(2, 0.1, 0.1, 20, 90, 0.1, 0.3))
    made = report(figures(family("content", one_test("words", 0.9, 0.55)), words=common))
    assert "(AUC 0.900; more: “movie”)" in made.sentence


def test_what_is_significant_but_negligible_is_said_to_be():
    small = figures(family("score", one_test("classes", 0.02)), family("content", one_test("words", 0.51, 0.55, p=0.4)))
    made = report(small)
    assert made.verdict == NO_DRIFT
    assert made.sentence.startswith("No drift: the 300 latest texts are like the 200 of the training reference; ")
    assert "significant but negligible: the mix of predicted classes" in made.sentence
    assert "(effect 0.020, minimum 0.100)" in made.sentence
    assert "AUC" not in made.sentence
    assert "negligible" in drift_page(made)
    assert "negligible" in describe_drift(made)


def test_few_texts_are_not_enough():
    made = report(figures(enough=False, latest_texts=57))
    assert made.verdict == NOT_ENOUGH_DATA
    assert made.sentence == "Not enough data: there are 57 latest texts, and a verdict needs 100."
    assert report(figures(enough=False, latest_texts=1)).sentence.startswith("Not enough data: there is 1 latest text,")
    assert "the reference has 60 texts" in report(figures(enough=False, reference_texts=60)).sentence


def test_many_classes_name_those_that_moved_most():
    names = tuple(f"class {at}" for at in range(30))
    shares = np.full(30, 1 / 30)
    moved = shares.copy()
    moved[[7, 3]] += 0.1, -0.02
    found = figures(
        family("score", one_test("classes")), class_mix=ClassMix(tuple(shares.tolist()), tuple(moved.tolist()))
    )
    made = report(found, names, prior=None)
    assert "(class 7 3.3% -> 13.3%, class 3 3.3% -> 1.3%, " in made.sentence
    page = drift_page(made)
    assert "the 20 of 30 whose shares moved most" in page
    assert "class 7<" in page


def test_what_becomes_of_the_audits_is_said():
    since = "2026-01-01T00:00:00+00:00"
    tested = f"Random audits since {since}: 100 labels, tested."
    assert audit_sentence(dataclasses.replace(ALL, audit_run=None), 50, since, can_wait=True) == tested
    continued = f"{tested} The CUSUM continues that of 40 earlier audits."
    assert audit_sentence(ALL, 50, since, can_wait=True) == continued
    untested = figures(family("length", one_test("length")))
    waiting = audit_sentence(untested, 200, since, can_wait=True)
    assert waiting.endswith("100 labels, waiting for a later window: a test needs 200 of them, and enough texts.")
    assert "100 labels, not tested: a test needs 200" in audit_sentence(untested, 200, None, can_wait=False)
    labels = dataclasses.replace(ALL.labels, audit_texts=0, audit_errors=0, audit_interval=None)
    assert audit_sentence(figures(labels=labels), 50, since, can_wait=True) is None
    assert audit_sentence(figures(labels=None), 50, since, can_wait=True) is None


def test_json_round_trip():
    made = report(ALL)
    text = made.to_json()
    assert DriftReport.from_dict(json.loads(text)) == made
    bare = report(figures(enough=False, class_mix=None, lengths=None, labels=None, words=()), prior=None, accuracy=None)
    assert DriftReport.from_dict(json.loads(bare.to_json())) == bare


@pytest.mark.parametrize(
    "change",
    [{"format": 2}, {"verdict": "maybe"}, {"other": 1}, {"figures": {}}, {"compared": None}, {"words": 5}],
)
def test_what_is_no_report_is_refused(change):
    with pytest.raises(InputError, match="expected"):
        DriftReport.from_dict({**report(ALL).to_dict(), **change})


def test_a_vocabulary_that_is_too_short_is_refused():
    with pytest.raises(ConfigError, match="vocabulary"):
        drift_report(
            ALL,
            features(9, 1),
            features(9, 2),
            time=0.0,
            compared=COMPARED,
            options=DriftOptions(),
            vocabulary=VOCABULARY[:4],
            class_names=("neg", "pos"),
            temperature=1.0,
        )


def test_shares_add_up_and_every_text_is_in_a_bin():
    made = report(ALL)
    for histogram in (made.lengths, made.scores):
        assert sum(histogram.reference) == pytest.approx(1)
        assert sum(histogram.latest) == pytest.approx(1)
        assert len(histogram.edges) == len(histogram.latest) + 1
    assert made.scores.edges[0] == 0
    assert made.scores.edges[-1] == 1


def test_one_length_and_no_texts_are_drawn_too():
    same = dataclasses.replace(features(5, 1), lengths=np.full(5, 7))
    arguments = {
        "time": 0.0,
        "compared": COMPARED,
        "options": DriftOptions(),
        "vocabulary": VOCABULARY,
        "class_names": ("neg", "pos"),
        "temperature": 1.0,
    }
    drift_page(drift_report(ALL, same, same, **arguments))
    none = features(0, 1)
    empty = drift_report(figures(enough=False, class_mix=None, lengths=None), none, none, **arguments)
    assert empty.lengths is None
    assert "Not enough data" in drift_page(empty)


def test_the_summary_is_what_the_state_keeps():
    summary = report(ALL).summary()
    assert summary.effects["content"] == 0.97
    assert summary.floors["content"] == 0.55
    assert summary.alarms == ("length", "form", "score", "content", "embedding", "error")
    assert (summary.verdict, summary.version, summary.texts) == (DRIFT, "v1", 300)


def test_the_page_needs_nothing_else_and_runs_nothing():
    page = drift_page(report(ALL))
    parsed = Page(page)
    check_is_self_contained(page)
    for words in (
        "1,000",
        "17 texts that version v0 predicted",
        "7 labels are not a class",
        "an estimate",
        "95% interval of the error rate",
        "79.0% to 89.0%",
        "6 of the random audit, 1 of the other labels; each is an error",
    ):
        assert words.lower() in parsed.text.lower(), words
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawings) == 4
    for drawing in drawings:
        root = ElementTree.fromstring(drawing)  # noqa: S314  our own page
        assert root.attrib["aria-label"]
        for bar in root.iter("rect"):
            assert float(bar.attrib["width"]) >= 0
            assert float(bar.attrib["height"]) >= 0


def test_the_bars_say_what_the_figures_say():
    drawings = re.findall(r"<svg.*?</svg>", drift_page(report(ALL)), re.DOTALL)
    effects, lengths, _, classes = map(ElementTree.fromstring, drawings)
    floor, *others = {line.attrib["x1"] for line in effects.iter("line")}
    assert not others  # One line marks all minimum effects.
    drawn = [float(bar.attrib["x"]) + float(bar.attrib["width"]) for bar in effects.iter("rect")]
    assert all(end > float(floor) for end in drawn)  # Every family alarms.
    heights = [float(bar.attrib["height"]) for bar in lengths.iter("rect") if bar.attrib["class"] == "latest"]
    shares = report(ALL).lengths.latest
    assert int(np.argmax(heights)) == int(np.argmax(shares))
    assert heights[0] / max(heights) == pytest.approx(shares[0] / max(shares), abs=0.01)
    widths = [float(bar.attrib["width"]) for bar in classes.iter("rect")]
    assert widths == pytest.approx([310, 124, 310, 496])


def test_names_are_text_and_never_markup():
    hostile = report(
        ALL,
        (HOSTILE, "pos"),
        compared=dataclasses.replace(COMPARED, source=HOSTILE, model=HOSTILE, other_versions={HOSTILE: 1}),
        notes=(HOSTILE,),
    )
    page = drift_page(hostile)
    parsed = Page(page)
    assert not {tag for tag, _ in parsed.tags} & {"script", "img"}
    assert "<script>alert(1)</script>" in parsed.text
    assert HOSTILE in parsed.text
    assert "<script>" not in page
    assert "<img" not in page


def test_the_text_has_a_line_for_each_family():
    lines = describe_drift(report(ALL)).splitlines()
    assert sum("ALARM" in line for line in lines) == 6
    assert any(line.startswith("latest") and "300 of 1,000 texts: the log" in line for line in lines)
    assert max(map(len, lines[2:])) < 120
    assert "audits     25 errors in 100 texts (95% interval of the error rate 17.0% to 34.0%)" in lines
    assert "           6 of these errors have a label that is not a class of the model" in lines
    assert "labels     30 errors in 40 other labelled texts" in lines
    assert "classes    pos: 50.0% -> 85.0% (estimated true share, 95% interval 79.0% to 89.0%)" in lines


def test_the_text_names_the_classes_that_moved_most():
    prior = PriorEstimate((0.4, 0.3, 0.2, 0.1), (0.1, 0.3, 0.2, 0.4), (0.0,) * 4, (1.0,) * 4, 0.5)
    lines = describe_drift(report(figures(), ("a", "b", "c", "d"), prior=prior)).splitlines()
    assert [line.split(":")[0] for line in lines if "true share" in line] == [
        "classes    a",
        "           d",
        "           b",
    ]
    none = dataclasses.replace(prior, latest=None, latest_low=None, latest_high=None)
    assert "true share" not in describe_drift(report(figures(), ("a", "b", "c", "d"), prior=none))


def test_the_reason_for_no_estimate_is_told():
    assert missing_prior_sentence(None) is None
    assert missing_prior_sentence(PriorEstimate((1.0, 0.0), (0.5, 0.5))) is None
    confused = missing_prior_sentence(PriorEstimate((0.5, 0.5), None, singular_value=0.04))
    assert "confuses the classes too much. The smallest singular value of its confusion matrix is 0.040" in confused
    assert "no labels of the predicted classes" in missing_prior_sentence(PriorEstimate((1.0, 0.0), None))


def test_a_report_of_an_earlier_version_is_read_and_drawn():
    values = report(ALL).to_dict()
    for name in ("latest_low", "latest_high", "singular_value"):
        del values["prior"][name]
    for name in ("audit_unknown", "other_unknown"):
        del values["figures"]["labels"][name]
    del values["figures"]["audit_run"]
    earlier = DriftReport.from_dict(values)
    assert earlier.figures.labels.audit_unknown == 0
    assert "85.0%" in Page(drift_page(earlier)).text
    assert describe_drift(earlier)

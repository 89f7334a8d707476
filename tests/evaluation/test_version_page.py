"""The evaluation page: what a version contains, its data set, older versions, many classes and hostile names."""

import dataclasses
import re
import shutil
import tarfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from html_pages import Page, check_is_self_contained
from labelled_sets import write_set
from tiny_engine import tiny_linear, tiny_reviews, write_version

import inference
import initializing
from textclf.data.datasets import load_dataset
from textclf.errors import DatasetError, ModelStoreError
from textclf.evaluation.class_words import class_words
from textclf.evaluation.scoring import drawn_rows, evaluate
from textclf.evaluation.version_page import write_evaluation_page
from textclf.report.evaluation_figures import (
    EvaluatedTexts,
    class_figures,
    confident_errors,
    coverage_rows,
    slice_figures,
)
from textclf.report.evaluation_html import WIDTH, coverage_line, evaluation_page, reliability_bars
from textclf.report.versions import describe_version
from textclf.runtime.loading import load_predictor
from textclf.stats.calibration import bins_of_confidence
from textclf.store.evaluation import EVALUATION_FILE, ClassWord, Evaluation
from textclf.store.manifest import Manifest
from textclf.store.model_store import ModelStore, open_model

HOSTILE = "\"'></td><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}"


def evaluation_of(labels, predicted, confidences=None, **changes) -> Evaluation:
    labels, predicted = np.array(labels), np.array(predicted)
    n = len(labels)
    values = {
        "split": "test",
        "found": n,
        "confidences": np.linspace(0.99, 0.5, n) if confidences is None else np.array(confidences),
        "lengths": np.arange(n) + 4,
        "seconds": 0.5,
    }
    return Evaluation(labels=labels, predicted=predicted, **(values | changes))


def manifest_of(class_names, **changes) -> Manifest:
    encoder = dict.fromkeys(("model_name", "name_to_handle", "model_to_handle"), "tiny")
    return Manifest("tiny", class_names, encoder, 32, "head", 0.25, True, **changes)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with a version with a cascade, which has no evaluation, and a data set with its classes."""
    folder = tmp_path_factory.mktemp("pages")
    write_version(folder / "model", cascade=True)
    write_set(folder / "data", tiny_reviews(120, seed=1), tiny_reviews(60, seed=2))
    return folder


def with_evaluation(store, evaluation: Evaluation):
    """A new version in the store that contains an evaluation."""
    models = ModelStore(store)
    with models.new_version() as draft:
        (draft.path / "engine").mkdir()
        evaluation.save(draft.path)
        draft.manifest = dataclasses.replace(models.open().manifest, id="", files={}, created="")
    return models.open(draft.id)


def test_the_page_from_the_data_set(store):
    page_path = store / "page.html"
    write_evaluation_page(open_model(store / "model"), page_path, store / "data")
    page = page_path.read_text(encoding="utf-8")
    check_is_self_contained(page)
    text = Page(page).text
    predictor = load_predictor(store / "model")
    texts, labels = zip(*tiny_reviews(60, seed=2), strict=True)
    found = evaluate(predictor, "test", texts, np.array(labels))
    wrong = [text for text, is_right in zip(texts, found.is_right.tolist(), strict=True) if not is_right]
    assert f"{int(found.is_right.sum())} of 60 test texts are right" in text
    assert sum(each in text for each in wrong) == min(20, len(wrong))
    for title in (
        "Most frequent confusions",
        "Classes, lowest recall first",
        "Accuracy by length",
        "Words of each class",
    ):
        assert title in text
    assert "60 test texts are few: the accuracy is known to ±" in text
    assert re.search(r"(great|good|lovely|brilliant) \+\d", text)
    assert "the engine that serves (float32, with the linear stage)" in text
    for drawing in re.findall(r"<svg.*?</svg>", page, re.DOTALL):
        root = ElementTree.fromstring(drawing)  # noqa: S314  our own page
        assert root.attrib["aria-label"]
        assert all(float(bar.attrib["width"]) >= 0 and float(bar.attrib["height"]) >= 0 for bar in root.iter("rect"))


def test_errors_and_slices_name_the_source(store, tmp_path):
    for part, seed in (("train", 1), ("test", 2)):
        rows = (f'"{text}",{("neg", "pos")[label]},shop {label}\n' for text, label in tiny_reviews(60, seed=seed))
        (tmp_path / f"{part}.csv").write_text("".join(["text,label,source\n", *rows]), encoding="utf-8")
    write_evaluation_page(open_model(store / "model"), tmp_path / "page.html", tmp_path)
    text = Page((tmp_path / "page.html").read_text(encoding="utf-8")).text
    assert "Accuracy by source" in text
    assert re.search(r"shop 0\s*30", text)
    assert re.search(r"\(shop [01]\)", text.partition("Most confident errors")[2])


def test_the_page_of_what_a_version_contains(store):
    words = ((ClassWord("dull", 1.5, 7),), (ClassWord("great", 2.25, 9),))
    version = with_evaluation(store / "model", evaluation_of([0, 0, 1, 1], [0, 1, 1, 1], words=words))
    write_evaluation_page(version, store / "own.html")
    text = Page((store / "own.html").read_text(encoding="utf-8")).text
    assert "3 of 4 test texts are right" in text
    assert "great +2.25" in text
    assert "A version contains no texts" in text
    assert "--dataset-path DATA shows them" in text
    assert "Most confident errors" not in text


def test_the_page_of_an_older_version(store):
    confusion = {"confusion_matrix": [[30, 10], [20, 40]], "accuracy": 0.7, "macro_f1": 0.697, "roc_auc": 0.75}
    page = evaluation_page(manifest_of(("neg", "pos"), metrics={"test": confusion}), None)
    check_is_self_contained(page)
    text = Page(page).text
    assert "70 of 100 test texts are right" in text
    assert "the trained encoder, before its engine was made" in text
    assert "--export-again ID" in text
    assert "60.4% to 78.1%" in text  # Wilson's interval of 70 of 100.
    assert "Reliability" not in text


def test_a_version_without_any_result_has_a_page():
    page = evaluation_page(manifest_of(("neg", "pos"), metrics={"test": {"confusion_matrix": "damaged"}}), None)
    assert "Its manifest contains no confusion matrix either." in Page(page).text


def test_a_class_that_is_never_predicted_is_at_the_top():
    page = evaluation_page(
        manifest_of(("a", "b", "c")), evaluation_of([0] * 50 + [1] * 40 + [2] * 9, [0] * 50 + [1] * 49)
    )
    text = Page(page).text
    warning = "Warning: the class 'c' is never predicted for the 99 test texts"
    assert text.index(warning) < text.index("What was measured")
    assert "c (never predicted)" in text


def test_names_and_texts_never_become_markup():
    names = (HOSTILE, "C/C++ 50% 🎬", "billing: refund")
    words = ((ClassWord(HOSTILE, 1.0, 5),), (), ())
    known = EvaluatedTexts([HOSTILE] * 3, [HOSTILE, "a", "b"])
    evaluation = evaluation_of([0, 1, 2], [1, 2, 0], words=words)
    manifest = manifest_of(("x", "y", "z"))
    for field, value in {"class_names": names, "name": HOSTILE}.items():
        object.__setattr__(manifest, field, value)  # More than today's class names allow.
    page = evaluation_page(manifest, evaluation, known, [HOSTILE])
    check_is_self_contained(page)
    parsed = Page(page)
    assert "<script>" not in page
    assert parsed.text.count(HOSTILE) >= 8  # Name, note, classes, confusions, words, texts, source.
    assert "C/C++ 50% 🎬" in parsed.text


def test_151_classes_stay_readable():
    random = np.random.default_rng(0)
    names = tuple(f"class {at:03}" for at in range(151))
    labels = random.integers(0, 151, 1500)
    predicted = np.where(random.random(1500) < 0.8, labels, random.integers(0, 151, 1500))
    page = evaluation_page(manifest_of(names), evaluation_of(labels, predicted))
    assert len(page) < 300_000
    confusions = page.partition("Most frequent confusions")[2].partition("<h2>")[0]
    assert confusions.count("<tr>") == 21
    assert "true class \\ predicted" not in page
    number = '<td class="number">'
    rows = re.findall(rf"class \d{{3}}</td>(?:{number}\d+</td>){{2}}{number}([\d.]+)%", page)
    recalls = [float(row) for row in rows]
    assert len(recalls) > 140
    assert recalls == sorted(recalls)


def test_class_figures_by_hand():
    rows = class_figures(np.array([[8, 2, 0], [0, 5, 0], [0, 0, 0]]), ("a", "b", "c"))
    assert [row.name for row in rows] == ["a", "b", "c"]
    first = rows[0]
    assert (first.texts, first.predictions, first.confused_with, first.confused) == (10, 8, "b", 2)
    assert first.recall[:3] == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)
    assert (first.precision, first.f1) == pytest.approx((1.0, 16 / 18))
    assert (rows[2].recall, rows[2].precision, rows[2].f1) == (None, None, None)


def test_slices_by_length_and_source():
    evaluation = evaluation_of([0, 0, 1, 1], [0, 1, 1, 1])
    tables = slice_figures(evaluation, 6, ["web", "", "web", "web"])
    assert [(row.name, row.accuracy.successes, row.accuracy.n) for row in tables["source"]] == [
        ("web", 3, 3),
        ("(no source)", 0, 1),
    ]
    assert sum(row.accuracy.n for row in tables["length"][:-1]) == 4
    assert tables["length"][-1].name.startswith("over 6 tokens, of which a part is not read")
    assert "source" not in slice_figures(evaluation, 99, ["web"] * 4)


def test_the_coverage_table_starts_at_the_first_rate_that_is_reached():
    confidences = [0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.45, 0.4, 0.35, 0.3]
    evaluation = evaluation_of([0] * 10, [0, 0, 0, 0, 1, 1, 0, 1, 0, 1], confidences)
    curve, rows = coverage_rows(evaluation)
    assert [(row.max_error, row.coverage.texts) for row in rows] == [
        (0.005, 4), (0.01, 4), (0.02, 4), (0.05, 4), (0.1, 4), (0.2, 5), (None, 10)
    ]  # fmt: skip
    assert rows[-1].error.value == 0.4
    first_wrong = evaluation_of([0] * 10, [1, 0, 0, 0, 0, 0, 0, 0, 1, 1], confidences)
    assert coverage_rows(first_wrong)[1][0][:2] == (0.1, None)
    line = coverage_line(curve, 10)
    assert line.top == 0.4
    assert line.points.split()[-1] == f"{WIDTH}.0,0.0"


def test_the_bars_are_the_bins():
    bars = reliability_bars(bins_of_confidence(np.array([0.5, 0.99, 0.98]), np.array([True, True, False])))
    assert [bar.texts for bar in bars] == [1, 2]
    assert bars[1].accuracy / bars[0].accuracy == pytest.approx(0.5)


def test_the_surest_errors_come_first():
    evaluation = evaluation_of([0, 1, 0], [1, 1, 1], [0.6, 0.9, 0.8])
    rows = confident_errors(evaluation, ("neg", "pos"), EvaluatedTexts(["a\n b", "c", "d" * 700], []))
    assert [(row.label, row.predicted, row.confidence) for row in rows] == [("neg", "pos", 0.8), ("neg", "pos", 0.6)]
    assert rows[0].text == "d" * 600 + "…"
    assert rows[1].text == "a b"


def test_words_of_each_class(store):
    predictor = load_predictor(store / "model")
    texts = [text for text, _ in tiny_reviews(300, seed=7)]
    neg, pos = class_words(tiny_linear(), predictor.backend.tokenizer, texts)
    assert {word.word for word in neg[:4]} == {"bad", "awful", "dull", "boring"}
    assert {word.word for word in pos[:4]} == {"good", "great", "lovely", "brilliant"}
    great = next(word for word in pos if word.word == "great")
    assert great.texts == sum("great" in text.split() for text in texts)
    assert class_words(tiny_linear(), predictor.backend.tokenizer, texts[:3]) == ((), ())


def test_rare_words_are_not_shown(store):
    texts = [text for text, _ in tiny_reviews(300, seed=7)]
    tokenizer = load_predictor(store / "model").backend.tokenizer
    few = [text for text in texts if "great" in text.split()][:4]
    others = [text for text in texts if "great" not in text.split()]
    shown = {word.word for of_class in class_words(tiny_linear(), tokenizer, few + others) for word in of_class}
    assert "good" in shown
    assert "great" not in shown


def test_the_record_round_trip(tmp_path):
    words = ((ClassWord("dull", 1.5, 7),), (ClassWord("great", 2.25, 9),))
    before = evaluation_of([0, 1], [1, 1], words=words, found=40)
    before.save(tmp_path)
    after = Evaluation.load(tmp_path / EVALUATION_FILE, 2)
    assert (after.split, after.found, after.words, after.seconds) == ("test", 40, words, 0.5)
    for name in ("labels", "predicted", "lengths"):
        assert np.array_equal(getattr(after, name), getattr(before, name))
    assert np.allclose(after.confidences, before.confidences, atol=1e-4)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"format": 1', '"format": 2'),
        ('"labels": [0, 1]', '"labels": [0, 5]'),
        ('"labels": [0, 1]', '"labels": [0]'),
        ('"labels": [0, 1]', '"labels": "x"'),
        ('"found": 2', '"found": 1'),
        ('"seconds": 0.5', '"seconds": NaN'),
        ('"class_id": 0', '"class_id": 9'),
        ("{", "["),
    ],
)
def test_a_damaged_record_is_refused(tmp_path, old, new):
    evaluation_of([0, 1], [1, 1], words=((ClassWord("dull", 1.5, 7),), ())).save(tmp_path)
    path = tmp_path / EVALUATION_FILE
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ModelStoreError, match="expected the evaluation of a version"):
        Evaluation.load(path, 2)


def test_a_changed_record_is_refused(store):
    version = with_evaluation(store / "model", evaluation_of([0, 1], [0, 1]))
    path = version.path / EVALUATION_FILE
    path.write_text(path.read_text(encoding="utf-8").replace("[0, 1]", "[0, 0]"), encoding="utf-8")
    with pytest.raises(ModelStoreError, match="damaged"):
        write_evaluation_page(version, store / "damaged.html")
    assert not (store / "damaged.html").exists()


def test_drawn_rows_are_few_and_repeatable():
    assert drawn_rows(7).tolist() == list(range(7))
    rows = drawn_rows(100, max_texts=10)
    assert len(set(rows.tolist())) == 10
    assert rows.tolist() == sorted(drawn_rows(100, max_texts=10).tolist())


def test_other_classes_are_refused(store):
    write_set(store / "three", tiny_reviews(120, classes=3), tiny_reviews(60, classes=3), ("a", "b", "c"))
    with pytest.raises(DatasetError, match=r"expected the classes of version .* found a, b, c; name the data set"):
        write_evaluation_page(open_model(store / "model"), store / "no.html", store / "three")


def test_the_remedy_for_an_archive_works(store, tmp_path):
    with tarfile.open(tmp_path / "data.tar.gz", "w:gz") as archive:
        archive.add(store / "data", "data")
    with pytest.raises(DatasetError, match="found an archive; name the folder that this command prints") as refused:
        write_evaluation_page(open_model(store / "model"), tmp_path / "page.html", tmp_path / "data.tar.gz")
    command = str(refused.value).partition("textclf data ")[2].split()
    result = CliRunner().invoke(initializing.main, [*command, "--data-dir", str(tmp_path / "datasets")])
    write_evaluation_page(open_model(store / "model"), tmp_path / "page.html", Path(result.output.strip()))
    assert "of 60 test texts are right" in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("is_same", [True, False])
def test_other_texts_are_noted_and_hide_the_trained_encoder(store, tmp_path, is_same):
    prints = load_dataset(store / "data").fingerprints if is_same else {"test": "0" * 64}
    data = {"source": "reviews.tar.gz", "fingerprint": prints, "options": {"equal_texts": "wordpieces"}}
    version = write_version(tmp_path / "model", data=data, metrics={"test": {"accuracy": 0.927, "roc_auc": 0.9}})
    write_evaluation_page(open_model(version), tmp_path / "page.html", store / "data")
    text = Page((tmp_path / "page.html").read_text(encoding="utf-8")).text
    assert ("92.7%" in text) is is_same
    assert ("differ from those at the training" in text) is not is_same
    assert ("The metrics of the trained encoder are left out" in text) is not is_same
    measured = text.partition("What was measured")[2]
    data_row = r"data\s*reviews" if is_same else rf"data\s*{re.escape(str(store / 'data'))}\s*trained on\s*reviews"
    assert re.search(data_row, measured)


def test_a_selection_set_has_sources_and_did_not_choose_the_last_epoch(tmp_path):
    training = {"options": {"select": "last"}, "seconds": 5.0, "steps": 7, "best_epoch": 2}
    data = {"options": {"read_test": False, "read_validation": True}}
    version = open_model(write_version(tmp_path / "model", data=data, training=training))
    for part, seed in (("train", 1), ("validation", 2)):
        rows = (f'"{text}",{("neg", "pos")[label]},shop {label}\n' for text, label in tiny_reviews(60, seed=seed))
        path = tmp_path / "data" / f"{part}.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(["text,label,source\n", *rows]), encoding="utf-8")
    write_evaluation_page(version, tmp_path / "page.html", tmp_path / "data")
    text = Page((tmp_path / "page.html").read_text(encoding="utf-8")).text
    assert re.search(r"shop 0\s*\d", text.partition("Accuracy by source")[2])
    assert "these figures are of the selection set." in text
    assert "5 s for 7 steps; the last epoch was kept" in text
    assert "best epoch" not in text


def test_the_best_epoch_is_named_where_it_was_kept():
    manifest = manifest_of(("a", "b"), training={"seconds": 5.0, "steps": 7, "best_epoch": 2})
    text = Page(evaluation_page(manifest, evaluation_of([0, 1], [0, 1], split="validation_select"))).text
    assert "these figures are of the selection set, which also chose the best epoch" in text
    assert "5 s for 7 steps; the best epoch, 2, was kept" in text


def test_words_of_a_changed_record_are_refused(store, tmp_path):
    models = ModelStore(tmp_path / "model")
    write_version(models.path)
    with models.new_version() as draft:
        shutil.copytree(models.open().path / "engine", draft.path / "engine")
        evaluation_of([0, 1], [0, 1], words=((ClassWord("dull", 1.5, 7),), ())).save(draft.path)
        draft.manifest = dataclasses.replace(models.open().manifest, id="", files={}, created="")
    version = models.open(draft.id)
    path = version.path / EVALUATION_FILE
    path.write_text(path.read_text(encoding="utf-8").replace("dull", "nice"), encoding="utf-8")
    with pytest.raises(ModelStoreError, match="damaged"):
        write_evaluation_page(version, tmp_path / "page.html", store / "data")


def test_inspect_warns_first(store, tmp_path):
    version = with_evaluation(store / "model", evaluation_of([0] * 50 + [1] * 49, [0] * 99))
    lines = describe_version(version).splitlines()
    assert lines[0].startswith("warning: the class 'pos' is never predicted for the 99 test texts; train longer")
    assert lines[1].startswith("warning: the accuracy of 50.5% is not significantly better than that of always answ")
    assert lines[2].startswith("warning: 99 test texts are few: the accuracy is known to ±9.7 points only")
    old = write_version(tmp_path / "model", metrics={"test": {"confusion_matrix": [[900, 0], [20, 0]]}})
    assert describe_version(open_model(old)).startswith("warning: the class 'pos' is never predicted for the 920 test")
    fine = write_version(tmp_path / "model", metrics={"test": {"confusion_matrix": [[450, 9], [9, 450]]}})
    assert describe_version(open_model(fine)).startswith("version ")


def test_the_command(store, tmp_path):
    arguments = ["--model-path", str(store / "model"), "inspect", "--html", str(tmp_path / "page.html")]
    result = CliRunner().invoke(inference.main, [*arguments, "--dataset-path", str(store / "data")])
    assert result.exit_code == 0, result.output
    assert f"page:          {tmp_path / 'page.html'}" in result.output
    assert f"measuring:     60 test texts of {store / 'data'}" in result.output
    check_is_self_contained((tmp_path / "page.html").read_text(encoding="utf-8"))

"""Monitoring on a tiny real store: checks of texts and of the log, the command line, and when it retrains."""

import contextlib
import dataclasses
import fcntl
import html
import json
import shutil
import sqlite3
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from monitored import films, log_texts, made_folder, products, store_reviews, write_table
from serving_stack import ROOT, serving_python
from tiny_engine import tiny_reviews, write_version

import retraining as retraining_stage
from monitoring import CommandContext, Monitoring, main, run_drift_monitoring
from textclf.config import DriftOptions
from textclf.drift.reference import REFERENCE_FILE
from textclf.drift.state import (
    DAMAGED_FILE,
    DRIFT,
    NO_DRIFT,
    NOT_ENOUGH_DATA,
    STATE_FILE,
    DriftState,
    RetrainTry,
    check_not_ahead,
    read_state,
    update_state,
)
from textclf.errors import ConfigError, DatasetError, InputError, ModelStoreError, PredictionLogError, TrainingError
from textclf.labels import OTHER_LABEL
from textclf.monitoring.samples import open_version
from textclf.monitoring.windows import SETTLED_SECONDS
from textclf.report.drift_report import DriftReport
from textclf.retrain_outcome import RetrainOutcome
from textclf.runtime.loading import load_predictor

HOUR = 3600.0


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with a version that knows 250 film reviews."""
    store = tmp_path_factory.mktemp("monitored") / "model"
    write_version(store, reference_texts=tiny_reviews(250))
    return store


@pytest.fixture
def store(made, tmp_path):
    """A copy of its own, whose state nobody else has written."""
    return Path(shutil.copytree(made, tmp_path / "model"))


def run(*arguments, context=None):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], obj=context)


def test_blank_texts_are_counted_and_not_compared(made):
    texts = [text for text, _ in tiny_reviews(120, seed=3)]
    monitoring = Monitoring(made)
    alone = monitoring.check(texts)
    mixed = monitoring.check([*texts, *["", " \u200b"] * 40], ["pos"] * 200)
    assert mixed.compared.texts == alone.compared.texts == 120
    assert mixed.compared.found == 200
    assert "Blank texts, not compared: 80." in mixed.notes
    assert mixed.verdict == alone.verdict


def wrong(predictions, class_names):
    """A label for each text that the model does not give it."""
    return lambda at: next(name for name in class_names if name != predictions[at])


# Checks of texts


def test_texts_like_the_reference_are_no_drift(made):
    report = Monitoring(made).check(films(300))
    assert report.verdict == NO_DRIFT
    assert report.sentence.startswith("No drift: the 300 latest texts are like the 250 ")
    assert [family.name for family in report.figures.families] == ["length", "form", "score", "content", "embedding"]
    assert report.compared.version == load_predictor(made).version_id
    assert not (made / STATE_FILE).exists()  # The command line keeps the state.


def test_other_texts_are_drift_and_the_words_are_named(made):
    report = Monitoring(made).check(products(300))
    assert report.verdict == DRIFT
    alarms = {family.name for family in report.figures.families if family.is_alarm}
    assert "content" in alarms
    assert {"film", "camera", "dialogue"} <= set(report.words)
    assert "“camera”" in report.sentence
    assert report.accuracy is not None
    assert report.prior is not None
    again = Monitoring(made).check(products(300))
    assert again.sentence == report.sentence
    assert [family.p for family in again.figures.families] == [family.p for family in report.figures.families]


@pytest.mark.parametrize("count", [0, 1, 99])
def test_few_texts_are_not_enough(made, count):
    report = Monitoring(made).check(films(count))
    assert report.verdict == NOT_ENOUGH_DATA
    assert report.figures.families == ()
    assert report.prior is None


def test_only_audits_raise_the_alarm_that_the_model_errs_more(made):
    texts = films(300)
    names = load_predictor(made).class_names
    answers = [answer.label for answer in load_predictor(made).predict(texts)]
    labels = [wrong(answers, names)(at) for at in range(300)]
    report = Monitoring(made).check(texts, labels)
    assert report.verdict == NO_DRIFT
    assert (report.figures.labels.other_texts, report.figures.labels.other_errors) == (300, 300)
    report = Monitoring(made).check(texts, labels, True)
    assert report.verdict == DRIFT
    assert "the model makes more errors" in report.sentence
    flags = [at < 60 for at in range(300)]
    report = Monitoring(made).check(texts, labels, flags)
    assert (report.figures.labels.audit_texts, report.figures.labels.other_texts) == (60, 240)


def test_labels_that_say_nothing_of_the_version_are_passed_over_and_counted(made):
    names = load_predictor(made).class_names
    created = open_version(made).created
    labels = ["neg"] * 50 + ["sport"] * 30 + [None] * 20 + [names.index("pos")] * 10 + ["1"] * 10
    times = [created - 1] * 5 + [None] * 5 + [created + 1] * 110
    report = Monitoring(made).check(films(120), labels, True, times=times)
    # 20 texts have no label, and 10 labels are older. Next to names, "1" is no position of a class.
    labels = report.figures.labels
    assert (labels.audit_texts, labels.audit_unknown) == (90, 40)
    assert labels.audit_errors >= 40
    assert "40 labels are not a class of the model, so each counts as an error." in report.notes
    assert not any(note.startswith("Labels were normalised") for note in report.notes)
    assert any(note.startswith("10 labels are older") for note in report.notes)


def test_a_column_of_0_and_1_has_the_positions_of_two_classes(made):
    report = Monitoring(made).check(films(4), ["0", "1", "1.0", None])
    assert 'Labels were normalised: 1 "0" read as "neg", 1 "1" read as "pos", 1 "1.0" read as "pos".' in report.notes
    assert report.figures.labels.other_unknown == 0


def test_one_label_that_is_no_class_is_said_in_the_singular(made):
    report = Monitoring(made).check(films(2), ["neg", "sport"])
    assert "1 label is not a class of the model, so each counts as an error." in report.notes
    assert report.figures.labels.other_unknown == 1


def test_an_audit_in_other_names_is_refused(made):
    labels = [f"topic {at % 7}" for at in range(20)]
    with pytest.raises(InputError, match=r"expected classes of the model, neg, pos; got 'topic 0', .* 2 more"):
        Monitoring(made).check(films(20), labels, True)
    assert Monitoring(made).check(films(20), labels).verdict == NOT_ENOUGH_DATA


def test_an_audit_that_finds_only_other_classes_is_a_finding(made):
    report = Monitoring(made).check(films(120), [OTHER_LABEL] * 119 + ["recipe"], True)
    assert report.verdict == DRIFT
    assert (report.figures.labels.audit_errors, report.figures.labels.audit_unknown) == (120, 120)


def test_labels_may_have_the_names_of_the_training_data(store):
    """The model renamed them when it was trained, so they are no unknown classes."""
    version = open_version(store).version
    manifest = json.loads((version.path / "manifest.json").read_text(encoding="utf-8"))
    manifest["data"]["options"] = {"rename_labels": {"schlecht": "neg", "gut": "pos", "1": "neg"}}
    (version.path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    report = Monitoring(store).check(films(4), ["schlecht", "gut", "1", "egal"])
    assert (report.figures.labels.other_texts, report.figures.labels.other_unknown) == (4, 1)
    assert not any("positions" in note for note in report.notes)


def test_more_texts_than_are_compared_are_drawn_from(made):
    report = Monitoring(made, max_texts=150).check(films(400))
    assert (report.compared.texts, report.compared.found) == (150, 400)


def test_a_few_audits_among_many_texts_are_all_tested(made):
    """A draw of 150 of 400 texts would leave about 22 of the 60 audits."""
    texts = films(400)
    labels = [answer.label for answer in load_predictor(made).predict(texts)]
    report = Monitoring(made, max_texts=150).check(texts, labels, [at % 20 < 3 for at in range(400)])
    assert (report.compared.texts, report.figures.labels.audit_texts) == (150, 60)
    assert report.figures.labels.audit_errors + report.figures.labels.other_errors == 0
    assert report.figures.tests_audits


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("a single text",), "list of texts"),
        ((["a", 5],), "text 1"),
        ((["a"], ["neg", "pos"]), "labels: expected one for each of 1 texts, got 2"),
        ((["a"], ["neg"], [True, False]), "audit: expected one"),
        ((["a"], [2]), "ids from 0 to 1"),
        ((["a"], [True]), "ids from 0 to 1"),
        ((["a"], [0.5]), "ids from 0 to 1"),
    ],
)
def test_bad_arguments_are_refused(made, arguments, reason):
    with pytest.raises(InputError, match=reason):
        Monitoring(made).check(*arguments)


def test_a_version_without_a_reference_is_one_clear_error(tmp_path):
    version = write_version(tmp_path / "model", reference_texts=[])
    with pytest.raises(ModelStoreError, match=f"--export-again {version.name}"):
        Monitoring(tmp_path / "model").check(films(10))


def test_a_damaged_reference_is_one_clear_error(store):
    path = next(store.glob(f"versions/*/{REFERENCE_FILE}"))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ModelStoreError, match="damaged"):
        Monitoring(store).check(films(10))


# run_drift_monitoring


def test_texts_are_compared_with_train_ds_and_what_the_model_computes_with_the_reference(made):
    same = [(text, 0) for text in films(300, seed=2)]
    report = run_drift_monitoring(same, [([text for text, _ in same], [0] * 300)], model_path=made)
    families = {family.name: family for family in report.figures.families}
    assert report.verdict == NO_DRIFT
    assert families["length"].effect < 0.08
    assert "training texts that were passed" in report.compared.reference
    # Its texts are compared with products, its scores and embeddings with those of the reference, which is of films.
    report = run_drift_monitoring(products(300, seed=2), products(300, seed=3), model_path=made)
    families = {family.name: family for family in report.figures.families}
    assert not families["content"].is_alarm
    plain = Monitoring(made).check(products(300, seed=3))
    expected = {family.name: family for family in plain.figures.families}
    for name in ("score", "embedding"):
        assert families[name].tests[0].effect == pytest.approx(expected[name].tests[0].effect)


def test_without_train_ds_the_reference_stands_for_it(made):
    report = run_drift_monitoring(None, ((text, None) for text in films(200)), model_path=made)
    assert report.verdict == NO_DRIFT
    assert report.compared.reference == "held-out texts of the version"


def test_the_threshold_is_the_floor_of_the_words(made):
    report = run_drift_monitoring(None, products(300), threshold=0.9, model_path=made)
    assert next(family for family in report.figures.families if family.name == "content").floor == 0.9
    with pytest.raises(ConfigError, match="threshold"):
        run_drift_monitoring(None, products(300), threshold=0.4, model_path=made)
    with pytest.raises(InputError, match="got str"):
        run_drift_monitoring(None, "a single text", model_path=made)


# The log


def test_the_log_of_the_current_version_is_compared(store, tmp_path):
    now = time.time()
    times = [now - 10 * HOUR + at for at in range(150)] + [now - HOUR + at for at in range(150)]
    url = log_texts(store, tmp_path, [*films(150), *products(150)], times)
    log_texts(store, tmp_path, films(7), [now - 2 * HOUR] * 7, "20200101T000000000Z-abcdef")
    watched = Monitoring(store, prediction_log_url=url)
    assert watched.check_log().compared.texts == 300
    report = watched.check_log(until=now - 5 * HOUR)
    assert (report.verdict, report.compared.texts, report.compared.other_versions) == (NO_DRIFT, 150, {})
    report = watched.check_log(now - 5 * HOUR)
    assert (report.verdict, report.compared.texts) == (DRIFT, 150)
    assert report.compared.other_versions == {"20200101T000000000Z-abcdef": 7}
    assert report.compared.since == datetime.fromtimestamp(now - 5 * HOUR, UTC).isoformat(timespec="seconds")
    empty = watched.check_log(now)
    assert (empty.verdict, empty.compared.texts) == (NOT_ENOUGH_DATA, 0)


def test_damaged_rows_of_the_log_are_a_note(store, tmp_path):
    now = time.time()
    url = log_texts(store, tmp_path, films(150), [now - HOUR + at for at in range(150)])
    with contextlib.closing(sqlite3.connect(tmp_path / "log" / "predictions.sqlite")) as database, database:
        database.execute("UPDATE textclf_predictions SET features = 'x' WHERE id IN (3, 9)")
    report = Monitoring(store, prediction_log_url=url).check_log()
    assert (report.verdict, report.compared.texts, report.compared.found) == (NO_DRIFT, 148, 150)
    assert "Damaged rows of the prediction log, left out: 2." in report.notes


def test_rows_from_the_future_are_a_note(store, tmp_path):
    now = time.time()
    url = log_texts(store, tmp_path, films(150), [now - HOUR + at for at in range(150)])
    log_texts(store, tmp_path, films(7), [now + HOUR + at for at in range(7)])
    report = Monitoring(store, prediction_log_url=url).check_log()
    assert (report.verdict, report.compared.texts, report.compared.found) == (NO_DRIFT, 150, 150)
    assert any("times in the future, left out: 7." in note for note in report.notes)
    assert report.compared.until < datetime.fromtimestamp(now, UTC).isoformat()
    assert not any("created in the future" in note for note in report.notes)
    report = Monitoring(store, prediction_log_url=url, clock=lambda: now - HOUR / 2).check_log()
    assert any("created in the future" in note for note in report.notes)


def test_audits_of_the_same_time_are_looked_at(store, tmp_path):
    now = time.time() + HOUR  # The version was made just now; labels from before it are passed over.
    url = log_texts(store, tmp_path, films(150), [now - HOUR / 2] * 150)
    texts = films(80, seed=9)
    names = load_predictor(store).class_names
    answers = [answer.label for answer in load_predictor(store).predict(texts)]
    inside = datetime.fromtimestamp(now - HOUR / 2, UTC)
    folder = store_reviews(tmp_path / "new", texts[:60], wrong(answers, names), audit=True, moment=inside)
    store_reviews(folder, texts[60:], lambda at: answers[at], moment=inside, begin=60)
    late = datetime.fromtimestamp(now + HOUR, UTC)
    store_reviews(folder, films(5, seed=10), lambda _: "neg", audit=True, moment=late, begin=100)
    report = Monitoring(store, prediction_log_url=url, new_data_dir=folder).check_log(until=now)
    labels = report.figures.labels
    assert (labels.audit_texts, labels.audit_errors, labels.other_texts, labels.other_errors) == (60, 60, 20, 0)
    assert report.verdict == DRIFT
    assert [family.name for family in report.figures.families if family.is_alarm] == ["error"]
    report = Monitoring(store, prediction_log_url=url, new_data_dir=folder, clock=lambda: now).check_log()
    assert report.figures.labels.audit_texts == 60
    assert any("Labels with times in the future, left out: 5." in note for note in report.notes)


def test_a_log_that_is_off_or_missing_is_one_clear_error(store, tmp_path):
    with pytest.raises(ConfigError, match="--latest"):
        Monitoring(store, prediction_log_url="off").check_log()
    with pytest.raises(PredictionLogError, match="found none"):
        Monitoring(store, prediction_log_url=f"sqlite:///{tmp_path}/none.sqlite").check_log()


def test_a_missing_log_is_named_from_the_root_on(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PredictionLogError, match=f"^sqlite:///{tmp_path}/prediction_log/predictions.sqlite: expected"):
        Monitoring(store).check_log()


# The command line


def test_check_exits_with_the_verdict(store, tmp_path):
    for name, texts in (("films", films(200)), ("products", products(200)), ("few", films(20))):
        made_folder(tmp_path / name)
        for at, text in enumerate(texts):
            (tmp_path / name / f"{at}.txt").write_text(text, encoding="utf-8")
    result = run("check", "--model-path", store, "--latest", tmp_path / "films")
    assert (result.exit_code, result.output[:9]) == (0, "No drift:"), result.output
    page, record = tmp_path / "out.html", tmp_path / "out.json"
    result = run("check", "--model-path", store, "--latest", tmp_path / "products", "--html", page, "--json", record)
    assert (result.exit_code, result.output[:6]) == (3, "Drift:")
    values = json.loads(record.read_text(encoding="utf-8"))
    report = DriftReport.from_dict(values)
    assert tuple(word["word"] for word in values["figures"]["words"]) == report.words
    assert report.sentence in html.unescape(page.read_text(encoding="utf-8"))
    assert report.sentence in result.output
    result = run("check", "--model-path", store, "--latest", tmp_path / "few")
    assert (result.exit_code, result.output[:16]) == (4, "Not enough data:")
    result = run("check", "--model-path", store, "--latest", tmp_path / "nothing")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1


def test_only_checks_of_the_log_are_kept(store, tmp_path):
    url = log_texts(store, tmp_path, products(150), [time.time() - HOUR] * 150)
    record = tmp_path / "out.json"
    result = run("check", "--model-path", store, "--log-url", url, "--since", "7d", "--json", record)
    assert result.exit_code == 3, result.output
    kept = read_state(store)
    assert kept.last_check == DriftReport.from_dict(json.loads(record.read_text(encoding="utf-8"))).summary()
    assert (kept.edge, kept.windows, kept.last_retrain, kept.audited_since) == (None, (), None, {})
    write_table(tmp_path / "texts.csv", films(150))
    assert run("check", "--model-path", store, "--latest", tmp_path / "texts.csv").exit_code == 0
    assert Monitoring(store, prediction_log_url=url).check_log(until=0.0).verdict == NOT_ENOUGH_DATA
    assert read_state(store) == kept
    assert run("check", "--model-path", store, "--log-url", url, "--since", "1m").exit_code == 4
    assert read_state(store).last_check.verdict == NOT_ENOUGH_DATA


def test_one_versions_folder_keeps_no_state(store, tmp_path):
    write_table(tmp_path / "texts.csv", films(150))
    version = next((store / "versions").iterdir())
    before = sorted(path for path in store.rglob("*"))
    assert run("check", "--model-path", version, "--latest", tmp_path / "texts.csv").exit_code == 0
    assert sorted(path for path in store.rglob("*")) == before
    result = run("check", "--model-path", version, "--windows", "2of3")
    assert (result.exit_code, "expected a model store" in result.stderr) == (1, True)


def test_a_state_that_can_not_be_written_is_said_and_the_verdict_stands(store, tmp_path):
    url = log_texts(store, tmp_path, films(150), [time.time() - HOUR] * 150)
    (store / ".drift.lock").mkdir()
    result = run("check", "--model-path", store, "--log-url", url)
    assert result.exit_code == 0
    assert "could not be written" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--latest", "x", "--since", "7d"],
        ["--since", "7d", "--windows", "2of3"],
        ["--since", "7"],
        ["--since", "7d", "--audited"],
        ["--windows", "4of3"],
        ["--threshold", "0.4"],
        ["--alpha", "0"],
        ["--alpha", "nan"],
        ["--threshold", "nan"],
        ["--retrain"],
        ["--retrain-args", "'"],
        ["--retrain", "--old-dataset-path", ".", "--retrain-args", "--no-such-option 5"],
        ["--retrain", "--old-dataset-path", ".", "--retrain-args", "--min-holdout many"],
        ["--cool-down", "0h"],
        ["--min-new-labels", "0"],
    ],
)
def test_options_that_make_no_sense_are_usage_errors(store, arguments):
    result = run("check", "--model-path", store, *arguments)
    assert result.exit_code == 2, result.output
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--windows", "2of3"], ["--retrain", "--old-dataset-path", "."]])
def test_a_damaged_state_is_an_error_before_anything_is_compared(store, arguments):
    (store / STATE_FILE).write_text("{", encoding="utf-8")
    result = run("check", "--model-path", store, *arguments)
    assert (result.exit_code, STATE_FILE in result.stderr, result.stdout) == (1, True, "")
    assert (store / STATE_FILE).read_text(encoding="utf-8") == "{"


def test_a_damaged_state_that_is_not_needed_is_said_and_set_aside(store, tmp_path):
    url = log_texts(store, tmp_path, films(150), [time.time() - HOUR] * 150)
    (store / STATE_FILE).write_text("{", encoding="utf-8")
    write_table(tmp_path / "texts.csv", films(150))
    result = run("check", "--model-path", store, "--latest", tmp_path / "texts.csv")
    assert (result.exit_code, result.stderr) == (0, "")
    assert (store / STATE_FILE).read_text(encoding="utf-8") == "{"
    result = run("check", "--model-path", store, "--log-url", url)
    assert result.exit_code == 0
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith(f"warning: {store / STATE_FILE}: damaged")
    assert (store / DAMAGED_FILE).read_text(encoding="utf-8") == "{"
    assert read_state(store).last_check.verdict == NO_DRIFT


@pytest.mark.parametrize("given", ["OFF", " off ", "Off"])
def test_a_log_that_is_switched_off_is_so_in_any_case(store, monkeypatch, given):
    monkeypatch.setenv("PREDICTION_LOG_URL", given)
    result = run("check", "--model-path", store)
    assert (result.exit_code, "got `off`; pass texts with check --latest" in result.stderr) == (1, True)


def test_audits_without_labels_are_one_clear_error(store, tmp_path):
    write_table(tmp_path / "texts.csv", films(150))
    result = run("check", "--model-path", store, "--latest", tmp_path / "texts.csv", "--audited")
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert f"{tmp_path / 'texts.csv'}: expected labels" in result.stderr
    with pytest.raises(InputError, match="expected labels"):
        run_drift_monitoring(None, films(150), model_path=store, audited=True)


def test_the_part_of_a_data_set_that_was_read_is_said(store, tmp_path):
    for part, texts in (("train", films(4)), ("test", films(6))):
        for at, text in enumerate(texts):
            path = made_folder(tmp_path / "data" / part / ("neg", "pos")[at % 2]) / f"{at}.txt"
            path.write_text(text, encoding="utf-8")
    result = run("check", "--model-path", store, "--latest", tmp_path / "data")
    assert f"6 texts: {tmp_path / 'data'}, only its part test" in result.output
    result = run("check", "--model-path", store, "--latest", tmp_path / "data" / "train")
    assert f"4 texts: {tmp_path / 'data' / 'train'}\n" in result.output


def test_labels_without_audited_are_said_to_test_nothing(store, tmp_path):
    (tmp_path / "texts.csv").write_text("text,label\ngood,pos\nbad,neg\n", encoding="utf-8")
    said = "2 labels: not a random sample, so errors were not tested; see --audited."
    arguments = ["check", "--model-path", store, "--latest", tmp_path / "texts.csv", "--html", tmp_path / "out.html"]
    assert said in run(*arguments).output.splitlines()
    assert "random audit</th>" not in (tmp_path / "out.html").read_text(encoding="utf-8")
    assert said not in run(*arguments, "--audited").output
    assert "random audit</th>" in (tmp_path / "out.html").read_text(encoding="utf-8")


def test_the_index_of_stored_feedback_says_what_is_an_audit(store, tmp_path):
    folder = store_reviews(tmp_path / "new", films(3), lambda _: "neg")
    result = run("check", "--model-path", store, "--latest", folder, "--audited")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert "already marks its audits" in result.stderr


def test_what_was_left_out_is_said(store, tmp_path):
    write_table(tmp_path / "texts.csv", [*films(120), " ", ""])
    result = run("check", "--model-path", store, "--latest", tmp_path / "texts.csv")
    assert "Blank texts, left out: 2." in result.output
    url = log_texts(store, tmp_path, films(150), [time.time() - HOUR] * 150)
    folder = store_reviews(tmp_path / "new", films(3), lambda _: "neg")
    (folder / "train" / "neg" / "stray.txt").write_text("nobody knows", encoding="utf-8")
    (folder / "train" / "neg" / "blank.txt").write_text(" ", encoding="utf-8")
    with open(folder / "feedback.log", "a", encoding="utf-8") as index:
        index.write('{"id": "torn')
    report = Monitoring(store, prediction_log_url=url, new_data_dir=folder).check_log()
    for note in (
        "Blank texts, left out: 1.",
        "Damaged lines in the index of the labels, skipped: 1.",
        "Labelled texts that the index does not know: 1;",
    ):
        assert any(given.startswith(note) for given in report.notes), (note, report.notes)


def test_a_word_of_a_few_texts_is_not_named(made):
    texts = [f"{text} camera" if at < 4 else text for at, text in enumerate(films(150))]
    assert "camera" in Monitoring(made, options=DriftOptions(least_word_texts=4)).check(texts).words
    report = Monitoring(made).check(texts)
    assert "camera" not in report.words
    assert len(report.words) == len(report.figures.words) > 0


# Windows


@pytest.fixture
def windows(store, tmp_path):
    """`check --windows` at some hour, with a log that has what was logged until then."""
    start = time.time() + 100 * HOUR

    def at(hour, texts=(), *more):
        if texts:
            log_texts(store, tmp_path, texts, [start + (hour - 0.5) * HOUR] * len(texts))
        now = start + hour * HOUR + SETTLED_SECONDS
        url = f"sqlite:///{tmp_path}/log/predictions.sqlite"
        arguments = ("check", "--model-path", store, "--windows", "2of3", "--log-url", url, *more)
        return run(*arguments, context=CommandContext(lambda: now, tmp_path / "stand_in.py"))

    return at, start


def test_windows_are_disjoint_and_small_ones_are_extended(windows, store):
    at, start = windows
    assert at(1, films(150)).exit_code == 0
    result = at(2, products(60))
    assert (result.exit_code, len(result.output.splitlines())) == (4, 1)
    assert result.output.startswith("60 texts so far, fewer than 100: ")
    state = read_state(store)
    assert state.edge == pytest.approx(start + HOUR)
    assert len(state.windows) == 1
    assert state.last_check.verdict == NO_DRIFT
    result = at(3, products(60, seed=2))
    assert result.exit_code == 3
    assert "120 latest texts" in result.output
    assert at(3.1).exit_code == 4  # Nothing is judged twice.
    state = read_state(store)
    assert state.edge == pytest.approx(start + 3 * HOUR)
    assert [(window.verdict, window.texts) for window in state.windows] == [(NO_DRIFT, 150), (DRIFT, 120)]
    assert [round((window.until - start) / HOUR) for window in state.windows] == [1, 3]
    assert state.windows[1].since == state.windows[0].until


@pytest.mark.parametrize("command", ["check", "watch"])
@pytest.mark.parametrize("name", ["edge", "audited_since", "last_retrain"])
def test_a_state_from_the_future_is_one_clear_error(store, command, name):
    ahead = time.time() + 1e7
    last = RetrainTry(ahead, RetrainOutcome.INCONCLUSIVE)
    values = {"edge": ahead, "audited_since": {"v": ahead}, "last_retrain": last}
    update_state(store, lambda state: dataclasses.replace(state, **{name: values[name]}))
    result = run(command, "--model-path", store, "--windows", "2of3")
    assert (result.exit_code, len(result.stderr.splitlines()), result.stdout) == (1, 1, "")
    assert f"{store / STATE_FILE}: {name}: expected a time in the past" in result.stderr
    assert "check the clock" in result.stderr


def test_clocks_may_differ_by_a_minute():
    check_not_ahead("store", DriftState(edge=1050.0), 1000.0)
    with pytest.raises(ModelStoreError, match="1970-01-01T00:17:50"):
        check_not_ahead("store", DriftState(edge=1070.0), 1000.0)


def test_a_time_that_is_none_is_damage(store):
    values = {**DriftState().to_dict(), "edge": 9e99}
    (store / STATE_FILE).write_text(json.dumps(values), encoding="utf-8")
    result = run("check", "--model-path", store, "--windows", "2of3")
    assert (result.exit_code, "damaged: edge" in result.stderr) == (1, True)


def test_a_quiet_window_leaves_the_last_verdict_and_its_files_as_they_are(windows, store, tmp_path):
    at, _ = windows
    out = tmp_path / "out.html", tmp_path / "out.json"
    targets = ("--html", out[0], "--json", out[1])
    assert at(1, films(5), *targets).exit_code == 4  # There is no verdict to keep yet.
    assert read_state(store).last_check.verdict == NOT_ENOUGH_DATA
    assert at(2, products(120), *targets).exit_code == 3
    kept = (store / STATE_FILE).read_bytes(), *(path.read_bytes() for path in out)
    assert at(3, (), *targets).exit_code == 4
    assert at(4, products(1), *targets).output.startswith("1 text so far")
    assert ((store / STATE_FILE).read_bytes(), *(path.read_bytes() for path in out)) == kept
    assert read_state(store).last_check.verdict == DRIFT


def test_audits_gather_over_windows_until_they_are_enough_and_are_tested_once(windows, store, tmp_path):
    at, start = windows
    names = load_predictor(store).class_names
    texts = films(130, seed=9)
    answers = [answer.label for answer in load_predictor(store).predict(texts)]
    folder = tmp_path / "new"

    def audit(begin, end, hour):
        moment = datetime.fromtimestamp(start + hour * HOUR, UTC)
        label_of = wrong(answers, names)
        store_reviews(folder, texts[begin:end], label_of, audit=True, moment=moment, begin=begin)

    def judged(hour, seed):
        result = at(hour, films(120, seed=seed), "--new-data-dir", folder, "--json", tmp_path / "out.json")
        labels = DriftReport.from_dict(json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))).figures.labels
        return result, labels.audit_texts

    version = load_predictor(store).version_id
    audit(0, 20, 0.5)
    result, audits = judged(1, 2)
    assert (result.exit_code, audits) == (0, 20)
    assert "20 labels, waiting for a later window: a test needs 50 of them" in result.output
    assert read_state(store).audited_since == {}
    audit(20, 60, 1.5)
    result, audits = judged(2, 3)
    assert (result.exit_code, audits) == (3, 60)
    assert "the model makes more errors" in result.output
    assert "60 labels, tested." in result.output
    assert read_state(store).audited_since == {version: pytest.approx(start + 2 * HOUR)}
    audit(60, 130, 2.5)  # Those that were tested are not looked at again.
    result, audits = judged(3, 4)
    assert (result.exit_code, audits) == (3, 70)
    since = datetime.fromtimestamp(start + 2 * HOUR, UTC).isoformat(timespec="seconds")
    assert f"Random audits since {since}: 70 labels, tested." in result.output


def test_audits_wait_with_a_window_of_too_few_texts(windows, store, tmp_path):
    at, start = windows
    names = load_predictor(store).class_names
    answers = [answer.label for answer in load_predictor(store).predict(films(60, seed=9))]
    moment = datetime.fromtimestamp(start + HOUR / 2, UTC)
    folder = store_reviews(tmp_path / "new", films(60, seed=9), wrong(answers, names), audit=True, moment=moment)
    result = at(1, films(60), "--new-data-dir", folder)
    assert (result.exit_code, "60 labels, waiting for a later window" in result.output) == (4, True)
    assert read_state(store).audited_since == {}
    result = at(2, films(60, seed=3), "--new-data-dir", folder)
    assert (result.exit_code, "60 labels, tested." in result.output) == (3, True)


def test_the_cusum_of_audits_continues_from_window_to_window(windows, store, tmp_path):
    at, start = windows
    version = load_predictor(store).version_id
    names = load_predictor(store).class_names
    texts = films(150, seed=9)
    answers = [answer.label for answer in load_predictor(store).predict(texts)]

    def audited(hour):
        begin, end = 50 * (hour - 1), 50 * hour
        moment = datetime.fromtimestamp(start + (hour - 0.5) * HOUR, UTC)
        folder = store_reviews(
            tmp_path / "new", texts[begin:end], wrong(answers, names), audit=True, moment=moment, begin=begin
        )
        result = at(hour, films(120, seed=hour), "--new-data-dir", folder, "--json", tmp_path / "out.json")
        return result.output, read_state(store).audit_runs[version]

    _, run = audited(1)
    assert (run.audits, run.risen_audits, run.risen_errors) == (50, 50, 50)
    assert run.height > 0
    output, run = audited(2)
    assert (run.audits, run.risen_audits, run.risen_errors) == (100, 100, 100)
    assert "50 labels, tested. The CUSUM continues that of 50 earlier audits." in output
    report = DriftReport.from_dict(json.loads((tmp_path / "out.json").read_text(encoding="utf-8")))
    assert report.figures.audit_run == run
    # Another reference, as with CASCADE=off, starts it again.
    other = {version: dataclasses.replace(run, held_out_texts=run.held_out_texts + 1)}
    update_state(store, lambda state: dataclasses.replace(state, audit_runs=other))
    output, run = audited(3)
    assert run.audits == 50
    assert "earlier audits" not in output


# Retraining


@pytest.fixture
def retraining(tmp_path):
    """A script in place of retraining.py that writes its arguments to a file and exits with a status."""
    script = tmp_path / "stand_in.py"

    def exits_with(status):
        script.write_text(
            f"import json, sys\nprint('training', flush=True)\n"
            f"open({str(tmp_path / 'arguments.json')!r}, 'w').write(json.dumps(sys.argv[1:]))\nsys.exit({status})\n",
            encoding="utf-8",
        )
        return CommandContext(retraining_script=script)

    return exits_with


# The 250 labels of the fixture give about 50 held-out texts.
RETRAIN = ("--retrain", "--old-dataset-path", "old", "--retrain-args", "--min-holdout 10")


@pytest.fixture
def labels(tmp_path, monkeypatch):
    """250 labelled reviews of products, in a folder where the old data is, too."""
    monkeypatch.chdir(tmp_path)
    for name in ("old", "old data"):
        (tmp_path / name).mkdir()
    return store_reviews(tmp_path / "new", products(250, seed=5), lambda at: ("neg", "pos")[at % 2])


def test_drift_retrains(store, tmp_path, retraining, labels):
    context = retraining(0)
    write_table(tmp_path / "texts.csv", products(120))
    arguments = ["check", "--model-path", store, "--latest", tmp_path / "texts.csv", "--retrain", "--new-data-dir"]
    result = run(
        *(*arguments, labels, "--old-dataset-path", "old data"),
        *("--retrain-args", "--min-holdout 10 --runs-dir 'my runs'"),
        context=context,
    )
    assert result.exit_code == 3, result.output
    assert "the retrained model was promoted" in result.output
    assert json.loads((tmp_path / "arguments.json").read_text(encoding="utf-8")) == [
        *("run", "--old-dataset-path", "old data", "--new-dataset-path", str(labels)),
        *("--combined-dataset-path", "datasets/combined", "--model-dir", str(store)),
        *("--min-holdout", "10", "--runs-dir", "my runs"),
    ]
    write_table(tmp_path / "texts.csv", films(120))
    result = run(*arguments, labels, "--old-dataset-path", "old data", context=context)
    assert (result.exit_code, "retraining" in result.output, "retrained" in result.output) == (0, False, False)


def test_equal_texts_count_once_for_a_retraining(store, tmp_path, retraining, labels):
    context = retraining(0)
    store_reviews(labels, [text.upper() for text in products(250, seed=5)], lambda _: "neg", begin=300)
    write_table(tmp_path / "texts.csv", products(120))
    arguments = ["check", "--model-path", store, "--latest", tmp_path / "texts.csv", "--new-data-dir", labels]
    different = len(set(products(250, seed=5)))
    arguments += [*RETRAIN, "--min-new-labels"]
    result = run(*arguments, different + 1, context=context)
    assert f"there are {different} labelled texts" in result.output
    run(*arguments, different, context=context)
    assert read_state(store).last_retrain.labels == different


@pytest.mark.parametrize(("more", "known"), [("", 0), (" --add-classes", 250), (" --rename-label refund=neg", 250)])
def test_labels_of_unknown_classes_count_where_the_retraining_can_use_them(store, tmp_path, retraining, more, known):
    for name in ("old", "new/train/refund"):
        (tmp_path / name).mkdir(parents=True)
    for at in range(250):
        (tmp_path / "new/train/refund" / f"{at}.txt").write_text(f"Please refund order {at}.", encoding="utf-8")
    write_table(tmp_path / "texts.csv", products(120))
    arguments = ["check", "--model-path", store, "--latest", tmp_path / "texts.csv", "--new-data-dir", tmp_path / "new"]
    arguments += ["--retrain", "--old-dataset-path", tmp_path / "old", "--min-new-labels", "251"]
    result = run(*arguments, "--retrain-args", f"--min-holdout 10{more}", context=retraining(0))
    assert f"there are {known} labelled texts" in result.output, result.output


@pytest.mark.parametrize(
    ("status", "said"), [(6, "promotion is on hold"), (7, "nothing new to train on"), (4, "too few texts to decide")]
)
def test_a_retraining_without_a_new_model_leaves_the_exit_status_of_the_check(
    store, tmp_path, retraining, labels, status, said
):
    context = retraining(status)
    write_table(tmp_path / "texts.csv", products(120))
    arguments = ["check", "--model-path", store, "--latest", tmp_path / "texts.csv", "--new-data-dir", labels]
    result = run(*arguments, *RETRAIN, context=context)
    assert (result.exit_code, said in result.output) == (3, True), result.output


def test_labels_that_can_not_decide_start_no_retraining(store, tmp_path, retraining, labels):
    """250 labels give about 50 held-out texts, and the gate needs 100."""
    context = retraining(0)
    write_table(tmp_path / "texts.csv", products(120))
    arguments = ["check", "--model-path", store, "--latest", tmp_path / "texts.csv", "--new-data-dir", labels]
    arguments += ["--retrain", "--old-dataset-path", "old"]
    result = run(*arguments, context=context)
    different = len(set(products(250, seed=5)))
    assert f"there are {different} labelled texts, and it takes about 500 to decide about a model" in result.output
    assert read_state(store).last_retrain is None
    result = run(*arguments, "--retrain-args", "--min-holdout 50", "--min-new-labels", 100, context=context)
    assert ("it takes about 250" in result.output) == (different < 250)


def test_another_retraining_of_the_store_is_said_and_is_no_error(store, tmp_path, labels):
    write_table(tmp_path / "texts.csv", products(120))
    arguments = ["check", "--model-path", store, "--latest", tmp_path / "texts.csv", "--new-data-dir", labels]
    with open(store / ".retrain.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = run(*arguments, *RETRAIN)
    assert (result.exit_code, "another one of this store is running" in result.output) == (3, True)
    assert read_state(store).last_retrain is None


def test_windows_call_for_a_retraining_once_enough_of_them_drift(windows, store, labels, retraining):
    at, _ = windows
    retraining(4)
    more = (*RETRAIN, "--new-data-dir", labels)
    result = at(1, products(120), *more)
    assert result.exit_code == 3
    assert "drift in 1 of the last 3 windows; 2 call for a retraining" in result.output
    assert read_state(store).last_retrain is None
    result = at(2, products(120, seed=2), *more)
    assert result.exit_code == 3
    assert "no model was promoted" in result.output
    assert read_state(store).last_retrain.outcome == RetrainOutcome.INCONCLUSIVE


# What can be known at the start


@pytest.mark.parametrize("command", ["check", "watch"])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--retrain", "--old-dataset-path", "no/such/data"], "no/such/data: expected the data that the model was"),
        (["--html", "."], ".: is a folder"),
        (["--json", "/dev/null/out.json"], "/dev/null"),
    ],
)
def test_what_would_stop_it_at_the_end_does_so_at_the_start(store, command, arguments, said):
    result = run(command, "--model-path", store, *arguments)
    assert (result.exit_code, len(result.stderr.splitlines()), result.stdout) == (1, 1, "")
    assert said in result.stderr


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--log-url", " Off"], 1),
        (["--log-url", "mysql://host/x"], 1),
        (["--every", "0.5s"], 2),
        (["--every", "999999999w"], 2),
        (["--retrain", "--old-dataset-path", ".", "--retrain-args", "--no-such-option 5"], 2),
    ],
)
def test_a_watcher_that_can_not_work_does_not_start(store, arguments, status):
    result = run("watch", "--model-path", store, *arguments)
    assert (result.exit_code, len(result.stderr.splitlines()), result.stdout) == (status, 1, "")


def test_old_data_may_lie_in_the_folder_of_data(tmp_path):
    (tmp_path / "old.csv").write_text("text,label\n", encoding="utf-8")
    arguments = ["--old-dataset-path", "old.csv", "--data-dir"]
    retraining_stage.check_run([*arguments, str(tmp_path)])
    with pytest.raises(DatasetError, match=r"old\.csv: expected the data"):
        retraining_stage.check_run([*arguments, str(tmp_path / "other")])


def test_no_retraining_without_tensorflow(monkeypatch):
    monkeypatch.setattr("textclf.retraining.preflight._TRAINING_PACKAGES", ("no_such_package",))
    with pytest.raises(TrainingError, match="found no no_such_package"):
        retraining_stage.check_run(["--old-dataset-path", "."])


@pytest.mark.parametrize("command", ["check", "watch"])
def test_a_command_runs_without_its_group(tmp_path, command):
    """`textclf check` does so."""
    result = CliRunner().invoke(main.commands[command], ["--model-path", str(tmp_path), "--windows", "2of3"])
    assert (result.exit_code, "expected a model store" in result.stderr) == (1, True)


# Where TensorFlow is not installed


def test_it_runs_in_the_serving_environment(store, tmp_path):
    (tmp_path / "texts.jsonl").write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in products(150)), encoding="utf-8"
    )
    command = [serving_python(), ROOT / "monitoring.py", "check", "--model-path", store, "--latest", "texts.jsonl"]
    result = subprocess.run(
        [*map(str, command), "--html", "out.html"], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 3, result.stderr
    assert result.stdout.startswith("Drift: ")
    assert (tmp_path / "out.html").stat().st_size > 5000

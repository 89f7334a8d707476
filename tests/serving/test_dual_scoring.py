"""A fair share of what a cascade answers goes through both stages, into the log, and is what drift is looked for in."""

import contextlib
import time

import numpy as np
import pytest
from monitored import films, store_reviews
from tiny_engine import tiny_reviews, write_version

from monitoring import Monitoring
from serving.prediction_logging.dual_scoring import DualScoringSampler
from serving.prediction_logging.log_rows import LogRowBuilder, ServedBatch, projection_of_version
from textclf.data.prediction_log.feature_codec import decode_features
from textclf.data.prediction_log.log import PredictionLog
from textclf.drift.features import Stage, TextFeatures
from textclf.drift.reference import REFERENCE_FILE, load_projection
from textclf.errors import ModelStoreError
from textclf.runtime.feature_extraction import features_of, text_features, wordpieces_of
from textclf.runtime.loading import load_predictor

TEXTS = [text for text, _ in tiny_reviews(60, seed=11)]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("both") / "model"
    write_version(folder, cascade=True)
    return folder


@pytest.fixture(scope="module")
def predictor(store):
    return load_predictor(store, threads=1)


@pytest.fixture(scope="module")
def projection(store, predictor):
    return load_projection(store / "versions" / predictor.version_id / REFERENCE_FILE)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def sampler(share, seed=0, clock=None, per_second=1e6):
    return DualScoringSampler(share, per_second, np.random.default_rng(seed), clock or Clock())


def test_drawn_texts_have_the_features_of_both_stages(predictor, projection):
    answer = predictor.predict_batch(TEXTS)
    assert 0 < answer.stages.exits.sum() < len(TEXTS), "some of each"
    completed = sampler(1.0).sample(predictor, answer)
    found = features_of(completed, wordpieces_of(predictor), projection)
    expected = text_features(predictor, TEXTS, projection)
    np.testing.assert_array_equal(found.disagreements, expected.disagreements)
    np.testing.assert_allclose(found.embeddings, expected.embeddings, atol=1e-4)
    np.testing.assert_allclose(found.logits, expected.logits, atol=1e-4)
    np.testing.assert_array_equal(found.stages, expected.stages)


def test_texts_that_are_not_drawn_have_none_even_if_the_encoder_read_them(predictor, projection):
    """The texts that reach the encoder are the hard ones: with them the sample would be none."""
    answer = predictor.predict_batch(TEXTS)
    found = features_of(sampler(0.0).sample(predictor, answer), wordpieces_of(predictor), projection)
    assert np.isnan(found.embeddings).all()
    assert np.isnan(found.disagreements).all()
    np.testing.assert_array_equal(found.logits, answer.outputs.logits)


def test_whether_a_text_is_drawn_does_not_depend_on_its_stage(predictor):
    answer = predictor.predict_batch(TEXTS)
    drawn = np.zeros((2, 2))
    clock = Clock()
    draws = sampler(0.3, clock=clock)
    for _ in range(60):
        clock.now += 60
        known = np.isfinite(draws.sample(predictor, answer).stages.encoder_logits).all(axis=1)
        for stage in (0, 1):
            drawn[stage] += np.bincount(known[answer.stages.exits == stage], minlength=2)
    shares = drawn[:, 1] / drawn.sum(axis=1)
    assert shares == pytest.approx([0.3, 0.3], abs=0.05)


def test_no_more_than_one_in_a_second_is_drawn(predictor):
    clock = Clock()
    draws = sampler(1.0, clock=clock, per_second=1.0)

    def drawn(seconds):
        clock.now += seconds
        completed = draws.sample(predictor, predictor.predict_batch(TEXTS))
        return int(np.isfinite(completed.stages.encoder_logits).all(axis=1).sum())

    assert [drawn(0), drawn(0), drawn(7.5), drawn(0), drawn(1000)] == [10, 0, 7, 0, 10]


def test_without_a_cascade_the_encoder_has_read_all(store, projection):
    alone = load_predictor(store, threads=1, cascade=False)
    answer = alone.predict_batch(TEXTS)
    assert sampler(0.0).sample(alone, answer) is answer
    found = features_of(answer, wordpieces_of(alone), projection)
    assert (found.stages, found.disagreements) == (None, None)
    assert np.isfinite(found.embeddings).all()


def test_rows_of_several_answers_are_the_features_of_all(store, predictor, projection, tmp_path):
    """Of answers that only one stage gave, too."""
    rows = LogRowBuilder(lambda version_id: projection_of_version(store, version_id), sampler=sampler(1.0))
    exits = predictor.predict_batch(TEXTS).stages.exits
    parts = [[text for text, left in zip(TEXTS, exits, strict=True) if left == way] for way in (True, False)]
    parts = [parts[0][:20], parts[1][:20], []]
    made = rows.build([ServedBatch(1000.0, predictor, predictor.predict_batch(part)) for part in parts])
    with contextlib.closing(PredictionLog(f"sqlite:///{tmp_path}/log.sqlite", clock=lambda: 1000.0)) as log:
        log.append(made)
        window = log.read(predictor.version_id)
    expected = TextFeatures.concatenate([text_features(predictor, part, projection) for part in parts[:2]])
    assert window.features.stages.tolist() == [Stage.LINEAR] * 20 + [Stage.ENCODER] * len(parts[1])
    np.testing.assert_array_equal(window.features.disagreements, expected.disagreements)
    np.testing.assert_allclose(window.features.embeddings, expected.embeddings, atol=1e-4)


def logged(store, predictor, texts, share, folder):
    rows = LogRowBuilder(lambda version_id: projection_of_version(store, version_id), sampler=sampler(share))
    url = f"sqlite:///{folder}/log.sqlite"
    with contextlib.closing(PredictionLog(url)) as log:
        for start in range(0, len(texts), 60):
            answer = predictor.predict_batch(texts[start : start + 60])
            log.append(rows.build([ServedBatch(1000.0 + start, predictor, answer)]))
    return Monitoring(store, prediction_log_url=url, threads=1, clock=lambda: 9000.0)


def test_films_are_no_drift_and_the_report_says_who_answered(store, predictor, tmp_path):
    report = logged(store, predictor, films(600, seed=21), 0.5, tmp_path).check_log()
    assert report.verdict == "no drift"
    assert {"embedding", "stages"} <= {family.name for family in report.figures.families}
    assert any(note.startswith("The linear stage predicted") for note in report.notes)


def test_with_too_few_of_both_stages_the_report_says_so(store, predictor, tmp_path):
    report = logged(store, predictor, films(300, seed=22), 0.1, tmp_path).check_log()
    assert not {"embedding", "stages"} & {family.name for family in report.figures.families}
    assert any(note.startswith("Both stages scored") for note in report.notes)


def test_a_server_without_the_cascade_is_compared_with_the_encoder_alone(store, tmp_path):
    alone = load_predictor(store, threads=1, cascade=False)
    report = logged(store, alone, films(400, seed=23), 0.0, tmp_path).check_log()
    assert report.verdict == "no drift", report.sentence
    assert "stages" not in {family.name for family in report.figures.families}


def test_texts_of_ones_own_go_through_both_stages(store):
    report = Monitoring(store, threads=1).check(films(200, seed=24))
    assert {"embedding", "stages"} <= {family.name for family in report.figures.families}


def test_of_many_rows_those_with_both_stages_are_read_for_what_needs_them(store, predictor, tmp_path):
    """Too few of the sampled rows were scored by both stages."""
    monitoring = logged(store, predictor, films(700, seed=25), 0.25, tmp_path)
    monitoring.max_texts = 200
    report = monitoring.check_log()
    assert (report.compared.texts, report.compared.found) == (200, 700)
    assert {"embedding", "stages"} <= {family.name for family in report.figures.families}
    assert report.verdict == "no drift", report.sentence
    assert not any(note.startswith("Both stages scored") for note in report.notes)


def test_an_encoder_that_fails_leaves_the_rest_logged(store, predictor, monkeypatch, caplog):
    rows = LogRowBuilder(lambda version_id: projection_of_version(store, version_id), sampler=sampler(1.0))
    answer = predictor.predict_batch(TEXTS)

    def fail(*_):
        raise ModelStoreError("no memory")

    monkeypatch.setattr(predictor.backend, "run", fail)
    for _ in range(2):
        made = rows.build([ServedBatch(1000.0, predictor, answer)])
        features, _ = decode_features([row.features for row in made], [""] * len(made))
        assert len(features) == len(TEXTS)
        assert (features.embeddings, features.disagreements) == (None, None)
        np.testing.assert_array_equal(features.stages == Stage.LINEAR, answer.stages.exits)
    assert caplog.text.count("can't be scored by both stages") == 1


def test_audits_are_answered_as_the_server_answered(store, predictor, tmp_path):
    """The encoder of a tiny version errs otherwise than the cascade."""
    alone = load_predictor(store, threads=1, cascade=False)
    assert [p.label for p in alone.predict(TEXTS)] != [p.label for p in predictor.predict(TEXTS)]
    asked = []
    for name, server in (("with", predictor), ("without", alone)):
        (tmp_path / name).mkdir()
        monitoring = logged(store, server, films(150, seed=26), 0.0, tmp_path / name)
        monitoring.new_data_dir = store_reviews(
            tmp_path / name / "new", films(60, seed=27), lambda at: alone.class_names[at % 2], audit=True
        )
        monitoring.clock = time.time
        labels = monitoring.check_log().figures.labels
        right = [p.label == server.class_names[at % 2] for at, p in enumerate(server.predict(films(60, seed=27)))]
        assert labels.audit_errors == len(right) - sum(right)
        asked.append(labels.audit_errors)
    assert asked[0] != asked[1]

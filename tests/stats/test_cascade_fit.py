"""Fitting a cascade to synthetic answers: what it switches on, how far, and that it does not flatter itself."""

import dataclasses
import json

import numpy as np
import pytest
from sklearn.metrics import f1_score

from textclf.errors import ConfigError, InputError
from textclf.stats.calibration import fit_temperature, softmax
from textclf.stats.cascade_fit import MAX_LOST, MIN_EXIT_SHARE, cascade_results, fit_cascade
from textclf.stats.cascade_objective import Objective
from textclf.stats.cascade_rules import CascadeSettings, StageOutputs, exits, final_logits
from textclf.stats.metrics import classification_metrics


def stage_logits(labels, right, rng, classes=2):
    """Logits of a stage that is right with each text's probability `right`, and says no more than that it knows."""
    chance = np.clip(right, 1 / classes + 0.01, 0.999)
    wrong = (labels + rng.integers(1, classes, len(labels))) % classes
    said = np.where(rng.random(len(labels)) < right, labels, wrong)
    logits = np.zeros((len(labels), classes), np.float32)
    logits[np.arange(len(labels)), said] = np.log(chance / (1 - chance) * (classes - 1))
    return logits + rng.normal(0, 0.01, logits.shape).astype(np.float32)


def answers_to(labels, encoder, linear):
    return StageOutputs(encoder, linear, fit_temperature(encoder, labels))


def perfect_on_its_surest(count, share=0.6, seed=0, classes=2):
    """The linear stage is right on the texts it is surest of, and guesses on the others; so is the encoder, mostly."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    is_easy = rng.random(count) < share
    linear = stage_logits(labels, np.where(is_easy, 1.0, 1 / classes), rng, classes)
    encoder = stage_logits(labels, np.where(is_easy, 1.0, 0.85), rng, classes)
    # Sure to various degrees, so that any share can be cut off.
    linear[is_easy] *= rng.uniform(1, 2, (int(is_easy.sum()), 1)).astype(np.float32)
    return answers_to(labels, encoder, linear), labels


def noise(count, seed, encoder_right=0.9):
    """The linear stage knows nothing, and is sure of it to various degrees."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    encoder = stage_logits(labels, np.full(count, encoder_right), rng)
    return answers_to(labels, encoder, rng.normal(0, 2, (count, 2)).astype(np.float32)), labels


@pytest.mark.parametrize("classes", [2, 4])
def test_it_leaves_what_the_linear_stage_is_perfect_on_and_no_more(classes):
    both, labels = perfect_on_its_surest(3000, classes=classes)
    fit = fit_cascade(both, labels)
    assert 0.5 <= fit.results["exit_share"] <= 0.62
    is_exit = exits(fit.settings, both.linear_logits)
    assert 0.5 <= is_exit.mean() <= 0.62
    assert fit.results["accuracy_on_exits"]["linear"] >= 0.999
    assert fit.results["accuracy"]["linear"] < 0.9
    assert fit.results["accuracy"]["cascade"] >= fit.results["accuracy"]["combination"] - MAX_LOST
    curve = fit.results["curve"]
    assert [point["exit_share"] for point in curve] == sorted(point["exit_share"] for point in curve)
    assert curve[-1]["accuracy_lost"] > MAX_LOST, "the step after the last that was good enough"
    assert all(point["accuracy_lost"] <= MAX_LOST for point in curve[:-1])


def test_texts_shorter_than_nearly_all_are_the_encoders():
    both, labels = perfect_on_its_surest(3000)
    lengths = np.random.default_rng(0).permutation(3000) + 1
    fit = fit_cascade(dataclasses.replace(both, lengths=lengths), labels)
    assert fit.settings.least_length == pytest.approx(31, abs=1)
    assert not (exits(fit.settings, both.linear_logits, lengths) & (lengths < 30)).any()
    assert fit_cascade(both, labels).settings.least_length == 0


@pytest.mark.parametrize("count", [1000, 3000])
def test_noise_stays_off_and_the_reason_is_said(count):
    fit = fit_cascade(*noise(count, seed=1))
    assert fit.settings is None
    assert f"the linear stage alone can predict too few of {count:,} held-out texts" in fit.why_off
    assert f"combining both stages does not make the labels of {count:,} held-out texts likelier" in fit.why_off
    assert fit.results["exit_share"] == 0
    assert fit.results["accuracy"]["cascade"] == fit.results["accuracy"]["encoder"]


def test_few_texts_can_not_show_that_little_is_lost():
    """Not even where the linear stage is never wrong: half a loss of 499 texts is more than MAX_LOST."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 499)
    sure = stage_logits(labels, np.ones(499), rng)
    fit = fit_cascade(answers_to(labels, sure, sure), labels)
    assert fit.results["exit_share"] == 0
    assert "too few of 499 held-out texts" in fit.why_off
    assert fit.settings is None or fit.settings.exit_confidence is None


def test_few_texts_can_not_show_it_either_where_the_linear_stage_is_better():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 499)
    sure, poor = stage_logits(labels, np.ones(499), rng), stage_logits(labels, np.full(499, 0.6), rng)
    fit = fit_cascade(answers_to(labels, poor, sure), labels)
    assert fit.results["exit_share"] == 0
    assert fit.settings.exit_confidence is None
    assert fit.settings.linear_weight > 0


def test_combining_is_on_where_both_know_something_else():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 1500)
    encoder, linear = (stage_logits(labels, rng.uniform(0.5, 1, 1500), rng) for _ in range(2))
    fit = fit_cascade(answers_to(labels, encoder, linear), labels)
    assert fit.settings is not None
    assert fit.settings.linear_weight > 0.3
    assert fit.results["accuracy"]["combination"] > fit.results["accuracy"]["encoder"] + 0.02
    assert "combining" not in fit.why_off


def test_combining_is_off_where_it_does_not_help():
    """The encoder knows all that the linear stage knows, and early answers are on."""
    both, labels = perfect_on_its_surest(3000, seed=4)
    encoder = np.where(labels[:, None] == np.arange(2), 30.0, 0.0).astype(np.float32)
    fit = fit_cascade(answers_to(labels, encoder, both.linear_logits), labels)
    assert (fit.settings.encoder_weight, fit.settings.linear_weight) == (1, 0)
    assert fit.settings.exit_confidence is not None
    assert fit.why_off == "combining both stages does not make the labels of 3,000 held-out texts likelier"


def test_figures_are_what_json_holds_and_have_their_keys():
    both, labels = perfect_on_its_surest(1000)
    figures = fit_cascade(both, labels).results
    assert list(figures) == [
        "texts", "exit_share", "accuracy", "accuracy_on_exits", "expected_calibration_error", "curve"
    ]  # fmt: skip
    assert list(figures["accuracy"]) == ["encoder", "linear", "combination", "cascade"]
    assert list(figures["accuracy_on_exits"]) == ["linear", "encoder"]
    assert set(figures["expected_calibration_error"]) == {"encoder", "cascade", "linear_stage", "encoder_stage"}
    assert figures["texts"] == 1000
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures


def test_figures_by_hand():
    """Exits are texts 0 and 1, of which the linear stage errs on 1; the encoder errs on 0 and 3."""
    labels = np.array([0, 1, 0, 1])
    encoder = np.array([[0, 2], [0, 2], [2, 0], [2, 0]], np.float32)
    linear = np.array([[9, 0], [9, 0], [0, 1], [0, 1]], np.float32)
    both = StageOutputs(encoder, linear, 1.0)
    figures = cascade_results(CascadeSettings(1.0, 1.0, 0.0, 0.9), both, labels)
    assert (figures["texts"], figures["exit_share"]) == (4, 0.5)
    assert figures["accuracy"] == {"encoder": 0.5, "linear": 0.5, "combination": 0.5, "cascade": 0.5}
    assert figures["accuracy_on_exits"] == {"linear": 0.5, "encoder": 0.5}
    sure = 1 / (1 + np.exp(-9))
    assert figures["expected_calibration_error"]["linear_stage"] == pytest.approx(sure - 0.5)


def test_what_is_of_no_text_is_none():
    both, labels = noise(50, seed=0)
    figures = cascade_results(CascadeSettings(1.0, 1.0, 0.0, None), both, labels)
    assert figures["accuracy_on_exits"] == {"linear": None, "encoder": None}
    assert figures["expected_calibration_error"]["linear_stage"] is None
    assert figures["expected_calibration_error"]["encoder_stage"] is not None


def test_no_texts_are_refused():
    nothing = StageOutputs(np.empty((0, 2)), np.empty((0, 2)), 1.0)
    with pytest.raises(InputError, match="expected held-out texts"):
        fit_cascade(nothing, np.empty(0, np.int64))
    with pytest.raises(InputError, match="expected labelled texts"):
        cascade_results(CascadeSettings(1.0, 1.0, 0.0, None), nothing, np.empty(0, np.int64))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 24, 199])
def test_a_handful_of_texts_stays_off(count):
    """Also where all of them are right, and each says that combining is better."""
    for both, labels in (noise(count, seed=count), perfect_on_its_surest(count, share=1.0)):
        fit = fit_cascade(both, labels)
        assert fit.settings is None
        assert fit.results["texts"] == count
        assert fit.why_off.startswith("the linear stage alone can predict too few of ")
        assert fit.why_off.endswith("; combining both stages needs at least 200 held-out texts")


@pytest.mark.parametrize("count", [30, 300])
def test_stages_that_are_worse_than_chance_are_no_error(count):
    """All answers are wrong: weights of 0 would be likeliest."""
    labels = np.arange(count) % 2
    wrong = np.where(labels[:, None] == np.arange(2), 0.0, 3.0).astype(np.float32)
    wrong += np.random.default_rng(0).normal(0, 0.5, wrong.shape).astype(np.float32)
    fit = fit_cascade(answers_to(labels, wrong, wrong), labels)
    assert fit.results["exit_share"] == 0
    assert fit.settings is None or fit.settings.encoder_weight > 0


def test_a_better_temperature_is_no_reason_to_combine():
    """The encoder's is wrong by half, which a weight of the encoder mends without the linear stage."""
    both, labels = noise(1000, seed=2)
    off = StageOutputs(both.encoder_logits, both.linear_logits, 2 * both.encoder_temperature)
    assert fit_cascade(off, labels).settings is None


def test_the_seed_decides_the_folds():
    both, labels = perfect_on_its_surest(600)
    one, two, other = (fit_cascade(both, labels, seed) for seed in (1, 1, 2))
    assert (one.settings, one.results) == (two.settings, two.results)
    assert one.results != other.results


def rare_class(count, seed, rare=0.04):
    """The linear stage always says the frequent class, and is sure of it for one rare text in a few, too."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(count) < rare).astype(int)
    encoder = stage_logits(labels, np.full(count, 0.998), rng)
    margins = np.where(labels == 1, rng.normal(1.5, 2.5, count), rng.normal(6, 2, count))
    linear = np.stack([margins, np.zeros(count)], axis=1).astype(np.float32)
    return answers_to(labels, encoder, linear), labels


def macro_f1_lost(fit, outputs, labels):
    """Macro F1 of combining everywhere minus that of the cascade."""
    is_exit = exits(fit.settings, outputs.linear_logits)
    both = [final_logits(fit.settings, outputs, rows) for rows in (np.zeros_like(is_exit), is_exit)]
    before, after = (f1_score(labels, logits.argmax(axis=1), average="macro") for logits in both)
    return before - after


def test_macro_f1_is_not_lost_where_the_training_selected_it():
    """A loss of one text in a thousand is one rare text in forty."""
    lost = {}
    for metric in ("accuracy", "macro_f1"):
        fit = fit_cascade(*rare_class(8000, 0), objective=Objective(metric))
        lost[metric] = macro_f1_lost(fit, *rare_class(20_000, 100))
    assert lost["accuracy"] > 5 * MAX_LOST
    assert lost["macro_f1"] <= MAX_LOST
    assert fit.results["exit_share"] > MIN_EXIT_SHARE


def test_combining_must_not_lose_what_the_training_won():
    """The linear stage makes labels likelier by the frequent class, and hides the rare one."""
    rng = np.random.default_rng(0)
    labels = (rng.random(4000) < 0.05).astype(int)
    # A weighted training: every rare text is found, and some frequent ones are taken for rare.
    encoder = stage_logits(labels, np.where(labels == 1, 0.97, 0.9), rng)
    encoder[:, 1] += 1.0
    linear = np.tile(np.array([[3.0, 0.0]], np.float32), (4000, 1)) + rng.normal(0, 0.3, (4000, 2)).astype(np.float32)
    outputs = answers_to(labels, encoder, linear)
    plain, weighted = (fit_cascade(outputs, labels, objective=Objective(class_weights=on)) for on in (False, True))
    assert plain.settings.linear_weight > 0
    assert weighted.settings is None or weighted.settings.linear_weight == 0
    assert "or it loses accuracy or mean recall" in weighted.why_off


def test_half_a_rare_text_is_unseen_where_each_class_weighs_the_same():
    labels = np.array([0] * 90 + [1] * 10)
    assert Objective().largest_weight(labels, 2) == Objective("log_loss").largest_weight(labels, 2) == 1
    assert Objective("macro_f1").largest_weight(labels, 2) == 5
    assert Objective(class_weights=True).largest_weight(labels, 2) == 5


@pytest.mark.parametrize("classes", [2, 4])
def test_values_of_known_labels_are_the_metrics(classes):
    rng = np.random.default_rng(classes)
    labels = rng.integers(0, classes, 300)
    probabilities = softmax(stage_logits(labels, np.full(300, 0.7), rng, classes))
    truth = np.eye(classes)[labels]
    expected = classification_metrics(probabilities, labels, [str(k) for k in range(classes)])
    for metric in ("macro_f1", "roc_auc", "log_loss"):
        accuracy, recall, value = Objective(metric, class_weights=True).values(probabilities, truth)
        assert accuracy == pytest.approx(expected.accuracy)
        assert recall == pytest.approx(np.mean([each["recall"] for each in expected.per_class.values()]))
        assert value == pytest.approx(-expected.log_loss if metric == "log_loss" else getattr(expected, metric))
    with pytest.raises(ConfigError, match="metric: expected one of"):
        Objective("f2")


@pytest.mark.slow
def test_cross_fitting_is_not_flattering():
    """On noise early answers are never chosen, and combining about as often as the level of its test says."""
    fits = [fit_cascade(*noise(300, seed)) for seed in range(200)]
    assert [fit.results["exit_share"] for fit in fits] == [0] * 200
    on = [fit.settings for fit in fits if fit.settings is not None]
    assert all(settings.exit_confidence is None for settings in on)
    assert len(on) <= 200 * 0.1


@pytest.mark.slow
def test_early_answers_lose_no_more_on_other_texts_than_they_may():
    """Over 20 draws, on texts of which nothing was fitted: the share that leaves is not chosen by luck."""
    assert MIN_EXIT_SHARE == 0.1
    lost = []
    for seed in range(20):
        fit = fit_cascade(*perfect_on_its_surest(1200, seed=seed))
        if fit.settings is not None:
            others, labels = perfect_on_its_surest(5000, seed=seed + 1000)
            figures = cascade_results(fit.settings, others, labels)
            lost.append(figures["accuracy"]["combination"] - figures["accuracy"]["cascade"])
    assert len(lost) >= 10
    assert np.mean(lost) <= MAX_LOST

"""The fitting loop: it learns, repeats itself, weighs classes, keeps the best epoch, stops early, resumes, logs."""

import math

import numpy as np
import pytest
from tiny_fit import WORDS, labelled_words, linear_classifier, word_classifier
from tiny_training import tiny_training

from textclf.config import TrainingOptions
from textclf.errors import TrainingError
from textclf.stats.calibration import softmax
from textclf.stats.metrics import classification_metrics
from textclf.training.encoders.preprocessing import TokenizedTexts
from textclf.training.fitting.batching import plan_epoch
from textclf.training.fitting.checkpoints import RunDirectory
from textclf.training.fitting.training_loop import LabelledIds, fit, ids_to_logits, make_trainer, predict_logits, refit
from textclf.training.tf_setup import tf

NAMES = ("neg", "pos")


def fitted(path, model, train, selection_set, *, names=NAMES, precision="float32", **options):
    """Fit in the run folder `path`; by default with plain gradient descent of a constant batch."""
    settings = TrainingOptions(**({"optimiser": "sgd", "init_lr": 0.5, "warmup": 0.0, "batch_size": 8} | options))
    return fit(model, train, selection_set, names, settings, precision, 0, RunDirectory(path))


def metrics_of(model, data, names=NAMES):
    logits = predict_logits(ids_to_logits(model), data.texts, 0, "test")
    return classification_metrics(softmax(logits), data.labels, names)


def assert_same_weights(one, two):
    for a, b in zip(one.weights, two.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


# --- a real encoder


def test_it_learns(trained):
    training, _ = trained
    # Of 63 held-out texts, 3 of which are labelled wrong; chance gets 50 right less than once in a million times.
    metrics = training.metrics["test"]
    assert metrics.n == 63
    assert metrics.accuracy >= 0.8
    history = training.fit_model()
    assert history["loss"][-1] < 0.6 < history["loss"][0]


@pytest.mark.slow
def test_it_repeats_itself_to_the_bit(trained, tiny_checkpoint, reviews, tmp_path):
    training, _ = trained
    again = tiny_training(tiny_checkpoint, reviews, tmp_path)
    assert again.fit_model() == training.fit_model()
    assert_same_weights(again.classifier_model, training.classifier_model)


# --- the loop, on a tinier model


@pytest.fixture
def words():
    """Thirty-two texts whose label a word tells, and eight more for validation."""
    return labelled_words([0, 1] * 16), labelled_words([0, 1] * 4, seed=1)


def test_what_a_finished_training_says(tmp_path, words):
    train, select = words
    result = fitted(tmp_path, word_classifier(), train, select, epochs=3)
    assert list(result.history) == ["loss", "val_loss", "val_accuracy", "val_macro_f1", "learning_rate"]
    assert all(len(values) == 3 for values in result.history.values())
    assert all(type(value) is float and math.isfinite(value) for values in result.history.values() for value in values)
    steps = sum(len(plan_epoch(train.texts.lengths, 4096, 8, 42, epoch)) for epoch in range(3))
    assert (result.steps, result.resumed_from_step) == (steps, 0)
    assert result.history["learning_rate"] == pytest.approx([0.5 * 2 / 3, 0.5 / 3, 0.0], abs=1e-6)
    assert result.seconds >= 0
    assert result.examples_per_second > 0


def test_the_last_epoch_is_kept_even_if_an_earlier_one_is_better(tmp_path, words):
    train, select = words
    select = LabelledIds(select.texts, 1 - select.labels)  # The longer the training, the worse.
    results, models = {}, {}
    for kept in ("best", "last"):
        models[kept] = word_classifier()
        results[kept] = fitted(tmp_path / kept, models[kept], train, select, epochs=3, select=kept)
    assert results["best"].history == results["last"].history
    losses = results["last"].history["val_loss"]
    assert losses[0] < losses[-1]
    assert (results["best"].best_epoch, results["last"].best_epoch) == (1, 1)
    assert metrics_of(models["last"], select).log_loss == pytest.approx(losses[-1], rel=1e-5)
    assert metrics_of(models["best"], select).log_loss == pytest.approx(losses[0], rel=1e-5)
    # A finished training that is started again has the same weights.
    again = word_classifier()
    assert fitted(tmp_path / "last", again, train, select, epochs=3, select="last").resumed_from_step == 12
    assert_same_weights(again, models["last"])


def test_passes_are_added_until_there_are_enough_steps(tmp_path, words):
    # Four steps in an epoch: ten steps need three.
    result = fitted(tmp_path, word_classifier(), *words, epochs=1, min_steps=10)
    assert (result.steps, len(result.history["loss"])) == (12, 3)
    assert result.history["learning_rate"][-1] == pytest.approx(0.0, abs=1e-6)


def test_without_a_selection_set_only_the_loss_is_measured(tmp_path, words):
    train, select = words
    models = [word_classifier() for _ in range(3)]
    with_set = fitted(tmp_path / "with", models[0], train, select, epochs=3, select="last")
    without = fitted(tmp_path / "without", models[1], train, None, epochs=3, select="last")
    assert list(without.history) == ["loss", "learning_rate"]
    assert without.history["loss"] == with_set.history["loss"]
    assert without.best_epoch == 3
    assert_same_weights(models[0], models[1])
    again = fitted(tmp_path / "without", models[2], train, None, epochs=3, select="last")
    assert (again.resumed_from_step, again.history) == (12, without.history)


def test_a_second_training_with_one_trainer_is_the_first_one_again(tmp_path, words):
    train, _ = words
    settings = TrainingOptions(optimiser="adamw", init_lr=0.05, epochs=3, batch_size=8, select="last")
    model = word_classifier()
    initial = model.get_weights()
    trainer = make_trainer(model, settings, 12)
    fit(model, train, None, NAMES, settings, "float32", 0, RunDirectory(tmp_path), trainer)
    first = [weights.copy() for weights in model.get_weights()]
    model.set_weights(initial)
    refit(trainer, train, 2, settings, "float32", 0)
    for one, other in zip(first, model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(("select", "checkpoints"), [("best", 3), ("last", 1)])
def test_an_epoch_of_few_steps_needs_no_checkpoint(tmp_path, words, monkeypatch, select, checkpoints):
    saved, save = [], RunDirectory.save
    monkeypatch.setattr(RunDirectory, "save", lambda *arguments: saved.append(save(*arguments)))
    fitted(tmp_path, word_classifier(), *words, epochs=3, select=select)
    assert len(saved) == checkpoints


def test_another_seed_is_another_training(tmp_path, words):
    results = [fitted(tmp_path / str(i), word_classifier(), *words, epochs=2, seed=s) for i, s in enumerate((1, 1, 2))]
    assert results[0].history == results[1].history
    assert results[0].history["loss"] != results[2].history["loss"]


@pytest.mark.parametrize(
    ("class_weights", "expected"),
    [
        # P(class 1) = 3/4. Six texts of class 0 lose log 4 each, two of class 1 log 4/3.
        (False, (6 * np.log(4) + 2 * np.log(4 / 3)) / 8),
        # Weights 8 / (2 · 6) and 8 / (2 · 2): both classes count the same.
        (True, (np.log(4) + np.log(4 / 3)) / 2),
    ],
)
def test_class_weights_change_the_loss_as_worked_out_by_hand(tmp_path, class_weights, expected):
    train = labelled_words([0] * 6 + [1] * 2)
    model = linear_classifier(bias=(0.0, np.log(3)))
    result = fitted(tmp_path, model, train, train, epochs=1, class_weights=class_weights)
    assert result.steps == 1
    assert result.history["loss"] == pytest.approx([expected], rel=1e-6)


def test_class_weights_hold_in_batches_of_one_class(tmp_path):
    train = labelled_words([0] * 6 + [1] * 2)
    model = linear_classifier(bias=(0.0, np.log(3)))
    result = fitted(tmp_path, model, train, train, epochs=1, class_weights=True, batch_size=1, init_lr=1e-9)
    assert result.steps == 8
    assert result.history["loss"] == pytest.approx([(np.log(4) + np.log(4 / 3)) / 2], rel=1e-6)


def test_class_weights_steer_the_gradient(tmp_path):
    # Words that say nothing: all that can be learnt is how frequent a class is, or that both count the same.
    train = labelled_words([0] * 12 + [1] * 4, words=[10] * 16)
    shares = []
    for class_weights in (False, True):
        model = linear_classifier(bias=(0.0, -0.5))
        options = {"epochs": 20, "batch_size": 16, "init_lr": 2.0, "class_weights": class_weights}
        fitted(
            tmp_path / str(class_weights),
            model,
            train,
            labelled_words([0, 1] if class_weights else [0, 0, 0, 1]),
            metric="log_loss",
            **options,
        )
        shares.append(softmax(model.get_layer("classifier").get_weights()[1])[1])
    assert shares == pytest.approx([0.25, 0.5], abs=0.02)


def test_the_loss_of_an_epoch_is_the_mean_over_its_texts(tmp_path):
    # A rate too small to move anything; batches of four and one: the last text counts once, not four times.
    train = labelled_words([0, 0, 0, 0, 1])
    result = fitted(
        tmp_path, linear_classifier(bias=(0.0, np.log(3))), train, train, epochs=1, batch_size=4, init_lr=1e-9
    )
    assert result.steps == 2
    assert result.history["loss"] == pytest.approx([(4 * np.log(4) + np.log(4 / 3)) / 5], rel=1e-6)


@pytest.mark.parametrize(
    ("options", "weights"),
    [({}, (1.0, 1.0)), ({"r_drop": 1.0}, (1.0, 1.0)), ({"class_weights": True}, (0.75, 1.5))],
    ids=["plain", "r_drop", "class_weights"],
)
def test_a_long_text_that_is_a_batch_of_its_own_counts_as_much_as_any_other(tmp_path, options, weights):
    # Words that say nothing, so that only the bias learns. Two short texts of class 0 share a batch.
    lengths = np.array([4, 4, 17])
    texts = TokenizedTexts(np.full(25, 10, np.int32), np.array([0, 4, 8, 25]), lengths)
    train = LabelledIds(texts, np.array([0, 0, 1], np.int32))
    model = linear_classifier()
    settings = {"epochs": 1, "init_lr": 1e-4, "tokens_per_batch": 24, **options}
    assert fitted(tmp_path, model, train, train, **settings).steps == 2
    plan = plan_epoch(lengths, 24, 8, 42, 0)
    # A text of class 1 moves its bias by half the rate. The rate falls from 1 to 1/2, and a step has 1.5 texts.
    expected = sum(
        rate * len(batch) / 1.5 * weights[train.labels[batch[0]]] * (0.5 if train.labels[batch[0]] else -0.5)
        for rate, batch in zip((1e-4, 0.5e-4), plan, strict=True)
    )
    assert model.get_layer("classifier").get_weights()[1][1] == pytest.approx(expected, rel=1e-3)


@pytest.fixture
def unlearning():
    """A model that is right on the validation texts, and training texts that teach it the opposite, bit by bit."""
    labels = [0, 1] * 16
    train = labelled_words([1 - label for label in labels], words=[1 + label for label in labels])
    return linear_classifier({1: (1.0, 0.0), 2: (0.0, 1.0)}), train, labelled_words(labels[:16], seed=1)


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "macro_f1", "roc_auc"])
def test_it_ends_with_the_weights_of_the_best_epoch_and_not_the_last(tmp_path, unlearning, metric):
    model, train, select = unlearning
    result = fitted(tmp_path, model, train, select, epochs=8, metric=metric, init_lr=0.2)
    assert result.history["val_accuracy"][0] == 1.0
    assert result.history["val_accuracy"][-1] == 0.0
    assert result.history["val_loss"][0] == min(result.history["val_loss"])
    # Accuracy stays at 1 for some epochs: of equals the one with the lowest loss.
    assert result.best_epoch == 1
    metrics = metrics_of(model, select)
    assert metrics.log_loss == result.history["val_loss"][0]
    assert metrics.accuracy == 1.0


def test_the_best_epoch_depends_on_the_metric(tmp_path):
    # Word 3 is rare in training: the model, wrong about it at first, learns it late. By then it is too sure of the
    # other words for the log loss of three validation texts that are labelled wrong.
    train = labelled_words([0, 1] * 15 + [0, 0], words=[1, 2] * 15 + [3, 3])
    select = labelled_words([0, 1] * 5 + [1, 0, 1] + [0, 0, 0], words=[1, 2] * 5 + [1, 2, 1] + [3, 3, 3], seed=1)
    results = {}
    for metric in ("accuracy", "log_loss"):
        model = linear_classifier({3: (0.0, 2.0)})
        results[metric] = fitted(tmp_path / metric, model, train, select, epochs=15, metric=metric, init_lr=1.0)
        measured = metrics_of(model, select)
        best = results[metric].best_epoch - 1
        assert measured.log_loss == results[metric].history["val_loss"][best]
        assert measured.accuracy == results[metric].history["val_accuracy"][best]
    by_accuracy, by_loss = results["accuracy"], results["log_loss"]
    history = by_loss.history
    assert by_accuracy.history == history
    assert history["val_accuracy"][by_accuracy.best_epoch - 1] == max(history["val_accuracy"])
    assert by_loss.best_epoch == 1 + int(np.argmin(history["val_loss"]))
    assert 1 < by_loss.best_epoch < by_accuracy.best_epoch < 15


def test_early_stopping_waits_as_many_epochs_as_patience_says(tmp_path, unlearning):
    model, train, select = unlearning
    result = fitted(tmp_path, model, train, select, epochs=8, patience=2, metric="log_loss", init_lr=0.2)
    assert len(result.history["loss"]) == 3
    assert result.best_epoch == 1
    assert metrics_of(model, select).log_loss == result.history["val_loss"][0]
    # Started again, it is over at once, with the same end.
    again = fitted(tmp_path, model, train, select, epochs=8, patience=2, metric="log_loss", init_lr=0.2)
    assert (again.history, again.best_epoch) == (result.history, 1)
    assert again.resumed_from_step == again.steps == result.steps


def test_a_diverging_loss_is_one_clear_error(tmp_path, words):
    train, select = words
    huge = word_classifier()
    huge.get_layer("words").set_weights([np.full((WORDS, 4), 1e30, np.float32)])
    huge.get_layer("classifier").set_weights([np.full((4, 2), 1e30, np.float32), np.zeros(2, np.float32)])
    with pytest.raises(TrainingError, match=r"step 1 gave a loss of (nan|inf): the training diverged; use a smaller"):
        fitted(tmp_path / "start", huge, train, select)


# --- going on


class KilledError(Exception):
    pass


@pytest.fixture
def killed_after(monkeypatch):
    """A function that makes the fitting loop fail after so many steps, as a kill would."""
    from textclf.training.fitting import training_loop as fitting

    def arrange(steps):
        count = 0
        make_batch = fitting.make_batch

        def failing(texts, *arguments):
            nonlocal count
            count += 1
            if count > steps:
                raise KilledError
            return make_batch(texts, *arguments)

        monkeypatch.setattr(fitting, "make_batch", failing)

    yield arrange
    monkeypatch.undo()


# Four steps an epoch and one batch of validation: 6 is in the second epoch, 4 before the first validation, 10 after
# the second one.
@pytest.mark.slow
@pytest.mark.parametrize("calls", [1, 4, 6, 10])
def test_a_killed_training_goes_on_to_the_same_end(tmp_path, words, killed_after, monkeypatch, capsys, calls):
    train, select = words
    options = {"epochs": 3, "checkpoint_steps": 1, "optimiser": "adamw", "init_lr": 0.05, "warmup": 0.1}
    model = word_classifier()
    expected = fitted(tmp_path / "unbroken", model, train, select, **options)

    killed_after(calls)
    with pytest.raises(KilledError):
        fitted(tmp_path / "killed", word_classifier(), train, select, **options)
    monkeypatch.undo()
    capsys.readouterr()
    # Initial weights of another seed: all that counts comes from the checkpoint.
    resumed = word_classifier(seed=5)
    result = fitted(tmp_path / "killed", resumed, train, select, **options)
    done = calls - calls // 5
    assert f"continuing from step {done} of 12 ({tmp_path / 'killed'})" in capsys.readouterr().err
    assert result.resumed_from_step == done
    assert (result.history, result.steps, result.best_epoch) == (expected.history, 12, expected.best_epoch)
    assert_same_weights(resumed, model)


# --- TensorBoard


def test_tensorboard_finds_the_expected_curves(tmp_path, words):
    from tensorflow.core.util import event_pb2

    train, select = words
    result = fitted(tmp_path, word_classifier(), train, select, epochs=3)
    (path,) = RunDirectory(tmp_path).tensorboard.glob("*/*")  # A folder for each start.
    curves = {}
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        event = event_pb2.Event.FromString(record)
        for value in event.summary.value:
            curves.setdefault(value.tag, []).append((event.step, float(tf.make_ndarray(value.tensor))))
    validation = {f"validation/{key}" for key in result.history}
    assert set(curves) == {"train/loss", "train/learning_rate"} | validation
    assert [step for step, _ in curves["train/loss"]] == [10]
    assert [step for step, _ in curves["validation/val_accuracy"]] == [4, 8, 12]
    for key, values in result.history.items():
        assert [value for _, value in curves[f"validation/{key}"]] == pytest.approx(values, rel=1e-6, abs=1e-9)

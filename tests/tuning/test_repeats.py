"""Repeats of the best options: folds of the texts, the queue of trainings, and the lines about the results."""

import dataclasses

import numpy as np
import optuna
import pytest

from initializing import Initialize
from textclf.config import DataOptions
from textclf.data.datasets import split_fingerprint
from textclf.errors import DatasetError, TrainingError
from textclf.tuning.folds import Fold, fold_of
from textclf.tuning.options import TuningOptions
from textclf.tuning.repeats import Repeats, summary_lines
from textclf.tuning.search import Search
from textclf.tuning.search_space import Range
from textclf.tuning.study import is_interrupted

DEFAULT, BEST = {"init_lr": 3e-5}, {"init_lr": 1e-4}
CANDIDATES = {3: BEST, 0: DEFAULT}


@pytest.fixture(scope="module")
def dataset(reviews):
    return Initialize(str(reviews), options=DataOptions()).read_dataset()


def test_each_text_is_in_one_fold_whatever_the_order_of_the_texts(dataset):
    before = set(dataset.train.texts) | set(dataset.validation_select.texts)
    held = []
    for index in range(3):
        one = fold_of(dataset, Fold(index, 3))
        held += one.validation_select.texts
        assert set(one.train.texts) == before - set(one.validation_select.texts)
        sizes = np.bincount(one.validation_select.labels)
        assert sizes.max() - sizes.min() <= 1
        assert one.validation_calibrate is dataset.validation_calibrate
        assert one.fingerprint == split_fingerprint(one.class_names, one.splits) != dataset.fingerprint
    assert sorted(held) == sorted(before)
    backwards = dataset.train.chosen(range(len(dataset.train) - 1, -1, -1))
    again = fold_of(dataclasses.replace(dataset, train=backwards), Fold(2, 3))
    assert again.validation_select.texts == tuple(held[-len(again.validation_select) :])
    assert set(fold_of(dataset, Fold(2, 3, seed=1)).validation_select.texts) != set(again.validation_select.texts)


def test_a_class_with_fewer_texts_than_folds_is_named(dataset):
    with pytest.raises(
        DatasetError, match=r"folds: expected at most \d+, .* of class '\w+', got 5000; pass fewer --fol"
    ):
        fold_of(dataset, Fold(0, 5000))


class Training:
    """Fits nothing; the metric depends on the learning rate, the seed and the fold."""

    def __init__(self) -> None:
        self.fits: list = []

    def fit(self, options, folder, on_epoch, fold=None):
        self.fits.append((options["init_lr"], options["seed"], fold))
        value = options["init_lr"] * 1000 + options["seed"] % 10 / 100 + (0 if fold is None else fold.index / 1000)
        on_epoch(1, value)
        return [value]


def repeats(folder, training, candidates=CANDIDATES, **tuning) -> Repeats:
    options = TuningOptions(storage="journal", **tuning)
    search = Search(training, options, (), folder, timeout=None)
    return Repeats(search, {**DEFAULT, "seed": 42}, candidates)


def test_each_candidate_gets_every_seed_and_fold_once(tmp_path, capsys):
    training = Training()
    one = repeats(tmp_path, training, seeds=2, folds=3)
    one.work()
    assert sorted(training.fits, key=str) == sorted(
        [
            (options["init_lr"], 100_042 + repeat, Fold(fold, 3, repeat))
            for options in (BEST, DEFAULT)
            for repeat in range(2)
            for fold in range(3)
        ],
        key=str,
    )
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12
    assert lines[0].startswith("repeat:        macro F1 0.1200 in 0 s; trial 3, seed 1, fold 1 of 3")
    values = one.values(one.open())
    np.testing.assert_allclose(values[3], [0.12, 0.121, 0.122, 0.13, 0.131, 0.132])
    np.testing.assert_allclose(values[3] - values[0], 0.07)


def test_more_seeds_train_only_what_is_new(tmp_path):
    repeats(tmp_path, Training(), seeds=1).work()
    training = Training()
    repeats(tmp_path, training, seeds=3).work()
    assert {seed for _, seed, _ in training.fits} == {100_043, 100_044}
    assert len(training.fits) == 4
    none = Training()
    repeats(tmp_path, none, seeds=2).work()
    assert not none.fits


class Breaking(Training):
    """Its second fit fails."""

    def fit(self, options, folder, on_epoch, fold=None):
        if len(self.fits) == 1:
            raise TrainingError("disk full")
        return super().fit(options, folder, on_epoch, fold)


def test_an_interrupted_repeat_is_trained_again(tmp_path):
    one = repeats(tmp_path, Breaking(), seeds=2)
    with pytest.raises(TrainingError, match="disk full"):
        one.work()
    assert one.values(one.open()) is None
    training = Training()
    again = repeats(tmp_path, training, seeds=2)
    again.work()
    assert len(training.fits) == 3
    study = again.open()
    assert study.is_over
    assert len([trial for trial in study.study.trials if is_interrupted(trial)]) == 1
    assert {len(values) for values in again.values(study).values()} == {2}


def test_a_search_that_went_on_has_another_best_trial(tmp_path):
    """The queue still has repeats of the earlier one."""
    with pytest.raises(TrainingError, match="disk full"):
        repeats(tmp_path, Breaking(), seeds=2).work()
    one = repeats(tmp_path, Training(), {25: {"init_lr": 2e-4}, 0: DEFAULT}, seeds=2)
    one.work()
    values = one.values(one.open())
    np.testing.assert_allclose(values[25] - values[0], 0.17)


@pytest.mark.parametrize(
    ("place", "call"), [(optuna.Trial, "set_user_attr"), (Range, "suggest")], ids=["no number", "a part of its values"]
)
def test_no_repeat_is_lost_by_a_kill_in_its_start(tmp_path, monkeypatch, place, call):
    one, calls = repeats(tmp_path, Training(), seeds=2), []
    whole = getattr(place, call)

    def killed(*arguments):
        calls.append(arguments)
        if len(calls) % 2 == (call == "set_user_attr"):
            raise KeyboardInterrupt
        return whole(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(place, call, killed)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                one.work()
            calls.clear()
    training = Training()
    again = repeats(tmp_path, training, seeds=2)
    again.work()
    assert len(training.fits) == 4
    assert {len(values) for values in again.values(again.open()).values()} == {2}


def test_the_lines_compare_the_best_with_the_default():
    best, default = np.array([0.94, 0.95, 0.96]), np.array([0.92, 0.94, 0.93])
    assert summary_lines({7: best, 0: default}, 0, "macro F1", 0) == [
        "repeated:      macro F1, mean of 3 trainings with its 95% interval",
        "               trial 7: 0.9500 ± 0.0248 (standard deviation 0.0100)",
        "               the default recipe: 0.9300 ± 0.0248 (standard deviation 0.0100)",
        "               difference: +0.0200 ± 0.0248 (standard deviation 0.0100)",
    ]
    assert summary_lines({0: default[:1]}, 0, "accuracy", 0)[1:] == [
        "               the default recipe: 0.9200 (no interval from one training)"
    ]

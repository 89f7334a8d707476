"""Recipes: the table by labels per class, and the options that a user gives."""

from types import SimpleNamespace

import numpy as np
import pytest

from textclf.config import RECIPE_OPTIONS, ModelOptions, TrainingOptions
from textclf.data.splits import Split
from textclf.errors import ConfigError
from textclf.training.recipes import choose_recipe, complete_options

VALUES = {
    "select": "best", "epochs": 1, "head_init": "random", "train_on": "train", "init_lr": 1e-5, "batch_size": 4,
    "min_steps": 7, "pooling": "cls", "class_weights": True,
}  # fmt: skip


def chosen(*counts, selection_texts=20, reads_test=True, **given):
    return choose_recipe(np.array(counts), selection_texts, reads_test, given)


def completed(*counts, selection_texts=20, **given):
    """The training options that the recipe completes to, checked; and its name."""
    recipe = chosen(*counts, selection_texts=selection_texts, **given)
    options = {**recipe.options, **given}
    ModelOptions(**ModelOptions.pop_from(options))
    training = TrainingOptions(**options)
    training.check_together()
    return training, recipe.name


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        (3, "probe"),
        (5, "probe"),
        (6, "probe, then fine-tuning"),
        (32, "probe, then fine-tuning"),
        (200, "fine-tuning"),
        (500, "defaults"),
        (100_000, "defaults"),
    ],
)
@pytest.mark.parametrize("classes", [2, 6])
@pytest.mark.parametrize("reads_test", [True, False])
def test_the_labels_of_a_class_choose_valid_options(labels, name, classes, reads_test):
    recipe = chosen(*[labels] * classes, selection_texts=labels * classes // 10, reads_test=reads_test)
    assert recipe.name == name
    assert f"{labels:,} labels" in recipe.reason
    assert set(recipe.options) <= set(RECIPE_OPTIONS)
    options = dict(recipe.options)
    ModelOptions(**ModelOptions.pop_from(options))
    training = TrainingOptions(**options)
    training.check_together()
    # With few texts all are used, if something else measures the model.
    if not reads_test or name == "defaults":
        assert training.train_on == "train"
    else:
        assert training.train_on == ("all" if labels * classes < 500 else "train+selection")


def test_the_fewest_labels_are_for_a_probe_alone():
    assert chosen(5, 5).options == {
        "pooling": "mean", "head_init": "probe", "epochs": 0, "select": "last", "train_on": "all",
    }  # fmt: skip


def test_a_rare_class_asks_for_weights_and_not_for_a_recipe_of_few_labels():
    recipe = chosen(5000, 4000, 20, selection_texts=900)
    assert (recipe.name, recipe.asks_for_class_weights) == ("defaults", True)
    assert not chosen(100, 100, 10).asks_for_class_weights
    assert not chosen(5000, 20, class_weights=False).asks_for_class_weights


def test_the_best_epoch_is_chosen_only_on_enough_texts():
    assert chosen(500, 500, selection_texts=99).options == {"select": "last"}
    assert chosen(500, 500, selection_texts=100).options == {}


@pytest.mark.parametrize("name", RECIPE_OPTIONS)
@pytest.mark.parametrize("labels", [4, 16, 200])
def test_an_option_that_is_given_is_never_chosen(name, labels):
    assert name not in chosen(labels, labels, **{name: VALUES[name]}).options
    training, _ = completed(labels, labels, **{name: VALUES[name]})
    assert getattr(training, name, VALUES[name]) == VALUES[name]


def test_epochs_that_are_given_are_not_lengthened():
    assert "min_steps" not in chosen(16, 16, epochs=3).options


def test_it_says_what_it_chose():
    assert str(chosen(16, 16)).startswith(
        "probe, then fine-tuning, because the median class has 16 labels, all classes 32"
    )
    assert "pooling mean" in str(chosen(16, 16))
    assert str(chosen(900, 900, selection_texts=180)).endswith("all classes 1,800")
    given = {**chosen(16, 16).options, "epochs": 2}
    assert str(chosen(16, 16, **given)).endswith("all classes 32: all its options are given")
    # The number is the one that decided: 6 labels would be for another row.
    assert str(chosen(5, 6)).startswith("probe, because the median class has 5.5 labels, all classes 11: ")


@pytest.mark.parametrize(
    "given",
    [{"init_lr": 1e-5}, {"batch_size": 4}, {"min_steps": 9}, {"r_drop": 1.0}, {"teachers": ("a",)}, {"epochs": 2},
     {"metric": "macro_f1"}, {"select": "best"}, {"head_init": "random"}],
)  # fmt: skip
def test_an_option_that_a_probe_ignores_asks_for_fine_tuning(given):
    training, name = completed(4, 4, **given)
    assert (name, training.epochs > 0) == ("probe, then fine-tuning", True)
    assert f"{next(iter(given))} asks for fine-tuning" in chosen(4, 4, **given).reason


@pytest.mark.parametrize("given", [{"head_init": "probe"}, {"select": "last"}, {"r_drop": 0.0}, {"patience": 0}])
def test_a_value_that_the_recipe_has_itself_changes_nothing(given):
    training, name = completed(4, 4, **given)
    assert (name, training.epochs, training.train_on, training.select) == ("probe", 0, "all", "last")


@pytest.mark.parametrize("labels", [4, 16, 200, 900])
@pytest.mark.parametrize("given", [{"metric": "macro_f1"}, {"patience": 2}, {"select": "best"}])
def test_a_metric_that_is_given_selects_the_epoch(labels, given):
    training, _ = completed(labels, labels, selection_texts=labels // 5, **given)
    assert (training.select, training.train_on) == ("best", "train")


@pytest.mark.parametrize("labels", [4, 16, 200, 900, 100_000])
def test_options_that_need_others_get_them(labels):
    assert completed(labels, labels, train_on="all")[0].select == "last"
    training, name = completed(labels, labels, epochs=0)
    assert (training.head_init, name) == ("probe", "probe")
    with pytest.raises(ConfigError, match="patience: expected 0 with select 'last'"):
        completed(labels, labels, patience=2, select="last")


def test_a_retraining_holds_texts_out_again_once_there_are_enough(capsys):
    def train_on(texts, given=(), chooses=False):
        part = Split(["a"] * texts, np.zeros(texts, int))
        data = SimpleNamespace(train=part, validation_select=part.chosen([]), validation_calibrate=part.chosen([]))
        options = ModelOptions(), TrainingOptions(train_on="all", select="last")
        return complete_options(*options, data, given, chooses)[0][1].train_on

    assert train_on(499) == "all"
    assert not capsys.readouterr().out
    assert train_on(500) == "train+selection"
    assert "train on:      train+selection instead of all, because 500 texts" in capsys.readouterr().out
    assert train_on(500, given=["train_on"]) == "all"

"""Recipes: the table by labels per class, and the options that a user gives."""

import numpy as np
import pytest

from textclf.config import RECIPE_OPTIONS, ModelOptions, TrainingOptions
from textclf.training.recipes import choose_recipe


def chosen(*counts, selection_texts=20, reads_test=True, given=()):
    return choose_recipe(np.array(counts), selection_texts, reads_test, given)


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        (3, "probe"),
        (7, "probe"),
        (8, "probe, then fine-tuning"),
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
    assert not chosen(5000, 20, given=["class_weights"]).asks_for_class_weights


def test_the_best_epoch_is_chosen_only_on_enough_texts():
    assert chosen(500, 500, selection_texts=99).options == {"select": "last"}
    assert chosen(500, 500, selection_texts=100).options == {}


@pytest.mark.parametrize("name", RECIPE_OPTIONS)
@pytest.mark.parametrize("labels", [4, 16, 200])
def test_an_option_that_is_given_is_never_chosen(name, labels):
    options = dict(chosen(labels, labels, given=[name]).options)
    assert name not in options
    # Whatever value of it is given, the rest is valid.
    ModelOptions(**ModelOptions.pop_from(options))
    values = {"select": "best", "epochs": 1, "head_init": "random", "train_on": "train"}
    TrainingOptions(**options, **({name: values[name]} if name in values else {}))


def test_epochs_that_are_given_are_not_lengthened():
    assert "min_steps" not in chosen(16, 16, given=["epochs"]).options


def test_it_says_what_it_chose():
    assert str(chosen(16, 16)).startswith(
        "probe, then fine-tuning, because the median class has 16 labels, all classes 32"
    )
    assert "pooling mean" in str(chosen(16, 16))
    assert str(chosen(900, 900, selection_texts=180)).endswith(": no other options")

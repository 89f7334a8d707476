"""Options are checked when they are made, go through JSON unchanged, and refuse what they do not know."""

import dataclasses
import json

import pytest

from textclf.config import DataOptions, ModelOptions, TrainingOptions
from textclf.errors import ConfigError
from textclf.retraining_options import CombineOptions

ALL = [CombineOptions, DataOptions, ModelOptions, TrainingOptions]


@pytest.mark.parametrize("options", ALL)
def test_defaults_are_valid_and_go_through_json(options):
    values = json.loads(json.dumps(options().to_dict(), allow_nan=False))
    assert options.from_dict(values) == options()


def test_what_was_chosen_comes_back():
    options = DataOptions(val_split=0.3, rename_labels={"1": "pos"}, read_test=False)
    assert DataOptions.from_dict(json.loads(json.dumps(options.to_dict()))) == options


def test_missing_keys_keep_their_default():
    assert TrainingOptions.from_dict({"epochs": 2}) == TrainingOptions(epochs=2)


@pytest.mark.parametrize("options", ALL)
def test_a_misspelt_option_is_refused_by_name(options):
    with pytest.raises(ConfigError, match=f"{options.__name__}: unknown option epoch; known are "):
        options.from_dict({"epoch": 3})


@pytest.mark.parametrize("options", ALL)
def test_options_can_not_be_changed(options):
    made = options()
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, dataclasses.fields(made)[0].name, None)


def test_renamings_are_not_shared_between_options():
    assert DataOptions().rename_labels is not DataOptions().rename_labels


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        (DataOptions, "val_split", 0.0),
        (DataOptions, "val_split", 1.0),
        (DataOptions, "val_split", 1),
        (DataOptions, "test_split", float("nan")),
        (DataOptions, "split_seed", -1),
        (DataOptions, "text_column", ""),
        (DataOptions, "text_column", 0),
        (DataOptions, "label_column", "text"),
        (DataOptions, "rename_labels", ["a=b"]),
        (DataOptions, "rename_labels", {"a": 1}),
        (DataOptions, "skip_undecodable", "False"),
        (DataOptions, "read_test", 0),
        (ModelOptions, "model_name", ""),
        (ModelOptions, "name_to_handle", None),
        (ModelOptions, "model_to_handle", None),
        (ModelOptions, "max_length", 3),
        (ModelOptions, "max_length", 128.0),
        (ModelOptions, "max_length", True),
        (ModelOptions, "max_length", "128"),
        (ModelOptions, "truncation", "tail"),
        (ModelOptions, "head_fraction", 1.0),
        (ModelOptions, "head_fraction", -0.1),
        (ModelOptions, "dropout", float("nan")),
        (TrainingOptions, "epochs", -1),
        (TrainingOptions, "init_lr", 0.0),
        (TrainingOptions, "mlm_lr", 0.0),
        (TrainingOptions, "mlm_epochs", -1),
        (TrainingOptions, "mlm_epochs", 0.5),
        (TrainingOptions, "layer_decay", 0.0),
        (TrainingOptions, "layer_decay", 1.1),
        (TrainingOptions, "layer_decay", "0.9"),
        (TrainingOptions, "r_drop", -0.1),
        (TrainingOptions, "r_drop", float("nan")),
        (TrainingOptions, "r_drop", False),
        (TrainingOptions, "r_drop", "1"),
        (TrainingOptions, "init_lr", "3e-5"),
        (TrainingOptions, "init_lr", float("inf")),
        (TrainingOptions, "optimiser", None),
        (TrainingOptions, "warmup", 1.0),
        (TrainingOptions, "tokens_per_batch", 7),
        (TrainingOptions, "batch_size", 0),
        (TrainingOptions, "precision", "int8"),
        (TrainingOptions, "class_weights", "no"),
        (TrainingOptions, "metric", "recall"),
        (TrainingOptions, "metric", ["accuracy"]),
        (TrainingOptions, "patience", -1),
        (TrainingOptions, "checkpoint_steps", 0),
        (CombineOptions, "holdout_share", 0),
        (CombineOptions, "holdout_share", 1.0),
        (CombineOptions, "new_share", float("nan")),
        (CombineOptions, "new_share", True),
        (CombineOptions, "source_share", 0.0),
        (CombineOptions, "source_share", 1.5),
        (CombineOptions, "class_slack", 0.9),
        (CombineOptions, "holdout_room", -1),
        (CombineOptions, "shingle_words", 0),
        (CombineOptions, "near_jaccard", 0.5),
        (CombineOptions, "contradiction_alpha", 0.0),
        (CombineOptions, "contradiction_margin", -0.1),
        (CombineOptions, "contradiction_least", 0),
        (CombineOptions, "trusted_sources", "web"),
        (CombineOptions, "trusted_sources", (1,)),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_and_shown(options, name, value):
    with pytest.raises(ConfigError, match=f"^{name}: expected ") as refused:
        options(**{name: value})
    assert str(refused.value).endswith(f"got {value!r}")


def test_trusted_sources_go_through_json():
    options = CombineOptions(trusted_sources=("web", ""))
    assert CombineOptions.from_dict(json.loads(json.dumps(options.to_dict()))) == options


def test_the_preprocessing_handle_may_be_left_to_the_encoder():
    assert ModelOptions(model_to_handle="").model_to_handle == ""


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"patience": 2, "select": "last"}, r"patience: expected 0 with select 'last', .* got 2"),
        ({"train_on": "all"}, r"train_on: expected 'train' with select 'best', .* got 'all'"),
        ({"epochs": 0}, r"epochs: expected a whole number of at least 1 with head_init 'random', got 0"),
    ],
)
def test_options_are_checked_together_once_they_are_complete(values, message):
    # Each value alone is valid: a recipe or a champion may have the others.
    TrainingOptions.check_each(values)
    options = TrainingOptions(**values)
    with pytest.raises(ConfigError, match=message):
        options.check_together()
    TrainingOptions(patience=2).check_together()


def test_each_value_is_checked_alone():
    DataOptions.check_each({"text_column": "label"})
    with pytest.raises(ConfigError, match=r"patience: expected a whole number .* got -1"):
        TrainingOptions.check_each({"patience": -1})


def test_layer_decay_is_adamws():
    assert TrainingOptions(layer_decay=0.9, optimiser="AdamW").layer_decay == 0.9
    with pytest.raises(ConfigError, match=r"layer_decay: expected 1 with optimiser 'sgd'; only adamw .* got 0.9"):
        TrainingOptions(layer_decay=0.9, optimiser="sgd")

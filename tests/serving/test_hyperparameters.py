"""Strings to options, by the rules of the option classes."""

import dataclasses
import json

import pytest

from serving.sagemaker.hyperparameters import (
    Hyperparameters,
    hyperparameter_rules,
    parse_hyperparameters,
    read_hyperparameters,
)
from textclf.config import DataOptions, ModelOptions, TrainingOptions
from textclf.errors import ConfigError


@pytest.mark.parametrize("is_quoted", [False, True])
def test_every_option_survives_as_a_string(is_quoted):
    options = {**DataOptions().to_dict(), **ModelOptions().to_dict(), **TrainingOptions().to_dict()}
    strings = {
        name: value if isinstance(value, str) and not is_quoted else json.dumps(value)
        for name, value in options.items()
    }
    assert parse_hyperparameters(strings) == Hyperparameters({**options, "teachers": []})  # JSON has no tuples.


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({"epochs": "3"}, {"epochs": 3}),
        ({"epochs": 3}, {"epochs": 3}),
        ({"init_lr": "1e-4"}, {"init_lr": 1e-4}),
        ({"init_lr": " .5 "}, {"init_lr": 0.5}),
        ({"class_weights": "True"}, {"class_weights": True}),
        (
            {"metric": '"log_loss"', "text_column": '"body"', "epochs": '"3"'},
            {"metric": "log_loss", "text_column": "body", "epochs": 3},
        ),
        ({"text_column": '"quoted'}, {"text_column": '"quoted'}),
        ({"read_test": "no"}, {"read_test": False}),
        ({"rename_labels": '{"1": "pos"}'}, {"rename_labels": {"1": "pos"}}),
        ({"_tuning_objective_metric": "x", "sagemaker_region": "y"}, {}),
    ],
)
def test_values(given, options):
    assert parse_hyperparameters(given) == Hyperparameters(options)


def test_what_is_of_the_job():
    asked = parse_hyperparameters(
        {"promote": "true", "name": "films", "dataset_path": "a.csv", "url": "http://x/a.csv"}
    )
    assert asked == Hyperparameters({}, (), "a.csv", "http://x/a.csv", "films", promote=True)


@pytest.mark.parametrize(
    ("given", "options", "notes"),
    [
        (
            {
                "n_epochs": "2",
                "batch_size": "1000",
                "learning_rate": "0.01",
                "n_hidden": "2",
                "n_layers": "1",
                "verbose": "1",
            },
            {"epochs": 2, "batch_size": 1000, "init_lr": 0.01},
            [
                "n_epochs is read as epochs",
                "learning_rate is read as init_lr",
                "n_hidden is ignored",
                "n_layers",
                "verbose",
            ],
        ),
        ({"max_sentence_length": "64"}, {"max_length": 64}, ["max_sentence_length is read as max_length"]),
        (
            {"max_sentence_length": '"mean"'},
            {},
            ["max_sentence_length is ignored: max_length is a number of wordpieces"],
        ),
        (
            {"dropout_prob": ".2", "max_epochs_without_improvement": "3"},
            {"dropout": 0.2, "patience": 3},
            ["drop", "max_e"],
        ),
        ({"class_weights": "0", "quantize": "0"}, {"class_weights": False}, ["quantize is ignored"]),
    ],
)
def test_names_of_other_software(given, options, notes):
    parsed = parse_hyperparameters(given)
    assert parsed.options == options
    assert len(parsed.notes) == len(notes)
    for note, expected in zip(parsed.notes, notes, strict=True):
        assert note.startswith(f"hyperparameter {expected}")


def test_the_short_form_of_an_encoder():
    options = parse_hyperparameters({"encoder": "minilm-l6"}).options
    assert options["model_name"] == options["name_to_handle"] == "minilm-l6"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"epoch": "3"}, "unknown hyperparameter epoch; known are .*epochs"),
        ({"epochs": "three"}, "epochs: expected a whole number of at least 0, got 'three'"),
        ({"epochs": "3.0"}, "epochs: expected a whole number"),
        ({"epochs": "-1"}, "epochs: expected a whole number of at least 0, got -1"),
        ({"epochs": "true"}, "epochs"),
        ({"epochs": "1_0"}, "epochs: expected a whole number of at least 0, got '1_0'"),
        ({"epochs": "١"}, "epochs: expected a whole number"),
        ({"init_lr": "1_0.5"}, "init_lr: expected a number above 0 and below 10, got"),
        ({"init_lr": "inf"}, "init_lr: expected a number above 0 and below 10, got"),
        ({"init_lr": "fast"}, "init_lr: expected a number"),
        ({"init_lr": "nan"}, "init_lr"),
        ({"promote": "maybe"}, r"promote: expected on or off \(also 1, 0, true, false, yes, no\), got 'maybe'"),
        ({"promote": 1}, "promote: expected true or false, got 1"),
        ({"class_weights": ""}, "class_weights"),
        ({"rename_labels": "1=pos"}, "rename_labels: expected a JSON object"),
        ({"rename_labels": "[1]"}, "rename_labels"),
        ({"name": 3}, "name: expected a text"),
        ({"precision": "int4"}, "precision: expected one of"),
        ({"n_epochs": "2", "epochs": "2"}, "n_epochs: expected it without epochs, .*remove one"),
        ({"learning_rate": "fast"}, "init_lr: expected a number"),
        ({"encoder": "minilm-l6", "model_name": "x"}, "encoder: expected it alone"),
        ({"preprocess": "x"}, "preprocess: expected it together with encoder"),
    ],
)
def test_refused(given, says):
    with pytest.raises(ConfigError, match=says):
        parse_hyperparameters(given)


@pytest.mark.parametrize("text", ["[]", "{", '"a"', "\xff", pytest.param("[" * 100_000, id="deep")])
def test_a_file_that_is_no_object(tmp_path, text):
    path = tmp_path / "hyperparameters.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"hyperparameters\.json: expected a JSON object"):
        read_hyperparameters(path)


def test_no_file_asks_for_nothing(tmp_path):
    assert read_hyperparameters(tmp_path / "none.json") == Hyperparameters()


def test_every_option_is_a_hyperparameter():
    names = {
        item.name for options in (DataOptions, ModelOptions, TrainingOptions) for item in dataclasses.fields(options)
    }
    assert names < set(hyperparameter_rules())

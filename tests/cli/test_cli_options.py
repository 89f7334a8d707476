"""Command-line options become ModelOptions and TrainingOptions, with the same defaults."""

import click
import pytest
from click.testing import CliRunner

from textclf.cli.commands import Command
from textclf.cli.options import arguments_of, changed_options, dataset_options, encoder_options, training_options
from textclf.config import DataOptions, ModelOptions, TrainingOptions


@click.command(cls=Command)
@click.argument("word")
@encoder_options
@training_options
@click.option("--last", default="z")
def command(word: str, model_options: ModelOptions, training_options: TrainingOptions, last: str) -> None:
    """Show what came."""
    command.received = (word, model_options, training_options, last)


def received(*arguments: str):
    result = CliRunner().invoke(command, ["word", *arguments])
    assert result.exit_code == 0, result.output
    return command.received


def failed(*arguments: str):
    return CliRunner().invoke(command, ["word", *arguments])


def test_defaults_are_those_of_the_options():
    assert received() == ("word", ModelOptions(), TrainingOptions(), "z")


def test_the_kept_epoch_arrives():
    _, _, training, _ = received("--select", "last")  # Excludes --patience.
    assert training == TrainingOptions(select="last")


def test_every_option_arrives():
    _, model, training, last = received(
        *("--encoder", "bert_en_cased_L-12_H-768_A-12", "--max-length", "128", "--truncation", "head+tail"),
        *("--pooling", "mean", "--head-init", "probe", "--select", "last", "--min-steps", "9", "--train-on", "all"),
        *("--teacher", "large", "--teacher-weight", "0.3"),
        *("--head-fraction", "0.5", "--dropout", "0.2", "--epochs", "2", "--init-lr", "1e-4", "--optimiser", "AdamW"),
        *("--mlm-epochs", "1", "--mlm-lr", "3e-4", "--layer-decay", "0.9", "--r-drop", "0.5"),
        *("--warmup", "0", "--tokens-per-batch", "512", "--batch-size", "8", "--seed", "7", "--precision", "float32"),
        *("--target-precision", "0.9"),
        *("--class-weights", "--metric", "macro_f1", "--patience", "3", "--checkpoint-steps", "10", "--last", "y"),
    )
    assert model == ModelOptions(
        model_name="bert_en_cased_L-12_H-768_A-12",
        name_to_handle="https://tfhub.dev/tensorflow/bert_en_cased_L-12_H-768_A-12/3",
        model_to_handle="https://tfhub.dev/tensorflow/bert_en_cased_preprocess/3",
        max_length=128,
        truncation="head+tail",
        head_fraction=0.5,
        dropout=0.2,
        pooling="mean",
    )
    assert training == TrainingOptions(
        epochs=2,
        init_lr=1e-4,
        mlm_epochs=1,
        mlm_lr=3e-4,
        layer_decay=0.9,
        r_drop=0.5,
        optimiser="AdamW",
        warmup=0.0,
        tokens_per_batch=512,
        batch_size=8,
        seed=7,
        precision="float32",
        class_weights=True,
        metric="macro_f1",
        patience=3,
        checkpoint_steps=10,
        head_init="probe",
        select="last",
        min_steps=9,
        train_on="all",
        teachers=("large",),
        teacher_weight=0.3,
        target_precision=0.9,
    )
    assert last == "y"
    defaults = TrainingOptions().to_dict()
    same = [name for name, value in training.to_dict().items() if value == defaults[name]]
    assert same == ["costs"]  # None is forgotten; only one of the targets may be set.


def test_encoder_and_its_preprocessing():
    model = received("--encoder", "models/tiny.tar.gz", "--preprocess", "models/own")[1]
    assert (model.model_name, model.name_to_handle, model.model_to_handle) == (
        "tiny",
        "models/tiny.tar.gz",
        "models/own",
    )
    assert received("--encoder", "minilm-l6")[1].name_to_handle == "minilm-l6"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "-1"], "error: epochs: expected a whole number of at least 0, got -1"),
        (["--init-lr", "-1"], "error: init_lr: expected a number above 0 and below 10, got -1.0"),
        (["--init-lr", "nan"], "error: init_lr: expected"),
        (["--max-length", "2"], "error: max_length: expected a whole number of at least 4, got 2"),
        (["--head-fraction", "1"], "error: head_fraction: expected a number of at least 0 and below 1, got 1.0"),
        (["--dropout", "1"], "error: dropout: expected a number of at least 0 and below 1, got 1.0"),
        (["--encoder", ""], "error: name_to_handle: expected a non-empty text, got ''"),
    ],
)
def test_values_that_make_no_sense_are_one_line(arguments, message):
    result = failed(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--epochs", "two"],
        ["--metric", "luck"],
        ["--precision", "half"],
        ["--truncation", "tail"],
        ["--dropout", "x"],
        ["--warmups", "1"],
    ],
)
def test_usage_errors_have_status_2(arguments):
    assert failed(*arguments).exit_code == 2


def test_help_shows_every_default():
    text = " ".join(CliRunner().invoke(command, ["--help"]).output.split())
    for value in (*ModelOptions().to_dict().values(), *TrainingOptions().to_dict().values()):
        if isinstance(value, bool):
            assert "[default: no-class-weights]" in text
        elif value not in ((), "") and not str(value).startswith("https://"):
            assert f"[default: {value}]" in text or f"[default: {value}; " in text
    assert "[default: (by the encoder)]" in text
    assert 'default: ""' not in text


@click.command(cls=Command)
@click.argument("word")
@changed_options
@click.option("--last", default="z")
def changing(word: str, changes: dict, last: str) -> None:
    """Show what came."""
    changing.received = (word, changes, last)


def changes_of(*arguments: str) -> dict:
    result = CliRunner().invoke(changing, ["word", *arguments])
    assert result.exit_code == 0, result.output
    return changing.received[1]


def test_only_what_the_command_line_says_is_a_change():
    assert changes_of() == {}
    # Also where it says what the default is.
    assert changes_of("--epochs", "5") == {"epochs": 5}
    assert changes_of("--no-class-weights", "--skip-undecodable") == {"class_weights": False, "skip_undecodable": True}
    assert changes_of("--rename-label", "negative=neg", "--text-column", "review", "--last", "y") == {
        "rename_labels": {"negative": "neg"},
        "text_column": "review",
    }


@pytest.mark.parametrize(
    "options",
    [
        DataOptions(),
        DataOptions(
            val_split=0.1,
            text_column="the review",
            label_column="--stars",
            rename_labels={"1": "bad", "a=b": "good"},
            skip_bad=True,
            read_validation=False,
            encoding="cp1252",
            equal_texts="characters",
        ),
    ],
)
def test_arguments_make_the_options_again(options):
    found = []
    command = click.command()(dataset_options(lambda data_options: found.append(data_options)))
    result = CliRunner().invoke(command, arguments_of(options))
    assert (result.exit_code, found) == (0, [options]), result.output


def test_an_encoder_that_is_changed_is_all_its_handles():
    assert changes_of("--encoder", "minilm-l6", "--preprocess", "a/folder") == {
        "model_name": "minilm-l6",
        "name_to_handle": "minilm-l6",
        "model_to_handle": "a/folder",
    }
    result = CliRunner().invoke(changing, ["word", "--preprocess", "a/folder"])
    assert result.exit_code == 2
    assert "--preprocess needs --encoder: give both" in result.stderr


def test_defaults_that_are_not_these_are_not_shown():
    out = CliRunner().invoke(changing, ["--help"]).stdout
    assert "--epochs" in out
    assert "--no-test" not in out
    # The recipe is none of the version's options.
    assert [line.split()[-1] for line in out.splitlines() if "[default:" in line] == ["none]", "z]"]

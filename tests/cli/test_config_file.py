"""--config and --print-config: a printed file gives the same options again, and a wrong file is one clear error."""

import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import retraining
import textclf.__main__
import train_model
from textclf.cli.config_file import ConfiguredCommand, config_text
from textclf.cli.options import FieldOption
from textclf.config import RECIPE_OPTIONS
from textclf.errors import ConfigError

COMMANDS = {"train": train_model.main, "retrain": retraining.run}
REQUIRED = {"train": ["--dataset-path", "d"], "retrain": ["--old-dataset-path", "d"]}
# A text that TOML must escape.
TEXT = 'a "b" \\ c\t=#é😀\x7f'


def options_of(command: click.Command) -> list[click.Option]:
    return [one for one in command.params if one.expose_value]


def parsed(command: click.Command, *arguments: object) -> tuple[dict, set[str]]:
    """The values of all options, and which of them count as given."""
    context = command.make_context("command", list(map(str, arguments)))
    given = {name for name in context.params if context.get_parameter_source(name).name != "DEFAULT"}
    return context.params, given


def printed(command: click.Command, *arguments: object) -> str:
    result = CliRunner().invoke(command, ["--print-config", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stdout


def error_of(command: click.Command, path: Path, content: str | bytes, *arguments: object) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    result = CliRunner().invoke(command, ["--config", str(path), *map(str, arguments)])
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    return result.stderr


def arguments_for(option: click.Option) -> list[str]:
    """A value for an option that differs from its default."""
    flag = option.opts[0]
    if option.is_flag:
        return [option.secondary_opts[0] if option.default is True else flag]
    if isinstance(option, FieldOption) and option.rule.kind is dict:
        return [flag, "a=b=c", flag, f"{TEXT}=d"]
    if option.multiple:
        return [flag, "one", flag, TEXT]
    if option.type in (click.INT, click.FLOAT):
        value = {click.INT: 2 * option.default + 4, click.FLOAT: option.default / 2 or 0.25}[option.type]
        return [flag, str(value)]
    if isinstance(option.type, click.Choice):
        return [flag, next(value for value in option.type.choices if value != option.default)]
    return [flag, TEXT]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_survives_printing_and_reading(name, tmp_path):
    command = COMMANDS[name]
    for arguments in (
        REQUIRED[name],
        [*REQUIRED[name], *(part for option in options_of(command) for part in arguments_for(option))],
    ):
        values, _ = parsed(command, *arguments)
        text = printed(command, *arguments)
        (tmp_path / "run.toml").write_text(text, encoding="utf-8")
        again, given = parsed(command, "--config", tmp_path / "run.toml")
        assert again == values
        # The same file comes out again.
        assert printed(command, "--config", tmp_path / "run.toml") == text
    assert given == {option.name for option in options_of(command)}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_printed_file_explains_every_option(name):
    text = printed(COMMANDS[name])
    flat = " ".join(text.replace("\n#", " ").split())
    values, shown = parsed(COMMANDS[name], *REQUIRED[name])[0], tomllib.loads(text)
    for option in options_of(COMMANDS[name]):
        assert " ".join(option.help.split()) in flat
        assert f"\n{option.name} = " in text or f"\n#{option.name} =" in text
        value = values[option.name]
        is_by_recipe = name == "train" and option.name in RECIPE_OPTIONS
        if option.required or option.show_default is False or is_by_recipe or value is None:
            assert option.name not in shown
        else:
            plain = list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value
            assert shown[option.name] == plain
    # The reader fills in an option without a default, or whose default depends on the current version or on a recipe.
    assert f"#{REQUIRED[name][0][2:].replace('-', '_')} =\n" in text
    assert "\n#epochs =\n" in text


def test_without_a_recipe_its_options_are_printed():
    assert "\nepochs = 5\n" in printed(train_model.main, "--recipe", "none")


def test_only_what_the_file_sets_is_a_change_of_the_champion(tmp_path):
    text = printed(retraining.run, *REQUIRED["retrain"], "--epochs", "5", "--no-class-weights")
    (tmp_path / "run.toml").write_text(text, encoding="utf-8")
    _, given = parsed(retraining.run, "--config", tmp_path / "run.toml")
    assert {"epochs", "class_weights"} <= given
    assert not {"init_lr", "rename_labels", "encoder", "preprocess", "text_column"} & given


def test_the_command_line_overrides_the_file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('dataset_path = "a"\nepochs = 3\nread_test = false\nrename_labels = { x = "y" }\nseed = 7\n')
    values, _ = parsed(train_model.main, "--epochs", "4", "--test", "--rename-label", "p=q", "--config", path)
    assert (values["dataset_path"], values["seed"]) == ("a", 7)
    assert (values["epochs"], values["read_test"]) == (4, True)
    assert values["rename_labels"] == {"p": "q"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("epoch = 3", "epoch: unknown option; the nearest known name is epochs"),
        ("rename-label = 1", "rename-label: unknown option; write it as rename_labels"),
        ("[training]\nepochs = 3", "training: unknown option; the nearest known name is"),
        ("epochs = -1", "epochs: expected a whole number of at least 0, got -1"),
        ("epochs = '3'", "epochs: expected a whole number, got '3'"),
        ("epochs = 3.0", "epochs: expected a whole number, got 3.0"),
        ("epochs = true", "epochs: expected a whole number, got true"),
        ("init_lr = nan", "init_lr: expected a number above 0 and below 10, got nan"),
        ("promote = 1", "promote: expected true or false, got 1"),
        ("model_dir = 3", "model_dir: expected a text in quotes, got 3"),
        ("metric = 'luck'", "metric: expected one of accuracy, macro_f1"),
        ("rename_labels = ['a=b']", "rename_labels: expected a table of texts"),
        ("rename_labels = { a = '' }", "rename_labels: expected OLD=NEW"),
        ("rename_labels = { a = ' ' }", "rename_labels: expected OLD=NEW"),
        ("epochs = \n", "expected a TOML file in UTF-8"),
        ("epochs = 3\nepochs = 4\n", "expected a TOML file in UTF-8"),
        (b"name = '\xff'", "expected a TOML file in UTF-8"),
    ],
)
def test_a_wrong_file_is_one_error_with_file_and_key(tmp_path, content, message):
    path = tmp_path / "run.toml"
    error = error_of(train_model.main, path, content, *REQUIRED["train"])
    assert error.startswith(f"error: {path}: {message}"), error


def test_a_missing_file_is_an_error(tmp_path):
    result = CliRunner().invoke(train_model.main, ["--config", str(tmp_path / "x.toml")])
    assert result.exit_code == 2
    assert "x.toml: can't be read (No such file or directory); check the path" in result.stderr


def test_a_missing_required_option_is_an_error_unless_the_file_is_printed(tmp_path):
    (tmp_path / "run.toml").write_text("epochs = 3\n")
    result = CliRunner().invoke(train_model.main, ["--config", str(tmp_path / "run.toml")])
    assert result.exit_code == 2
    assert "Missing option '--dataset-path'" in result.stderr
    assert "\nepochs = 3\n" in printed(train_model.main, "--config", tmp_path / "run.toml")


def test_a_byte_order_mark_is_no_error(tmp_path):
    (tmp_path / "run.toml").write_bytes(b'\xef\xbb\xbfdataset_path = "d"\r\nepochs = 3\r\n')
    assert parsed(train_model.main, "--config", tmp_path / "run.toml")[0]["epochs"] == 3


@pytest.mark.parametrize("option", ["--url", "--encoder", "--preprocess"])
def test_a_printed_file_contains_no_secret(option):
    text = printed(train_model.main, option, "https://user:secret@host/x.tar.gz?token=secret")
    assert "user:" not in text
    assert "token=" not in text
    assert f"secret; give {option} again." in " ".join(text.replace("\n#", " ").split())
    assert f'\n#{option[2:]} = "https://host/x.tar.gz"\n' in text


def test_what_toml_cannot_hold_is_an_error():
    with pytest.raises(ConfigError, match="model_dir: expected a text that a UTF-8 file can hold"):
        config_text(train_model.main.params, {"model_dir": "a\udcff"})


def test_the_console_script_reads_the_same_file(tmp_path):
    """There a store has two names, --model-dir and --model-path."""
    text = printed(train_model.main, *REQUIRED["train"], "--model-dir", "mine")
    (tmp_path / "run.toml").write_text(text)
    arguments = ["--config", str(tmp_path / "run.toml"), "--print-config"]
    result = CliRunner().invoke(textclf.__main__.main, ["train", *arguments])
    assert tomllib.loads(result.stdout) == tomllib.loads(text)
    assert tomllib.loads(text)["model_dir"] == "mine"
    result = CliRunner().invoke(textclf.__main__.main, ["train", *arguments, "--model-path", "other"])
    assert tomllib.loads(result.stdout)["model_dir"] == "other"


def test_a_plain_command_can_be_configured(tmp_path):
    @click.command(cls=ConfiguredCommand)
    @click.option("--count", type=int)
    @click.option("--is-on", is_flag=True)
    def command(count: int | None, is_on: bool) -> None:
        """Print what came."""
        click.echo(f"{count} {is_on}")

    (tmp_path / "run.toml").write_text("count = 3\nis_on = true\n")
    assert CliRunner().invoke(command, ["--config", str(tmp_path / "run.toml")]).stdout == "3 True\n"
    assert CliRunner().invoke(command, []).stdout == "None False\n"

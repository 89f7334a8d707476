"""The options that `check` and `watch` share."""

import click
import pytest
from click.testing import CliRunner

from textclf.cli.durations import Duration
from textclf.config import DriftOptions
from textclf.monitoring.options import MonitoringSettings, given_again, monitoring_options


@pytest.fixture
def seen():
    """What a command was given, and what it would give again."""
    found = {}

    @click.command()
    @click.option("--every", type=Duration(), default="6h")
    @monitoring_options("2of3")
    @click.pass_context
    def command(context, /, every, settings):
        found.update(every=every, settings=settings, again=given_again(context, {"every"}))

    def run(*arguments, **environment):
        result = CliRunner(env=environment).invoke(command, arguments)
        assert result.exit_code == 0, result.output
        return found["settings"], found["again"]

    return run


def test_given_again_they_are_the_same(seen):
    settings, again = seen(
        *("--model-path", "a b", "--windows", "3of5", "--threshold", "0.6", "--alpha", "0.05", "--html", "x.html"),
        *("--retrain", "--old-dataset-path", "old", "--cool-down", "2w", "--min-new-labels", "7", "--threads", "2"),
        *("--retrain-args", "--runs-dir 'my runs'", "--json", "x.json", "--every", "1h"),
    )
    assert settings.cool_down == 14 * 86_400
    assert "--every" not in again
    assert seen(*again)[0] == settings
    assert seen()[0].windows.needed == 2


def test_the_environment_is_the_servers(seen):
    settings, _ = seen(PREDICTION_LOG_URL="sqlite:///a.sqlite", NEW_DATA_DIR="labels")
    assert (settings.log_url, str(settings.new_data_dir)) == ("sqlite:///a.sqlite", "labels")
    assert seen()[0].log_url is None


def test_a_small_alpha_gets_the_permutations_that_it_needs(seen):
    for alpha in ("0.001", "0.003", "0.01", "0.5"):
        options = seen("--alpha", alpha)[0].drift_options
        assert options.permutations >= max(DriftOptions().permutations, 14 / float(alpha))


def test_the_words_of_more_options_are_taken_apart(seen):
    settings, _ = seen("--retrain-args", "--runs-dir 'my runs' --min-holdout 5")
    assert settings.retraining_arguments()[-4:] == ["--runs-dir", "my runs", "--min-holdout", "5"]
    assert isinstance(settings, MonitoringSettings)

"""`textclf tune` with a tiny encoder: trials, a kill in the middle of one, the saved options."""

import shutil
import signal
import tomllib
from pathlib import Path

import optuna
import pytest
from click.testing import CliRunner
from tune_runs import killed_in_a_trial, tune_arguments

import train_model
from textclf.config import DataOptions
from textclf.tuning.command import main
from textclf.tuning.study import SharedStudy, is_interrupted, number_of


@pytest.fixture(scope="module")
def data(tmp_path_factory, reviews) -> Path:
    """The reviews with a test part that no reader accepts."""
    folder = tmp_path_factory.mktemp("tune") / "reviews"
    shutil.copytree(reviews, folder)
    for path in (folder / "test").rglob("*.txt"):
        path.write_bytes(b"\xff\xfe\xff")
    return folder


def run(*given: str) -> str:
    before = signal.getsignal(signal.SIGTERM)
    result = CliRunner().invoke(main, list(given))
    signal.signal(signal.SIGTERM, before)
    assert result.exit_code == 0, result.output
    return result.output


def trials_of(folder: Path) -> list[tuple[int, dict]]:
    """Number and options of each trial that was not interrupted."""
    return sorted((number, params) for number, _, params in records(folder))


def values_of(folder: Path) -> list[tuple[int, float]]:
    return sorted((number, value) for number, value, _ in records(folder))


def records(folder: Path) -> list[tuple[int, float, dict]]:
    study = optuna.load_study(study_name="textclf", storage=f"sqlite:///{folder / 'study/study.db'}")
    return [(number_of(trial), trial.value, trial.params) for trial in study.trials if not is_interrupted(trial)]


@pytest.fixture(scope="module")
def finished(data, tiny_checkpoint, tmp_path_factory) -> tuple[Path, str]:
    """A folder with a study that nothing interrupted, and what the command printed."""
    folder = tmp_path_factory.mktemp("finished")
    output = run(*tune_arguments(data, tiny_checkpoint, folder, "--save", str(folder / "best.toml")))
    return folder, output


def test_the_results(finished):
    folder, output = finished
    assert "test none (not read)" in output
    assert "trial 0:       macro F1 " in output
    assert "; the default recipe\n" in output
    assert "best:          " in output
    values = values_of(folder)
    assert [number for number, _ in values] == [0, 1]
    assert not [path for path in (folder / "study/trials").iterdir() if path.is_dir()]
    assert max(value for _, value in values) >= values[0][1]


@pytest.mark.slow
def test_the_best_is_repeated_with_other_seeds_on_folds(finished, data, tiny_checkpoint, tmp_path):
    """A study that is over, once more, with repeats."""
    folder = tmp_path / "copy"
    shutil.copytree(finished[0], folder)
    more = "--seeds", "1", "--folds", "2"
    output = run(*tune_arguments(data, tiny_checkpoint, folder, *more, "--html", str(tmp_path / "study.html")))
    candidates = 1 if "best:          the default recipe" in output else 2
    assert output.count("\nrepeat:        macro F1") == candidates * 2
    assert "\nrepeated:      macro F1, mean of 2 trainings with its 95% interval\n" in output
    assert "               the default recipe: 0." in output
    assert "mean of 2 trainings" in (tmp_path / "study.html").read_text(encoding="utf-8")
    again = run(*tune_arguments(data, tiny_checkpoint, folder, *more))
    assert "\nrepeat: " not in again
    assert again.split("repeated:")[1] == output.split("repeated:")[1]


@pytest.mark.slow
def test_the_saved_options_train_the_best_trial(finished, reviews):
    folder, _ = finished
    path = folder / "best.toml"
    text = path.read_text(encoding="utf-8")
    saved = tomllib.loads(text)
    assert "The metric of the selection set" not in text
    assert (saved["select"], saved["train_on"]) == ("best", "train")
    best = max(values_of(folder), key=lambda item: (item[1], -item[0]))
    assert saved["seed"] == 42 + best[0]
    assert (saved["epochs"], saved["init_lr"], saved["metric"], saved["read_test"]) == (1, 5e-3, "macro_f1", True)
    options = train_model.main.make_context("train", ["--config", str(path)]).params
    assert {name: options[name] for name in saved if name not in DataOptions().to_dict()}["dropout"] == saved["dropout"]
    # The same training: the test texts of these reviews are no training texts.
    names = set(saved) - {"encoder", "preprocess", "dataset_path", "name", "recipe"}
    training = train_model.Training(
        dataset_path=str(reviews),
        model_name="tiny-bert",
        name_to_handle=saved["encoder"],
        runs_dir=str(folder / "runs"),
        **{name: saved[name] for name in names},
    )
    assert max(training.fit_model()["val_macro_f1"]) == best[1]


@pytest.mark.slow
def test_a_killed_search_continues(finished, data, tiny_checkpoint, tmp_path):
    command = tune_arguments(data, tiny_checkpoint, tmp_path)
    killed_in_a_trial(command, tmp_path)
    page = tmp_path / "study.html"
    output = run(*command, "--html", str(page))
    assert "continuing from step " in output
    # Not its value: the dropout of a continued training is another.
    assert trials_of(tmp_path)[0] == trials_of(finished[0])[0]
    assert len(trials_of(tmp_path)) == 2
    assert len(page.read_text(encoding="utf-8")) > 4_000_000


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--epochs", "2", "--search", "epochs"], "epochs: expected a value or a search, got both"),
        (["--search", "lr"], "search: expected options among init_lr, "),
        (["--ray-address", "x:1"], "--ray-address needs --engine ray: give both"),
        (["--processes", "2"], "--processes needs --engine ray: give both"),
        (["--engine", "ray", "--threads", "0"], "threads: expected a number of at least 1, got 0"),
        (["--search", "layer_decay", "--optimiser", "sgd"], "layer_decay: expected 1 with optimiser 'sgd'"),
        (["--metric", "roc_auc"], "'roc_auc' is not one of 'macro_f1', 'accuracy', 'log_loss'"),
        (
            ["--epochs", "2", "--init-lr", "1e-4", "--dropout", "0", "--r-drop", "0", "--layer-decay", "1"],
            "search: expected at least one option without a value",
        ),
        (["--timeout", "2"], "expected a number above 0 with a unit"),
        (["--folds", "1"], "folds: expected 0 or at least 2, got 1"),
        ([], "no-data"),
    ],
)
def test_wrong_options_are_one_line(tmp_path, more, says):
    given = ["--dataset-path", str(tmp_path / "no-data"), "--study-dir", str(tmp_path / "study"), *more]
    result = CliRunner().invoke(main, given)
    assert result.exit_code in (1, 2)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert says in line
    assert not (tmp_path / "study").exists()


@pytest.mark.slow
def test_a_study_that_does_not_fit_leads_to_another(tmp_path, monkeypatch, data, tiny_checkpoint):
    """The messages name --timeout, --study-dir, --storage and --folds; each time the advice is followed."""
    monkeypatch.setattr(SharedStudy, "run", lambda *_args, **_kwargs: None)
    started = "expected a finished trial, found none; run the same command again, with a longer --timeout"

    def error(*more: str) -> str:
        result = CliRunner().invoke(main, [*tune_arguments(data, tiny_checkpoint, tmp_path), *more])
        assert result.exit_code == 1
        return result.stderr.splitlines()[-1]

    assert started in error("--timeout", "1s")
    assert started in error("--timeout", "2s")
    assert error("--folds", "5000").endswith("got 5000; pass fewer --folds")
    assert started in error("--folds", "2", "--timeout", "1s")
    said = error("--max-length", "16")
    assert "max_length: expected 32, with which the study in " in said
    assert said.endswith("choose another folder with --study-dir")
    assert started in error("--max-length", "16", "--study-dir", str(tmp_path / "other"))
    assert "pass --storage sqlite" in error("--storage", "journal")
    assert started in error("--storage", "sqlite")

"""Studies whose trials are sums instead of trainings: who takes which trial, and what a kill leaves."""

import os
import shutil
import signal

import optuna
import pytest
from clean_processes import clean_processes
from optuna.trial import TrialState

from textclf.errors import ConfigError, DivergedError, TrainingError
from textclf.tuning.options import STORAGES, TuningOptions
from textclf.tuning.search_space import search_space
from textclf.tuning.study import SharedStudy, error_of, is_default, is_interrupted, number_of

SPACE = search_space(["init_lr", "epochs"])
OPTIONS = {"init_lr": 3e-5, "epochs": 5, "seed": 1}


def opened(folder, *, space=SPACE, settings=None, options=OPTIONS, **tuning) -> SharedStudy:
    # The journal is faster than SQLite, the default.
    study = SharedStudy(folder, TuningOptions(**{"storage": "journal", **tuning}), space, seed=1, epochs=2)
    study.open(settings or {}, lambda: dict(options))
    return study


def values_of(trial) -> list[float]:
    """Metrics that rise with the epochs, and with the learning rate."""
    return [trial.params["init_lr"] * 1000 + epoch / 100 for epoch in range(trial.params["epochs"])]


def trained(trial) -> list[float]:
    for epoch, value in enumerate(values_of(trial), start=1):
        trial.report(epoch, value)
    return values_of(trial)


def ignore(_trial) -> None:
    pass


def trials_of(study) -> list[optuna.trial.FrozenTrial]:
    return study.study.get_trials(deepcopy=False)


@pytest.mark.parametrize("storage", STORAGES)
def test_the_default_is_first_and_the_best_wins(tmp_path, storage):
    study, seen = opened(tmp_path / "study", storage=storage, trials=6, prune=False), []
    study.run(trained, seen.append)
    assert [trial.number for trial in seen] == list(range(6))
    assert seen[0].params == {"init_lr": 3e-5, "epochs": 5}
    assert is_default(seen[0])
    assert not is_default(seen[1])
    assert study.finished[0].value == max(trial.value for trial in seen) > seen[0].value
    # The same command again: nothing is left to run.
    again = opened(tmp_path / "study", storage=storage, trials=6)
    again.run(trained, lambda trial: pytest.fail(f"trial {trial.number}"))
    more = opened(tmp_path / "study", storage=storage, trials=7, prune=False)
    more.run(trained, seen.append)
    assert [trial.number for trial in seen] == list(range(7))


def test_equal_studies_draw_equal_values(tmp_path):
    params = []
    for name, parts in (("one", [9]), ("two", [3, 9])):
        for trials in parts:
            study = opened(tmp_path / name, trials=trials)
            study.run(trained, ignore)
        params.append([trial.params for trial in trials_of(study)])
    assert params[0] == params[1]


def test_equal_values_prefer_the_default(tmp_path):
    study = opened(tmp_path, trials=4)
    study.run(lambda _trial: [0.5, 0.5], ignore)
    assert is_default(study.finished[0])


def test_a_loss_is_minimised(tmp_path):
    study = opened(tmp_path, trials=4, metric="log_loss")
    study.run(trained, ignore)
    best = study.finished[0]
    assert best.value == min(trial.value for trial in study.finished)
    assert best.value == min(best.intermediate_values.values())


def test_trials_that_are_behind_stop_early(tmp_path):
    study = opened(tmp_path, trials=20)
    study.run(trained, ignore)
    stopped = [trial for trial in trials_of(study) if trial.state is TrialState.PRUNED]
    assert stopped
    assert all(len(trial.intermediate_values) <= trial.params["epochs"] for trial in stopped)
    assert not any(is_default(trial) for trial in stopped)


def test_a_diverged_training_is_a_failed_trial(tmp_path):
    def diverges(trial):
        if trial.number == 1:
            raise DivergedError("step 3 gave a loss of nan")
        return trained(trial)

    study = opened(tmp_path, trials=3)
    study.run(diverges, ignore)
    assert [trial.state for trial in trials_of(study)][1] is TrialState.FAIL
    assert error_of(trials_of(study)[1]) == "step 3 gave a loss of nan"
    assert len(study.finished) == 2


@pytest.mark.parametrize("storage", STORAGES)
def test_an_interrupted_trial_is_continued(tmp_path, storage):
    """What a process leaves that ends inside a trial; the lock of a killed process is free, too."""

    def ends(trial):
        trial.folder.mkdir(exist_ok=True)
        (trial.folder / "checkpoint").touch()
        trial.report(1, values_of(trial)[0])
        raise TrainingError("disk full")

    study = opened(tmp_path, storage=storage, trials=3)
    for _ in range(2):
        with pytest.raises(TrainingError, match="disk full"):
            study.run(ends, ignore)
    seen = []

    def continued(trial):
        seen.append((trial.number, dict(trial.values), (trial.folder / "checkpoint").exists()))
        return trained(trial)

    opened(tmp_path, storage=storage, trials=3).run(continued, ignore)
    assert seen[0] == (0, {1: pytest.approx(0.03)}, True)
    assert [number for number, _, _ in seen] == [0, 1, 2]
    trials = trials_of(study)
    assert [number_of(trial) for trial in trials if is_interrupted(trial)] == [0, 0]
    assert [trial.params for trial in trials[:3]] == [{"init_lr": 3e-5, "epochs": 5}] * 3
    assert is_default(trials[2])
    assert not [path for path in (tmp_path / "trials").iterdir() if path.is_dir()]


def test_a_trial_that_always_ends_its_process_fails_at_last(tmp_path, monkeypatch):
    monkeypatch.setattr("textclf.tuning.study._MAX_ATTEMPTS", 2)

    def ends(_trial):
        raise TrainingError("out of memory")

    study = opened(tmp_path, trials=2)
    for _ in range(2):
        with pytest.raises(TrainingError):
            study.run(ends, ignore)
    study.run(trained, ignore)
    assert [trial.state.name for trial in trials_of(study)] == ["FAIL", "FAIL", "COMPLETE"]
    assert error_of(trials_of(study)[1]) == "its process was killed 2 times"


def test_no_trial_starts_after_the_time(tmp_path):
    study = opened(tmp_path, trials=5)
    study.run(trained, ignore, may_start=lambda: not study.finished)
    assert len(study.finished) == 1


def test_other_settings_are_refused(tmp_path):
    opened(tmp_path, settings={"max_length": 128, "teachers": ()}, storage="sqlite")
    opened(tmp_path, settings={"max_length": 128, "teachers": ()}, options={"never": "called"}, storage="sqlite")
    with pytest.raises(ConfigError, match=r"max_length: expected 128, .* got 64; .* --study-dir"):
        opened(tmp_path, settings={"max_length": 64}, storage="sqlite")
    with pytest.raises(ConfigError, match=r"found study\.db; pass --storage sqlite"):
        opened(tmp_path, storage="journal")


@pytest.mark.parametrize(("storage", "name"), [("sqlite", "study.db"), ("journal", "study.journal")])
def test_a_damaged_file_is_one_error(tmp_path, storage, name):
    (tmp_path / name).write_bytes(b"no study\nat all\n" * 100)
    with pytest.raises(TrainingError, match=rf"{name}: expected the file of a study, .* --study-dir"):
        opened(tmp_path, storage=storage)


def _work(folder, storage, kill_at) -> None:
    """Run trials in a process that kills itself inside its trial number `kill_at`."""
    count = 0

    def objective(trial):
        nonlocal count
        count += 1
        if count == kill_at:
            trial.report(1, values_of(trial)[0])
            os.kill(os.getpid(), signal.SIGKILL)
        return trained(trial)

    opened(folder, storage=storage, trials=8).run(objective, ignore)


@pytest.mark.parametrize("storage", [pytest.param("sqlite", marks=pytest.mark.slow), "journal"])
def test_processes_share_the_trials_and_survive_kills(tmp_path, storage):
    context = clean_processes()

    def run_together(*kills):
        processes = [context.Process(target=_work, args=(tmp_path, storage, kill)) for kill in kills]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        return [process.exitcode for process in processes]

    assert run_together(2, 1) == [-signal.SIGKILL, -signal.SIGKILL]
    assert -signal.SIGKILL in run_together(1, 0)
    assert run_together(0, 0) == [0, 0]
    study = opened(tmp_path, storage=storage, trials=8)
    trials = trials_of(study)
    done = [trial for trial in trials if not is_interrupted(trial)]
    assert len(done) == 8
    assert all(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in done)
    assert sum(map(is_default, done)) == 1
    assert sorted(map(number_of, done)) == list(range(8))
    assert len(trials) == 11
    shutil.rmtree(tmp_path)

"""`textclf tune --engine ray`: one study, its processes on a cluster."""

import os
import signal
import threading
import time
from pathlib import Path

import optuna
import pytest
from click.testing import CliRunner
from tune_runs import killed_in_a_trial, tune_arguments

from textclf.errors import ConfigError, TrainingError
from textclf.tuning.command import main
from textclf.tuning.ray_engine import RayOptions, search_on_ray
from textclf.tuning.study import is_interrupted, number_of

# Ray leaves sockets to the end of the process, and calls of its own are deprecated.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Workers of raylets import textclf and this file.
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, (ROOT, ROOT / "tests/helpers", Path(__file__).parent))))
        from ray.cluster_utils import Cluster

        started = Cluster(initialize_head=True, head_node_args={"num_cpus": 3, "include_dashboard": False})
        yield started
        started.shutdown()


def tune(data: Path, encoder: Path, folder: Path, *more: str):
    before = signal.getsignal(signal.SIGTERM)
    result = CliRunner().invoke(main, tune_arguments(data, encoder, folder, *more, trials=4))
    signal.signal(signal.SIGTERM, before)
    return result


def trials_of(folder: Path) -> list:
    study = optuna.load_study(study_name="textclf", storage=f"sqlite:///{folder / 'study/study.db'}")
    return study.trials


def searching_processes() -> list[int]:
    """Processes of the cluster that train; Ray names them after the task."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"ray::_run"):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_a_search_on_a_cluster_survives_the_death_of_a_process(cluster, reviews, tiny_checkpoint, tmp_path):
    killed, stop = [], threading.Event()

    def kill_the_first_that_trains() -> None:
        while not stop.wait(0.05):
            if list((tmp_path / "study/trials").glob("*/*/progress.json")) and (pids := searching_processes()):
                os.kill(pids[0], signal.SIGKILL)
                killed.append(pids[0])
                return

    killer = threading.Thread(target=kill_the_first_that_trains)
    killer.start()
    options = ("--engine", "ray", "--ray-address", cluster.address, "--processes", "2", "--threads", "1")
    try:
        result = tune(reviews, tiny_checkpoint, tmp_path, *options, "--save", str(tmp_path / "best.toml"))
    finally:
        stop.set()
        killer.join()
    assert result.exit_code == 0, result.output
    assert killed
    assert "warning: a process on the cluster died" in result.output
    trials = trials_of(tmp_path)
    assert sorted(number_of(trial) for trial in trials if not is_interrupted(trial)) == [0, 1, 2, 3]
    assert len([trial for trial in trials if is_interrupted(trial)]) <= 1
    for number in range(4):
        assert result.output.count(f"\ntrial {number}:       macro F1") == 1
    assert "best:          " in result.output
    assert (tmp_path / "best.toml").exists()
    # The same command finds nothing left to do, here and on the cluster.
    again = tune(reviews, tiny_checkpoint, tmp_path, *options)
    assert again.exit_code == 0, again.output
    assert len(trials_of(tmp_path)) == len(trials)


def test_a_killed_driver_loses_nothing(cluster, reviews, tiny_checkpoint, tmp_path):
    """The next one ends the study with the trials of a search in one process, and repeats the best."""
    options = ("--engine", "ray", "--ray-address", cluster.address, "--processes", "2", "--seeds", "2")
    killed_in_a_trial(tune_arguments(reviews, tiny_checkpoint, tmp_path / "ray", *options, trials=4), tmp_path / "ray")
    result = tune(reviews, tiny_checkpoint, tmp_path / "ray", *options)
    assert result.exit_code == 0, result.output
    assert "\nrepeated:      macro F1, mean of 2 trainings with its 95% interval\n" in result.output
    local = tune(reviews, tiny_checkpoint, tmp_path / "local")
    assert local.exit_code == 0, local.output
    params = [
        {number_of(trial): trial.params for trial in trials_of(tmp_path / name) if not is_interrupted(trial)}
        for name in ("ray", "local")
    ]
    assert params[0] == params[1]
    assert sorted(params[0]) == [0, 1, 2, 3]


def test_other_code_on_a_node_is_refused(cluster, monkeypatch):
    monkeypatch.setattr("textclf.tuning.ray_engine.code_id", lambda: "0.0.9 abc")
    with pytest.raises(
        TrainingError, match=r"expected textclf 0\.0\.9 abc, as on the driver, found .*; install the same"
    ):
        search_on_ray(RayOptions(cluster.address, 1, 1), fail, lambda: None, lambda _: None)


def test_a_pool_on_all_cpus_is_refused(cluster, reviews, tiny_checkpoint, tmp_path):
    options = ("--engine", "ray", "--ray-address", cluster.address, "--processes", "3")
    result = tune(reviews, tiny_checkpoint, tmp_path, *options)
    assert result.exit_code == 1
    assert "--processes: expected a pool that leaves one CPU of the cluster free, found 3 CPUs" in result.output


def end_the_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refuse() -> None:
    raise ConfigError("expected another study")


def fail() -> None:
    raise KeyError("a bug")


@pytest.mark.parametrize(
    ("search", "says"),
    [(refuse, "a process on the cluster: expected another study"), (fail, "a process on the cluster failed: 'a bug'")],
)
def test_an_error_on_a_node_ends_the_search(cluster, search, says):
    with pytest.raises(TrainingError, match=says):
        search_on_ray(RayOptions(cluster.address, 1, 1), search, lambda: None, lambda _: None)


def test_processes_that_always_die_end_the_search(cluster, monkeypatch):
    monkeypatch.setattr("textclf.tuning.ray_engine.MAX_DEATHS", 2)
    lines = []
    with pytest.raises(TrainingError, match="expected at most 2 deaths of processes"):
        search_on_ray(RayOptions(cluster.address, 1, 1), end_the_process, lambda: None, lines.append)
    assert len(lines) == 3


def sleep() -> None:
    time.sleep(600)


def test_a_search_without_its_node_ends(cluster, monkeypatch):
    """The other node has fewer CPUs than a process needs: Ray would wait for ever."""
    monkeypatch.setattr("textclf.tuning.ray_engine.LOST_SECONDS", 3)
    node = cluster.add_node(num_cpus=4)
    cluster.wait_for_nodes()
    lines = []

    def lose_the_node() -> None:
        if node in cluster.worker_nodes and searching_processes():
            cluster.remove_node(node, allow_graceful=False)

    with pytest.raises(TrainingError, match=r"a node with 4 CPUs .* found none for 3 seconds; add a node, or pass"):
        search_on_ray(RayOptions(cluster.address, 1, 4), sleep, lose_the_node, lines.append)
    assert len(lines) == 1

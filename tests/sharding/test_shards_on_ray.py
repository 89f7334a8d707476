"""Shards on three raylets of one CPU: equal bytes, and the deaths of an actor and of a node."""

import contextlib
import json
import os
import signal
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from sharded_data import part_files, score, write_inputs
from tiny_engine import tiny_reviews, write_version

import inference
from textclf.errors import ConfigError
from textclf.ray_cluster import process_count
from textclf.sharding.attempts import ShardError
from textclf.sharding.ray_engine import score_on_ray
from textclf.sharding.shard_scoring import ShardJob

# Ray leaves sockets to the end of the process, and calls of its own are deprecated.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SHARDS = 12
OPTIONS = ("--shards", str(SHARDS), "--id-column", "id", "--keep", "text")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("on_ray")
    write_inputs(folder, rows=6000)
    write_version(folder / "store", cascade=True)
    result = score(folder / "store", folder / "pq", folder / "whole", *OPTIONS, "--processes", "1")
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def cluster():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Workers of raylets import textclf of this checkout.
        patch.setenv("PYTHONPATH", str(ROOT))
        from ray.cluster_utils import Cluster

        started = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        for _ in range(2):
            started.add_node(num_cpus=1)
        yield started
        started.shutdown()


@pytest.fixture
def nodes(cluster):
    """The raylets, as many as at the beginning."""
    yield cluster
    while len(cluster.worker_nodes) < 2:
        cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()


def job_of(folder, target) -> ShardJob:
    (target / "_shards").mkdir(parents=True)
    plan = (folder / "whole" / "_plan.json").read_text()
    (target / "_plan.json").write_text(plan)
    (version,) = (folder / "store" / "versions").iterdir()
    return ShardJob(str(version), str(target), plan)


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in part_files(folder)}


def actor_processes() -> list[int]:
    """Processes of actors, by the name that Ray gives them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes().startswith(b"ray::_Actor") and path.stat().st_uid == os.getuid():
                found.append(int(path.parent.name))
    return found


def test_actors_write_the_same_bytes(folder, cluster, tmp_path):
    options = (*OPTIONS, "--engine", "ray", "--ray-address", cluster.address)
    result = score(folder / "store", folder / "pq", tmp_path, *options)
    assert result.exit_code == 0, result.output
    assert contents(tmp_path) == contents(folder / "whole")
    assert (tmp_path / "_SUCCESS").read_bytes() == (folder / "whole" / "_SUCCESS").read_bytes()


def test_a_pool_on_all_cpus_is_refused(folder, cluster, tmp_path):
    options = (*OPTIONS, "--engine", "ray", "--ray-address", cluster.address, "--processes", "3")
    begin = time.monotonic()
    result = score(folder / "store", folder / "pq", tmp_path, *options)
    assert result.exit_code == 1
    assert "found 3 CPUs, and 4 are needed for 3 processes of 1 threads; ask for at most 2" in result.output
    assert time.monotonic() - begin < 60


@pytest.mark.parametrize(("cpus", "threads", "wanted", "count"), [(3, 1, None, 2), (3, 1, 1, 1), (9, 2, None, 4)])
def test_the_pool_leaves_a_cpu_free(cpus, threads, wanted, count):
    assert process_count(cpus, threads, wanted) == count


@pytest.mark.parametrize(("cpus", "threads", "wanted"), [(1, 1, None), (2, 2, None), (4, 1, 4), (0, 1, 1)])
def test_a_pool_without_a_free_cpu_is_refused(cpus, threads, wanted):
    with pytest.raises(ConfigError, match="leaves one CPU of the cluster free"):
        process_count(cpus, threads, wanted)


def test_a_killed_actor_is_replaced(folder, nodes, tmp_path):
    lines, done = [], []

    def on_outcome(shard, _outcome) -> None:
        done.append(shard)
        if len(done) == 2:
            os.kill(actor_processes()[0], signal.SIGKILL)

    score_on_ray(job_of(folder, tmp_path), list(range(SHARDS)), None, nodes.address, on_outcome, lines.append)
    assert sorted(done) == list(range(SHARDS))
    assert contents(tmp_path) == contents(folder / "whole")


def test_a_killed_raylet_loses_nothing(folder, nodes, tmp_path):
    lines, done = [], []

    def on_outcome(shard, _outcome) -> None:
        done.append(shard)
        if len(done) == 2:
            nodes.remove_node(nodes.worker_nodes.copy().pop(), allow_graceful=False)

    begin = time.monotonic()
    score_on_ray(job_of(folder, tmp_path), list(range(SHARDS)), None, nodes.address, on_outcome, lines.append)
    assert sorted(done) == list(range(SHARDS))
    assert contents(tmp_path) == contents(folder / "whole")
    assert time.monotonic() - begin < 180


def test_an_actor_without_its_model_ends_the_run(folder, nodes, tmp_path):
    job = job_of(folder, tmp_path)
    broken = ShardJob(str(tmp_path / "nothing"), job.output, job.plan)
    with pytest.raises(ShardError, match="nothing"):
        score_on_ray(broken, [0, 1], None, nodes.address, lambda *_: None, lambda _: None)


RULES = """
import os, signal

def before(text):
    if "deadly" in text:
        os.kill(os.getpid(), signal.SIGKILL)
    return text
"""


def test_a_text_that_always_kills_its_actor_ends_the_run(folder, nodes, tmp_path):
    texts = [text for text, _ in tiny_reviews(40)]
    texts[25] += " deadly"
    lines = (json.dumps({"text": text}) + "\n" for text in texts)
    (tmp_path / "in.jsonl").write_text("".join(lines), encoding="utf-8")
    (tmp_path / "rules.py").write_text(RULES, encoding="utf-8")
    model = ("--model-path", str(folder / "store"), "--threads", "1", "--rules", str(tmp_path / "rules.py"))
    places = ("--input", str(tmp_path / "in.jsonl"), "--output", str(tmp_path / "out"), "--shards", "4")
    engine = ("--engine", "ray", "--ray-address", nodes.address, "--processes", "1")
    begin, kept = time.monotonic(), []
    for _ in range(2):  # The same command again ends in the same way, and scores no shard twice.
        result = CliRunner().invoke(inference.main, [*model, "score", *places, *engine])
        assert result.exit_code == 1
        (error,) = [line for line in result.output.splitlines() if line.startswith("error: ")]
        assert "shard 2: failed 3 times, the last time because its actor or its node died" in error
        assert "the shards that are done are kept: correct the cause, and run the same command" in error
        assert result.output.count("trying again") == 2
        kept.append({path.name: path.stat().st_mtime_ns for path in part_files(tmp_path / "out")})
    assert kept[0] == kept[1]
    assert [name[:10] for name in kept[0]] == ["part-00000", "part-00001"]
    assert not (tmp_path / "out" / "_SUCCESS").exists()
    assert time.monotonic() - begin < 180

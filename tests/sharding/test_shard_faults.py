"""Kills and full disks: nothing is lost or scored twice, nothing hangs, and the bytes are the same at the end."""

import json
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sharded_data import hashes, part_files, score, write_inputs
from tiny_engine import write_version

from textclf.sharding.attempts import ShardError
from textclf.sharding.local_engine import score_in_processes
from textclf.sharding.plan import Plan
from textclf.sharding.shard_scoring import ShardJob, ShardScorer

ROOT = Path(__file__).parents[2]
SHARDS = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    write_inputs(folder, rows=3000)
    write_version(folder / "store", cascade=True)
    result = score(folder / "store", folder / "pq", folder / "whole", *OPTIONS, "--processes", "1")
    assert result.exit_code == 0, result.output
    return folder


OPTIONS = ("--shards", str(SHARDS), "--id-column", "id", "--keep", "text")


def job_of(folder, target) -> ShardJob:
    """The run of `whole` with another output."""
    plan = (folder / "whole" / "_plan.json").read_text()
    target.mkdir()
    (target / "_shards").mkdir()
    (target / "_plan.json").write_text(plan)
    (version,) = (folder / "store" / "versions").iterdir()
    return ShardJob(str(version), str(target), plan)


def command(folder, target, *options) -> list[str]:
    main = [sys.executable, "-m", "textclf", "score", "--model-path", str(folder / "store"), "--input"]
    return [*main, str(folder / "pq"), "--output", str(target), *OPTIONS, *options]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in part_files(folder)}


def test_a_killed_process_is_replaced(folder, tmp_path):
    lines, done = [], []

    def kill_one(_count: int) -> None:
        # Again, if it had no shard.
        if not lines and len(done) >= 3 and (workers := multiprocessing.active_children()):
            os.kill(workers[0].pid, signal.SIGKILL)

    job = job_of(folder, tmp_path / "out")
    score_in_processes(
        job, list(range(SHARDS)), 2, lambda shard, _: done.append(shard), kill_one, lambda line: lines.append(line)
    )
    assert sorted(done) == list(range(SHARDS))
    assert "its process was ended by SIGKILL; trying again" in lines[0]
    assert contents(tmp_path / "out") == contents(folder / "whole")


def test_a_shard_that_kills_its_process_ends_the_run(folder, tmp_path):
    def kill(_count: int) -> None:
        for worker in multiprocessing.active_children():
            os.kill(worker.pid, signal.SIGKILL)

    begin = time.monotonic()
    with pytest.raises(ShardError, match=r"shard \d: failed 3 times, .* SIGKILL; the shards that are done are kept"):
        score_in_processes(job_of(folder, tmp_path / "out"), [0, 1], 2, lambda *_: None, kill, lambda _: None)
    assert time.monotonic() - begin < 60
    assert part_files(tmp_path / "out") == []
    assert multiprocessing.active_children() == []


def test_a_process_without_its_model_ends_the_run(folder, tmp_path):
    job = job_of(folder, tmp_path / "out")
    broken = ShardJob(str(tmp_path / "nothing"), job.output, job.plan)
    with pytest.raises(ShardError, match="nothing"):
        score_in_processes(broken, [0, 1], 2, lambda *_: None, lambda _: None, lambda _: None)


def test_another_manifest_on_a_machine_is_refused(folder, tmp_path):
    job = job_of(folder, tmp_path / "out")
    values = json.loads(job.plan) | {"manifest_sha256": "0" * 64}
    values.pop("format")
    plan = Plan.from_json(json.dumps({"format": 1, **values}).encode(), "").to_json()
    (tmp_path / "out" / "_plan.json").write_text(plan)
    with pytest.raises(Exception, match="copy one version to every machine"):
        ShardScorer(ShardJob(job.model_path, job.output, plan)).load()


def test_a_folder_that_is_not_shared_is_refused(folder, tmp_path):
    job = job_of(folder, tmp_path / "out")
    with pytest.raises(Exception, match="to be shared by all machines"):
        ShardScorer(ShardJob(job.model_path, str(tmp_path / "other"), job.plan)).load()


@pytest.mark.slow
def test_a_killed_run_continues(folder, tmp_path):
    choose = random.Random(7)  # noqa: S311
    for _ in range(3):
        process = subprocess.Popen(
            command(folder, tmp_path, "--processes", "2"), env=environment(), stderr=subprocess.PIPE, text=True
        )
        # It is killed while it scores, after a random number of shards.
        assert process.stderr is not None
        for _ in range(choose.randrange(1, 3)):
            process.stderr.readline()
        process.kill()
        process.wait(30)
        process.stderr.close()
    result = subprocess.run(
        command(folder, tmp_path), env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    assert hashes(tmp_path) == hashes(folder / "whole")
    assert [path.name for path in tmp_path.rglob(".*.tmp")] == []


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_full_disk_is_one_line_and_loses_nothing(folder, tmp_path, processes):
    """A limit on the size of files stands for a disk without space; the first shards fit."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    full = subprocess.run(
        command(folder, tmp_path, "--processes", processes, "--no-drift"),
        env=environment(), capture_output=True, text=True, timeout=120, check=False, preexec_fn=limit,
    )  # fmt: skip
    assert full.returncode == 1, full.stderr
    assert "trying again (2 of 3 attempts failed)" in full.stderr
    assert "File too large" in full.stderr.splitlines()[-1]
    assert "Traceback" not in full.stderr
    assert part_files(tmp_path) == []
    assert [path.name for path in tmp_path.rglob(".*.tmp")] == []
    assert score(folder / "store", folder / "pq", tmp_path, *OPTIONS, "--no-drift").exit_code == 0
    assert len(part_files(tmp_path)) == SHARDS

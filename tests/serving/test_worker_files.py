"""The files that tell nginx and gunicorn about workers, also on a disk without room for new files."""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from gunicorn.workers import base

from serving.server import heartbeat
from serving.server.worker_files import (
    announce_drain,
    draining_file,
    forget,
    hide,
    is_any_warm,
    prepare,
    prepare_drain,
    show,
)


@pytest.fixture
def worker(tmp_path):
    return SimpleNamespace(number=1, cfg=SimpleNamespace(worker_tmp_dir=str(tmp_path)))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} & {"1.ready", "1.warm"}


def test_a_worker_is_shown_hidden_and_forgotten(worker, tmp_path):
    assert not forget(worker)
    for _ in range(2):  # The second one is its successor.
        show(worker)
        assert names(tmp_path) == {"1.ready", "1.warm"}
        assert (tmp_path / "1.ready").readlink() == Path("1.sock")
        hide(worker)
        assert names(tmp_path) == {"1.warm"}
        assert is_any_warm(tmp_path)
        assert forget(worker)
        assert not forget(worker)
        assert names(tmp_path) == set()
        assert not is_any_warm(tmp_path)


def test_neither_a_worker_nor_its_successor_needs_a_new_file(worker, tmp_path):
    prepare(worker)
    assert names(tmp_path) == set()
    inodes = {path.lstat().st_ino for path in tmp_path.iterdir()}
    assert len(inodes) == 2
    for _ in range(2):
        show(worker)
        assert names(tmp_path) == {"1.ready", "1.warm"}
        forget(worker)
        prepare(worker)
    show(worker)
    assert {path.lstat().st_ino for path in tmp_path.iterdir()} == inodes


def test_the_drain_needs_no_new_file(tmp_path):
    prepare_drain(tmp_path)
    (prepared,) = tmp_path.iterdir()
    inode = prepared.stat().st_ino
    assert not draining_file(tmp_path).exists()
    announce_drain(tmp_path)
    assert [path.stat().st_ino for path in tmp_path.iterdir()] == [inode]
    assert draining_file(tmp_path).exists()


def test_a_worker_gives_a_sign_of_life_without_a_disk(monkeypatch):
    monkeypatch.setattr(base, "WorkerTmp", base.WorkerTmp)
    heartbeat.use_memory()
    config = SimpleNamespace(worker_tmp_dir="/no/such/folder", max_requests=0)
    sign = base.Worker(0, 0, [], None, 30, config, None).tmp
    before = time.monotonic()
    sign.notify()
    assert before <= sign.last_update() <= time.monotonic()
    sign.close()

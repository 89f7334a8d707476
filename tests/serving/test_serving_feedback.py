"""Feedback: on disk before it is acknowledged, within the quota, whole under concurrency and after a crash."""

import errno
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from serving_models import inference, settings

from serving.app import create_app
from serving.settings import MAX_FEEDBACK
from textclf.config import DataOptions
from textclf.data import feedback_store as feedback
from textclf.data.dataset_layout import find_parts
from textclf.data.feedback_index import INDEX
from textclf.data.feedback_store import FeedbackStore
from textclf.data.readers import read_part
from textclf.data.tables import table_format
from textclf.errors import InputError, StorageQuotaError, UnknownLabelError

CLASSES = ("neg", "pos")
BLOCK = 4096
LARGE = 10**9
ROOT = Path(__file__).parents[2]


def save(store, text="Good.", label="pos", model="m", **more):
    return store.save(text, label, CLASSES, model, **more)


def entries(folder):
    return [json.loads(line) for line in (folder / INDEX).read_text(encoding="utf-8").splitlines()]


def texts(folder):
    return sorted(path.name for path in folder.glob("train/*/*.txt"))


def test_text_and_entry(tmp_path):
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    store = FeedbackStore(tmp_path / "new", LARGE, clock=lambda: now)
    first = save(store, "ö\r\n\0", model="m 1", source="web ö\n")
    second = save(store, label="neg", model="m 2", audit=True)
    assert (tmp_path / "new" / "train" / "pos" / f"{first}.txt").read_bytes() == "ö\r\n\0".encode()
    assert entries(tmp_path / "new") == [
        {"id": first, "time": "2026-01-02T03:04:05.000+00:00", "label": "pos", "source": "web ö\n", "model": "m 1",
         "audit": False},
        {"id": second, "time": "2026-01-02T03:04:05.000+00:00", "label": "neg", "source": None, "model": "m 2",
         "audit": True},
    ]  # fmt: skip


def test_a_process_that_removes_before_it_stores_frees_the_space_once(tmp_path):
    first = save(FeedbackStore(tmp_path, 3 * BLOCK))
    # Two reviews and the index.
    save(FeedbackStore(tmp_path, 3 * BLOCK), "Better.")
    other = FeedbackStore(tmp_path, 3 * BLOCK)
    assert other.remove(first)
    save(other, "Best.")
    with pytest.raises(StorageQuotaError):
        save(other, "One too many.")


def test_the_readers_of_data_see_the_reviews_and_nothing_else(tmp_path):
    store = FeedbackStore(tmp_path, LARGE)
    for label in CLASSES:
        save(store, label=label)
    assert table_format(INDEX) is None
    for source in (tmp_path, tmp_path / "train"):
        part = read_part(find_parts(source).train, DataOptions())
        assert sorted(zip(part.texts, part.labels, strict=True)) == [("Good.", "neg"), ("Good.", "pos")]
        assert part.ignored == 0


def test_everything_is_synced_before_save_returns(tmp_path, monkeypatch):
    synced = []
    real = os.fsync

    def fsync(descriptor):
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    save(FeedbackStore(tmp_path, LARGE))
    text = next(index for index, path in enumerate(synced) if path.endswith(".tmp"))
    folder = synced.index(str(tmp_path / "train" / "pos"))
    line = synced.index(str(tmp_path / INDEX))
    assert text < folder < line
    named = {str(path) for path in (tmp_path / "train", tmp_path, tmp_path.parent)}
    assert named <= set(synced), "the class folder, its folder and the index have names that must be durable, too"
    assert synced[-1] == str(tmp_path)


@pytest.mark.parametrize("label", ["neutral", "POS", "", "..", "pos/x"])
def test_unknown_labels(tmp_path, label):
    with pytest.raises(UnknownLabelError):
        save(FeedbackStore(tmp_path / "new", LARGE), label=label)
    assert not (tmp_path / "new").exists()


def test_a_text_that_is_not_unicode_is_refused(tmp_path):
    store = FeedbackStore(tmp_path, LARGE)
    with pytest.raises(InputError, match="expected well-formed Unicode"):
        save(store, text="half \ud83d of a pair")
    assert not (tmp_path / INDEX).exists()
    assert not list(tmp_path.rglob("*.txt"))


def test_a_line_that_a_crash_cut_short_spoils_no_other(tmp_path):
    store = FeedbackStore(tmp_path, LARGE)
    save(store)
    with open(tmp_path / INDEX, "ab") as file:
        file.write(b'{"id": "torn')
    save(store)
    lines = (tmp_path / INDEX).read_text().split("\n")
    assert [line[:12] for line in lines] == [lines[0][:12], '{"id": "torn', lines[2][:12], ""]
    assert json.loads(lines[2])["label"] == "pos"


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    store = FeedbackStore(tmp_path, LARGE)
    save(store)
    before = ((tmp_path / INDEX).read_bytes(), texts(tmp_path))
    real = os.write

    def half(descriptor, content):
        return real(descriptor, content[: len(content) // 2])

    def full(_descriptor, _content):
        raise OSError(errno.ENOSPC, "No space left on device")

    for write in (half, full):
        with monkeypatch.context() as patch:
            patch.setattr(feedback.os, "write", write)
            with pytest.raises(OSError, match="No space left"):
                save(store)
        assert ((tmp_path / INDEX).read_bytes(), texts(tmp_path)) == before
    save(store)
    assert len(entries(tmp_path)) == len(texts(tmp_path)) == 2


def test_an_index_whose_name_is_not_synced_gets_no_line(tmp_path, monkeypatch):
    store = FeedbackStore(tmp_path, LARGE)
    real, synced = feedback.sync_folder, []

    def refuse_after_the_texts(folder):
        synced.append(folder)
        if synced.count(tmp_path) == 2:
            raise OSError(errno.EIO, "Input/output error")
        real(folder)

    with monkeypatch.context() as patch:
        patch.setattr(feedback, "sync_folder", refuse_after_the_texts)
        with pytest.raises(OSError, match="Input/output"):
            save(store)
    assert (tmp_path / INDEX).read_bytes() == b""
    assert texts(tmp_path) == []
    save(store)
    assert len(entries(tmp_path)) == len(texts(tmp_path)) == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_507(tmp_path, monkeypatch, number, caplog):
    client = create_app(settings(tmp_path), inference()).test_client()

    def full(*_):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(feedback, "staged_file", full)
        response = client.post("/feedback", json={"text": "good", "label": "pos"})
    assert response.status_code == 507
    assert response.get_json()["error"]["code"] == "disk_full"
    assert not caplog.records
    assert client.post("/feedback", json={"text": "good", "label": "pos"}).status_code == 201


def check_unavailable(client, folder, caplog):
    response = client.post("/feedback", json={"text": "Jane", "label": "pos"})
    assert response.status_code == 507
    error = response.get_json()["error"]
    assert error["code"] == "storage_unavailable"
    assert "/" not in error["message"], "no path"
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert f"NEW_DATA_DIR, {folder}, " in caplog.text
    assert "Jane" not in caplog.text


def test_a_folder_that_is_a_file_is_507(tmp_path, caplog):
    (tmp_path / "new").write_text("a file")
    check_unavailable(create_app(settings(tmp_path), inference()).test_client(), tmp_path / "new", caplog)


@pytest.mark.parametrize("folder", ["/proc/nope", "/dev/null/new"])
def test_a_folder_that_nobody_can_make_is_507(tmp_path, folder, caplog):
    client = create_app(settings(tmp_path, new_data_dir=Path(folder)), inference()).test_client()
    check_unavailable(client, folder, caplog)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EPERM])
def test_a_folder_that_cannot_be_written_is_507(tmp_path, monkeypatch, number, caplog):
    client = create_app(settings(tmp_path), inference()).test_client()

    def refuse(*_):
        raise OSError(number, os.strerror(number), str(tmp_path / "new" / "train"))

    with monkeypatch.context() as patch:
        patch.setattr(feedback, "staged_file", refuse)
        check_unavailable(client, tmp_path / "new", caplog)
    assert os.strerror(number) in caplog.text
    assert client.post("/feedback", json={"text": "good", "label": "pos"}).status_code == 201


def test_another_error_of_the_disk_is_a_fault_of_the_server(tmp_path, monkeypatch, caplog):
    client = create_app(settings(tmp_path), inference()).test_client()

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(feedback, "staged_file", fail)
    assert client.post("/feedback", json={"text": "Jane", "label": "pos"}).status_code == 500
    assert "OSError" in caplog.text
    assert "Jane" not in caplog.text


def test_quota(tmp_path):
    """A review takes a block, and the index one for its first lines."""
    client = create_app(settings(tmp_path, new_data_max_bytes=4 * BLOCK), inference()).test_client()
    body = {"text": "good", "label": "pos"}
    answers = [client.post("/feedback", json=body) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [201, 201, 201, 507, 507]
    error = answers[-1].get_json()["error"]
    assert error["code"] == "quota_exceeded"
    assert str(4 * BLOCK) in error["message"]
    assert "within a minute" in error["message"], "taking reviews away does not help at once"
    assert len(texts(tmp_path / "new")) == len(entries(tmp_path / "new")) == 3
    assert client.post("/predict", json={"text": "good"}).status_code == 200


def test_no_space_at_all(tmp_path):
    with pytest.raises(StorageQuotaError):
        save(FeedbackStore(tmp_path, 0))
    assert texts(tmp_path) == []


def test_large_reviews_count_in_blocks(tmp_path):
    store = FeedbackStore(tmp_path, 5 * BLOCK)
    save(store, "ö" * 4096)
    save(store, "x" * BLOCK)
    with pytest.raises(StorageQuotaError):
        save(store, "x" * (BLOCK + 1))
    save(store, "x")


def test_space_is_counted_once_and_not_at_every_review(tmp_path, monkeypatch):
    walks = []
    real = os.walk
    monkeypatch.setattr(feedback.os, "walk", lambda path: walks.append(path) or real(path))
    store = FeedbackStore(tmp_path, LARGE)
    for _ in range(5):
        save(store)
    assert len(walks) == 1


def test_the_count_is_shared_and_survives_the_process(tmp_path):
    first, second = FeedbackStore(tmp_path, 6 * BLOCK), FeedbackStore(tmp_path, 6 * BLOCK)
    for store, _ in zip(itertools.cycle([first, second]), range(5), strict=False):
        save(store)
    for store in (first, second, FeedbackStore(tmp_path, 6 * BLOCK)):
        with pytest.raises(StorageQuotaError):
            save(store)


def test_reviews_that_are_taken_away_make_room(tmp_path):
    now = [0.0]
    store = FeedbackStore(tmp_path, 4 * BLOCK, monotonic=lambda: now[0])
    for _ in range(3):
        save(store)
    for path in tmp_path.glob("train/*/*.txt"):
        path.unlink()
    with pytest.raises(StorageQuotaError):
        save(store)
    now[0] = 61.0
    for _ in range(3):
        save(store)
    with pytest.raises(StorageQuotaError):
        save(store)


def test_a_damaged_count_is_counted_anew(tmp_path):
    store = FeedbackStore(tmp_path, 4 * BLOCK)
    save(store)
    (tmp_path / ".feedback.usage").write_bytes(b"rubbish")
    for _ in range(2):
        save(store)
    with pytest.raises(StorageQuotaError):
        save(store)


class Stalled:
    """Keeps a commit from ending until it is opened: a gate in the first sync of the index."""

    def __init__(self, monkeypatch):
        self.waits, self.opened = threading.Event(), threading.Event()
        self.calls = 0
        self._append = FeedbackStore._append
        monkeypatch.setattr(FeedbackStore, "_append", lambda store, entries: self._append_later(store, entries))

    def _append_later(self, store, entries):
        self.calls += 1
        self.waits.set()
        assert self.opened.wait(10)
        return self._append(store, entries)


def start_saves(store, count, results, **more):
    def run(number):
        try:
            results.append(save(store, f"{number}", **more))
        except (OSError, StorageQuotaError) as error:
            results.append(error)

    threads = [threading.Thread(target=run, args=[number]) for number in range(count)]
    for thread in threads:
        thread.start()
    return threads


def wait_for_queue(store, count):
    deadline = time.monotonic() + 10
    while len(store._commits._waiting) < count:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_threads_that_arrive_during_a_commit_share_the_next_one(tmp_path, monkeypatch):
    stalled, store, results = Stalled(monkeypatch), FeedbackStore(tmp_path, LARGE), []
    threads = start_saves(store, 1, results)
    assert stalled.waits.wait(10)
    threads += start_saves(store, 6, results)
    wait_for_queue(store, 6)
    assert results == [], "nothing is acknowledged before its line is on disk"
    stalled.opened.set()
    for thread in threads:
        thread.join(10)
    assert stalled.calls == 2
    assert sorted(f"{review_id}.txt" for review_id in results) == texts(tmp_path)
    assert {entry["id"] for entry in entries(tmp_path)} == set(results)


def test_the_quota_refuses_only_the_reviews_of_a_group_that_exceed_it(tmp_path, monkeypatch):
    stalled, store, results = Stalled(monkeypatch), FeedbackStore(tmp_path, 4 * BLOCK), []
    threads = start_saves(store, 1, results)
    assert stalled.waits.wait(10)
    threads += start_saves(store, 5, results)
    wait_for_queue(store, 5)
    stalled.opened.set()
    for thread in threads:
        thread.join(10)
    assert sum(isinstance(result, StorageQuotaError) for result in results) == 3
    assert len(texts(tmp_path)) == len(entries(tmp_path)) == 3
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_disk_that_refuses_a_group_stores_none_of_it(tmp_path, monkeypatch):
    store, results = FeedbackStore(tmp_path, LARGE), []
    save(store)
    before = ((tmp_path / INDEX).read_bytes(), texts(tmp_path))
    with monkeypatch.context() as patch:
        stalled = Stalled(patch)
        threads = start_saves(store, 1, results)
        assert stalled.waits.wait(10)
        threads += start_saves(store, 3, results)
        wait_for_queue(store, 3)

        def full(_descriptor, _content):
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(feedback.os, "write", full)
        stalled.opened.set()
        for thread in threads:
            thread.join(10)
    assert [error.errno for error in results] == [errno.ENOSPC] * 4
    assert ((tmp_path / INDEX).read_bytes(), texts(tmp_path)) == before
    assert not list(tmp_path.rglob("*.tmp"))
    save(store)


def test_a_full_store_refuses_before_it_writes_a_text(tmp_path, monkeypatch):
    store = FeedbackStore(tmp_path, 2 * BLOCK)
    save(store)
    monkeypatch.setattr(feedback, "staged_file", None)
    with pytest.raises(StorageQuotaError):
        save(store)


def test_reviews_leave_the_slots_of_predictions_free(tmp_path, monkeypatch):
    stalled = Stalled(monkeypatch)
    app = create_app(settings(tmp_path, max_concurrent=1), inference())
    statuses = []

    def post():
        statuses.append(app.test_client().post("/feedback", json={"text": "good", "label": "pos"}).status_code)

    threads = [threading.Thread(target=post) for _ in range(MAX_FEEDBACK)]
    for thread in threads:
        thread.start()
    assert stalled.waits.wait(10)
    wait_for_queue(app.extensions["textclf"].reviews, MAX_FEEDBACK - 1)
    client = app.test_client()
    assert client.post("/feedback", json={"text": "good", "label": "pos"}).status_code == 429
    assert [client.post("/predict", json={"text": "good"}).status_code for _ in range(3)] == [200] * 3
    stalled.opened.set()
    for thread in threads:
        thread.join(10)
    assert statuses == [201] * MAX_FEEDBACK


def test_texts_of_killed_servers_go_once_they_are_old(tmp_path):
    folder = tmp_path / "train" / "pos"
    folder.mkdir(parents=True)
    for name, age in ((".a.0123456789abcdef.tmp", 0), (".b.0123456789abcdef.tmp", None)):
        (folder / name).write_text("half a te")
        os.utime(folder / name, None if age is None else (age, age))
    save(FeedbackStore(tmp_path, LARGE))
    assert [path.name for path in folder.glob("*.tmp")] == [".b.0123456789abcdef.tmp"]
    assert int((tmp_path / ".feedback.usage").read_bytes()) == 2 * BLOCK, "a hidden file is no review"


_SAVE_MANY = """
import sys
from pathlib import Path
from textclf.data.feedback_store import FeedbackStore

def save_many(folder, number, count=20):
    store = FeedbackStore(Path(folder), 10**9)
    for index in range(count):
        text = f"{number} {index} " + "x" * 300
        store.save(text, ("neg", "pos")[index % 2], ("neg", "pos"), "m", source="y" * 200)

if __name__ == "__main__":
    save_many(*sys.argv[1:])
"""


def test_processes_and_threads_at_a_time(tmp_path):
    shared: dict = {"__name__": "shared"}
    exec(_SAVE_MANY, shared)  # noqa: S102 the same lines in threads
    command = [sys.executable, "-c", _SAVE_MANY, str(tmp_path)]
    processes = [subprocess.Popen([*command, str(number)], cwd=ROOT) for number in range(2)]
    threads = [threading.Thread(target=shared["save_many"], args=(tmp_path, number)) for number in range(2, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [process.wait(60) for process in processes] == [0, 0]
    found = entries(tmp_path)
    assert sorted(f"{entry['id']}.txt" for entry in found) == texts(tmp_path)
    assert len(found) == 100
    used = int((tmp_path / ".feedback.usage").read_bytes())
    assert used == 100 * BLOCK + -(-(tmp_path / INDEX).stat().st_size // BLOCK) * BLOCK

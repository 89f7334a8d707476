"""SIGKILL at random moments of saving, retraining, promotion and rollback: what `current` names is whole, and loads."""

import fcntl
import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from killable import Stem
from tiny_engine import tiny_reviews, write_version

from textclf.data.datasets import load_dataset
from textclf.retraining.combined_dataset import read_holdout
from textclf.retraining.locks import LOCK_FILE
from textclf.runtime.loading import predictor_of_version
from textclf.stats.parity import Parity
from textclf.store.decision_log import MOVES, DecisionLog
from textclf.store.model_store import ModelStore
from textclf.store.promotion_hold import PromotionHold

KILLS = 80
KILLS_OF_RETRAINING = 20


@pytest.fixture(scope="module")
def stem():
    with Stem() as stem:
        yield stem


@pytest.fixture
def store(tmp_path) -> ModelStore:
    write_version(tmp_path / "model")
    return ModelStore(tmp_path / "model")


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A version to copy, which answers as the store's first one does."""
    # So that the gate of a retraining finds nothing against it.
    same = Parity(
        1000,
        agreement=1,
        clear_agreement=1,
        widest_margin_of_differing=0,
        accuracy_of_original=0.5,
        accuracy_of_copy=0.5,
        largest_logit_difference=0,
        mean_logit_difference=0,
    )
    return write_version(tmp_path_factory.mktemp("source") / "model", parity={"engine": same.to_dict()})


class Checker:
    """Checks the invariants of a store whose writer was killed."""

    def __init__(self, store: ModelStore) -> None:
        self.store = store
        self._loaded: set[frozenset[tuple[str, str]]] = set()

    def check(self) -> None:
        current = self.store.open()
        for version_id in {current.id, *self.store.version_ids()[-3:]}:
            self.store.open(version_id).verify()
        files = frozenset(current.manifest.files.items())
        if files not in self._loaded:  # The same bytes load again.
            assert predictor_of_version(current).predict(["the film was great"])[0].label in ("neg", "pos")
            self._loaded.add(files)
        for name in (".lock", LOCK_FILE):
            with open(self.store.path / name, "a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        log = DecisionLog(self.store.path)
        assert all("its writer was killed" in sentence for sentence in log.verify())
        # A move is written down before it happens.
        moves = [entry for entry in log.entries() if entry["action"] in MOVES]
        assert not moves or current.id in (moves[-1]["champion"], moves[-1]["challenger"])
        hold = PromotionHold(self.store.path).reason
        assert hold is None or hold.startswith("rolled back from")


def kill_at_random(stem: Stem, store: ModelStore, kills: int, work: str, *arguments: object) -> None:
    """Kill `kills` workers, each at a moment within about a round of its work; check after each."""
    checker = Checker(store)
    took = []
    for _ in range(3):
        began = time.monotonic()
        assert stem.status(stem.fork(work, store.path, *arguments, 1)) == 0
        took.append(time.monotonic() - began)
        checker.check()
    longest = 1.3 * min(took)
    chance = random.Random(0)  # noqa: S311
    for _ in range(kills):
        pid = stem.fork(work, store.path, *arguments)
        time.sleep(chance.uniform(0, longest))
        os.kill(pid, signal.SIGKILL)
        assert stem.status(pid) == -signal.SIGKILL
        checker.check()


@pytest.mark.slow
def test_killed_while_it_saves_promotes_and_rolls_back(stem, store, source):
    kill_at_random(stem, store, KILLS, "save_promote_and_roll_back", source)
    # They were at work, and the next one still is.
    counts = Counter(entry["action"] for entry in DecisionLog(store.path).entries())
    assert min(counts[action] for action in ("promote", "rollback", "promote_by_hand", "hold_lifted")) > 3 + KILLS / 10
    saved = len(store.version_ids())
    assert stem.status(stem.fork("save_promote_and_roll_back", store.path, source, 1)) == 0
    assert len(store.version_ids()) == saved + 1
    assert store.current_id() == store.version_ids()[-1]


@pytest.mark.slow
def test_killed_while_it_retrains(stem, store, source, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new.jsonl"
    for part, count, seed in (("train", 60, 1), ("test", 40, 2)):
        write_table(old / f"{part}.jsonl", tiny_reviews(count, seed))
    write_table(new, tiny_reviews(80, 3, of_films=False))
    kill_at_random(stem, store, KILLS_OF_RETRAINING, "retrain", source, old, new, tmp_path)
    assert {entry["action"] for entry in DecisionLog(store.path).entries()} == {"promote"}
    # Whatever was written last, or the next that is, is whole.
    assert stem.status(stem.fork("retrain", store.path, source, old, new, tmp_path, 1)) == 0
    combined = tmp_path / "combined"
    assert len(load_dataset(combined).test) == 40
    assert len(read_holdout(combined, ("neg", "pos"))[0]) >= 10


def write_table(path: Path, reviews: list[tuple[str, int]]) -> None:
    path.parent.mkdir(exist_ok=True)
    rows = [{"text": text, "label": ("neg", "pos")[label]} for text, label in reviews]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")

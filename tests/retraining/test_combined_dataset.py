"""A combined data set on disk: every text byte for byte, the test set unchanged, and no other folder touched."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from labelled_texts import CLASSES, prose, reviews, texts_on_side

from textclf.config import DataOptions
from textclf.data.datasets import load_dataset, split_fingerprint
from textclf.data.labelled_reviews import LabelledReview
from textclf.errors import DatasetError
from textclf.retraining.combined_dataset import read_holdout, write_combined
from textclf.retraining.combining import combine
from textclf.retraining_options import CombineOptions

ODD = [
    "two\r\nlines\r\n",
    "\n\n  leading and trailing \t\n",
    "\ufeffmarked",
    "\ufeff\ufeffmarked twice",
    "nul \0, \u2028 separator, \x85 next line, \x1c",
    "decomposed cafe\u0301 and composed caf\xe9",
    "emoji \U0001f600\u200d\U0001f525 \ufffe \U0010ffff",
    "x" * 200_000,
    "\u200b",
    '"quoted", commas,\tand {json: "too"}',
]


def write_old(root: Path, odd=ODD) -> Path:
    """Data with odd texts in both parts, and a text that stands twice in the test part."""
    for part, start in (("train", 100_000), ("test", 200_000)):
        root.mkdir(parents=True, exist_ok=True)
        texts = (
            [prose(start + i) for i in range(60)] + [f"{text} {part}" for text in odd] + [f"{part} {t}" for t in odd]
        )
        if part == "test":
            texts += texts[:3] + texts[-2:]
        rows = [{"text": text, "label": CLASSES[i % 2]} for i, text in enumerate(texts)]
        (root / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


def combined_with(old, new):
    return combine(
        old,
        new,
        old.test,
        [review.label for review in new],
        CombineOptions(holdout_room=100),
    )


def trained_on(dataset):
    splits = (dataset.train, dataset.validation_select, dataset.validation_calibrate)
    return Counter(
        (text, int(label)) for split in splits for text, label in zip(split.texts, split.labels, strict=True)
    )


def pairs(split):
    return Counter(zip(split.texts, split.labels.tolist(), strict=True))


@pytest.fixture(autouse=True)
def _no_sync_of_the_whole_system(monkeypatch):
    """It takes as long as whatever else writes to the disk."""
    monkeypatch.setattr(os, "sync", lambda: None)


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    return load_dataset(write_old(tmp_path_factory.mktemp("old")))


@pytest.fixture
def new():
    texts = texts_on_side(False, 30, 0) + texts_on_side(True, 15, 0) + [f"new {text}" for text in ODD] + ODD
    time = datetime(2026, 1, 2, tzinfo=UTC)
    made = [LabelledReview(text, CLASSES[i % 2], "shop ö", time, i % 3 == 0) for i, text in enumerate(texts)]
    return [*made, *made[:5], LabelledReview("odd one", "neutral", path=Path("new/x.txt"))]


def test_load_dataset_reads_it_back(tmp_path, old, new):
    combined = combined_with(old, new)
    summary = write_combined(combined, old.test, tmp_path / "combined")
    back = load_dataset(tmp_path / "combined")
    assert back.class_names == old.class_names
    assert back.fingerprints["test"] == old.fingerprints["test"] == summary["fingerprints"]["test"]
    assert pairs(back.test) == pairs(old.test)
    assert trained_on(back) == pairs(combined.train)
    assert len(combined.added) > 30
    counts = back.counts
    assert (counts.duplicates, counts.conflicts, counts.in_test, counts.empty, counts.ignored) == (0, 0, 0, 0, 0)
    assert not set(combined.holdout.texts) & set(back.train.texts)


def test_the_holdout_comes_back(tmp_path, old, new):
    combined = combined_with(old, new)
    summary = write_combined(combined, old.test, tmp_path / "combined")
    held, _ = read_holdout(tmp_path / "combined", CLASSES)
    assert len(held) > 10
    assert pairs(held) == pairs(combined.holdout)
    assert summary["fingerprints"]["holdout"] == split_fingerprint(CLASSES, {"holdout": held})
    (tmp_path / "combined" / "holdout" / "neutral").mkdir()
    (tmp_path / "combined" / "holdout" / "neutral" / "x.txt").write_text("x")
    with pytest.raises(DatasetError, match="holdout: expected the classes neg, pos"):
        read_holdout(tmp_path / "combined", CLASSES)


def test_without_new_texts(tmp_path, old):
    write_combined(combined_with(old, []), old.test, tmp_path / "combined")
    assert len(read_holdout(tmp_path / "combined", CLASSES)[0]) == 0
    assert trained_on(load_dataset(tmp_path / "combined")) == trained_on(old)
    assert (tmp_path / "combined" / "removed.jsonl").read_bytes() == b""


def test_what_was_removed_and_why(tmp_path, old, new):
    combined = combined_with(old, new)
    write_combined(combined, old.test, tmp_path / "combined")
    lines = (tmp_path / "combined" / "removed.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [(row["text"], row["label"], row["reason"], row["detail"]) for row in rows] == [
        (removed.review.text, removed.review.label, removed.reason, removed.detail) for removed in combined.removed
    ]
    assert rows[-1] == {
        "reason": "unknown_label",
        "detail": "the labels are neg, pos",
        "text": "odd one",
        "label": "neutral",
        "source": "",
        "time": None,
        "audit": False,
        "model": "",
        "path": "new/x.txt",
    }
    assert rows[0]["time"] == "2026-01-02T00:00:00+00:00"
    duplicate = next(row for row in rows if row["reason"] == "duplicate")
    assert list((tmp_path / "combined").glob(f"*/*/{duplicate['detail']}.txt")), "the detail names the one that stays"


def test_the_summary(tmp_path, old, new):
    combined = combined_with(old, new)
    summary = write_combined(combined, old.test, tmp_path / "combined")
    stored = json.loads((tmp_path / "combined" / "combined.json").read_text())
    assert stored == {"format": stored["format"], **json.loads(json.dumps(summary))}
    assert stored["counts"] == combined.counts
    assert sum(stored["counts"]["outcomes"].values()) == len(new)
    assert stored["fingerprints"]["new"] == combined.fingerprint
    assert CombineOptions.from_dict(stored["options"]) == combined.options


def test_labels_are_written_under_their_new_names(tmp_path):
    source = write_old(tmp_path / "old", [])
    old = load_dataset(source, options=DataOptions(rename_labels={"pos": "good"}))
    write_combined(combined_with(old, []), old.test, tmp_path / "combined")
    back = load_dataset(tmp_path / "combined")
    assert back.class_names == ("good", "neg")
    assert back.fingerprints["test"] == old.fingerprints["test"]


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_one_of_before_is_replaced(tmp_path, old, new):
    path = tmp_path / "combined"
    write_combined(combined_with(old, new), old.test, path)
    (path / "train" / "pos" / "left over.txt").write_text("x")
    second = combined_with(old, new[:10])
    write_combined(second, old.test, path)
    assert trained_on(load_dataset(path)) == pairs(second.train)
    assert list(tmp_path.iterdir()) == [path]


def test_an_empty_folder_is_filled(tmp_path, old):
    (tmp_path / "combined").mkdir()
    write_combined(combined_with(old, []), old.test, tmp_path / "combined")
    assert load_dataset(tmp_path / "combined").fingerprints["test"] == old.fingerprints["test"]


@pytest.mark.parametrize("summary", [None, "{", "[1]", '{"format": "other"}', '{"counts": {}}'])
def test_another_folder_is_refused_and_left_alone(tmp_path, old, summary):
    path = tmp_path / "mine"
    (path / "train").mkdir(parents=True)
    (path / "train" / "x.txt").write_text("x")
    if summary is not None:
        (path / "combined.json").write_text(summary)
    before = contents(path)
    with pytest.raises(DatasetError, match="mine: expected a new folder or an earlier combined data set"):
        write_combined(combined_with(old, []), old.test, path)
    assert contents(path) == before
    (tmp_path / "file").write_text("x")
    with pytest.raises(DatasetError, match="file: expected a new folder"):
        write_combined(combined_with(old, []), old.test, tmp_path / "file")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "mine"]


def test_what_a_link_leads_to_is_replaced(tmp_path, old):
    place, link = tmp_path / "place", tmp_path / "combined"
    link.symlink_to("place")
    for new in ([], reviews(["something new"])):
        write_combined(combined_with(old, new), old.test, link)
        assert link.is_symlink()
        assert contents(link) == contents(place)
    assert json.loads((place / "combined.json").read_text())["counts"]["new"] == 1
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["combined", "place"]


def test_what_fails_half_way_leaves_the_one_of_before(tmp_path, old, monkeypatch):
    path = tmp_path / "combined"
    write_combined(combined_with(old, []), old.test, path)
    before = contents(path)

    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "sync", full)
    with pytest.raises(OSError, match="No space left"):
        write_combined(combined_with(old, reviews(["something new"])), old.test, path)
    assert contents(path) == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_killed_half_way_leaves_the_one_of_before(tmp_path, old):
    path = tmp_path / "combined"
    write_combined(combined_with(old, []), old.test, path)
    before = contents(path)
    code = (
        "import os, signal, sys\n"
        "from textclf.retraining.combined_dataset import write_combined\n"
        "from textclf.retraining.combining import combine\n"
        "from textclf.data.datasets import load_dataset\n"
        "os.sync = lambda: os.kill(os.getpid(), signal.SIGKILL)\n"
        "old = load_dataset(sys.argv[1])\n"
        "write_combined(combine(old, [], old.test, []), old.test, sys.argv[1])\n"
    )
    root = Path(__file__).parents[2]
    killed = subprocess.run([sys.executable, "-c", code, path], check=False, cwd=root, timeout=300)
    assert killed.returncode == -signal.SIGKILL
    assert contents(path) == before
    write_combined(combined_with(old, []), old.test, path)
    assert contents(path) == before

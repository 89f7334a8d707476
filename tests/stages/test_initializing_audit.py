"""`initializing.py audit` and `correct`: from a data set to a review file, and back to a corrected data set."""

import csv
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from tiny_engine import tiny_reviews, write_version

import initializing
from textclf.__main__ import main as textclf_main
from textclf.audit.reading_model import reading_model
from textclf.config import DataOptions
from textclf.data.datasets import load_dataset
from textclf.data.readers import read_part

ROOT = Path(__file__).resolve().parents[2]
WRONG = range(4)


@pytest.fixture
def store(tmp_path):
    write_version(tmp_path / "store")
    return tmp_path / "store"


@pytest.fixture
def data(tmp_path):
    """train.csv, whose first rows have the wrong label, and test.csv."""
    folder = tmp_path / "reviews"
    folder.mkdir()
    for part, count, seed in (("train", 120, 1), ("test", 30, 2)):
        rows = [[text, "pos" if label else "neg"] for text, label in tiny_reviews(count, seed)]
        if part == "train":
            for at in WRONG:
                rows[at][1] = "neg" if rows[at][1] == "pos" else "pos"
        with open(folder / f"{part}.csv", "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([["text", "label"], *rows])
    return folder


def run(*arguments, status=0):
    result = CliRunner().invoke(initializing.main, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output + result.stderr
    return result


def test_audit_edit_and_correct(data, store, tmp_path):
    out = tmp_path / "audit"
    shown = run("audit", data, "--model-path", store, "--output", out).stdout
    assert "likely label errors" in shown
    assert f"written (with texts of the data): {out / 'review.csv'}" in shown
    assert (out / "audit.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    with open(out / "review.csv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    doubted = {
        int(row["row"]) - 1 for row in rows if row["file"] == "train.csv" and row["reason"] == "likely label error"
    }
    assert len(doubted & set(WRONG)) >= 3
    for row in rows:
        row["label"] = row["suggested_label"] or row["label"]
    with open(out / "review.csv", "w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    line = run("correct", data, out / "review.csv", "--output", tmp_path / "corrected").stdout
    relabelled = int(re.search(r"of which (\d+) have a new label", line)[1])
    assert relabelled == sum(bool(row["suggested_label"]) for row in rows)
    before, after = (load_dataset(folder, options=DataOptions()) for folder in (data, tmp_path / "corrected"))
    assert len(after.test) == len(before.test)


def test_the_recommended_command_runs_as_printed(store, tmp_path, monkeypatch):
    data = tmp_path / "two words" / "reviews.csv"
    data.parent.mkdir()
    rows = [[f"café {text}", "good=" if label else "bad"] for text, label in tiny_reviews(60, 1)]
    rows[0][1], rows[5] = "bad" if rows[0][1] == "good=" else "good=", ["no label", ""]
    with open(data, "w", encoding="cp1252", newline="") as file:
        csv.writer(file).writerows([["Some text", "mark"], *rows])
    monkeypatch.chdir(data.parent)
    options = ("--text-column", "Some text", "--label-column", "mark", "--rename-label", "good==a 'fine' one")
    options += ("--skip-bad", "--encoding", "cp1252")
    shown = run(
        "audit", "reviews.csv", "--model-path", store, "--no-embeddings", "--output", "my audit", *options
    ).stdout
    monkeypatch.chdir(tmp_path)
    command = shlex.split(re.search(r"Then run: (textclf .*)", shown)[1])
    result = CliRunner().invoke(textclf_main, command[1:])
    assert result.exit_code == 0, result.output + result.stderr
    assert "59 texts, of which 0 have a new label" in result.stdout
    assert result.stdout.endswith("; columns: text, label (no others)\n")
    part = read_part(data.parent / "my audit" / "corrected" / "train.csv", DataOptions())
    assert set(part.labels) == {"a 'fine' one", "bad"}


def test_parts_next_to_a_train_part_keep_their_places(data, store, tmp_path, monkeypatch):
    for part in ("train", "test"):
        for label in ("neg", "pos"):
            (data / part / label).mkdir(parents=True)
            (data / part / label / "same.txt").write_text(f"a {part} film", encoding="utf-8")
        (data / f"{part}.csv").unlink()
    monkeypatch.chdir(data)
    shown = run("audit", "train", "--model-path", store, "--no-embeddings", "--output", "audit").stdout
    assert "2 train, 2 test" in shown
    with open(data / "audit" / "review.csv", encoding="utf-8-sig", newline="") as file:
        assert {row["file"].split("/")[0] for row in csv.DictReader(file)} == {"neg", "pos", ".."}
    command = shlex.split(re.search(r"Then run: (textclf .*)", shown)[1])
    run(*command[2:])


@pytest.mark.parametrize(("rule", "contradictory"), [("wordpieces", 2), ("characters", 0)])
def test_texts_are_equal_as_in_training(rule, contradictory, data, store, tmp_path):
    with open(data / "train.csv", "a", encoding="utf-8") as file:
        file.write("great \N{GRINNING FACE},pos\ngreat \N{SMILING FACE WITH OPEN MOUTH},neg\n")
    options = ("--model-path", store, "--no-embeddings", "--json", "--equal-texts", rule)
    found = json.loads(run("audit", data, "--output", tmp_path / "out", *options).stdout)
    places = {(row["file"], row["row"]) for row in found["rows"] if row["reason"] == "contradictory labels"}
    emoji = {("train.csv", 121), ("train.csv", 122)}
    assert len(places & emoji) == contradictory


def test_an_edited_review_file_is_never_overwritten(data, store, tmp_path):
    out = tmp_path / "audit"
    run("audit", data, "--model-path", store, "--output", out, "--no-embeddings")
    edited = (out / "review.csv").read_bytes() + b"# mine\n"
    (out / "review.csv").write_bytes(edited)
    again = run("audit", data, "--model-path", store, "--output", out, status=1)
    assert "one that may have your corrections" in again.stderr
    assert (out / "review.csv").read_bytes() == edited


def test_json_has_the_places_but_no_texts(data, store, tmp_path):
    result = run("audit", data, "--model-path", store, "--output", tmp_path / "out", "--json")
    found = json.loads(result.stdout)
    assert found["parts"][0]["texts"] == 120
    assert {"file", "row", "reason"} <= set(found["rows"][0])
    texts = [text for text, _ in tiny_reviews(120, 1)]
    assert not any(text in result.stdout + result.stderr for text in texts)


def test_the_same_seed_writes_the_same_bytes(data, store, tmp_path):
    for name in ("first", "second"):
        run("audit", data, "--model-path", store, "--output", tmp_path / name, "--seed", "3")
    assert (tmp_path / "first/review.csv").read_bytes() == (tmp_path / "second/review.csv").read_bytes()
    first, second = ((tmp_path / name / "audit.html").read_text(encoding="utf-8") for name in ("first", "second"))
    assert first.replace(str(tmp_path / "first"), str(tmp_path / "second")) == second


@pytest.mark.slow
def test_a_pretrained_encoder_reads_the_texts(data, tiny_checkpoint, tmp_path):
    shown = run("audit", data, "--encoder", tiny_checkpoint, "--output", tmp_path / "out").stdout
    assert "outliers" in shown
    model = reading_model(str(tiny_checkpoint), None, with_embeddings=False)
    assert model.engine is None


def test_a_version_needs_no_tensorflow(data, store, tmp_path):
    code = (
        "import sys; sys.modules['tensorflow'] = None; import initializing; "
        f"initializing.main(['audit', {str(data)!r}, '--model-path', {str(store)!r}, '--output', 'out'])"
    )
    subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"], check=True, cwd=tmp_path
    )
    assert (tmp_path / "out" / "review.csv").is_file()

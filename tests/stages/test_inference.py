"""Inference end to end on tiny real SavedModels: predict, live, batch, score, and the command line."""

import csv
import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner
from word_models import THREE, TWO, save_word_model

import inference
from inference import Inference
from textclf.errors import ConfigError, DatasetError, InputError, ModelStoreError
from textclf.store.manifest import Manifest
from textclf.store.model_store import ModelStore

ROOT = Path(__file__).resolve().parents[2]


def save_version(store, class_names=TWO, **changes):
    """A version whose classes are named like the words that its SavedModel counts: its id."""
    fields = {
        "name": "words",
        "class_names": class_names,
        "encoder": {"model_name": "words", "name_to_handle": "none", "model_to_handle": "none"},
        "max_length": 8,
        "truncation": "head",
        "head_fraction": 0.25,
        "lower_case": True,
    }
    with ModelStore(store).new_version() as draft:
        save_word_model(draft.path / "saved_model", class_names)
        draft.manifest = Manifest(**(fields | changes))
    return draft.id


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("two") / "model"
    save_version(path)
    return path


@pytest.fixture(scope="module")
def store_of_three(tmp_path_factory):
    path = tmp_path_factory.mktemp("three") / "model"
    save_version(path, THREE)
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return save_word_model(tmp_path_factory.mktemp("plain") / "export", counts=False)


@pytest.fixture
def cli(store):
    """Run a command of the model `store`: the finished result."""
    runner = CliRunner()

    def run(*arguments, model_path=store, **options):
        return runner.invoke(inference.main, ["--model-path", str(model_path), *map(str, arguments)], **options)

    return run


def make_reviews(folder, reviews):
    """{class: [text, ...]} as <folder>/<class>/<n>.txt."""
    for name, texts in reviews.items():
        (folder / name).mkdir(parents=True)
        for index, text in enumerate(texts):
            (folder / name / f"{index}.txt").write_text(text, encoding="utf-8")
    return folder


# --- predict


def test_a_text_gives_one_prediction_and_a_list_a_list(store):
    model = Inference(store)
    one = model.predict("a good text")
    assert (one.label, one.truncated, one.text) == ("good", False, "a good text")
    assert model.predict(["a good text", "bad bad"])[0] == one
    assert [prediction.label for prediction in model.predict(["a good text", "bad bad"])] == ["good", "bad"]
    assert model.predict([]) == []


def test_the_manifest_says_how_logits_are_read(tmp_path):
    save_version(tmp_path / "m", temperature=2.0, threshold=0.9, max_length=4)
    prediction = Inference(tmp_path / "m").predict("good good good")
    assert prediction.score == pytest.approx(0.8175744761936437, abs=1e-6)  # 1 / (1 + exp(-3 / 2))
    assert (prediction.label, prediction.truncated) == ("bad", True)


def test_three_classes(store_of_three):
    prediction = Inference(store_of_three).predict("fair fair good")
    assert prediction.label == "fair"
    assert prediction.score == max(prediction.probabilities.values())


def test_the_model_path_may_be_a_version(store):
    version = ModelStore(store).open()
    assert Inference(version.path).predict("good").label == "good"


def test_the_saved_model_of_a_version_is_that_version(tmp_path):
    """Named by itself it still has its class names and its temperature."""
    version_id = save_version(tmp_path, temperature=2.0)
    version = ModelStore(tmp_path).open(version_id)
    assert Inference(version.path / "saved_model").predict("good") == Inference(tmp_path).predict("good")


def test_a_plain_saved_model(plain):
    prediction = Inference(plain).predict("good")
    assert (prediction.label, prediction.truncated) == ("1", None)
    assert Inference(plain, class_names=["neg", "pos"]).predict("good").label == "pos"


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c"], ["a", "a"], ["a", "b\n"]])
def test_class_names_that_do_not_fit_a_plain_model(plain, names):
    with pytest.raises(ConfigError, match="class_names"):
        Inference(plain, class_names=names).predict("good")


def test_class_names_against_those_of_a_version(store):
    assert Inference(store, class_names=TWO).predict("good").label == "good"
    with pytest.raises(ConfigError, match="contains its own, bad, good"):
        Inference(store, class_names=["neg", "pos"]).predict("good")


def test_the_constructor_only_stores(tmp_path):
    model = Inference(tmp_path / "missing")
    assert model.model_path == tmp_path / "missing"
    with pytest.raises(ModelStoreError, match="no such folder"):
        model.predict("text")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_model_is_refused(store, tmp_path):
    shutil.copytree(store, tmp_path / "m")
    file = ModelStore(tmp_path / "m").open().path / "saved_model/saved_model.pb"
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(ModelStoreError, match=r"saved_model\.pb: damaged"):
        Inference(tmp_path / "m").predict("text")


def test_a_version_without_its_saved_model_is_refused(store, tmp_path):
    shutil.copytree(store, tmp_path / "m")
    shutil.rmtree(ModelStore(tmp_path / "m").open().path / "saved_model")
    with pytest.raises(ModelStoreError, match="expected the part 'saved_model'"):
        Inference(tmp_path / "m").predict("text")


def test_threads_load_the_model_once(store):
    model = Inference(store)
    loaded = []
    threads = [threading.Thread(target=lambda: loaded.append(model.predictor)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loaded) == 6
    assert all(predictor is loaded[0] for predictor in loaded)


@pytest.mark.parametrize("texts", [None, 3, ["fine", None], [["nested"]]])
def test_bad_texts_are_refused(store, texts):
    with pytest.raises(InputError):
        Inference(store).predict(texts)


# --- storing reviews


@pytest.mark.parametrize(("sentiment", "name"), [("good", "good"), (1, "good"), ("0", "bad"), (0, "bad")])
def test_a_label_stores_the_review(store, tmp_path, sentiment, name):
    prediction = Inference(store, save_dir=tmp_path / "new").predict_live_result("what a good\nthing", sentiment)
    assert prediction.label == "good"
    (path,) = (tmp_path / "new").rglob("*.txt")
    assert path.parent == tmp_path / "new" / name
    assert path.read_text(encoding="utf-8") == "what a good\nthing"


def test_no_label_stores_nothing(store, tmp_path):
    Inference(store, save_dir=tmp_path / "new").predict_live_result("good")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("sentiment", ["great", 2, "../good", ""])
def test_a_wrong_label_stores_nothing(store, tmp_path, sentiment):
    with pytest.raises(InputError, match="expected one of bad, good, 0 or 1"):
        Inference(store, save_dir=tmp_path / "new").predict_live_result("good", sentiment)
    assert not (tmp_path / "new").exists()


def test_three_classes_have_no_numbers(store_of_three, tmp_path):
    with pytest.raises(InputError):
        Inference(store_of_three).save_to_directory("x", 1, tmp_path)
    path = Inference(store_of_three).save_to_directory("x", "fair", tmp_path)
    assert path.parent == tmp_path / "fair"


# --- live


def stored_reviews(folder):
    return {path.read_text(): path.parent.name for path in folder.rglob("*.txt")}


def test_live_asks_a_person_again(store, tmp_path, monkeypatch, capsys):
    answers = iter(["gr\udcfcn", "a good one", "great", "1", "", "bad bad", "", "neither", "bad", "exit", "not read"])
    monkeypatch.setattr("builtins.input", lambda prompt: next(answers))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    Inference(store, save_dir=tmp_path / "new").run_live_inference()
    output = capsys.readouterr().out
    assert "lone surrogate" in output
    assert "good  (score 0.7311: bad 0.269, good 0.731)" in output
    assert "expected one of bad, good, 0 or 1 as the label, got 'great'" in output
    assert stored_reviews(tmp_path / "new") == {"a good one": "good", "neither": "bad"}


@pytest.mark.parametrize("answers", ["", "good\n", "good\nexit\nbad\n", "EXIT\n", "good\n\n"])
def test_live_ends_with_its_input_or_exit(cli, tmp_path, answers):
    result = cli("live", "--save-dir", tmp_path / "new", input=answers)
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("lines", "number", "reason"),
    [
        (b"a good one\n1\nneither\npositive\nbad bad\n0\n", 4, "got 'positive'"),
        (b"a good one\n1\n\n gr\xfcn\n1\nbad\n0\n", 4, "lone surrogate"),
        (b"a good one\n1\nneither\nbad bad", 4, "got 'bad bad'"),
    ],
    ids=["no label", "no text", "label missing"],
)
def test_live_names_the_line_of_piped_input_that_shifts_the_others(cli, tmp_path, lines, number, reason):
    result = cli("live", "--save-dir", tmp_path / "new", input=lines)
    assert result.exit_code == 1
    assert f"standard input, line {number}: " in result.stderr
    assert reason in result.stderr
    assert stored_reviews(tmp_path / "new") == {"a good one": "good"}


def test_live_names_the_line_of_a_piped_review_that_can_not_be_stored(cli, tmp_path):
    (tmp_path / "new").write_text("a file")
    result = cli("live", "--save-dir", tmp_path / "new", input="good\n1\nbad\n0\n")
    assert result.exit_code == 1
    assert "standard input, line 2: not stored" in result.stderr


@pytest.mark.slow
def test_live_in_a_real_process_with_a_pipe(store, tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "inference.py", "--model-path", store, "live"],
        input="good\ngood\nexit\n",
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
        timeout=300,
    )
    assert "stored as new_data/train/good/" in done.stdout
    assert len(list((tmp_path / "new_data/train/good").glob("*.txt"))) == 1


def test_ctrl_c_ends_the_loop_quietly(store, monkeypatch, capsys):
    def interrupted(prompt):
        raise KeyboardInterrupt

    monkeypatch.setattr("builtins.input", interrupted)
    Inference(store).run_live_inference()
    assert capsys.readouterr().out == "\n"


# --- batch


@pytest.fixture
def reviews(tmp_path):
    return make_reviews(
        tmp_path / "reviews",
        {
            "bad": [f"bad thing {index}" for index in range(20)],
            "good": ["good", "a bad joke"],
            "unsup": ["x"],
            "(other)": ["x"],
        },
    )


def test_batch_takes_files_of_every_class(store, reviews, capsys):
    results = Inference(store).run_batch_inference(reviews, num_files=3)
    assert [result.label for result in results] == ["bad"] * 3 + ["good"] * 2
    assert all(result.path.read_text() == result.text == result.prediction.text for result in results)
    assert [result.is_right for result in results] == [True, True, True, True, False]
    printed = capsys.readouterr().out
    assert "a bad joke" in printed
    assert "accuracy: 4 of 5 right (80.0%)" in printed


def test_the_seed_chooses(store, reviews):
    def chosen(model, seed=None):
        return [result.path for result in model.run_batch_inference(reviews, 3, seed)]

    model = Inference(store)
    assert chosen(model, 1) == chosen(model, 1) == chosen(Inference(store, seed=1))
    assert len({tuple(chosen(model, seed)) for seed in range(8)}) > 1


@pytest.mark.parametrize(
    ("parts", "taken"), [(("train", "test"), "test"), (("train",), "train"), (("Train", "TESTING"), "TESTING")]
)
def test_a_data_set_root_gives_its_test_part(store, tmp_path, parts, taken):
    for part in parts:
        make_reviews(tmp_path / part, {"bad": ["bad"], "good": ["good"]})
    results = Inference(store).run_batch_inference(tmp_path)
    assert {result.path.parent.parent.name for result in results} == {taken}


def test_a_data_set_of_tables_leads_to_score(store, tmp_path):
    (tmp_path / "train.csv").write_text("text,label\ngood,good\nbad,bad\n")
    with pytest.raises(DatasetError, match=r"found the table train.csv; score a table with textclf score"):
        Inference(store).run_batch_inference(tmp_path)


def test_files_in_subfolders_of_a_class_are_its_texts(store, tmp_path):
    for label in ("bad", "good"):
        make_reviews(tmp_path / label, {"2024": [label]})
    assert [(result.label, result.is_right) for result in Inference(store).run_batch_inference(tmp_path)] == [
        ("bad", True),
        ("good", True),
    ]


def test_long_reviews_are_shortened_on_the_screen_only(store, tmp_path, capsys):
    make_reviews(tmp_path, {"good": ["good " * 500]})
    (result,) = Inference(store).run_batch_inference(tmp_path)
    assert len(result.text) == 2500
    assert max(map(len, capsys.readouterr().out.splitlines())) < 300


@pytest.mark.parametrize(
    ("reviews", "message"),
    [
        ({"bad": ["x"], "awful": ["x"]}, "found awful"),
        ({}, "found no such files"),
        ({"unsup": ["x"]}, "found no such files"),
        ({"bad": [], "good": []}, r"expected \.txt files"),
    ],
)
def test_folders_that_do_not_fit_are_refused(store, tmp_path, reviews, message):
    with pytest.raises(DatasetError, match=message):
        Inference(store).run_batch_inference(make_reviews(tmp_path, reviews))


def test_a_missing_folder_is_refused(store, tmp_path):
    with pytest.raises(DatasetError, match="no such folder"):
        Inference(store).run_batch_inference(tmp_path / "nowhere")


def test_a_file_that_is_not_utf8_is_named(store, tmp_path):
    make_reviews(tmp_path, {"good": ["x"]})
    (tmp_path / "good/0.txt").write_bytes(b"\xff")
    with pytest.raises(DatasetError, match=r"0\.txt: not UTF-8"):
        Inference(store).run_batch_inference(tmp_path)


def test_batch_on_the_command_line(cli, reviews):
    result = cli("batch", reviews, "--num-files", 1, "--seed", 4)
    assert result.exit_code == 0, result.output
    assert "of 2 right" in result.output
    result = cli("batch", reviews / "nowhere")
    assert result.exit_code == 1
    assert result.output.startswith("error: ")
    assert result.output.count("\n") == 1


# --- score

ROWS = [
    {"id": "1", "text": 'a good one, "yes"', "label": "good"},
    {"id": "2", "text": "bad\nbad", "label": "good"},
    {"id": "3", "text": "good good one two three four five six seven", "label": "good"},
]


def write_table(path, rows):
    if ".csv" in path.name:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        content = text.getvalue().encode()
    else:
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def read_table(path):
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    if ".csv" in path.name:
        return list(csv.DictReader(io.StringIO(text, newline="")))
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("source", ["in.csv", "in.csv.gz", "in.jsonl", "in.jsonl.gz"])
@pytest.mark.parametrize("target", ["out.csv", "out.csv.gz", "out.jsonl", "out.jsonl.gz"])
def test_score_from_any_form_into_any(cli, tmp_path, source, target):
    write_table(tmp_path / source, ROWS)
    result = cli("score", "--input", tmp_path / source, "--output", tmp_path / target)
    assert result.exit_code == 0, result.output
    assert "accuracy: 2 of 3 labelled rows right (66.67%)" in result.output
    rows = read_table(tmp_path / target)
    assert [row["label"] for row in rows] == ["good", "bad", "good"]
    for row, given in zip(rows, ROWS, strict=True):
        assert (row["id"], row["text"], row["input_label"]) == (given["id"], given["text"], given["label"])
    probabilities = [float(row["p:good"]) if "csv" in target else row["probabilities"]["good"] for row in rows]
    assert probabilities == pytest.approx([0.7310586, 0.1192029, 0.8807971], abs=1e-6)
    assert [float(row["score"]) for row in rows] == probabilities
    assert [str(row["truncated"]).lower() for row in rows] == ["false", "false", "true"]


def test_score_gives_what_predict_gives(store, cli, tmp_path):
    texts = [f"{'good ' * (index % 4)}{'word ' * (index % 7)}" for index in range(50)]
    write_table(tmp_path / "in.jsonl", [{"text": text} for text in texts])
    cli("score", "--input", tmp_path / "in.jsonl", "--output", tmp_path / "out.jsonl")
    predictions = Inference(store).predict(texts)
    assert [row["probabilities"] for row in read_table(tmp_path / "out.jsonl")] == [
        pytest.approx(prediction.probabilities, abs=1e-7) for prediction in predictions
    ]


def test_score_stops_at_a_bad_row(cli, tmp_path):
    write_table(tmp_path / "in.jsonl", [{"text": "good"}, {"text": 7}, {"text": "bad"}])
    result = cli("score", "--input", tmp_path / "in.jsonl", "--output", tmp_path / "out.csv")
    assert result.exit_code == 1
    assert "row 2: " in result.output
    assert not (tmp_path / "out.csv").exists()


def test_score_names_row_and_line(cli, tmp_path):
    (tmp_path / "in.csv").write_text("text,n\ngood,1\nbad\n", encoding="utf-8")
    result = cli("score", "--input", tmp_path / "in.csv", "--output", tmp_path / "out.csv")
    assert "in.csv, row 2 (line 3): expected 2 fields (text, n), found 1; " in result.output


def test_score_skips_bad_rows_on_demand(cli, tmp_path):
    lines = [b'{"text": "good"}', b"{not json", b'{"text": 7}', b'{"text": "\xff"}', b'{"text": "bad"}']
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(lines))
    result = cli("score", "--input", tmp_path / "in.jsonl", "--output", tmp_path / "out.csv", "--skip-bad")
    assert result.exit_code == 0, result.output
    assert "skipped 3 of 5 rows" in result.output
    listed = [line.split(":")[0].strip() for line in result.output.splitlines() if line.startswith("  row")]
    assert listed == ["row 2 (line 2)", "row 3", "row 4 (line 4)"]
    assert "  row 4 (line 4): not UTF-8" in result.output
    assert [row["label"] for row in read_table(tmp_path / "out.csv")] == ["good", "bad"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("in.tsv", "review\tsentiment\ngood\tgood\nbad\tgood\n"),
        ("in.csv", "Review;Sentiment\ngood;good\nbad;good\n"),
        ("in.json", '[{"review": "good", "sentiment": "good"},\n {"review": "bad", "sentiment": "good"}]'),
    ],
)
def test_score_says_which_columns_it_reads(cli, tmp_path, name, content):
    (tmp_path / name).write_text(content, encoding="utf-16")
    result = cli("score", "--input", tmp_path / name, "--output", tmp_path / "out.jsonl")
    assert result.exit_code == 0, result.output
    assert "accuracy: 1 of 2 labelled rows right" in result.output
    assert result.output.lower().count("columns: texts from the column 'review' and labels from the column 'sent") == 1
    assert [row["label"] for row in read_table(tmp_path / "out.jsonl")] == ["good", "bad"]


def test_score_needs_to_know_the_column_of_the_labels(cli, tmp_path):
    (tmp_path / "in.csv").write_text("text,sentiment,class\ngood,good,film\nbad,good,film\n", encoding="utf-8")
    arguments = ["score", "--input", tmp_path / "in.csv", "--output", tmp_path / "out.jsonl"]
    result = cli(*arguments)
    assert result.exit_code == 0
    assert "accuracy" not in result.output
    assert "pass --label-column sentiment or --label-column class" in result.output
    assert "accuracy: 1 of 2 labelled rows right" in cli(*arguments, "--label-column", "sentiment").output
    refused = cli(*arguments, "--label-column", "sentimnet")
    assert refused.exit_code == 1
    assert "expected a column 'sentimnet'" in refused.output


def test_batch_reads_the_encoding_that_its_error_names(cli, tmp_path):
    for label, text in {"good": "ça va très bien là-bas", "bad": "un café – non"}.items():
        (tmp_path / label).mkdir()
        (tmp_path / label / "a.txt").write_bytes(text.encode("cp1252"))
    refused = cli("batch", tmp_path)
    assert refused.exit_code == 1
    assert "--encoding cp1252" in refused.output
    result = cli("batch", tmp_path, "--encoding", "cp1252")
    assert result.exit_code == 0
    assert "très" in result.output


def test_score_reads_the_encoding_that_its_error_names(cli, tmp_path):
    (tmp_path / "in.csv").write_bytes("text\ncafé – good\nça va très bien là-bas\n".encode("cp1252"))
    arguments = ["score", "--input", tmp_path / "in.csv", "--output", tmp_path / "out.jsonl"]
    result = cli(*arguments)
    assert result.exit_code == 1
    assert "--encoding cp1252" in result.output
    assert cli(*arguments, "--encoding", "cp1252").exit_code == 0
    assert read_table(tmp_path / "out.jsonl")[0]["text"] == "café – good"


def test_score_names_the_columns_it_found(cli, tmp_path):
    write_table(tmp_path / "in.csv", ROWS)
    for extra in ([], ["--skip-bad"]):
        result = cli(
            "score", "--input", tmp_path / "in.csv", "--output", tmp_path / "o.csv", "--text-column", "body", *extra
        )
        assert result.exit_code == 1
        assert "'body'" in result.output
        assert "'id', 'text', 'label'" in result.output
    assert not (tmp_path / "o.csv").exists()


def test_score_never_replaces_its_input(cli, tmp_path):
    write_table(tmp_path / "in.csv", ROWS)
    os.symlink(tmp_path / "in.csv", tmp_path / "link.csv")
    before = (tmp_path / "in.csv").read_bytes()
    for output in ("in.csv", "link.csv", "../" + tmp_path.name + "/in.csv"):
        result = cli("score", "--input", tmp_path / "in.csv", "--output", tmp_path / output)
        assert result.exit_code == 1
        assert "would replace the input" in result.output
    assert (tmp_path / "in.csv").read_bytes() == before


def test_score_refuses_a_file_that_was_scored_before(cli, tmp_path):
    write_table(tmp_path / "in.csv", ROWS)
    cli("score", "--input", tmp_path / "in.csv", "--output", tmp_path / "once.csv")
    result = cli("score", "--input", tmp_path / "once.csv", "--output", tmp_path / "twice.csv")
    assert result.exit_code == 1
    assert "input_label, p:bad, p:good, score, truncated" in result.output


@pytest.mark.parametrize(("source", "target"), [("in.txt", "o.csv"), ("in.csv", "o.xlsx"), ("missing.csv", "o.csv")])
def test_score_refuses_paths_before_it_loads_a_model(cli, tmp_path, source, target):
    (tmp_path / "in.txt").write_text("text\nx\n")
    write_table(tmp_path / "in.csv", ROWS)
    result = cli("score", "--input", tmp_path / source, "--output", tmp_path / target, model_path=tmp_path / "no model")
    assert result.exit_code == 1
    assert "no model" not in result.output


def test_score_of_no_rows_is_no_rows(cli, tmp_path):
    (tmp_path / "in.csv").write_text("id,text\n")
    result = cli("score", "--input", tmp_path / "in.csv", "--output", tmp_path / "out.csv")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out.csv").read_text() == "id,text,label,score,p:bad,p:good,truncated\n"


# --- the store's renderings, and the command line as such


def test_batch_takes_what_an_unpacked_archive_gives(store, tmp_path, capsys):
    """A folder around the root, as archives have it."""
    for name in TWO:
        (tmp_path / "unpacked" / "set" / "test" / name).mkdir(parents=True)
        (tmp_path / "unpacked" / "set" / "test" / name / "1.txt").write_text(f"{name} film", encoding="utf-8")
    assert len(Inference(store).run_batch_inference(tmp_path / "unpacked")) == 2
    assert "accuracy: 2 of 2 right" in capsys.readouterr().out


def test_versions_inspect_and_compare(tmp_path, cli):
    first, second = save_version(tmp_path / "m"), save_version(tmp_path / "m", temperature=2.0)
    listed = cli("versions", model_path=tmp_path / "m")
    assert listed.exit_code == 0
    assert first in listed.output
    assert second in listed.output
    assert first in cli("inspect", model_path=tmp_path / "m").output
    assert second in cli("inspect", second, model_path=tmp_path / "m").output
    compared = cli("compare", first, tmp_path / "m/versions" / second, model_path=tmp_path / "m")
    assert compared.exit_code == 0, compared.output
    assert "temperature" in compared.output
    assert cli("inspect", "none", model_path=tmp_path / "m").exit_code == 1


def test_class_names_on_the_command_line(plain, cli, tmp_path):
    (tmp_path / "in.csv").write_text("text\ngood\n")
    result = cli(
        *("--class-names", "neg, pos", "score", "--input", tmp_path / "in.csv", "--output", tmp_path / "out.csv"),
        model_path=plain,
    )
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out.csv").read_text().splitlines()[0] == "text,label,score,p:neg,p:pos,truncated"
    assert read_table(tmp_path / "out.csv")[0]["truncated"] == ""


@pytest.mark.parametrize("command", [[], ["live"], ["batch"], ["score"], ["versions"], ["inspect"], ["compare"]])
def test_help_needs_no_model(command):
    result = CliRunner().invoke(inference.main, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_inference_imports_and_explains_itself_without_tensorflow(store):
    script = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('tensorflow', 'tf_keras', 'tensorflow_text', 'tensorflow_hub'):\n"
        "            raise ImportError('no module named ' + name)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "import inference\n"
        "from textclf.errors import ModelStoreError\n"
        "try: inference.Inference(sys.argv[1]).predict('text')\n"
        "except ModelStoreError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(store)], capture_output=True, text=True, check=True, cwd=ROOT, timeout=300
    )
    assert "pip install tensorflow tensorflow-text" in done.stdout

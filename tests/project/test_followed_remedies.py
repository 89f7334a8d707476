"""Errors and notes that recommend an option or a command: whoever follows the recommendation gets past them.

tests/helpers/remedy_table.py names the test of each recommendation.
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import numpy as np
import pytest
from click.testing import CliRunner
from gunicorn.config import KNOWN_SETTINGS
from tiny_engine import write_version

import textclf.__main__ as console
from serving.server.preflight import check_model
from textclf.config import DataOptions
from textclf.data import cleaning
from textclf.data.dataset_report import dataset_report
from textclf.data.dataset_summary import copies_of_test
from textclf.data.datasets import load_dataset
from textclf.data.prediction_log.database_url import readable_url
from textclf.data.table_rows import LabelledTable
from textclf.errors import (
    BusyError,
    ConfigError,
    DatasetError,
    ModelStoreError,
    TextClfError,
    TooFewTextsError,
    TrainingError,
)  # fmt: skip
from textclf.fields import rules
from textclf.monitoring.samples import open_version
from textclf.report.audit_report import AuditReport, ConfusablePair, PartSummary, advice
from textclf.retraining.locks import retraining_locks
from textclf.retraining.new_classes import check_training_texts
from textclf.retraining.preflight import check_holdout, check_old_data
from textclf.retraining_options import CombineOptions, GateOptions
from textclf.store.model_store import ModelStore, open_model
from textclf.store.promotion import Promotions

ROOT = Path(__file__).resolve().parents[2]
TEXTS = {"neg": "dull", "pos": "great"}
WORDS = [(word.encode(), name.encode()) for name, word in TEXTS.items()]
# Exit status of a check of too few texts.
NOT_ENOUGH = 4


def run(*words: object, status: int = 0, **more: object) -> str:
    """Run `textclf` with these words; returns its output, or its error if `status` is not 0."""
    result = CliRunner().invoke(console.main, list(map(str, words)), **more)
    assert result.exit_code == status, result.output + result.stderr
    return result.stderr if status else result.output + result.stderr


def commands_in(message: str) -> list[list[str]]:
    """The words of each command of textclf that a message shows, with blanks in paths as the shell reads them."""
    lines = re.findall(r"textclf ((?:[^()`,;'\n]|'[^']*')+)", message)
    return [shlex.split(line) for line in lines if "--" in line]


def command_in(message: str, **values: object) -> list[str]:
    """The first command of a message; its words in capitals replaced by `values`."""
    return [str(values.get(word, word)) for word in commands_in(message)[0]]


def option_in(message: str, flag: str, value: str = "") -> list[str]:
    """The first use of an option in a message; `value` replaces a value that is to be filled in."""
    found = re.search(rf"{flag}( '[^']*'| \$'(?:\\.|[^'])*'| [^\s,;)]+)?", message)
    assert found, f"no {flag} in: {message}"
    given = shlex.split(found[1] or "")
    return [flag, value or given[0].rstrip(".")]


def parsed(*words: str) -> dict:
    """The values of a command line, without running it."""
    command, path = console.main, []
    words = list(words)
    while isinstance(command, click.Group):
        command = command.commands[words[0]]
        command = command.load() if hasattr(command, "load") else command
        path.append(words.pop(0))
    return command.make_context(" ".join(path), words).params


def reading(*words: str) -> DataOptions:
    """The data options of a command line."""
    values = parsed("data", "preview", "PATH", *words)
    return DataOptions(**{name: values[name] for name in rules(DataOptions)})


def table(*columns: str, count: int = 12, more: str = "", separator: str = ",") -> str:
    lines = [separator.join(columns)]
    lines += [separator.join([f"{word} film {n}", name]) for n in range(count) for name, word in TEXTS.items()]
    return "\n".join(lines) + f"\n{more}"


# --- reading data

SIZED = b"".join(b"1,%s film %d,%s\n" % (word, n, name) for n in range(9) for word, name in WORDS)


def bad_label(name: str) -> str:
    return table("text", "label") + "".join(f"odd {n},{name}\n" for n in range(9))


def rows(*columns: str) -> str:
    lines = [f"{word} film {n}" for n in range(12) for word in TEXTS.values()]
    pairs = [dict(zip(columns, (line, list(TEXTS)[i % 2]), strict=True)) for i, line in enumerate(lines)]
    return "".join(json.dumps(pair) + "\n" for pair in pairs)


@pytest.mark.parametrize(
    ("name", "content", "flag", "value"),
    [
        ("a.csv", table("opinion", "label"), "--text-column", "opinion"),
        ("a.csv", table("text", "points"), "--label-column", "points"),
        ("a.jsonl", rows("text", "label") + '{"text": "no label"}\n', "--skip-bad", ""),
        ("a.csv", table("text", "label", more='"a",b,c\n'), "--skip-bad", ""),
        ("a.csv", bad_label("x" * 201), "--rename-label", ""),
        ("a.csv", table("text", "label", more="only one,rare\n"), "--rename-label", "rare=pos"),
        ("a.csv", table("text", "label", more="café,pos\n").encode("cp1252"), "--encoding", ""),
        ("a.csv", "größe,text,label\n".encode("cp1252") + SIZED, "--encoding", "cp1252"),
    ],
)  # fmt: skip
def test_reading_follows(tmp_path, name, content, flag, value):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DatasetError) as refused:
        load_dataset(path)
    words = [flag] if flag == "--skip-bad" else option_in(str(refused.value), flag, value)
    assert flag in str(refused.value)
    assert len(load_dataset(path, options=reading(*words)).train) > 0


@pytest.mark.parametrize(
    ("columns", "flag"),
    [(("review", "comment", "label"), "--text-column"), (("text", "class", "target"), "--label-column")],
)
def test_one_of_several_columns(tmp_path, columns, flag):
    lines = [f"{word} film {n},{name},{name}\n" for n in range(12) for name, word in TEXTS.items()]
    (tmp_path / "a.csv").write_text("".join([",".join(columns) + "\n", *lines]))
    with pytest.raises(DatasetError) as refused:
        load_dataset(tmp_path / "a.csv")
    assert load_dataset(tmp_path / "a.csv", options=reading(*option_in(str(refused.value), flag))).class_names == (
        "neg",
        "pos",
    )


@pytest.mark.parametrize(
    ("row", "flag", "value"),
    [
        ({"text": ["a"], "label": "pos", "body": "good"}, "--text-column", "body"),
        ({"body": "good", "label": "pos"}, "--text-column", "body"),
        ({"text": "good", "label": ["pos"], "points": "pos"}, "--label-column", "points"),
        ({"text": "good", "label": None, "points": "pos"}, "--label-column", "points"),
    ],
)  # fmt: skip
def test_a_row_with_another_column(tmp_path, row, flag, value):
    rest = {"text": "bad", "label": "neg", "body": "bad", "points": "neg"}
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(one) + "\n" for one in (rest, row)))
    refused = []
    list(LabelledTable(tmp_path / "a.jsonl", DataOptions()).rows(lambda _, error: refused.append(error)))
    (error,) = refused
    words = option_in(str(error), flag, value)
    found = LabelledTable(tmp_path / "a.jsonl", reading(*words)).rows(lambda _, error: pytest.fail(str(error)))
    assert len(list(found)) == 2


def test_a_column_of_weights(tmp_path):
    lines = table("text", "label").replace("\n", ",-1,2\n").replace("label,-1,2", "label,w,v")
    (tmp_path / "a.csv").write_text(lines)
    for wrong, message in (("w", "24 bad rows: a weight"), ("x", "expected a column 'x'")):
        with pytest.raises(DatasetError, match=message) as refused:
            load_dataset(tmp_path / "a.csv", options=reading("--weight-column", wrong))
        words = option_in(str(refused.value), "--weight-column", "v")
        assert set(load_dataset(tmp_path / "a.csv", options=reading(*words)).train.weights) == {2.0}
    for word, name in [("dull", "neg"), ("great", "pos")]:
        (tmp_path / "data" / name).mkdir(parents=True)
        for n in range(9):
            (tmp_path / "data" / name / f"{n}.txt").write_text(f"{word} film {n}")
    with pytest.raises(DatasetError, match="give a table, or leave --weight-column out"):
        load_dataset(tmp_path / "data", options=reading("--weight-column", "v"))
    assert load_dataset(tmp_path / "data").train.weights is None


def test_a_wrong_encoding_leads_to_another(tmp_path):
    (tmp_path / "a.csv").write_bytes(table("text", "label", more="東京,pos\n").encode("shift_jis"))
    with pytest.raises(DatasetError) as refused:
        load_dataset(tmp_path / "a.csv", options=reading("--encoding", "euc_jp"))
    load_dataset(tmp_path / "a.csv", options=reading(*option_in(str(refused.value), "--encoding", "shift_jis")))


def test_labels_of_the_test_part(tmp_path):
    (tmp_path / "train.csv").write_text(table("text", "label"))
    (tmp_path / "test.csv").write_text("text,label\nfine thing,poss\n")
    with pytest.raises(DatasetError) as refused:
        load_dataset(tmp_path)
    words = option_in(str(refused.value), "--rename-label")
    data = load_dataset(tmp_path, options=reading(*(word.replace("CLASS", "pos") for word in words)))
    assert data.class_names == ("neg", "pos")


def test_a_data_set_that_is_downloaded_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "away").mkdir()
    (tmp_path / "away/my reviews.csv").write_text(table("text", "label"))
    message = run("data", "preview", "my reviews.csv", "--data-dir", "my data", status=1)
    run(*command_in(message, URL=(tmp_path / "away/my reviews.csv").as_uri()))
    assert run("data", "preview", "my reviews.csv", "--data-dir", "my data", "-n", "1").startswith("[")


def test_a_url_that_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "away.csv").write_text(table("text", "label"))
    url = (tmp_path / "away.csv").as_uri()
    message = run("data", "preview", url, status=1)
    assert parsed("train", "--dataset-path", "a.csv", *option_in(message, "--url", url))["url"] == url
    run(*command_in(message, FILE="a.csv", URL=url))
    assert run("data", "preview", "a.csv", "-n", "1").startswith("[")


def test_near_duplicates_are_left_out(tmp_path):
    long = "the plot is slow and the music is loud but the actors save the evening for all of us tonight"
    lines = [f"{long} {word}" for word in ("again", "once", "twice")]
    path = tmp_path / "near"
    path.mkdir()
    (path / "train.csv").write_text(table("text", "label") + "".join(f"{line},pos\n" for line in lines[1:]))
    (path / "test.csv").write_text(f"text,label\n{lines[0]},pos\n")
    counted = load_dataset(path)
    (warning,) = copies_of_test(counted)
    for message in (warning, str(dataset_report(counted, lengths, 256))):
        left_out = load_dataset(path, options=reading(*option_in(message, "--near-duplicates")))
        assert len(left_out.train) < len(counted.train)
        assert copies_of_test(left_out) == ()
        assert "near duplicates, left out" in str(dataset_report(left_out, lengths, 256))


def lengths(texts) -> np.ndarray:
    return np.array([len(text.split()) for text in texts])


def test_near_duplicates_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(cleaning, "can_find_near_texts", lambda: False)
    (tmp_path / "a.csv").write_text(table("text", "label"))
    with pytest.raises(DatasetError) as refused:
        load_dataset(tmp_path / "a.csv", options=reading("--near-duplicates", "drop"))
    load_dataset(tmp_path / "a.csv", options=reading(*option_in(str(refused.value), "--near-duplicates")))


# --- audits


def test_the_commands_of_an_audit(tmp_path, monkeypatch):
    """The command for the review file repeats how the data was read."""
    monkeypatch.chdir(tmp_path)
    write_version("model")
    Path("my data.csv").write_text(table("opinion", "points"))
    columns = ("--text-column", "opinion", "--label-column", "points")
    audit = ("data", "audit", "my data.csv", *columns, "--model-path", "model")
    run(*audit, "--output", "my audit")
    message = run(*audit, "--output", "my audit", status=1)
    correct = command_in(message)
    assert "24 texts" in run(*correct)
    refused = run(*correct, status=1)
    run(*correct, *option_in(refused, "--output", "other"))
    run(*audit, "--output", "another audit")
    assert (load_dataset("other").class_names, Path("another audit/review.csv").exists()) == (("neg", "pos"), True)


def test_advice_of_an_audit_is_accepted_by_training():
    row = SimpleNamespace(row=1)
    command = "textclf data correct a.csv /audit/review.csv --output NEW_FOLDER"
    parts = (PartSummary("train", 70, {"a": 60, "b": 5, "c": 5}, 400.0, 0.5),)
    report = AuditReport(
        "a.csv", "/audit/review.csv", command, parts, 256, 0, 0, 0, 0, 0, 0, 0, 0,
        (SimpleNamespace(equal=1, similar=1),), None, (ConfusablePair("a", "b", 5, 0.5),), None, (), (row,), 0, (),
    )  # fmt: skip
    text = "\n".join(advice(report))
    assert parsed(*command_in(text))["output"] == Path("NEW_FOLDER")
    train = ("train", "--dataset-path", "a.csv")
    assert parsed(*train, *option_in(text, "--near-duplicates"))["near_duplicates"] == "drop"
    assert parsed(*train, *option_in(text, "--truncation"))["truncation"] == "head+tail"
    assert parsed(*train, "--class-weights", *option_in(text, "--max-length", "512"))["max_length"] == 512
    assert parsed(*train, *option_in(text, "--rename-label", "a=b"))["rename_labels"] == {"a": "b"}


# --- versions


@pytest.fixture
def store(tmp_path) -> ModelStore:
    """A store of two versions in a folder with a blank, without decisions."""
    write_version(tmp_path / "my model")
    write_version(tmp_path / "my model", seed=1, promote=False)
    return ModelStore(tmp_path / "my model")


def test_a_version_becomes_current(store):
    (store.path / "current").unlink()
    _, second = store.version_ids()
    for message in (run("versions", "list", "--model-path", store.path), _refused(store.open)):
        assert parsed(*command_in(message, ID=second))["model_dir"] == store.path
    (store.path / "current").write_text(f"{store.version_ids()[0]}\n")
    run(*command_in(message, ID=second))
    assert store.current_id() == second


def _refused(act, *arguments: object, **more: object) -> str:
    with pytest.raises(TextClfError) as refused:
        act(*arguments, **more)
    return str(refused.value)


def test_a_rollback_without_a_known_version(store):
    first, second = store.version_ids()
    message = run("versions", "rollback", "--model-dir", store.path, status=1)
    named = re.search(r"name one with --to: (\S+)$", message)[1]
    held = run("versions", "rollback", "--model-dir", store.path, "--to", named)
    assert store.current_id() == second != first
    run(*command_in(held))
    assert Promotions(store.path).hold.reason is None
    shutil.rmtree(store.path / "versions" / first)
    (store.path / "decisions.jsonl").unlink()
    assert "--to" not in _refused(Promotions(store.path).roll_back)


def test_a_rollback_that_was_overtaken(store, monkeypatch):
    promotions = Promotions(store.path)
    first, second = store.version_ids()
    promotions.promote(second)
    third = write_version(store.path, seed=2, promote=False).name
    set_hold = promotions.hold.set
    monkeypatch.setattr(promotions.hold, "set", lambda why: (set_hold(why), (store.path / "current").write_text(third)))
    history, back, lift = commands_in(_refused(promotions.roll_back))
    monkeypatch.undo()
    assert "promote_by_hand" in run(*history)
    run(*back)
    assert store.current_id() == first
    run(*lift)
    assert promotions.hold.reason is None


@pytest.mark.slow
def test_a_version_is_exported_again(trained_version, reviews, tmp_path, monkeypatch):
    """Every message about the engine or the reference of a version shows this command."""
    monkeypatch.setattr("textclf.training.export.engine_export._CALIBRATION_TEXTS", 4)
    shutil.copytree(trained_version.parent.parent, tmp_path / "model")
    version = ModelStore(tmp_path / "model").open()
    (version.path / "reference.npz").unlink()
    manifest = json.loads((version.path / "manifest.json").read_text())
    del manifest["files"]["reference.npz"]
    (version.path / "manifest.json").write_text(json.dumps(manifest))
    message = _refused(open_version, version.path)
    assert command_in(message)[1:3] == ["--export-again", version.id]
    damaged = str(ModelStoreError.damaged("expected a graph", can_export=True))
    command = command_in(damaged, ID=version.id, DATA=reviews, STORE=tmp_path / "model")
    assert command == command_in(message, DATA=reviews, STORE=tmp_path / "model")
    run(*command)
    child = next(one for one in ModelStore(tmp_path / "model").version_ids() if one != version.id)
    assert open_version(tmp_path / "model" / "versions" / child).version.manifest.parent == version.id


def test_a_page_with_the_texts_of_a_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_version("model")
    Path("data.csv").write_text(table("opinion", "points"))
    run("versions", "inspect", "--model-path", "model", "--html", "own.html")
    page = re.search(r"textclf versions inspect[^<;.]*DATA", Path("own.html").read_text())[0]
    command = command_in(page, STORE="model", ID=open_model(Path("model")).id, FILE="page.html", DATA="data.csv")
    for flag, value in (("--text-column", "opinion"), ("--label-column", "points")):
        command += option_in(run(*command, status=1), flag, value)
    run(*command)
    assert "data.csv" not in page
    assert "dull film" in Path("page.html").read_text()


# --- scoring


def test_scoring_follows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_version("model")
    score = ("score", "--model-path", "model", "--input", "in.jsonl", "--output", "out.jsonl")
    for rest in ({}, {"text": 5}):
        lines = [json.dumps({"text": "a", "body": "a"}), json.dumps({"body": "good", **rest})]
        Path("in.jsonl").write_text("\n".join(lines) + "\n")
        message = run(*score, status=1)
        run(*score, *option_in(message, "--text-column", "body"))
        run(*score, "--skip-bad")
        assert "--skip-bad" in message


def test_files_of_a_batch_in_another_encoding(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_version("model")
    for name in TEXTS:
        Path("data", name).mkdir(parents=True)
        Path("data", name, "1.txt").write_bytes("a café".encode("cp1252"))
    batch = ("batch", "data", "--model-path", "model")
    message = run(*batch, status=1)
    assert "a café" in run(*batch, *option_in(message, "--encoding"))


def test_live_answers_go_to_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_version("model")
    Path("taken").write_text("a file")
    message = run("live", "--model-path", "model", "--save-dir", "taken", input="good\n1\n", status=1)
    run("live", "--model-path", "model", *option_in(message, "--save-dir", "free"), input="good\n1\n")
    assert len(list(Path("free").rglob("*.txt"))) == 1


# --- drift


def test_a_check_without_a_log_reads_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_version("model")
    Path("a.csv").write_text(table("text", "label"))
    with pytest.raises(ConfigError) as refused:
        readable_url("off")
    assert run("check", "--log-url", "off", "--model-path", "model", status=1).strip().endswith(str(refused.value))
    run("check", "--model-path", "model", *option_in(str(refused.value), "--latest", "a.csv"), status=NOT_ENOUGH)


def test_options_of_a_check_that_need_each_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_version("model")
    Path("a.csv").write_text(table("text", "label"))
    needs_latest = run("check", "--model-path", "model", "--audited", status=2)
    run("check", "--model-path", "model", "--audited", *option_in(needs_latest, "--latest", "a.csv"), status=NOT_ENOUGH)
    needs_data = run("check", "--model-path", "model", "--retrain", status=2)
    assert parsed("check", "--retrain", *option_in(needs_data, "--old-dataset-path", "old"))
    needs_store = run("check", "--model-path", path, "--windows", "1of2", status=1)
    words = option_in(needs_store, "--model-path", "model")
    run("check", *words, "--windows", "1of2", "--log-url", "sqlite:///none.db", status=1)


def test_an_encoder_for_a_preprocessing():
    old = ("retrain", "--old-dataset-path", "old")
    with pytest.raises(click.UsageError) as refused:
        console.main.main([*old, "--preprocess", "x"], standalone_mode=False)
    assert parsed(*old, "--preprocess", "x", *option_in(refused.value.message, "--encoder", "y"))["encoder"] == "y"


# --- retraining


def test_retraining_in_another_folder(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with retraining_locks(tmp_path / "a", tmp_path / "combined"):
        with pytest.raises(BusyError) as busy, retraining_locks(tmp_path / "b", tmp_path / "combined"):
            pass
        _, folder = option_in(str(busy.value), "--combined-dataset-path", str(tmp_path / "other"))
        with retraining_locks(tmp_path / "b", Path(folder)):
            pass


def test_the_path_of_the_old_data(tmp_path):
    with pytest.raises(DatasetError, match="check --old-dataset-path"):
        check_old_data(str(tmp_path / "none"), "datasets")
    check_old_data(str(tmp_path), "datasets")


def test_old_data_that_has_all_classes():
    """As --old-dataset-path with the combined data set, which has the texts of classes that were added."""

    def combined(offers: int) -> SimpleNamespace:
        train = SimpleNamespace(labels=np.repeat([0, 1], [5, offers]))
        return SimpleNamespace(class_names=("neg", "offer"), new_classes=(), train=train, options=CombineOptions())

    with pytest.raises(TrainingError, match=r"offer has 0; name the combined data set .* as --old-dataset-path"):
        check_training_texts(combined(0), "old")
    check_training_texts(combined(3), "old")


@pytest.mark.parametrize("held_out", [60, 150])
def test_again_is_recommended_only_if_it_helps(held_out):
    undecided = {"challenger": "v", "time": "2026-01-01T00:00", "gate": {"figures": {"holdout": {"texts": 120}}}}
    gate, combine = GateOptions(), CombineOptions()
    with pytest.raises(TooFewTextsError) as refused:
        check_holdout(held_out, gate, combine, undecided)
    if "--again" in str(refused.value):
        check_holdout(held_out, gate, combine, None)  # As Retraining does with --again.
    else:
        with pytest.raises(TooFewTextsError):
            check_holdout(held_out, gate, combine, None)


# --- training and serving


def test_smaller_steps_for_a_training_that_diverged():
    from textclf.training.fitting.training_loop import _diverged

    message = str(_diverged(3, "a loss of nan"))
    words = [*option_in(message, "--init-lr", "1e-5"), *option_in(message, "--warmup", "0.2")]
    words += [*option_in(message, "--precision"), "--mlm-lr", "1e-5"]
    values = parsed("train", "--dataset-path", "d", *words)
    assert [values[name] for name in ("init_lr", "warmup", "precision", "mlm_lr")] == [1e-5, 0.2, "float32", 1e-5]


def test_a_server_without_a_model_names_the_training(tmp_path):
    message = _refused(check_model, tmp_path / "my model")
    assert parsed(*command_in(message, DATA="data"))["model_dir"] == str(tmp_path / "my model")


def test_a_server_without_a_current_version_names_the_promotion(tmp_path):
    """The only version of the store is withheld, as after a training below its floor."""
    store = ModelStore(tmp_path / "my model")
    version = write_version(store.path).name
    (store.path / "current").write_text("none\n", encoding="utf-8")
    message = _refused(check_model, store.path)
    (words,) = re.findall(r"textclf (versions promote [^)]*)", message)
    assert version in message
    console.main(shlex.split(words.replace("ID", version)), standalone_mode=False)
    check_model(store.path)


def test_options_of_other_programs_exist():
    assert any("--preload" in (setting.cli or []) for setting in KNOWN_SETTINGS)
    # docker build --target training
    assert re.search(r"^FROM .* AS training$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    # docker build --build-arg EXTRAS=aws
    assert re.search(r"^ARG EXTRAS=", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    pip = subprocess.run([sys.executable, "-m", "pip", "install", "--help"], capture_output=True, text=True, timeout=60)
    assert set(re.findall(r"--[a-z-]+", pip.stdout)) >= {"--force-reinstall", "--no-deps", "--require-hashes"}

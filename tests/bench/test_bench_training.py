"""The training benchmark: what it draws, how it counts, what it says, and both sides on a tiny encoder."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from labelled_sets import write_set
from tiny_engine import tiny_reviews

from bench.arithmetic import Spread
from bench.errors import BenchError
from bench.labelled_sets import read_set
from bench.machine import CpuUse
from bench.training import speed as training
from bench.training.runs import (
    SETTINGS,
    Recipe,
    both,
    checkpoint_folder,
    code_digest,
    draw,
    first_of,
    tokenizer_of,
    train_here,
    train_with_trainer,
    write_ids,
)
from bench.training.speed import (
    OURS,
    THEIRS,
    accuracy_table,
    fastest,
    growing,
    in_words,
    main,
    seconds_to,
    speed_table,
    target_sentence,
)
from bench.training.worker import ProgressWatch, epochs_of, logits_of
from textclf.encoder_handles import handles_of
from textclf.training.encoders.preprocessing import TextPreprocessing, tokenize_texts
from textclf.training.encoders.resolve import resolve
from textclf.training.tf_setup import tf

PEERS_PYTHON = os.environ.get("TEXTCLF_PEERS_PYTHON", "python")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_set(tmp_path_factory.mktemp("data") / "trec", tiny_reviews(400), tiny_reviews(20, seed=1)).parent


@pytest.fixture(scope="module")
def found(data):
    return read_set("trec", data, data)


@pytest.fixture
def recipe(tiny_checkpoint) -> Recipe:
    return Recipe(str(tiny_checkpoint), "head", 5e-3, 8, 1)


def drawn_of(found, count, validation_texts, folder):
    held = both(found.data.validation_select, found.data.validation_calibrate)
    return draw(found, count, first_of(held, validation_texts, "validation"), 0.02, folder)


def test_no_text_is_both_trained_on_and_measured_with(found, tmp_path):
    drawn = drawn_of(found, 200, 60, tmp_path)
    assert drawn.class_names == ("neg", "pos")
    train, held = set(drawn.train.texts), set(drawn.validation.texts)
    assert (len(drawn.train), len(held)) == (196, 60)  # 2 % are the training's own validation.
    assert not train & held
    assert train < set(found.data.train.texts)
    assert not held & {*found.data.train.texts, *found.data.test.texts}
    assert json.loads(drawn.validation_texts.read_bytes()) == list(drawn.validation.texts)
    smaller = drawn_of(found, 100, 60, tmp_path / "smaller")
    assert smaller.validation.texts == drawn.validation.texts
    everything = drawn_of(found, 0, 0, tmp_path / "all")
    assert len(everything.validation) == 80
    with pytest.raises(BenchError, match="expected 321 training texts, found 320; ask for fewer, or 0 for all"):
        drawn_of(found, 321, 0, tmp_path)


@pytest.mark.bench
def test_the_trainer_gets_the_ids_that_this_project_trains_on(found, recipe, tiny_checkpoint, tmp_path):
    drawn = drawn_of(found, 64, 16, tmp_path)
    write_ids(drawn, tokenizer_of(tiny_checkpoint, 8, "head+tail"), tmp_path / "ids.npz")
    handles = handles_of(str(tiny_checkpoint))
    folders = resolve(handles.model_name, handles.name_to_handle, handles.model_to_handle)
    preprocessing = TextPreprocessing(folders.preprocessing, 8, "head+tail")
    with np.load(tmp_path / "ids.npz", allow_pickle=False) as arrays:
        for part, split in (("train", drawn.train), ("validation", drawn.validation)):
            expected = tokenize_texts(preprocessing, split.texts)
            assert arrays[f"{part}_ids"].tolist() == expected.ids.tolist()
            assert arrays[f"{part}_lengths"].tolist() == expected.lengths.tolist()
            assert arrays[f"{part}_labels"].tolist() == split.labels.tolist()


def test_a_recipe_and_the_code_have_digests():
    values = Recipe("tiny", "head", 1e-4, 16, 42).__dict__
    digests = {Recipe(**{**values, **change}).digest(2) for change in ({}, {"batch": 8}, {"seed": 1})}
    assert len({*digests, Recipe(**values).digest(3)}) == 4
    assert code_digest() == code_digest()


def test_both_start_from_a_checkpoint(tiny_checkpoint, tmp_path):
    assert checkpoint_folder(str(tiny_checkpoint)) == tiny_checkpoint
    with pytest.raises(BenchError, match=r"expected minilm-l6 .* or a Hugging Face BERT folder, got "):
        checkpoint_folder(str(tmp_path))


def test_epochs_are_differences_of_sums(tmp_path):
    watch = ProgressWatch(tmp_path)

    def write(losses, texts, seconds):
        progress = {"history": {"loss": losses}, "texts": texts, "seconds": seconds}
        (tmp_path / "run").mkdir(exist_ok=True)
        staged = tmp_path / "staged"
        staged.write_text(json.dumps({"progress": progress}))
        staged.replace(tmp_path / "run" / "progress.json")

    def fit():
        write([0.5], 100, 10.0)
        deadline = time.monotonic() + 10
        while 1 not in watch.seen and time.monotonic() < deadline:
            time.sleep(0.01)
        write([0.5, 0.4], 200, 14.0)
        return "history"

    assert watch.during(fit) == "history"
    assert epochs_of(watch.seen, 2) == [{"texts": 100, "seconds": 10.0}, {"texts": 100, "seconds": 4.0}]
    with pytest.raises(BenchError, match=r"expected the progress after each of 3 epochs, saw none after \[3\]"):
        epochs_of(watch.seen, 3)


def test_what_others_took_of_the_cores(tmp_path):
    core = min(os.sched_getaffinity(0))
    stat = "cpu 9 9 9 9 9 9 9 9 0 0\n" + "".join(
        f"cpu{at} {100 if at == core else 0} 20 30 5000 6 1 2 3 4 5\nintr 7\n" for at in (core, core + 1000)
    )
    (tmp_path / "stat").write_text(stat)
    assert CpuUse.read(tmp_path / "stat").busy == pytest.approx(156 / os.sysconf("SC_CLK_TCK"))
    cores = len(os.sched_getaffinity(0))
    assert CpuUse(20.0, 50.0 + 6 * cores, 7.0 + cores).others_since(CpuUse(10.0, 50.0, 7.0)) == pytest.approx(0.5)
    assert CpuUse(20.0, 50.0, 8.0).others_since(CpuUse(10.0, 50.0, 7.0)) == 0


def burst(speed, others=0.0):
    return {"per_second": speed, "others": others}


def test_a_burst_that_others_disturb_is_tried_again(found, recipe, tmp_path, monkeypatch):
    others = [0.5, 0.1, 0.2, 0.4, 0.01, 0.0]

    def train(options, drawn, epochs, predict, work):
        assert (options["epochs"], options["max_length"]) == (7, 16)  # 320 texts.
        return {"epochs": [{"texts": 10, "seconds": 1.0}] * epochs, "others": others.pop(0)}

    monkeypatch.setattr(training, "train_here", train)
    bench = training.Bench(recipe, found, 50, 3, 60, "", 1, "code", tmp_path, print)
    assert bench.burst(OURS, 16, "fixed") == burst(10.0, 0.1)
    assert bench.burst(OURS, 16, "fixed") == burst(10.0, 0.01)
    assert others == [0.0]


def test_the_trainer_is_measured_where_it_is_fastest():
    assert fastest({"fixed": burst(3.0), "dynamic": burst(5.0), "dynamic, grouped": burst(4.0)}) == "dynamic"


def test_numbers_of_texts_double():
    assert growing(8000, 2) == [2000, 4000, 8000]
    assert growing(100, 0) == [100]


def test_ratios_are_taken_round_by_round():
    rounds = {OURS: [burst(10.0), burst(30.0, 0.25), burst(20.0)], THEIRS: [burst(5.0), burst(20.0), burst(10.0)]}
    (row,) = speed_table({256: rounds}, {256: "dynamic"}).splitlines()[2:]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["256", "20.0", "10.0", "dynamic", "2.00 (1.50 to 2.00)", "25%"]
    assert in_words(Spread(1.0, 0.5, 2.0)) == "1.00 (0.50 to 2.00)"


def one_epoch(texts, ours, theirs):
    """Each side: seconds, accuracy."""
    sides = {
        side: {"seconds": seconds, "accuracy": accuracy, "others": 0.0}
        for side, (seconds, accuracy) in ((OURS, ours), (THEIRS, theirs))
    }
    return {
        "texts": texts,
        **sides,
        "validation_texts": 500,
        "difference": {"difference": 0.01, "low": -0.005, "high": 0.025},
    }


def test_time_to_an_accuracy_is_that_of_the_smallest_training_that_reaches_it():
    trainings = [
        one_epoch(980, (10.0, 0.8), (20.0, 0.75)),
        one_epoch(1960, (20.0, 0.85), (40.0, 0.8)),
        one_epoch(3920, (40.0, 0.84), (80.0, 0.86)),
    ]
    assert seconds_to(0.8, OURS, trainings) == 10
    assert seconds_to(0.85, OURS, trainings) == 20
    assert seconds_to(0.85, THEIRS, trainings) == 80
    assert seconds_to(0.9, THEIRS, trainings) is None
    assert target_sentence(0.85, trainings) == ("Accuracy 85.0%: this project 20 s, Trainer 80 s, 4.00 times as long")
    assert target_sentence(0.86, trainings) == "Accuracy 86.0%: this project not reached, Trainer 80 s"
    row = accuracy_table(trainings).splitlines()[-1]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["3,920", "40 s", "80 s", "2.00", "0%", "84.00%", "86.00%", "+1.00", "-0.50 to +2.50"]


@pytest.fixture
def trainings(monkeypatch):
    """Instead of trainings: the sides that were asked for one. This project is twice as fast, and always right."""
    asked = []

    def of_side(side, speed, wrong):
        def train(length, drawn, epochs, predict, factor=1.0):
            asked.append((side, length, len(drawn.train), epochs))
            texts = len(drawn.train)
            found = {"epochs": [{"texts": texts, "seconds": texts / (speed * factor)}] * epochs, "others": 0.01}
            if predict:
                labels = [int(label) for label in drawn.validation.labels]
                found["predicted"] = [1 - label if at < wrong else label for at, label in enumerate(labels)]
            return found

        return train

    here, there = of_side(OURS, 60.0, 0), of_side(THEIRS, 20.0, 6)

    def train_here(options, drawn, epochs, predict, work):
        return here(options["max_length"], drawn, epochs, predict)

    def train_with_trainer(recipe, drawn, length, epochs, predict, work, setting, python, threads):
        return there(length, drawn, epochs, predict, 1.5 if setting.padding == "dynamic" else 1.0)

    monkeypatch.setattr(training, "train_here", train_here)
    monkeypatch.setattr(training, "train_with_trainer", train_with_trainer)
    monkeypatch.setattr(training, "keep_to_cores", lambda count: None)
    return asked


def arguments_of(data, tmp_path, *more):
    given = ["--data-dir", data, "--set", "trec", "--work-dir", tmp_path / "work", "--lengths", "16,32", "--rounds", 2]
    given += ["--burst-texts", 50, "--texts", 200, "--halvings", 1, "--length", 16, "--validation-texts", 60]
    return list(map(str, [*given, "--target", 0.95, *more]))


def test_command_measures_each_part_once(data, recipe, trainings, tmp_path):
    arguments = arguments_of(data, tmp_path, "--encoder", recipe.encoder, "--json", tmp_path / "training.json")
    first = CliRunner().invoke(main, arguments)
    assert first.exit_code == 0, first.output
    bursts = [(side, length) for side, length, texts, epochs in trainings if epochs == 2 and texts == 46]
    for length in (16, 32):
        of_length = [side for side, each in bursts if each == length]
        assert of_length == [THEIRS] * 3 + [OURS, THEIRS, THEIRS, OURS]
    assert [each for each in trainings if each[3] == 1] == [
        (side, 16, texts, 1) for texts in (96, 196) for side in (OURS, THEIRS)
    ]
    written = json.loads((tmp_path / "training.json").read_bytes())
    assert written["options"]["texts"] == 200
    assert written["figures"]["accuracy"][-1][THEIRS]["accuracy"] == pytest.approx(0.9)
    assert written["figures"]["accuracy"][-1]["difference"]["difference"] == pytest.approx(0.1)
    assert [" ".join(row.split()) for row in first.stdout.splitlines() if row.startswith("| 32 ")] == [
        "| 32 | 60.0 | 30.0 | dynamic | 2.00 (2.00 to 2.00) | 1% |"
    ]
    assert "Accuracy 95.0%: this project 2 s, Trainer not reached" in first.stdout
    trainings.clear()
    again = CliRunner().invoke(main, arguments)
    assert trainings == []
    assert again.stdout.splitlines()[1:] == first.stdout.splitlines()[1:]


def test_this_project_is_measured_again_when_its_code_changes(data, recipe, trainings, tmp_path, monkeypatch):
    arguments = arguments_of(data, tmp_path, "--encoder", recipe.encoder)
    assert CliRunner().invoke(main, arguments).exit_code == 0
    trainings.clear()
    monkeypatch.setattr(training, "code_digest", lambda: "other")
    assert CliRunner().invoke(main, arguments).exit_code == 0
    # Rounds are of both sides; what the Trainer found by itself stays.
    assert [side for side, _, _, epochs in trainings if epochs == 2].count(THEIRS) == 4
    assert [side for side, _, _, epochs in trainings if epochs == 1] == [OURS, OURS]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--parts", "speed,memory"), "--parts: expected some of speed, accuracy, got 'speed,memory'"),
        (("--lengths", "256,long"), "--lengths: expected whole numbers of at least 8"),
        (("--lengths", "4"), "--lengths: expected whole numbers of at least 8"),
        (("--texts", "5000"), "expected 2,500 training texts, found 320"),
        (("--encoder", "nowhere"), "--encoder: expected minilm-l6"),
        (("--cores", "1000"), "--cores: expected at most"),
    ],
)
def test_command_with_bad_option_fails(data, recipe, tmp_path, given, message, request):
    if "--texts" in given:
        request.getfixturevalue("trainings")
    arguments = arguments_of(
        data, tmp_path, "--encoder", recipe.encoder, *(() if "--cores" in given else ("--cores", 1))
    )
    before = os.sched_getaffinity(0)
    try:
        found = CliRunner().invoke(main, [*arguments, *given])
    finally:
        os.sched_setaffinity(0, before)
    assert found.exit_code == 1
    assert message in found.stderr


def test_a_training_that_fails_says_why(found, recipe, tmp_path):
    drawn = drawn_of(found, 64, 16, tmp_path)
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho no torch here >&2\nexit 3\n")
    script.chmod(0o755)
    with pytest.raises(BenchError, match=r"hugging_face_trainer: ended with status 3: no torch here \(all of it: "):
        train_with_trainer(recipe, drawn, 16, 1, False, tmp_path / "work", SETTINGS["fixed"], str(script), 1)


def test_logits_are_in_the_order_of_the_texts():
    def classifier(texts, training):
        assert not training
        return tf.constant([[0.0, float(len(text)) - 50] for text in texts.numpy()])

    lengths = np.random.default_rng(0).permutation(100)
    assert logits_of(classifier, ["x" * length for length in lengths]) == [[0.0, length - 50.0] for length in lengths]


def check(figures, drawn):
    assert [epoch["texts"] for epoch in figures["epochs"]] == [len(drawn.train)] * 2
    assert all(epoch["seconds"] > 0 for epoch in figures["epochs"])
    assert len(figures["predicted"]) == len(drawn.validation)
    assert set(figures["predicted"]) <= {0, 1}
    assert 0 <= figures["others"] <= 1


@pytest.mark.bench
def test_train_here_returns_epochs_and_predictions(found, recipe, tmp_path):
    drawn = drawn_of(found, 64, 16, tmp_path / "texts")
    figures = train_here(recipe.options(16), drawn, 2, True, tmp_path / "work")
    check(figures, drawn)
    assert figures["precision"] in ("bfloat16", "float32")
    assert not (tmp_path / "work" / "runs").exists()


@pytest.mark.bench
def test_a_speed_is_of_the_beginning_of_a_long_training(found, recipe, tmp_path):
    drawn = drawn_of(found, 64, 16, tmp_path / "texts")
    figures = train_here({**recipe.options(16), "epochs": 10**4}, drawn, 2, False, tmp_path / "work")
    assert len(figures["epochs"]) == 2
    assert not (tmp_path / "work" / "runs").exists()


@pytest.mark.peers
@pytest.mark.parametrize("setting", SETTINGS)
def test_train_with_trainer_learns(found, recipe, tmp_path, setting):
    drawn = drawn_of(found, 320, 60, tmp_path / "texts")
    figures = train_with_trainer(recipe, drawn, 16, 2, True, tmp_path / "work", SETTINGS[setting], PEERS_PYTHON, 1)
    check(figures, drawn)
    assert np.mean(np.array(figures["predicted"]) == drawn.validation.labels) > 0.8

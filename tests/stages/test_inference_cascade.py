"""inference.py with a version that has a cascade: who answered is shown, --no-cascade, and what inspect tells."""

import csv
import json

import pytest
from click.testing import CliRunner
from tiny_engine import CASCADE, tiny_reviews, write_version

import inference
from inference import Inference
from textclf.store.manifest import Manifest
from textclf.store.model_store import ModelStore

EXIT, OTHER = "the film was dull and boring", "a film"
FIGURES = {
    "texts": 1000,
    "exit_share": 0.6,
    "accuracy": {"encoder": 0.91, "linear": 0.89, "combination": 0.93, "cascade": 0.925},
    "accuracy_on_exits": {"linear": 0.98, "encoder": 0.97},
    "expected_calibration_error": {"encoder": 0.01, "cascade": 0.02, "linear_stage": 0.03, "encoder_stage": 0.04},
    "curve": [{"exit_share": 0.05, "accuracy_lost": 0.0}],
}
SETTINGS = CASCADE.to_dict()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("cascade") / "model"
    write_version(path, cascade=True, reference_texts=[])
    return path


@pytest.fixture
def cli(store):
    """Run a command of the model `store`, with options of the group before it."""

    def run(*arguments, model_path=store, group=(), **options):
        result = CliRunner().invoke(
            inference.main, ["--model-path", str(model_path), *group, *map(str, arguments)], **options
        )
        assert result.exit_code == 0, result.output
        return result.output

    return run


@pytest.mark.parametrize("threads", [None, 1])
def test_the_class_takes_the_switch(store, threads):
    assert Inference(store, threads=threads).predict(EXIT).stage == "linear"
    assert Inference(store, threads=threads, cascade=False).predict(EXIT).stage is None


def test_live_shows_who_answered(cli):
    typed = f"{EXIT}\n\n{OTHER}\n\nexit\n"
    lines = [line for line in cli("live", input=typed).splitlines() if "score" in line]
    assert [line.rpartition("; ")[2] for line in lines] == ["by the linear stage)", "by the encoder)"]
    assert "; by " not in cli("live", group=["--no-cascade"], input=typed)


def test_batch_shows_who_answered(cli, tmp_path):
    for name in ("neg", "pos"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.txt").write_text(EXIT, encoding="utf-8")
        (tmp_path / name / "2.txt").write_text(OTHER, encoding="utf-8")
    printed = cli("batch", tmp_path)
    assert printed.count("; by the linear stage)") == printed.count("; by the encoder)") == 2
    assert "; by " not in cli("batch", tmp_path, group=["--no-cascade"])


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_score_keeps_its_columns_and_says_how_many_each_answered(cli, store, tmp_path, ending):
    texts = [text for text, _ in tiny_reviews(50, seed=9)]
    source, target = tmp_path / "in.csv", tmp_path / f"out.{ending}"
    with source.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text"], *([text] for text in texts)])
    linear = sum(prediction.stage == "linear" for prediction in Inference(store).predict(texts))
    assert 0 < linear < 50
    printed = cli("score", "--input", source, "--output", target)
    assert f"predicted by the linear stage: {linear}, by the encoder: {50 - linear}" in printed.splitlines()
    content = target.read_text(encoding="utf-8").splitlines()
    if ending == "csv":
        assert content[0] == "text,label,score,p:neg,p:pos,truncated"
    else:
        assert list(json.loads(content[0])) == ["text", "label", "score", "probabilities", "truncated"]
    printed = cli("score", "--input", source, "--output", target, group=["--no-cascade"])
    assert "predicted by" not in printed


def test_a_report_counts_only_rows_that_were_written(store, tmp_path):
    rows = [{"text": EXIT}, {"text": EXIT, "x": float("nan")}, {"text": OTHER}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    report = Inference(store).score_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl", skip_bad=True)
    assert report.scored == 2
    assert report.stages == {"linear": 1, "encoder": 1}


def save(store, cascade):
    """A version whose manifest says this of its cascade, and that can not answer: its id."""
    fields = {
        "name": "tiny",
        "class_names": ("neg", "pos"),
        "encoder": dict.fromkeys(("model_name", "name_to_handle", "model_to_handle"), "tiny"),
        "max_length": 32,
        "truncation": "head",
        "head_fraction": 0.25,
        "lower_case": True,
    }
    with ModelStore(store).new_version() as draft:
        (draft.path / "notes.txt").write_text("no model\n", encoding="utf-8")
        draft.manifest = Manifest(**fields, cascade=cascade)
    return draft.id


@pytest.fixture(scope="module")
def versions(tmp_path_factory):
    """Versions with a cascade that is on, on without early answers, off, and without one."""
    store = tmp_path_factory.mktemp("versions") / "model"
    combining = {**SETTINGS, "exit_confidence": None}
    worse = {**FIGURES, "exit_share": 0.5, "accuracy": {**FIGURES["accuracy"], "cascade": 0.915}}
    cascades = [
        {"settings": SETTINGS, "why_off": "", "validation": FIGURES, "test": {**FIGURES, "texts": 12500}},
        {"settings": combining, "why_off": "too few could be answered early", "validation": worse},
        {"settings": None, "why_off": "half C is too small", "validation": worse},
        {},
    ]
    ids = [save(store, cascade) for cascade in cascades]
    return store, ids


class TestVersions:
    def test_the_list(self, cli, versions):
        store, _ = versions
        lines = cli("versions", model_path=store).splitlines()
        column = lines[0].index("cascade")
        assert [line[column:].split()[0] for line in lines[1:]] == ["-", "off", "50.0%", "60.0%"]

    def test_a_version_with_one(self, cli, versions):
        store, ids = versions
        text = cli("inspect", ids[0], model_path=store)
        for expected in (
            "cascade       on: the linear stage predicts from a probability of 0.97 on, else encoder and linear stage "
            "together, weighted 1 and 0.5",
            "                                        test    validation",
            "  texts                                 12500   1000",
            "  share that the linear stage predicts  60.0%   60.0%",
            "  accuracy: encoder                     0.9100  0.9100",
            "  accuracy: cascade                     0.9250  0.9250",
            "    linear stage, where it predicts     0.9800  0.9800",
            "  calibration error: encoder            0.0100  0.0100",
            "    where the encoder predicts          0.0400  0.0400",
        ):
            assert expected in text.splitlines()
        assert "curve" not in text

    def test_one_that_only_combines(self, cli, versions):
        store, ids = versions
        lines = cli("inspect", ids[1], model_path=store).splitlines()
        assert "cascade       on: encoder and linear stage together, weighted 1 and 0.5" in lines
        assert "partly off    too few could be answered early" in lines

    def test_one_that_is_off(self, cli, versions):
        store, ids = versions
        text = cli("inspect", ids[2], model_path=store)
        assert "cascade       off: half C is too small" in text.splitlines()
        assert "share that the linear stage predicts  50.0%" in text

    def test_a_version_that_knows_of_none(self, cli, versions):
        store, ids = versions
        assert "cascade" not in cli("inspect", ids[3], model_path=store)

    def test_side_by_side(self, cli, versions):
        store, ids = versions
        text = cli("compare", ids[1], ids[0], model_path=store)
        for expected in (
            "  a  on: encoder and linear stage together, weighted 1 and 0.5",
            "  a  too few could be answered early",
            "  share that the linear stage predicts  50.0%   60.0%",
            "  accuracy: cascade                     0.9150  0.9250  +0.0100  better",
            "  accuracy: encoder                     0.9100  0.9100  0.0000   same",
        ):
            assert expected in text.splitlines()
        assert "cascade on validation: the manifests do not record whether the texts are the same" in text
        assert "cascade on test" not in text
        assert "what differs" not in text

    def test_beside_a_version_without(self, cli, versions):
        store, ids = versions
        lines = cli("compare", ids[2], ids[3], model_path=store).splitlines()
        assert lines[lines.index("cascade") + 1 :][:2] == ["  a  off: half C is too small", "  b  none"]
        assert not any(line.startswith("cascade on") for line in lines)
        assert "cascade" not in cli("compare", ids[3], ids[3], model_path=store)

    def test_figures_that_are_not_there_are_a_dash(self, cli, tmp_path):
        odd = {"settings": {}, "validation": {"accuracy": 3, "exit_share": "many"}, "test": None}
        version = save(tmp_path, odd)
        text = cli("inspect", version, model_path=tmp_path)
        assert "on: encoder and linear stage together, weighted - and -" in text
        assert "  share that the linear stage predicts  -" in text.splitlines()
        assert len(ModelStore(tmp_path).version_ids()) == 1
        cli("versions", model_path=tmp_path)

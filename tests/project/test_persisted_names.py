"""docs/architecture.md lists every name that exists outside the code; the code has these names and no others.

Each test compares a section of the list with what the product writes or declares now. A name that is missing on either
side fails.
"""

import contextlib
import dataclasses
import inspect
import io
import json
import re
import shutil
import sqlite3
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families
from tiny_engine import tiny_reviews, write_version

import inference
import monitoring
import retraining
import train_model
from serving.api.errors import ErrorCode
from serving.api.explain_requests import EXPLAIN_FORMATS
from serving.api.inference_protocol import INPUT, OUTPUTS
from serving.app import create_app
from serving.gateway import cors_headers, preflight_headers
from serving.observability.unanswered import CLIENT_GONE
from serving.openapi import openapi_document
from serving.pages import PAGES
from serving.sagemaker.hyperparameters import hyperparameter_rules
from serving.sagemaker.job_config import CHANNELS_FILE, RESOURCES_FILE
from serving.sagemaker.job_results import METRICS_FILE, PLOTS
from serving.sagemaker.metric_lines import metric_definitions
from serving.sagemaker.other_names import IGNORED, SYNONYMS
from serving.server.programs import nginx_conf
from serving.settings import Settings
from serving.source.settings import SourceSettings
from textclf.audit.command import audit_to_folder
from textclf.audit.review_file import COLUMNS, REMOVE
from textclf.audit.settings import AuditSettings
from textclf.bad_rows import Reason as BadRowReason
from textclf.cli import termination
from textclf.config import DataOptions, DriftOptions, ModelOptions, TrainingOptions
from textclf.data.class_folders import NAME_FILE
from textclf.data.dataset_report import dataset_report
from textclf.data.datasets import load_dataset
from textclf.data.feedback_index import IndexEntry
from textclf.data.prediction_log.log import PredictionLog
from textclf.drift.audit_run import AuditRun
from textclf.drift.features import Stage
from textclf.drift.state import VERDICTS
from textclf.evaluation.cost_table import CostTable
from textclf.evaluation.unsure_thresholds import LabelledScores, UnsureTarget, chosen_thresholds
from textclf.explain.explainer import ABSENCE
from textclf.explain.explanation import UNITS
from textclf.explain.masked_text import BASELINES
from textclf.exporting.mlflow_loader import LABEL, PROBABILITY, SCORE, TEXT
from textclf.exporting.mlflow_registry import VERSION_TAG
from textclf.importing.importer import ImportOptions, import_classifier
from textclf.label_column import LabelChange
from textclf.labels import OTHER_LABEL
from textclf.report.audit_report import CONTRADICTION, LIKELY_ERROR, OUTLIER, SIMILAR_CONTRADICTION
from textclf.report.drift_report import DriftReport
from textclf.retrain_outcome import RetrainOutcome
from textclf.retraining.comparison import ModelPredictions, sure_counts, with_sure_counts
from textclf.retraining.removals import Reason
from textclf.retraining_options import CombineOptions, GateOptions
from textclf.runtime.backend import Timings
from textclf.runtime.cascade import ENCODER, LINEAR
from textclf.runtime.file_scoring import EMPTY, RULES, UNUSUAL, UNUSUAL_REASON
from textclf.runtime.prediction import RULE, UNSURE
from textclf.sharding.options import ShardOptions
from textclf.sharding.reading import NO_TEXT, TOO_LONG
from textclf.stats.cascade_fit import cascade_results, fit_cascade
from textclf.stats.cascade_rules import CascadeSettings, StageOutputs
from textclf.stats.drift_tests.unsure_shares import UnsureShares
from textclf.stats.gate import GateDecision
from textclf.stats.parity import Parity
from textclf.store.decision_log import ACTIONS
from textclf.store.evaluation import Evaluation
from textclf.store.model_store import ModelStore
from textclf.store.promotion import Promotions
from textclf.training.fitting.checkpoints import Progress, RunDirectory
from textclf.training.recipes import Recipe
from textclf.training.teachers import TeacherRecord
from textclf.training.tf_setup import tf
from textclf.tuning import command as tune
from textclf.tuning import study as tuning_study
from textclf.tuning.options import TuningOptions
from textclf.tuning.search_space import search_space
from textclf.tuning.storage import FILES
from textclf.unusual_reasons import REASONS

ROOT = Path(inference.__file__).resolve().parent
FAMILY = ("encoder.family", "encoder.layer_norm_epsilon")
PERSISTED = ROOT / "tests" / "fixtures" / "persisted"
OPTION_CLASSES = (
    DataOptions, ModelOptions, TrainingOptions, GateOptions, CombineOptions, DriftOptions, TuningOptions,
    CascadeSettings, ShardOptions,
)  # fmt: skip
RETRAINING_STATUSES = {outcome.exit_status for outcome in RetrainOutcome if outcome is not RetrainOutcome.FAILED}
# Objects whose keys depend on the data.
_KEYED_BY_DATA = (
    "unsure.thresholds",
    "unsure.costs.errors",
    "unsure.costs.errors.*",
    "files",
    "per_class",
    "other_versions",
    "audited_since",
    "audit_runs",
    "outcomes",
    "by_source",
    "by_source.*",
    "classes",
    "few_texts",
    "nested",
    "bad_rows",
    "bad_rows",
)


# --- the list


def fields_of(record) -> set[str]:
    return {item.name for item in dataclasses.fields(record)}


def sections() -> dict[str, dict[str, set[str]]]:
    """Section to `where` to names, as the tables of the list have them."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    text = text.partition("\n## Persisted names\n")[2].partition("\n## ")[0]
    options = {option.__name__: fields_of(option) for option in OPTION_CLASSES}
    found: dict[str, dict[str, set[str]]] = {}
    for part in text.split("\n### ")[1:]:
        title, _, body = part.partition("\n")
        found[title] = {}
        rows = re.findall(r"^\| (.*?) ?\| (.*?) ?\| .*\|$", body, re.MULTILINE)
        rows = [row for row in rows if row[0] not in ("where", "---")]
        assert len(rows) == len(set(rows)), f"{title}: a row is listed twice"
        for where, names in rows:
            listed = re.findall(r"`([^`]+)`", names)
            for option in re.findall(r"\*(\w+)\*", re.sub(r"`[^`]+`", "", names)):
                listed += options[option]
            # A cell of names lists places; "values of `x`" is one place.
            is_names = where.startswith("`")
            for place in re.findall(r"`([^`]+)`", where) if is_names else [where.replace("`", "")]:
                found[title].setdefault(place, set()).update(listed)
    return found


LIST = sections()


def paths_of(section: str, within: str = "") -> set[str]:
    """The full names of a section, except values; `within` is the `where` that they begin with."""
    paths = set()
    for where, names in LIST[section].items():
        if not where.startswith("values of") and (where == within or where.startswith(f"{within}.") or not within):
            rest = where.removeprefix(within).removeprefix(".")
            paths |= {f"{rest}.{name}" if rest else name for name in names}
    return paths


def keys_of(value: object, path: str = "") -> set[str]:
    """The full names in a JSON value."""
    if isinstance(value, dict) and value:
        is_keyed_by_data = path.endswith(_KEYED_BY_DATA)
        return set().union(
            *(
                keys_of(item, ".".join(filter(None, (path, "*" if is_keyed_by_data else key))))
                for key, item in value.items()
            )
        )
    if isinstance(value, list | tuple) and value and isinstance(value[0], dict):
        return set().union(*(keys_of(item, f"{path}[]") for item in value))
    return {f"{path}.*" if isinstance(value, dict) and path.endswith(_KEYED_BY_DATA) else path}


def json_of(path) -> dict:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def lines_of(path) -> list[dict]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def arrays_of(path) -> set[str]:
    with zipfile.ZipFile(path) as file:
        return {name.removesuffix(".npy") for name in file.namelist()}


def test_every_section_is_compared():
    source = Path(__file__).read_text(encoding="utf-8")
    assert len(LIST) == 32
    for title, places in LIST.items():
        assert places, title
        assert f'"{title}"' in source, title


# --- what the product writes now


def best_version_so_far(path: Path) -> None:
    """Make the current version follow a better one, which is a copy."""
    store, promotions = ModelStore(path), Promotions(path)
    champion = store.open()
    with store.new_version() as draft:
        shutil.copytree(champion.path / "engine", draft.path / "engine")
        draft.manifest = champion.manifest
    promotions.move("promote_by_hand", champion.id, draft.id)
    promotions.move("promote", draft.id, champion.id, data={"best": draft.id})


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A copy of the persisted files in which every command has written once more."""
    folder = tmp_path_factory.mktemp("written") / "persisted"
    shutil.copytree(PERSISTED, folder)
    newest = max((folder / "model" / "versions").iterdir()).name

    def run(script, *arguments, status=0):
        result = CliRunner().invoke(script.main, list(map(str, arguments)))
        assert result.exit_code == status, result.output

    store = ("--model-dir", "model")
    with contextlib.chdir(folder):
        for name in ("decisions.jsonl", "hold.json"):
            (folder / "model" / name).unlink()
        best_version_so_far(folder / "model")
        options = {"model_dir": "model", "epochs": None, "init_lr": None}
        retrain = retraining.Retrain("old", "new_data", "combined", **options, min_slice=10)
        retrain.combine_datasets()
        retrain.save_retrained_model()
        # Compared once more, because the gate is another.
        paths = ("--old-dataset-path", "old", "--new-dataset-path", "new_data", "--combined-dataset-path", "combined")
        run(retraining, "run", *paths, *store, status=4)
        run(retraining, "promote", newest, *store)
        run(retraining, "rollback", *store)
        log = ("--log-url", "sqlite:///prediction_log/predictions.sqlite", "--new-data-dir", "new_data")
        check = ("check", "--model-path", "model", *log)
        run(monitoring, *check, "--windows", "2of3", "--json", "window.json", status=3)
        run(monitoring, *check, "--json", "report.json", status=3)
        shutil.copy("model/drift.json", "drift.json")
        Path("model/drift.json").write_text("damaged", encoding="utf-8")
        run(monitoring, *check, status=3)
        for name in ("csv", "jsonl"):
            run(inference, "--model-path", "model", "score", "--input", "old/test.csv", "--output", f"scored.{name}")
    return folder


@pytest.fixture(scope="module")
def imported_version(tmp_path_factory) -> Path:
    source = ROOT / "tests" / "importing" / "checkpoints" / "roberta"
    return import_classifier(source, ModelStore(tmp_path_factory.mktemp("imported")), ImportOptions("roberta")).path


def test_the_model_store(written, trained_version, imported_version):
    names = {path.name for path in (written / "model").iterdir()}
    assert names == LIST["Model store"]["store"]
    files = {
        re.sub(r"^(saved_model|plots)/.*", r"\1/*", path.relative_to(version).as_posix())
        for version in (trained_version, imported_version, *(written / "model" / "versions").iterdir())
        for path in version.rglob("*")
        if path.is_file()
    }
    assert files == LIST["Model store"]["version"]


def test_the_manifest(trained_version, imported_version):
    listed = paths_of("manifest.json")
    before = set().union(*(keys_of(json_of(path)) for path in PERSISTED.glob("model/versions/*/manifest.json")))
    # A cascade that is off, and options without a value.
    before -= {"metrics", "calibration", "data", "training", "software", "parity", "cascade"}
    # Earlier versions lack the keys that came later.
    assert before <= listed
    # No label of this data was normalised.
    changes = {f"data.counts.normalised_labels[].{name}" for name in fields_of(LabelChange)}
    # No teacher taught it.
    teachers = {f"training.teachers[].{name}" for name in fields_of(TeacherRecord)}
    now = keys_of(json_of(trained_version / "manifest.json"))
    now -= {"cascade.settings", "data.counts.normalised_labels", "training.teachers", "source", "unsure"}
    imported = keys_of(json_of(imported_version / "manifest.json"))
    now |= changes | teachers | {name for name in imported if name.startswith("source.")}
    # A training without a target chooses no thresholds.
    ids = np.arange(400) % 2
    scores = LabelledScores(ids, ids, np.eye(2)[ids])
    measured = Evaluation("test", 400, ids, ids, np.ones(400), ids, 1.0)
    for target in (UnsureTarget(0.9), UnsureTarget(costs=CostTable(1.0, {"neg": {"pos": 2.0}}))):
        now |= keys_of({"unsure": chosen_thresholds(("neg", "pos"), scores, target, measured)})
    assert now <= listed
    # A training with a recipe (test_train_model_recipe.py) has the last two.
    # Encoders that are not in the form of TF-Hub (test_family_life_cycle.py) have those of the encoder.
    others = ("cascade.", "parity.cascade.", "metrics.out_of_fold.", "training.recipe.", *FAMILY)
    assert {name for name in listed - now if not name.startswith(others)} == set()
    assert LIST["manifest.json"]["training.recipe"] == set(Recipe("", "", {}).to_dict())
    assert fields_of(Parity) == LIST["manifest.json"]["parity.engine"]
    assert {str(reason) for reason in BadRowReason} == LIST["manifest.json"]["values of bad_rows"]


def test_the_cascade_in_the_manifest():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    logits = np.stack([-labels, labels], axis=1) * np.float32(6) + rng.normal(0, 1, (400, 2)).astype(np.float32)
    outputs = StageOutputs(logits, logits, 1.0)
    settings = CascadeSettings(1.0, 1.0, 0.5, 0.9)
    assert keys_of(fit_cascade(outputs, labels).results) == paths_of("manifest.json", "cascade.validation") | {
        f"curve[].{name}" for name in LIST["manifest.json"]["cascade.validation.curve[]"]
    }
    assert keys_of(cascade_results(settings, outputs, labels)) == paths_of("manifest.json", "cascade.test")


def test_the_files_of_a_version(tmp_path):
    version = write_version(tmp_path / "model", cascade=True, unusual=True)
    for section, path in (("reference.npz", "reference.npz"), ("linear.npz", "engine/linear.npz")):
        (before,) = {
            frozenset(arrays_of(old / path)) for old in PERSISTED.glob("model/versions/*") if (old / path).exists()
        }
        assert before == arrays_of(version / path) == paths_of(section)
    assert arrays_of(version / "engine" / "unusual.npz") == paths_of("unusual.npz")
    assert set(json_of(version / "engine" / "tokenizer.json")) == paths_of("tokenizer.json")


def test_the_evaluation(trained_version):
    assert keys_of(json_of(trained_version / "evaluation.json")) - {"words"} == paths_of("evaluation.json")


def test_decisions_and_hold(written):
    now = set().union(*map(keys_of, lines_of(written / "model" / "decisions.jsonl")))
    now -= {"gate.figures.slices"}  # Keys of a gate without slices.
    # Neither version has thresholds of unsure predictions.
    counts = sure_counts(np.zeros(1, np.int64), ModelPredictions(*[np.zeros(1, np.int64)] * 3, np.ones(1, np.bool_)))
    sure = with_sure_counts(GateDecision("", (), {}, {}), {"champion": counts, "challenger": counts})
    assert now | keys_of({"gate": {"figures": sure.figures}}) == paths_of("decisions.jsonl")
    before = set().union(*map(keys_of, lines_of(PERSISTED / "model" / "decisions.jsonl")))
    assert before - {"gate.figures.slices"} <= now
    assert set(ACTIONS) == LIST["decisions.jsonl"]["values of action"]
    assert set(json_of(written / "model" / "hold.json")) == paths_of("hold.json")


def test_the_state_of_monitoring(written):
    of_runs = {f"audit_runs.*.{name}" for name in fields_of(AuditRun)}
    # The version has no thresholds of unsure predictions.
    shares = {f"last_check.unsure.{name}" for name in ("reference", "latest")}
    listed = paths_of("drift.json")
    assert of_runs | shares <= listed
    now = keys_of(json_of(written / "drift.json")) - {"audit_runs.*", "last_check.unsure"}
    assert now == listed - of_runs - shares
    # Written before there were runs.
    assert keys_of(json_of(PERSISTED / "model" / "drift.json")) == listed - of_runs - shares
    assert set(VERDICTS) == LIST["drift.json"]["values of verdict"]
    assert {outcome.value for outcome in RetrainOutcome} - {"busy"} == LIST["drift.json"]["values of outcome"]


def test_the_data_set_report(tmp_path):
    for part in ("train", "val", "test"):
        for label in ("neg", "POS" if part == "test" else "pos"):
            for i in range(3):
                path = tmp_path / part / (label if part == "train" else label.title()) / "2024" / f"{i}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"{part} {label} {i}", encoding="utf-8")
    (tmp_path / "bad.csv").touch()
    report = dataset_report(load_dataset(tmp_path), lambda texts: np.full(len(texts), 5), max_length=9)
    found = keys_of(report.to_dict()) - {"bad_rows"}
    assert found | {"bad_rows.*"} == paths_of("Data set report")


def test_the_audit(tmp_path):
    rows = [(text, "pos" if label else "neg") for text, label in tiny_reviews(120, 1)]
    # A copy with another label is a contradiction, a leak and a group.
    for part, its_rows in (("train", rows), ("test", [(rows[0][0], "pos"), (rows[1][0], "pos")])):
        lines = ["text,label", *(f'"{text}",{label}' for text, label in its_rows)]
        (tmp_path / f"{part}.csv").write_text("\n".join(lines), encoding="utf-8")
    write_version(tmp_path / "store", cascade=False)
    settings = AuditSettings(output=tmp_path / "audit", model_path=tmp_path / "store")
    report, files = audit_to_folder(tmp_path, settings, DataOptions())
    assert {file.name for file in files} == LIST["Audit"]["folder"]
    assert set(COLUMNS) == LIST["Audit"]["review.csv"]
    assert {CONTRADICTION, LIKELY_ERROR, SIMILAR_CONTRADICTION, OUTLIER} == LIST["Audit"]["values of reason"]
    assert {REMOVE} == LIST["Audit"]["values of label"]
    assert keys_of(report.to_dict()) == paths_of("Audit", "report")


def test_the_drift_report(written):
    report = json_of(written / "report.json")
    # The check is without enough audits for a test.
    run = {f"figures.audit_run.{name}" for name in fields_of(AuditRun)}
    # The version has no thresholds of unsure predictions.
    shares = {f"unsure.{name}" for name in fields_of(UnsureShares)}
    assert (keys_of(report) - {"figures.audit_run", "unsure"}) | run | shares == paths_of("Drift report")
    assert set(report) == fields_of(DriftReport)


def test_the_combined_data_set(written):
    for folder in (written / "combined", PERSISTED / "combined"):
        assert {path.name for path in folder.iterdir()} == LIST["Combined data set"]["folder"]
        # Earlier software lacks the options that came later.
        later = {"options.add_classes", "options.min_class_texts"} if folder.is_relative_to(PERSISTED) else set()
        assert keys_of(json_of(folder / "combined.json")) == paths_of("Combined data set", "combined.json") - later
        for removed in lines_of(folder / "removed.jsonl"):
            assert set(removed) == LIST["Combined data set"]["removed.jsonl"]
    assert {str(reason) for reason in Reason} == LIST["Combined data set"]["values of reason"]


def test_the_prediction_log(tmp_path):
    log = PredictionLog(f"sqlite:///{tmp_path}/new.sqlite")
    log.append([])
    log.close()
    for path in (tmp_path / "new.sqlite", PERSISTED / "prediction_log" / "predictions.sqlite"):
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
            names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master")]
            columns = {
                name: {row[1] for row in connection.execute(f"PRAGMA table_info({name})")}
                or {row[2] for row in connection.execute(f"PRAGMA index_info({name})")}
                for name in names
            }
        values = {"values of stage": {str(int(stage)) for stage in Stage}, "JSON in rules": {"names", "label"}}
        # A log of earlier software gets these columns when a rule acts, and with a version that has thresholds.
        columns["textclf_predictions"] |= {"rules", "unsure"}
        assert columns | values == LIST["Prediction log"]


def test_scored_files(written):
    header = (written / "scored.csv").read_text(encoding="utf-8").partition("\n")[0].strip().split(",")
    columns = {"p:*" if name.startswith("p:") else name for name in header} - {"text"}
    # The version is of earlier software, which marks no text as unusual.
    assert columns | {UNUSUAL, RULES, UNSURE} == LIST["Scored files"]["CSV"]
    marks = {EMPTY, UNUSUAL, UNUSUAL_REASON, UNSURE, RULES}
    assert {*lines_of(written / "scored.jsonl")[0], *marks} - {"text"} == LIST["Scored files"]["JSONL"]


def test_explained_files(tmp_path):
    (tmp_path / "texts.csv").write_text("text\nthe film was dull and boring\n", encoding="utf-8")
    write_version(tmp_path / "model", cascade=True)
    command = ["--model-path", "model", "explain", "--input", "texts.csv", "--output", "explained.jsonl"]
    with contextlib.chdir(tmp_path):
        assert CliRunner().invoke(inference.main, command).exit_code == 0
    of_rules = {"rules", "model_probabilities"}
    assert set(lines_of(tmp_path / "explained.jsonl")[0]) | of_rules == LIST["Explained files"]["JSONL"]


def test_checkpoints(tmp_path):
    RunDirectory(tmp_path).save(tf.train.Checkpoint(step=tf.Variable(1)), Progress(step=1))
    saved = json_of(tmp_path / "progress.json")
    assert set(saved) - {"progress"} == LIST["Checkpoints"]["progress.json"]
    assert set(saved["progress"]) == fields_of(Progress) == LIST["Checkpoints"]["progress.json.progress"]


def test_option_classes():
    assert {option.__name__: fields_of(option) for option in OPTION_CLASSES} == LIST["Option classes"]


# --- environment and jobs


def sources(*places: str) -> str:
    """The product's code below these places."""
    return "\n".join(path.read_text(encoding="utf-8") for place in places for path in sorted(ROOT.glob(place)))


def test_configuration_files():
    listed = LIST["Configuration files"]
    left_out = {"train": set(), "retrain": {"read_test"}, "tune": {"read_test", "select", "train_on"}}
    for name, command in {"train": train_model.main, "retrain": retraining.run, "tune": tune.main}.items():
        text = CliRunner().invoke(command, ["--print-config"]).stdout
        found = set(re.findall(r"^#?(\w+) =", text, re.MULTILINE))
        assert found == listed[name] - left_out[name]
    assert {path.stem for path in (ROOT / "ops" / "config").iterdir()} == listed["ops/config"]


def test_the_study(tmp_path):
    listed = LIST["Study"]
    study = tuning_study.SharedStudy(tmp_path, TuningOptions(trials=1), search_space(["epochs"]))
    study.open({}, lambda: {"epochs": 1})
    assert {path.name for path in tmp_path.iterdir()} | set(FILES.values()) == listed["folder"]
    assert set(study.study.user_attrs) == listed["attributes of the study"]
    names = {name: value for name, value in vars(tuning_study).items() if re.fullmatch("_[A-Z]+(_[A-Z]+)?", name)}
    attributes = {value for name, value in names.items() if isinstance(value, str) and name != "_NAME"}
    assert attributes - listed["attributes of the study"] == listed["attributes of a trial"]


def test_sharded_scores(tmp_path):
    write_version(tmp_path / "model", cascade=True, unusual=True)
    lines = [json.dumps({"text": text}) for text, _ in tiny_reviews(30)]
    (tmp_path / "in.jsonl").write_text("\n".join([*lines, "{}"]), encoding="utf-8")
    command = ["--model-path", str(tmp_path / "model"), "score", "--input", str(tmp_path / "in.jsonl")]
    command += ["--output", str(tmp_path / "out"), "--shards", "1", "--probabilities", "--output-format", "csv"]
    assert CliRunner().invoke(inference.main, command).exit_code == 0
    listed = LIST["Sharded scores"]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    (part,) = (name for name in names if name.startswith("part-"))
    assert names - {part} | {"part-*"} == listed["folder"]
    header = (tmp_path / "out" / part).read_text(encoding="utf-8").partition("\n")[0].split(",")
    columns = {"p:*" if name.startswith("p:") else name for name in header}
    assert columns | {"unsure", "rules"} == listed["shard"]
    plan = keys_of(json_of(tmp_path / "out" / "_plan.json"))
    assert {f"{name}.*" if name == "cuts" else name for name in plan} == paths_of("Sharded scores", "_plan.json")
    record, sample = sorted((tmp_path / "out" / "_shards").iterdir())
    counted = ("labels", "errors", "stages", "unusual", "label_shares")
    for path, where in ((record, "_shards.*.json"), (tmp_path / "out" / "_SUCCESS", "_SUCCESS")):
        found = {f"{name.partition('.')[0]}.*" if name.startswith(counted) else name for name in keys_of(json_of(path))}
        assert found == paths_of("Sharded scores", where)
    assert arrays_of(sample) == listed["_shards.*.npz"]
    assert {NO_TEXT, TOO_LONG} == listed["further reasons in errors"]


def test_environment_variables():
    listed = LIST["Environment variables"]
    assert {name.upper() for name in fields_of(Settings) | fields_of(SourceSettings)} == listed["server"]
    source = sources("*.py", "textclf/**/*.py", "serving/**/*.py", "ops/**/*.py")
    found = set(re.findall(r"environ(?:\.get|\.setdefault|\.pop)?[(\[]\"([A-Z0-9_]+)\"|envvar=\"([A-Z_]+)\"", source))
    names = {name for pair in found for name in pair if name}
    names |= set(re.findall(r"\"((?:TEXTCLF|OPENBLAS|OTEL|MALLOC)_[A-Z_]+)\"", source))
    # WSGI's names for parts of a request.
    of_request = ("HTTP_", "CONTENT_", "REQUEST_", "QUERY_STRING", "PATH", "SCRIPT_NAME")
    names -= listed["server"] - listed["others"]
    assert {name for name in names if not name.startswith(of_request)} == listed["others"]


def test_the_training_job():
    listed = LIST["Training job"]
    assert set(hyperparameter_rules()) == listed["hyperparameters"]
    metrics = {item["Name"] for item in metric_definitions()}
    of_epochs, final = listed["metrics after an epoch"], listed["metrics of the finished model"]
    prefixes = tuple(name.removesuffix("*") for name in final)
    assert {name for name in metrics if not name.startswith(prefixes)} == of_epochs
    assert {prefix for prefix in prefixes if any(name.startswith(prefix) for name in metrics)} == set(prefixes)
    assert {*SYNONYMS, *IGNORED} == listed["hyperparameters of other software"]
    source = sources("serving/**/training_job.py", "serving/**/channels.py")
    parts = set(re.findall(r'/ "([a-z.]+)"', source)) - {"train.jsonl"}  # In a temporary folder.
    parts |= {RESOURCES_FILE, CHANNELS_FILE, METRICS_FILE, PLOTS}
    assert parts == {name for path in listed["paths"] for name in path.split("/")}


# --- the server


class Seen(NamedTuple):
    """Everything that a server sends and logs."""

    metrics: str
    log: list[dict]
    responses: dict[str, object]


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> Seen:
    """The responses of every route, and to a request that is refused."""
    folder = tmp_path_factory.mktemp("served")
    shutil.copytree(PERSISTED, folder / "persisted")
    settings = Settings(
        model_path=folder / "persisted" / "model",
        new_data_dir=folder / "new_data",
        prediction_log_url="off",
        log_text=True,
    )
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        app = create_app(settings, inference.Inference(settings.model_path, threads=1))
    client = app.test_client()
    bodies = {
        # A blank text, so that the response has every field.
        "/predict": {"X": ["the film was good", ""]},
        "/invocations": {"data": " "},
        "/invocations/predict": {"text": " "},
        "/feedback": {"text": "a warm film", "label": "pos"},
        "/review/labels": {"text": "a cold film", "label": "neg"},
    }
    responses = {path: client.post(path, json=body).json for path, body in bodies.items()}
    responses["Prediction"] = client.post("/predict", json={"text": " "}).json
    responses["Explanation"] = client.post("/explain", json={"text": " "}).json
    responses["ExplainedRanking"] = client.post("/invocations", json={"data": " ", "explain": True}).json
    responses["Error"] = client.post("/predict", json={}).json
    responses |= {path: client.get(path).json for path in ("/ping", "/info")}
    metrics = client.get("/metrics").text
    app.extensions["textclf"].stop(5)
    responses["files"] = {path.name for path in settings.new_data_dir.iterdir()}
    responses["index"] = lines_of(settings.new_data_dir / "feedback.log")
    return Seen(metrics, [json.loads(line) for line in out.getvalue().splitlines()], responses)


def test_feedback(seen):
    assert seen.responses["files"] == LIST["Feedback"]["folder"]
    for line in (*seen.responses["index"], *lines_of(PERSISTED / "new_data" / "feedback.log")):
        assert set(line) == fields_of(IndexEntry) == LIST["Feedback"]["feedback.log"]
    assert {OTHER_LABEL} == LIST["Feedback"]["values of label"]
    assert {NAME_FILE} == LIST["Feedback"]["class folder"]


def properties_of(schema: dict) -> set[str]:
    """The properties of an object, or of any of several."""
    return set(schema.get("properties", {})).union(*map(properties_of, schema.get("oneOf", [])))


def test_http(seen):
    listed = LIST["HTTP"]
    document = openapi_document(Settings(), ("neg", "pos"))
    assert set(document["paths"]) == listed["paths"]
    assert set(PAGES) == listed["pages"]
    posts = {path: verbs["post"] for path, verbs in document["paths"].items() if "post" in verbs}
    for path, post in posts.items():
        schema = post["requestBody"]["content"]["application/json"]["schema"]
        assert properties_of(schema) == listed[f"request of {path}"], path
    schemas = document["components"]["schemas"]
    for name, fields in listed.items():
        parent, _, child = name.partition(".")
        if parent in schemas:
            schema = schemas[parent]
            if child:
                schema = schema["properties"][child.removesuffix("[]")]
            assert properties_of(schema.get("items", schema)) == fields, name
    assert set(schemas) == {name for name in listed if name in schemas} | {"Rankings", "ExplainedRankings"}
    responses = seen.responses
    # The version is of earlier software, which marks no text as unusual. The server has no rules.
    marks = {UNUSUAL, UNUSUAL_REASON, UNSURE, RULES}
    assert set(responses["Prediction"]) | marks == listed["Prediction"]
    assert set(responses["/predict"]) | marks == listed["Predictions"]
    assert set(responses["/invocations"]) | marks == listed["Ranking"]
    for name in ("Explanation", "ExplainedRanking"):
        assert set(responses[name]) | marks | {"model_probabilities"} == listed[name]
    assert set(responses["/info"]) == listed["Info"]
    assert set(responses["Error"]["error"]) == listed["Error.error"]
    assert set(responses["/invocations/predict"]) | marks == listed["response of /invocations/predict"]
    texts = posts["/review/texts"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert properties_of(texts) == listed["response of /review/texts"]
    text = texts["properties"]["texts"]["items"]
    assert properties_of(text) == listed["text of the response of /review/texts"]
    assert set(text["oneOf"][1]["properties"]["reasons"]["items"]["enum"]) == listed["values of reasons"]
    undone = posts["/review/undo"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert properties_of(undone) == listed["response of /review/undo"]
    for path in ("/feedback", "/review/labels", "/ping"):
        assert set(responses[path]) == listed[f"response of {path}"]
    assert {LINEAR, ENCODER, RULE} == listed["values of stage"]
    assert listed["values of label"] == {UNSURE}
    assert set(REASONS) == listed["values of unusual_reason"]
    assert set(UNITS) == listed["values of unit"]
    assert {*BASELINES, ABSENCE} == listed["values of baseline"]
    assert set(EXPLAIN_FORMATS) == listed["values of format"]
    assert {INPUT, *OUTPUTS} == listed["tensors of the Open Inference Protocol"]
    parameters = set(re.findall(r'"(binary_data\w*)"', sources("serving/api/inference_protocol.py")))
    assert parameters == listed["parameters of the Open Inference Protocol"]
    # The metric definitions of training jobs have fields like headers.
    source = sources("serving/*.py", "serving/[!s]*/*.py", "serving/server/*.py", "serving/source/*.py")
    headers = {name.replace("_", "-") for name in re.findall(r'"HTTP_([A-Z_]+)"', source)} - {"TRANSFER-ENCODING"}
    headers |= set(re.findall(r'[{(]"([A-Z][\w-]*[a-z][\w-]*)"(?:: |, record)', source))
    headers |= set(re.findall(r"add_header ([\w-]+) ", nginx_conf(Settings(), connections=1)))
    cors = {name for name, _ in (*cors_headers(""), *preflight_headers(()))}
    cors |= {"Origin", "Vary", "Access-Control-Request-Method"}
    assert cors == listed["headers with CORS_ORIGINS"]
    found = {name.upper() for name in headers} - {name.upper() for name in cors}
    assert found == {name.upper() for name in listed["headers"]}


def test_error_codes():
    found: dict[str, set[str]] = {}
    of_nginx = re.findall(r"return (\d+) '{\"error\": {\"code\": \"(\w+)\"", nginx_conf(Settings(), connections=1))
    of_app = [(str(code.status), code.public_name) for code in ErrorCode]
    for status, code in (*of_app, *of_nginx, ("499", CLIENT_GONE)):
        found.setdefault(status, set()).add(code)
    assert found == LIST["Error codes"]


def test_the_access_log(seen):
    assert set().union(*seen.log) | {"trace_id"} == LIST["Access log"][""]  # The server sends no traces.


def test_mlflow():
    listed = LIST["MLflow"]
    source = sources("textclf/exporting/mlflow_model.py")
    (metadata,) = re.findall(r"metadata=\{(.*)\}", source)
    assert set(re.findall(r'"(\w+)":', metadata)) == listed["MLmodel.metadata"]
    assert {TEXT} == listed["input"]
    assert {LABEL, SCORE, f"{PROBABILITY}*"} == listed["output"]
    assert {VERSION_TAG} == listed["tags of a registered version"]


def test_traces():
    listed = LIST["Traces"]
    source = sources("serving/observability/trace_export.py")
    names = {name for name in re.findall(r'"([a-z]+\.[a-z_.]+)"', source) if not name.endswith(".")}
    assert names == {name for where, names in listed.items() if where.startswith("attributes") for name in names}
    of_timings = fields_of(Timings) - {"parts", "cache_hits", "cache_misses"}
    of_app = set(re.findall(r'timings\.note\("(\w+)"', sources("serving/app.py")))
    assert of_timings | of_app == listed["spans of stages"]


def test_metrics(seen):
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(seen.metrics):
        if not family.name.endswith("_created"):
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            found.setdefault(family.name, set()).update(labels)
    found["textclf_rule_texts"].add("rule")  # The server has no rules.
    found["textclf_drift_unsure_share"].add("sample")  # Its version has no thresholds.
    stages = set(re.findall(r'textclf_stage_seconds_count{stage="(\w+)"}', seen.metrics))
    assert found | {"values of stage in textclf_stage_seconds": stages} == LIST["Metrics"]


# --- exit statuses


def test_exit_statuses(tmp_path):
    listed = LIST["Exit statuses"]
    assert {str(status) for status in RETRAINING_STATUSES} == listed["retraining.py run"]
    assert {str(status) for status in monitoring.EXITS.values()} == listed["monitoring.py check"]
    runs = [["history", "--model-dir", str(PERSISTED / "model")], ["history", "--model-dir", str(tmp_path)], ["no"]]
    statuses = {str(CliRunner().invoke(retraining.main, run).exit_code) for run in runs}
    source = inspect.getsource(sys.modules[type(retraining.main).__module__])
    statuses |= set(re.findall(r"sys\.exit\((1\d\d)\)", source))
    statuses |= {"143"} if "_STATUS = 128 + signal.SIGTERM" in inspect.getsource(termination) else set()
    assert statuses == listed["every command"]

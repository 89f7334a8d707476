"""The retraining stage on tiny real models: what is combined, trained, compared, decided, and left behind by a kill."""

import dataclasses
import fcntl
import json
import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tiny_bert import write_reviews

import retraining
from retraining import Promotion, Rejection, Retrain
from textclf.errors import (
    ConfigError,
    DatasetError,
    ModelStoreError,
    NothingNewError,
    TooFewTextsError,
    TrainingError,
)
from textclf.retraining.champion_data import trained_until
from textclf.retraining.earlier_challengers import undecided_challenger
from textclf.runtime.loading import predictor_of_version
from textclf.store.decision_log import DecisionLog
from textclf.store.model_store import ModelStore
from textclf.store.promotion import Promotions
from textclf.store.promotion_hold import PromotionHold
from textclf.tokenization.text_key import TextKeys
from train_model import Training

# 63 golden texts without one that differs have a lower bound of -4 points.
LENIENT = {"margin": 0.1, "min_holdout": 10, "calibration_margin": 0.1}


def write_products(root: Path, per_class: int = 60, seed: int = 5) -> Path:
    """Labelled texts whose telling words the champion has seen in no review."""
    random = np.random.default_rng(seed)
    tell = {"neg": ["weak", "flat", "poor", "hate"], "pos": ["superb", "fresh", "warm", "love"]}
    common = ["the", "a", "with", "this", "that", "very", "camera", "always", "never", "i", "we", "of", "in", "so"]
    for name, words in tell.items():
        (root / "train" / name).mkdir(parents=True)
        for number in range(per_class):
            text = [*random.choice(common, random.integers(5, 20)), *random.choice(words, 3)]
            random.shuffle(text)
            (root / "train" / name / f"{number}.txt").write_text(" ".join(text), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def products(tmp_path_factory) -> Path:
    return write_products(tmp_path_factory.mktemp("products") / "new_data")


def retrain_of(folder: Path, reviews: Path, products: Path, **options) -> Retrain:
    return Retrain(
        reviews,
        products,
        folder / "combined",
        model_dir=folder / "model",
        data_dir=str(folder / "datasets"),
        runs_dir=str(folder / "runs"),
        **(LENIENT | {"epochs": None, "init_lr": None, "precision": "float32"} | options),
    )


@pytest.fixture(scope="module")
def promoted(trained_version, reviews, products, tmp_path_factory):
    """A retraining of the trained version, run to its promotion: its folder and what its verbs gave."""
    folder = tmp_path_factory.mktemp("retrained")
    shutil.copytree(trained_version.parent.parent, folder / "model")
    retrain = retrain_of(folder, reviews, products, epochs=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "textclf.training.export.engine_export._CALIBRATION_TEXTS", 4
        )  # Quantising is the slow part of saving.
        return folder, retrain.combine_datasets(), retrain.retrain_model(), retrain.save_retrained_model()


@pytest.fixture
def undecided(promoted, tmp_path) -> ModelStore:
    """The store as a run leaves it that was killed when it had saved the challenger and not yet compared it."""
    folder, _, _, outcome = promoted
    shutil.copytree(folder / "model", tmp_path / "model")
    (tmp_path / "model" / "decisions.jsonl").unlink()
    (tmp_path / "model" / "current").write_text(f"{outcome.champion}\n")
    return ModelStore(tmp_path / "model")


def save_copy(store: ModelStore, version_id: str, **changes) -> str:
    """A version with the same files and another manifest."""
    version = store.open(version_id)
    with store.new_version() as draft:
        for name in {path.split("/")[0] for path in version.manifest.files}:
            source = version.path / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, draft.path / name)
        draft.manifest = dataclasses.replace(version.manifest, **changes)
    return draft.id


def entries(store: ModelStore) -> list[dict]:
    log = DecisionLog(store.path)
    assert log.verify() == []
    return log.entries()


# --- before any work


def test_the_constructor_only_stores(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    retrain = Retrain("old", "new", "both", 3, 1e-4, model_dir="store", max_length=64, margin=0.02, new_share=0.5)
    assert list(tmp_path.iterdir()) == []
    assert retrain.old_dataset_path == "old"
    assert (retrain.new_dataset_path, retrain.combined_dataset_path) == (Path("new"), Path("both"))
    assert retrain.model_dir == Path("store")
    assert retrain.changes == {"epochs": 3, "init_lr": 1e-4, "max_length": 64}
    assert (retrain.gate_options.margin, retrain.combine_options.new_share) == (0.02, 0.5)
    assert Retrain("old", "new", "both").changes == {"epochs": 5, "init_lr": 3e-5}
    assert Retrain("old", "new", "both", None, None).changes == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epoch": 3}, "Retrain: unknown option epoch"),
        ({"epochs": -1}, "epochs: expected"),
        ({"truncation": "tail"}, "truncation: expected"),
        ({"margin": 2}, "margin: expected"),
        ({"new_share": 0.0}, "new_share: expected"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Retrain("old", "new", "both", **options)


def test_without_a_champion_there_is_nothing_to_retrain(tmp_path, reviews, products):
    with pytest.raises(ModelStoreError, match="expected a model store with a current version"):
        retrain_of(tmp_path, reviews, products).combine_datasets()
    assert list(tmp_path.iterdir()) == []


# --- a promotion


def test_a_challenger_that_learnt_the_new_texts_is_promoted(promoted):
    folder, combined, history, outcome = promoted
    store = ModelStore(folder / "model")
    assert isinstance(outcome, Promotion)
    assert store.current_id() == outcome.challenger == outcome.path.name
    assert outcome.decision.verdict == "promote"
    holdout = outcome.decision.figures["holdout"]
    assert holdout["texts"] == len(combined.held_out) > 10
    assert holdout["champion_accuracy"] < 0.8 < holdout["challenger_accuracy"]
    assert len(history["loss"]) == 3
    assert (folder / "combined" / "holdout").is_dir()


def test_it_is_trained_as_the_champion_was_but_for_what_is_given(promoted):
    folder, combined, _, outcome = promoted
    store = ModelStore(folder / "model")
    champion, challenger = (store.open(version_id).manifest for version_id in (outcome.champion, outcome.challenger))
    assert challenger.parent == champion.id
    assert challenger.name == champion.name
    assert challenger.encoder == champion.encoder
    assert (challenger.max_length, challenger.truncation) == (champion.max_length, champion.truncation)
    assert challenger.training["options"] == {**champion.training["options"], "epochs": 3}
    assert challenger.training["options"]["batch_size"] == 8
    assert challenger.data["options"] == champion.data["options"]
    # The reference test set is the champion's test part; what is held out is in no part.
    assert challenger.data["fingerprint"]["test"] == champion.data["fingerprint"]["test"]
    assert challenger.data["counts"]["train_read"] == len(combined.train)
    assert not set(combined.holdout.texts) & set(combined.train.texts)


def test_the_figures_are_those_of_the_engines_that_serve(promoted):
    folder, combined, _, outcome = promoted
    store = ModelStore(folder / "model")
    holdout = combined.holdout
    for name in ("champion", "challenger"):
        predictor = predictor_of_version(store.open(getattr(outcome, name)))
        labels = [prediction.label for prediction in predictor.predict(list(holdout.texts))]
        right = np.mean([label == combined.class_names[i] for label, i in zip(labels, holdout.labels, strict=True)])
        assert outcome.decision.figures["holdout"][f"{name}_accuracy"] == pytest.approx(right)


def test_the_decision_is_written_down_with_figures_and_hashes(promoted):
    folder, _, _, outcome = promoted
    store = ModelStore(folder / "model")
    (entry,) = entries(store)
    assert (entry["action"], entry["champion"], entry["challenger"]) == (
        "promote",
        outcome.champion,
        outcome.challenger,
    )
    assert entry["gate"]["figures"] == outcome.decision.figures
    assert tuple(entry["reasons"]) == outcome.decision.reasons
    assert entry["data"]["fingerprints"] == store.open().manifest.data["fingerprint"]
    assert entry["data"]["is_golden_of_champion"] is True
    summary = json.loads((folder / "combined" / "combined.json").read_text(encoding="utf-8"))
    assert entry["data"]["holdout"] == summary["fingerprints"]["holdout"]
    assert len(entry["challenger_manifest"]) == 64


# --- other outcomes, each with the challenger that was saved before


def outcome_of(undecided, promoted, reviews, products, **options):
    folder = promoted[0]
    retrain = retrain_of(undecided.path.parent, reviews, products, **({"epochs": 3} | options))
    retrain.combined_dataset_path = folder / "combined"
    return retrain.save_retrained_model()


def test_what_was_saved_and_not_compared_is_not_trained_again(undecided, promoted, reviews, products, capsys):
    outcome = outcome_of(undecided, promoted, reviews, products)
    assert isinstance(outcome, Promotion)
    assert outcome.challenger == promoted[3].challenger == undecided.current_id()
    assert "saved before:" in capsys.readouterr().out
    assert len(undecided.version_ids()) == 2


def test_a_promotion_that_was_written_down_and_not_made_is_made_up_for(undecided, promoted, reviews, products):
    champion, challenger = promoted[3].champion, promoted[3].challenger
    # As a kill between the two steps of a promotion leaves it.
    Promotions(undecided.path).note("promote", champion, challenger)
    assert undecided.current_id() == champion
    assert outcome_of(undecided, promoted, reviews, products).challenger == challenger == undecided.current_id()
    assert len(undecided.version_ids()) == 2
    Promotions(undecided.path).roll_back()
    assert undecided_challenger(entries(undecided), champion, [undecided.open(challenger)]) is None


def test_too_few_golden_texts_are_inconclusive(undecided, promoted, reviews, products):
    outcome = outcome_of(undecided, promoted, reviews, products, margin=0.01)
    assert isinstance(outcome, Rejection)
    assert (outcome.action, outcome.decision.verdict) == ("inconclusive", "inconclusive")
    assert outcome.decision.texts_needed["golden"] >= 268
    assert undecided.current_id() == outcome.champion
    (entry,) = entries(undecided)
    assert (entry["action"], entry["gate"]["texts_needed"]) == ("inconclusive", outcome.decision.texts_needed)


def test_during_a_hold_nothing_is_promoted(undecided, promoted, reviews, products):
    PromotionHold(undecided.path).set("rolled back")
    outcome = outcome_of(undecided, promoted, reviews, products)
    assert (outcome.action, outcome.decision.verdict) == ("held", "promote")
    assert outcome.reasons[0].startswith("automatic promotion is on hold: rolled back")
    assert undecided.current_id() == outcome.champion
    assert [entry["action"] for entry in entries(undecided)] == ["held"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold": 0.999999}, "test set: accuracy"),
        ({"parity": {}}, "the engine: no results"),
    ],
)
def test_a_challenger_that_is_worse_is_rejected_and_kept(undecided, promoted, reviews, products, changes, message):
    worse = save_copy(undecided, promoted[3].challenger, **changes)
    outcome = outcome_of(undecided, promoted, reviews, products)
    assert isinstance(outcome, Rejection)
    assert (outcome.action, outcome.challenger) == ("reject", worse)
    assert any(message in reason for reason in outcome.reasons)
    assert undecided.current_id() == outcome.champion
    assert worse in undecided.version_ids()
    assert entries(undecided)[-1]["action"] == "reject"


def test_what_was_turned_down_is_not_trained_again(undecided, promoted, reviews, products, capsys):
    first = outcome_of(undecided, promoted, reviews, products, margin=0.01)
    capsys.readouterr()
    again = outcome_of(undecided, promoted, reviews, products, margin=0.01)
    assert (again.action, again.challenger, again.reasons) == ("inconclusive", first.challenger, first.reasons)
    assert again.decision.texts_needed == first.decision.texts_needed
    out = capsys.readouterr().out
    assert f"not trained:   the same data and recipe gave {first.challenger} on " in out
    assert "(inconclusive); --again trains anyway" in out
    assert "comparing" not in out
    assert [entry["action"] for entry in entries(undecided)] == ["inconclusive"]
    # A gate with other options is asked again, of the challenger that is there.
    other = outcome_of(undecided, promoted, reviews, products)
    assert isinstance(other, Promotion)
    assert other.challenger == first.challenger
    assert len(undecided.version_ids()) == 2


def test_what_was_held_is_compared_again_and_again_trains(undecided, promoted, reviews, products, monkeypatch):
    hold = PromotionHold(undecided.path)
    hold.set("rolled back")
    held = outcome_of(undecided, promoted, reviews, products)
    assert outcome_of(undecided, promoted, reviews, products).action == "held"
    hold.clear()

    class TrainsError(Exception):
        pass

    def trains(*_arguments, **_options):
        raise TrainsError

    monkeypatch.setattr(Training, "save_model", trains)
    with pytest.raises(TrainsError):
        outcome_of(undecided, promoted, reviews, products, again=True)
    assert outcome_of(undecided, promoted, reviews, products).challenger == held.challenger == undecided.current_id()


def test_a_promotion_that_was_overtaken_is_written_down_and_not_made(undecided, promoted, reviews, products):
    retrain = retrain_of(undecided.path.parent, reviews, products, epochs=3)
    retrain.combined_dataset_path = promoted[0] / "combined"
    champion = retrain.champion.id
    other = save_copy(undecided, champion)
    undecided.promote(other, expected_current=champion)
    outcome = retrain.save_retrained_model()
    assert outcome.action == "overtaken"
    assert f"found {other}: another was promoted meanwhile" in outcome.reasons[0]
    assert undecided.current_id() == other
    assert [entry["action"] for entry in entries(undecided)] == ["overtaken"]


# --- the test set, and the new texts


def test_nothing_new_to_train_on_is_said_before_the_training(undecided, tmp_path, reviews):
    retrain = retrain_of(tmp_path, reviews, reviews / "train")
    with pytest.raises(
        NothingNewError, match=r"new labelled texts to train on, found none among 240; .*removed\.jsonl has the reasons"
    ):
        retrain.combine_datasets()
    assert len((tmp_path / "combined" / "removed.jsonl").read_text(encoding="utf-8").splitlines()) == 240


def test_a_small_test_set_is_said_before_the_training(undecided, tmp_path, reviews, products, capsys):
    retrain_of(tmp_path, reviews, products, margin=0.01).combine_datasets()
    assert capsys.readouterr().err == (
        "warning: with 63 test texts a model can be promoted only if it predicts at least 3 more of them correctly; "
        "268 test texts are enough if no prediction differs\n"
    )


@pytest.fixture
def untrained(promoted, tmp_path, monkeypatch) -> ModelStore:
    """The store before the retraining; a training is an error."""
    folder, _, _, outcome = promoted
    shutil.copytree(
        folder / "model" / "versions" / outcome.champion, tmp_path / "model" / "versions" / outcome.champion
    )
    (tmp_path / "model" / "current").write_text(f"{outcome.champion}\n")

    def trains(*_arguments, **_options):
        pytest.fail("a training was started")

    monkeypatch.setattr(Training, "save_model", trains)
    monkeypatch.setattr(Training, "fit_model", trains)
    return ModelStore(tmp_path / "model")


def test_a_holdout_that_can_not_decide_is_no_reason_to_train(untrained, promoted, reviews, products):
    held_out = len(promoted[1].held_out)
    retrain = retrain_of(untrained.path.parent, reviews, products, min_holdout=100)
    retrain.combined_dataset_path = promoted[0] / "combined"
    for step in (retrain.retrain_model, retrain.save_retrained_model):
        with pytest.raises(TooFewTextsError, match=f"expected at least 100 held-out texts, found {held_out}: "):
            step()
    assert entries(untrained) == []


def test_run_exits_with_4_where_the_holdout_can_not_decide(untrained, reviews, products):
    result = run(untrained, reviews, products)
    assert result.exit_code == 4, result.output
    assert result.stdout.splitlines()[-1].startswith("not retrained: expected at least 100 held-out texts, found ")
    assert result.stdout.endswith(" more labelled texts are needed\n")
    assert len(untrained.version_ids()) == 1


def test_what_could_not_be_decided_is_not_trained_on_a_few_more_labels(
    undecided, promoted, reviews, products, tmp_path
):
    """The challenger stays undecided, and the holdout has not grown by as much as it needs."""
    outcome = outcome_of(undecided, promoted, reviews, products, margin=0.01)
    assert outcome.action == "inconclusive"
    more = write_products(tmp_path / "more", per_class=60)
    for name in ("neg", "pos"):
        (more / "train" / name / "new.txt").write_text(f"the camera was {name} never very superb flat warm", "utf-8")
    retrain = retrain_of(tmp_path, reviews, more, epochs=3, margin=0.01)
    retrain.combine_datasets()
    with pytest.raises(TooFewTextsError, match=f"{outcome.challenger} could not be judged on .*--again trains anyway"):
        retrain.save_retrained_model()


def test_a_challenger_is_compared_with_the_best_version_so_far(undecided, promoted, reviews, products):
    champion, challenger = promoted[3].champion, promoted[3].challenger
    best = save_copy(undecided, champion)
    promotions = Promotions(undecided.path)
    promotions.move("promote_by_hand", champion, best)
    promotions.move("promote", best, champion, data={"best": best})
    outcome = outcome_of(undecided, promoted, reviews, products)
    assert outcome.challenger == challenger
    # It is a copy of the champion.
    assert outcome.decision.figures["best"] == outcome.decision.figures["golden"]
    assert sum("against the best version so far" in reason for reason in outcome.reasons) == 2
    assert entries(undecided)[-1]["data"]["best"] == best


def test_a_best_version_that_was_removed_is_said(undecided, promoted, reviews, products):
    champion = promoted[3].champion
    best = save_copy(undecided, champion)
    promotions = Promotions(undecided.path)
    promotions.move("promote_by_hand", champion, best)
    promotions.move("promote", best, champion, data={"best": best})
    shutil.rmtree(undecided.open(best).path)
    outcome = outcome_of(undecided, promoted, reviews, products)
    assert "best" not in outcome.decision.figures
    assert outcome.reasons[-1].startswith(f"the best version so far, {best}, was not compared: ")
    assert entries(undecided)[-1]["data"]["best"] == champion
    assert entries(undecided)[-1]["reasons"] == list(outcome.reasons)


def test_new_texts_may_have_other_names_for_the_classes(undecided, tmp_path, reviews):
    new = write_products(tmp_path / "new", per_class=20)
    for old, name in (("neg", "1"), ("pos", "2")):
        (new / "train" / old).rename(new / "train" / name)
    combined = retrain_of(tmp_path, reviews, new, rename_labels={"1": "neg", "2": "pos"}).combine_datasets()
    assert combined.class_names == ("neg", "pos")
    assert len(combined.added) + len(combined.held_out) > 20
    with pytest.raises(DatasetError):
        retrain_of(tmp_path, reviews, new).combine_datasets()


def test_what_was_passed_over_in_the_new_texts_is_said(undecided, tmp_path, reviews, capsys):
    new = write_products(tmp_path / "new", per_class=5)
    (new / "feedback.log").write_text("torn")
    (new / "train" / "pos" / "blank.txt").write_text("")
    retrain_of(tmp_path, reviews, new).combine_datasets()
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert "Blank texts, left out: 1." in notes[0]
    assert "Damaged lines in the index of the labels, skipped: 1." in notes[1]
    assert len(notes) == 2


def test_champion_trained_on_the_combined_data_may_know_new_texts(undecided, promoted, tmp_path, reviews):
    data = {"data_dir": str(tmp_path)}
    old = Training(dataset_path=str(reviews), **data).read_dataset(TextKeys())
    assert trained_until(undecided.open().manifest, old) is None
    challenger = undecided.open(promoted[3].challenger).manifest
    assert trained_until(challenger, old) == datetime.fromisoformat(challenger.created)
    both = Training(dataset_path=str(promoted[0] / "combined"), **data).read_dataset(TextKeys())
    assert trained_until(challenger, both) is None


def test_other_classes_are_refused(undecided, tmp_path, products):
    other = write_reviews(tmp_path / "other", per_class=8, classes=("neg", "pos", "mixed"))
    retrain = retrain_of(tmp_path, other, products)
    with pytest.raises(TrainingError, match=r"the classes of the champion .*, neg, pos, got also mixed"):
        retrain.combine_datasets()


def test_other_old_data_than_the_champions_is_said(undecided, tmp_path, products, capsys):
    other = write_reviews(tmp_path / "other", per_class=30, seed=9)
    retrain_of(tmp_path, other, products).combine_datasets()
    out = capsys.readouterr().out
    assert "was measured on another test part, and may have been trained on some of these texts" in out
    assert "name the data that it was trained on" in out


def test_a_champion_that_was_saved_without_a_test_part_is_said(undecided, tmp_path, reviews, products, capsys):
    champion = undecided.current_id()
    data = dict(undecided.open().manifest.data)
    data["fingerprint"] = {name: value for name, value in data["fingerprint"].items() if name != "test"}
    data["options"] = {**data["options"], "read_test": False}
    undecided.promote(save_copy(undecided, champion, data=data), expected_current=champion)
    retrain_of(tmp_path, reviews, products).combine_datasets()
    assert "was saved without a test part" in capsys.readouterr().out
    assert Training(dataset_path=str(tmp_path / "combined")).read_dataset(TextKeys()).test is not None


# --- the command line


def run(store: ModelStore, reviews: Path, products: Path, *options: object):
    folder = store.path.parent
    arguments = ["run", "--old-dataset-path", reviews, "--new-dataset-path", products, "--model-dir", store.path]
    arguments += ["--combined-dataset-path", folder / "combined", "--runs-dir", folder / "runs", "--epochs", 3]
    arguments += ["--data-dir", folder, "--precision", "float32", *options]
    return CliRunner().invoke(retraining.main, [str(argument) for argument in arguments])


def test_run_exits_with_what_came_of_it(undecided, reviews, products):
    lenient = ("--margin", 0.1, "--min-holdout", 10, "--calibration-margin", 0.1)
    decisions = undecided.path / "decisions.jsonl"
    undecided_result = run(undecided, reviews, products)
    assert undecided_result.exit_code == 4, undecided_result.output
    assert "(inconclusive); it stays in the store" in undecided_result.stdout
    decisions.unlink()
    assert run(undecided, reviews, products, *lenient, "--slice-margin", 0.05).exit_code == 0
    assert undecided.current_id() != entries(undecided)[0]["champion"]


def test_run_exits_with_3_where_the_challenger_is_worse(undecided, promoted, reviews, products):
    save_copy(undecided, promoted[3].challenger, threshold=0.999999)
    result = run(undecided, reviews, products)
    assert result.exit_code == 3, result.output
    assert "(reject); it stays in the store\n  test set: accuracy" in result.stdout


def test_run_exits_with_6_where_a_hold_is_all_that_is_in_the_way(undecided, reviews, products):
    PromotionHold(undecided.path).set("rolled back")
    lenient = ("--margin", 0.1, "--min-holdout", 10, "--calibration-margin", 0.1, "--slice-margin", 0.05)
    result = run(undecided, reviews, products, *lenient)
    assert result.exit_code == 6, result.output
    assert "(held); it stays in the store\n  automatic promotion is on hold: rolled back" in result.stdout


def test_run_exits_with_7_where_nothing_is_new(undecided, reviews):
    (undecided.path.parent / "new_data").mkdir()
    result = run(undecided, reviews, undecided.path.parent / "new_data")
    assert result.exit_code == 7, result.output
    assert "not retrained: " in result.stdout.splitlines()[-1]
    assert "new labelled texts to train on, found none among 0" in result.stdout.splitlines()[-1]
    assert result.stderr == ""
    assert entries(undecided) == []


def test_two_stores_do_not_work_in_one_combined_folder_at_a_time(undecided, reviews, products):
    folder = undecided.path.parent
    (folder / "combined").symlink_to("place")  # The other one knows it by its own name.
    with open(folder / ".place.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = run(undecided, reviews, products)
    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr.startswith(f"error: {folder / 'combined'}: another retraining works in this folder; wait")
    assert not (folder / "place").exists()


def test_run_while_another_runs_is_one_line_and_status_5(undecided, reviews, products):
    with open(undecided.path / ".retrain.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = run(undecided, reviews, products)
    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr == f"error: {undecided.path}: another process is retraining its models; wait for it\n"
    assert not (undecided.path.parent / "combined").exists()


def test_run_without_a_store_is_one_line_and_status_1(tmp_path, reviews, products):
    result = run(ModelStore(tmp_path / "none"), reviews, products)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {tmp_path / 'none'}: expected a model store")
    assert not (tmp_path / "none").exists()

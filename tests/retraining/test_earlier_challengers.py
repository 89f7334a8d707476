"""Earlier challengers: which versions are equal trainings, and which decisions about them still count."""

import dataclasses
import json

import pytest

from textclf.config import ModelOptions, TrainingOptions
from textclf.retraining.earlier_challengers import (
    compared_challenger,
    equal_trainings,
    last_inconclusive,
    repeated_rejection,
    undecided_challenger,
)
from textclf.retraining.recipe import (
    options_of_challenger,
    options_of_version,
    recipe_of_training,
    recipe_of_version,
)
from textclf.retraining_options import GateOptions
from textclf.store.manifest import Manifest
from textclf.store.model_store import ModelStore
from textclf.store.promotion import Promotions

FINGERPRINTS = {"all": "a", "train": "b", "test": "c"}
CHAMPION = "20260101T000000000Z-000000"


def save(store, parent=CHAMPION, fingerprints=FINGERPRINTS, **options):
    """A version without an engine."""
    training = {"options": {**TrainingOptions().to_dict(), **options}, "dropout": ModelOptions().dropout}
    model = ModelOptions()
    with store.new_version() as draft:
        (draft.path / "engine").write_bytes(b"")
        draft.manifest = Manifest(
            name="m",
            class_names=("neg", "pos"),
            encoder={name: getattr(model, name) for name in ("model_name", "name_to_handle", "model_to_handle")},
            max_length=model.max_length,
            truncation=model.truncation,
            head_fraction=model.head_fraction,
            lower_case=True,
            data={"fingerprint": fingerprints},
            training=training,
            parent=parent,
        )
    return draft.id


@pytest.fixture
def store(tmp_path):
    return ModelStore(tmp_path)


def equal_ids(store, **options):
    recipe = recipe_of_training(ModelOptions(), TrainingOptions(**options))
    return [version.id for version in equal_trainings(store, CHAMPION, FINGERPRINTS, recipe)]


def entry(action, challenger, champion=CHAMPION, **more):
    return {"time": "2026-01-01T00:00:00", "action": action, "champion": champion, "challenger": challenger, **more}


def test_equal_trainings_share_champion_data_and_recipe(store):
    first = save(store)
    save(store, parent=None)
    save(store, fingerprints={**FINGERPRINTS, "train": "other"})
    save(store, epochs=7)
    second = save(store, precision="float32")
    assert equal_ids(store) == sorted([first, second], reverse=True)
    assert len(equal_ids(store, epochs=7)) == 1


def test_damaged_version_is_no_equal_training(store):
    version_id = save(store)
    (store.path / "versions" / version_id / "manifest.json").write_text("{")
    assert equal_ids(store) == []


def test_undecided_challenger(store):
    version = store.open(save(store))
    assert undecided_challenger([], CHAMPION, [version]) is version
    assert undecided_challenger([entry("reject", version.id)], CHAMPION, [version]) is None


def test_recorded_promotion_that_did_not_happen_is_undecided(store):
    version = store.open(save(store))
    promotion = entry("promote", version.id)
    assert undecided_challenger([promotion], CHAMPION, [version]) is version
    rollback = entry("rollback", CHAMPION, champion=version.id)
    assert undecided_challenger([promotion, rollback], CHAMPION, [version]) is None


def test_compared_challenger_is_the_first_that_was_not_promoted(store):
    versions = [store.open(save(store)) for _ in range(3)]
    ids = [version.id for version in versions]
    entries = [entry("promote", ids[0]), entry("reject", ids[1]), entry("held", ids[1]), entry("reject", ids[2])]
    assert compared_challenger(entries, CHAMPION, versions) == (versions[1], entries[2])
    assert compared_challenger(entries, "another champion", versions) is None


def rejection(version, verdict="reject", action="reject", **options):
    gate = {
        "verdict": verdict,
        "reasons": ["worse"],
        "figures": {"options": GateOptions(**options).to_dict()},
        "texts_needed": {},
    }
    return entry(action, version.id, gate=gate, data={"holdout": "f" * 64})


def test_rejection_is_repeated_for_the_same_holdout_and_options(store):
    version = store.open(save(store))
    found = repeated_rejection(version, rejection(version), "f" * 64, CHAMPION, GateOptions())
    assert (found.challenger, found.action, found.reasons) == (version.id, "reject", ("worse",))


@pytest.mark.parametrize(
    ("change", "holdout", "options"),
    [({}, "0" * 64, {}), ({}, "f" * 64, {"margin": 0.02}), ({"verdict": "promote", "action": "held"}, "f" * 64, {})],
)
def test_rejection_is_not_repeated_after_a_change(store, change, holdout, options):
    version = store.open(save(store))
    assert repeated_rejection(version, rejection(version, **change), holdout, CHAMPION, GateOptions(**options)) is None
    assert repeated_rejection(version, rejection(version), "f" * 64, "another best", GateOptions()) is None


def test_last_inconclusive_comparison_is_of_the_same_recipe_and_gate(store):
    version = store.open(save(store))
    log, recipe = Promotions(store.path), recipe_of_training(ModelOptions(), TrainingOptions())

    def found(recipe=recipe, **options):
        entry = last_inconclusive(log, CHAMPION, recipe, GateOptions(**options))
        return entry and entry["challenger"]

    assert found() is None
    written = rejection(version, "inconclusive", "inconclusive")
    log.note("inconclusive", CHAMPION, version.id, gate=written["gate"], data=written["data"])
    log.note("reject", "another champion", version.id)
    assert found() == version.id
    assert found(margin=0.02) is None
    assert found(recipe={**recipe, "epochs": 7}) is None
    log.note("inconclusive", CHAMPION, "20260101T000000000Z-abcdef", gate=written["gate"])
    assert found() is None  # Its version was removed.
    log.note("reject", CHAMPION, version.id, gate=written["gate"])
    assert found() is None


def test_decision_without_results_is_not_repeated(store):
    version = store.open(save(store))
    assert repeated_rejection(version, entry("reject", version.id), "f" * 64, CHAMPION, GateOptions()) is None


def test_option_that_is_newer_than_the_version_has_its_default(store):
    manifest = store.open(save(store)).manifest
    options = {name: value for name, value in manifest.training["options"].items() if name != "r_drop"}
    older = dataclasses.replace(manifest, training={**manifest.training, "options": options})
    assert recipe_of_version(older) == recipe_of_version(manifest)
    other = dataclasses.replace(manifest, training={**manifest.training, "options": {**options, "r_drop": 1.0}})
    assert recipe_of_version(other) != recipe_of_version(manifest)


def test_options_of_a_version_leave_the_precision_to_the_machine(store):
    options = options_of_version(store.open(save(store, precision="bfloat16", epochs=7)).manifest)
    assert "precision" not in options
    assert options["epochs"] == 7
    assert options["max_length"] == ModelOptions().max_length


def test_teachers_are_part_of_the_recipe_but_not_of_a_challenger(store, capsys, tmp_path):
    record = {"path": "large", "version": None, "sha256": "0" * 64, "texts": 3}
    plain = store.open(save(store)).manifest
    # As JSON has it: a list.
    options = {**plain.training["options"], "teachers": ["large"]}
    taught = dataclasses.replace(plain, training={**plain.training, "options": options, "teachers": [record]})
    assert recipe_of_version(taught) == recipe_of_training(ModelOptions(), TrainingOptions(teachers=("large",)))
    assert recipe_of_version(taught) != recipe_of_version(plain)
    assert "teachers" not in options_of_challenger(taught, {}, tmp_path)
    assert "the champion had large; the challenger has none" in capsys.readouterr().out
    assert options_of_challenger(plain, {"epochs": 7}, tmp_path)["epochs"] == 7
    named = options_of_challenger(taught, {"teachers": ("a.csv", plain.id)}, store.path)
    assert named["teachers"] == ["a.csv", str(store.path / "versions" / plain.id)]
    assert capsys.readouterr().out == ""


def test_a_challenger_has_the_target_of_the_thresholds_of_its_champion(store, tmp_path):
    plain = store.open(save(store)).manifest
    recorded = {**plain.training, "options": {**plain.training["options"], "target_precision": 0.8}}
    trained = dataclasses.replace(plain, training=recorded)
    assert options_of_challenger(trained, {}, tmp_path)["target_precision"] == 0.8
    # Chosen after the training, by a child version.
    thresholds = dict.fromkeys(plain.class_names, 0.9)
    costs = {"unsure": 0.5, "errors": {}}
    child = dataclasses.replace(trained, unsure={"costs": costs, "thresholds": thresholds})
    found = options_of_challenger(child, {}, tmp_path)
    assert (found["target_precision"], json.loads(found["costs"])) == (0, costs)
    # One target replaces the other, and 0 ends both.
    found = TrainingOptions(
        **TrainingOptions.pop_from(options_of_challenger(child, {"target_precision": 0.9}, tmp_path))
    )
    assert (found.target_precision, found.costs) == (0.9, "")
    assert options_of_challenger(trained, {"target_precision": 0.0}, tmp_path)["target_precision"] == 0

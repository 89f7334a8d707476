"""The best version so far: which one the log gives, and when it can't be compared."""

import dataclasses
import shutil

import pytest
from tiny_engine import write_version

from textclf.retraining.best_version import best_in_log, best_version
from textclf.store.model_store import ModelStore
from textclf.store.promotion import Promotions


def move(action, champion, challenger, lower=None, best=None, best_lower=None):
    figures = {} if lower is None else {"golden": {"lower_bound": lower}}
    figures |= {} if best_lower is None else {"best": {"lower_bound": best_lower}}
    data = {} if best is None else {"best": best}
    return {
        "action": action,
        "champion": champion,
        "challenger": challenger,
        "gate": {"figures": figures},
        "data": data,
    }


def test_without_a_log_the_champion_is_the_best():
    assert best_in_log([], "a") == "a"


def test_losses_within_the_margin_leave_the_best():
    entries = [
        move("promote", "a", "b", -0.008, best="a"),
        move("reject", "b", "x", 0.5, best="a", best_lower=0.5),
        move("promote", "b", "c", -0.003, best="a", best_lower=-0.009),
    ]
    assert best_in_log(entries, "c") == "a"


def test_a_version_that_was_shown_to_be_better_is_the_best():
    entries = [move("promote", "a", "b", 0.001, best="a"), move("promote", "b", "c", -0.008, best="b")]
    assert best_in_log(entries, "c") == "b"
    # Better than the champion, and not than the best.
    assert best_in_log([*entries, move("promote", "c", "d", 0.004, best="b", best_lower=-0.001)], "d") == "b"
    assert best_in_log([*entries, move("promote", "c", "d", 0.004, best="b", best_lower=0.001)], "d") == "d"


def test_what_a_person_made_current_is_the_best():
    entries = [move("promote", "a", "b", -0.008, best="a"), move("promote_by_hand", "b", "c")]
    assert best_in_log(entries, "c") == "c"
    assert best_in_log([*entries, move("rollback", "c", "b")], "b") == "b"
    # A training made this version current, which the log does not contain.
    assert best_in_log(entries, "other") == "other"


def test_decisions_of_an_earlier_program_count():
    """They have no best version: each challenger was compared with the champion."""
    entries = [move("promote", "a", "b", -0.008), move("promote", "b", "c", 0.002), move("promote", "c", "d", -0.008)]
    assert best_in_log(entries, "d") == "a"
    assert best_in_log([move("promote", "a", "b", 0.002), move("promote", "b", "c", -0.001)], "c") == "b"
    assert best_in_log([{"action": "promote", "champion": "a", "challenger": "b"}], "b") == "a"


def test_where_the_best_was_missing_the_champion_follows_it():
    entries = [move("promote", "a", "b", -0.008, best="a"), move("promote", "b", "c", -0.008, best="b")]
    assert best_in_log(entries, "c") == "b"


@pytest.fixture
def promotions(tmp_path):
    """A store with a champion that was promoted instead of a better version, which is second in version_ids."""
    path = write_version(tmp_path / "model", reference_texts=[])
    store = ModelStore(tmp_path / "model")
    for _ in range(2):
        with store.new_version() as draft:
            shutil.copytree(path / "engine", draft.path / "engine")
            draft.manifest = dataclasses.replace(store.open(path.name).manifest, data={"fingerprint": {"test": "t"}})
    promotions, (_, better, champion) = Promotions(store.path), store.version_ids()
    promotions.move("promote", store.current_id(), champion, gate={}, data={"best": better})
    return promotions


def test_best_version_of_a_store(promotions):
    champion = promotions.store.open()
    _, first, _ = promotions.store.version_ids()
    best, problems = best_version(promotions, champion, lambda _names: "t")
    assert (best.id, problems) == (first, [])
    assert best_version(promotions, champion, lambda _names: "other")[1] == [
        f"the best version so far, {first}, was not compared: it was measured on another test set"
    ]
    shutil.rmtree(best.path)
    best, (problem,) = best_version(promotions, champion, lambda _names: "t")
    assert best is None
    assert f"the best version so far, {first}, was not compared: " in problem
    assert f"no version '{first}'" in problem
    promotions.log.path.unlink()
    assert best_version(promotions, champion, lambda _names: "t") == (None, [])


def test_the_best_version_may_lack_a_class_that_was_added_since(promotions):
    """Its test set is the same, but it recorded the fingerprint with its own classes."""
    champion = promotions.store.open()
    names = champion.manifest.class_names
    more = dataclasses.replace(champion.manifest, class_names=(*names, "refund"))
    extended = dataclasses.replace(champion, manifest=more)
    best, problems = best_version(promotions, extended, {names: "t", more.class_names: "u"}.get)
    assert best is not None
    assert problems == []
    fewer = dataclasses.replace(champion, manifest=dataclasses.replace(more, class_names=("refund", "praise")))
    assert "it has other classes" in best_version(promotions, fewer, lambda _names: "t")[1][0]

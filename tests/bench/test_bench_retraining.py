"""The retraining benchmarks: drawn texts, sent labels, continuing a run, tables and reports."""

import dataclasses
import json
from collections import Counter

import pytest

from bench.errors import BenchError
from bench.retraining import poison
from bench.retraining import story as retraining_story
from bench.retraining.poison import LIAR, SCENARIOS, SHOPS, Sent
from bench.retraining.runs import Scale, trained_champion
from bench.retraining.story_texts import FilmReviews, Review, draw, write_table
from bench.steps import Steps
from textclf.data.labelled_reviews import read_labelled_reviews
from textclf.store.model_store import ModelStore

SCALE = Scale(300, 200, 100, 64, 1, 1e-4, "tiny", 0, 0.01)


def reviews(count: int, positive: int, prefix: str = "text") -> list[Review]:
    return [Review(f"{prefix} {at}", "pos" if at < positive else "neg") for at in range(count)]


def test_a_draw_has_the_class_mix_of_its_source_and_nothing_twice():
    everything = reviews(1000, positive=300)
    some, others = draw(everything, 101, seed=1)
    assert len(some) == 101
    assert Counter(review.label for review in some)["pos"] in (30, 31)
    assert sorted(review.text for review in (*some, *others)) == sorted(review.text for review in everything)
    assert draw(everything, 101, seed=1)[0] == some != draw(everything, 101, seed=2)[0]
    assert len(draw(everything, 1000, seed=1)[0]) == 1000
    with pytest.raises(BenchError, match="expected 1,001 reviews to draw, found 1,000"):
        draw(everything, 1001, seed=1)


def test_a_table_is_read_with_its_sources(tmp_path):
    write_table(tmp_path / "new.jsonl", [Review('line\n"two"', "pos", "shop"), Review("é", "neg")])
    found = read_labelled_reviews(tmp_path / "new.jsonl").reviews
    assert [(review.text, review.label, review.source) for review in found] == [
        ('line\n"two"', "pos", "shop"),
        ("é", "neg", ""),
    ]


def test_a_step_is_done_once(tmp_path):
    said = []
    steps = Steps(tmp_path / "work" / "steps.json", said.append)

    def fail():
        raise BenchError("no")

    with pytest.raises(BenchError):
        steps.run("first", fail)
    assert steps.run("first", lambda: {"found": 3})["found"] == 3
    assert Steps(steps.path, said.append).run("first", fail)["found"] == 3
    assert set(steps.results()) == {"first"}
    assert json.loads(steps.path.read_text(encoding="utf-8"))["first"]["seconds"] >= 0


def test_a_champion_is_trained_once_for_all_challengers():
    values = {**SCALE.__dict__}
    assert Scale(**{**values, "products": 7, "margin": 0.5}).name_of_champion == SCALE.name_of_champion
    assert Scale(**{**values, "films": 7}).name_of_champion != SCALE.name_of_champion
    assert len({SCALE.digest(), SCALE.digest(1), Scale(**{**values, "products": 7}).digest()}) == 3


@pytest.mark.bench
def test_a_champion_that_is_no_better_than_chance_becomes_current(tmp_path, tiny_checkpoint, monkeypatch):
    texts = reviews(300, positive=150)
    monkeypatch.setattr("bench.retraining.runs.draw_films", lambda *_: FilmReviews(texts, reviews(40, 20, "test"), []))
    scale = dataclasses.replace(SCALE, encoder=str(tiny_checkpoint), init_lr=1e-6)
    champion = trained_champion(scale, tmp_path, tmp_path / "work", lambda _: None)
    version = ModelStore(champion.store).open()
    assert champion.results["accuracy"] < 0.7
    assert version.manifest.training["options"]["select"] == "best"


@pytest.fixture(scope="module")
def sent() -> Sent:
    clean = [
        Review(r.text, r.label, SHOPS[at % len(SHOPS)]) for at, r in enumerate(draw(reviews(1000, 500), 1000, 0)[0])
    ]
    return Sent(clean, draw(reviews(9000, 4500, "other"), 9000, 0)[0])


def wrong_of(sent: Sent, arrived: list[Review]) -> list[Review]:
    truth = {review.text: review.label for review in (*sent.clean, *sent.other)}
    return [review for review in arrived if review.label != truth[review.text]]


@pytest.mark.parametrize(
    ("name", "count", "wrong", "sources"),
    [
        ("clean", 1000, 0, set()),
        ("source-10", 1000, 20, {"north"}),
        ("all-10", 1000, 100, {LIAR}),
        ("all-30", 1000, 300, {LIAR}),
        ("copies", 11_000, 10_000, {LIAR}),
        ("flood-right", 5000, 0, set()),
    ],
)
def test_scenario_sends_wrong_labels_from_its_sources(sent, name, count, wrong, sources):
    (scenario,) = (scenario for scenario in SCENARIOS if scenario.name == name)
    arrived = scenario.send(sent)
    lies = wrong_of(sent, arrived)
    assert (len(arrived), len(lies)) == (count, wrong)
    assert {review.source for review in lies} == sources
    if name.startswith("all"):
        assert {review.source for review in arrived if review.text in {lie.text for lie in lies}} == {LIAR}
        assert Counter(review.source for review in arrived)[LIAR] == wrong


def test_a_flood_has_one_label_and_one_source(sent):
    (scenario,) = (scenario for scenario in SCENARIOS if scenario.name == "flood")
    flood = scenario.send(sent)[len(sent.clean) :]
    assert {(review.label, review.source) for review in flood} == {("pos", LIAR)}
    assert 0.4 < len(wrong_of(sent, flood)) / len(flood) < 0.6


GOLDEN = {
    "texts": 500,
    "champion_accuracy": 0.9,
    "challenger_accuracy": 0.89,
    "difference": -0.01,
    "lower_bound": -0.02,
}
HOLDOUT = {"texts": 200, "champion_accuracy": 0.8, "challenger_accuracy": 0.85, "difference": 0.05}


def decided(action: str = "promote", golden_difference: float = 0.0, gain: float = 0.05) -> dict:
    return {
        "seconds": 60.0,
        "sent": 1000,
        "action": action,
        "champion": "old",
        "challenger": "new",
        "reasons": ["because"],
        "outcomes": {"added": 700, "held": 200, "duplicate": 60, "contradicting_source": 40},
        "golden": {**GOLDEN, "difference": golden_difference},
        "holdout": {**HOLDOUT, "difference": gain},
        "swap_seconds": 1.5 if action == "promote" else None,
    }


def test_poison_table_and_unmet_expectations():
    found = {"clean": decided(), "source-10": decided("reject"), "all-30": decided(golden_difference=-0.03)}
    rows = poison.table(found).splitlines()
    assert len(rows) == 5
    assert "duplicate 60, contradicting_source 40" in rows[2]
    assert " 90.00% |" in rows[2]
    assert "80.00% -> 85.00%" in rows[2]
    assert poison.what_failed(found, 0.01) == [
        "10% of one source flipped: expected a promotion, got reject",
        "30% of all flipped, from one source: promoted, and loses more than the margin on the test set",
    ]
    assert poison.what_failed({"all-30": decided("reject", golden_difference=-0.03)}, 0.01) == []
    assert "none" in poison.table({"clean": {**decided(), "outcomes": {"added": 1}, "holdout": None}})


def test_story_report_and_unmet_expectations():
    check = {"seconds": 1.0, "verdict": "no drift", "sentence": "No drift."}
    served = {"seconds": 9.0, "texts": 100, "accuracy": 0.9, "audits": 7}
    found = {
        "serve films": served,
        "check films": check,
        "serve products": served,
        "check products": {**check, "verdict": "drift", "sentence": "Drift: other words."},
        "retrain": decided(),
        "roll back": {"seconds": 2.0, "from": "new", "to": "old", "swap_seconds": 0.5, "is_held": True},
    }
    champion = {"seconds": 100.0, "train": 300, "golden": 500, "accuracy": 0.9}
    text = retraining_story.report(champion, found)
    for part in ("Drift: other words.", "700 products to train on", "1.5 s later", "held-out products", "+5.00"):
        assert part in text
    assert retraining_story.what_failed(found, 0.015) == []
    found |= {"check films": found["check products"], "retrain": decided("inconclusive", gain=0.01)}
    del found["roll back"]
    assert [failure.split(" ", 1)[1] for failure in retraining_story.what_failed(found, 0.015)] == [
        "no drift while films came",
        "the challenger promoted",
        "a gain of 1.5 points or more on the held-out products",
        "the champion back after the rollback",
        "automatic promotion on hold after the rollback",
    ]
    assert "roll back" not in retraining_story.report(champion, found)


def test_sources_are_drawn_and_some_labels_are_audits():
    labelled = retraining_story.labelled_by_sources(reviews(1000, 500), seed=0)
    assert set(Counter(review.source for review in labelled)) == set(retraining_story.SOURCES)
    assert 60 < sum(review.audit for review in labelled) < 140
    assert labelled == retraining_story.labelled_by_sources(reviews(1000, 500), seed=0)

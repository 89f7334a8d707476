"""Drift where a cascade answered: disagreement of its stages, embeddings of a share, and which texts compare."""

import dataclasses

import numpy as np
import pytest
from drift_samples import changed, texts

from textclf.config import DriftOptions
from textclf.drift.features import Stage
from textclf.drift.reference import EncoderOnlyOutputs, Reference
from textclf.monitoring.cascade_samples import comparable_samples, stage_notes
from textclf.stats.drift_tests.compare import compare
from textclf.stats.drift_tests.two_sample import rate_test

OPTIONS = DriftOptions()


def answered(n, seed, disagree=0.08, both=1.0, linear=0.7):
    """n texts of a cascade; of a share `both` embeddings and the answers of both stages are known."""
    rng = np.random.default_rng(seed)
    features = texts(n, rng)
    is_known = rng.random(n) < both
    return changed(
        features,
        stages=np.where(rng.random(n) < linear, Stage.LINEAR, Stage.ENCODER).astype(np.int64),
        disagreements=np.where(is_known, rng.random(n) < disagree, np.nan).astype(np.float32),
        embeddings=np.where(is_known[:, None], features.embeddings, np.nan).astype(np.float32),
    )


@pytest.fixture(scope="module")
def reference():
    features = answered(2000, 1)
    alone = EncoderOnlyOutputs(-features.logits, 1 - features.predicted)
    labels = np.random.default_rng(0).integers(0, 2, 2000)
    return Reference(features, labels, _Projection(8), 2000, alone)


class _Projection:
    """Only the number of directions is looked at."""

    def __init__(self, directions):
        self.components = np.eye(directions, dtype=np.float32)


def found(reference, latest):
    figures = compare(reference, latest, OPTIONS, np.random.default_rng(0), class_count=2)
    return {family.name: family for family in figures.families}


def test_stages_that_agree_as_before_are_no_drift(reference):
    families = found(reference.features, answered(1000, 2))
    assert not families["stages"].is_significant
    assert not families["embedding"].is_significant


@pytest.mark.parametrize("sample", [1.0, 0.4])
def test_stages_that_disagree_more_often_are_an_alarm(reference, sample):
    family = found(reference.features, answered(2000, 3, disagree=0.25, both=sample))["stages"]
    assert family.is_alarm
    assert family.effect == pytest.approx(0.17, abs=0.03)
    assert family.floor == OPTIONS.disagreement_floor == 0.05


@pytest.mark.slow
def test_a_small_change_is_negligible_however_significant():
    family = found(answered(20_000, 4), answered(20_000, 5, disagree=0.10))["stages"]
    assert (family.is_significant, family.is_alarm, family.is_negligible) == (True, False, True)


def test_too_small_a_share_is_not_tested(reference):
    families = found(reference.features, answered(1000, 6, both=0.05))
    assert not {"stages", "embedding"} & set(families)
    assert "content" in families


def test_embeddings_of_a_share_are_tested_as_those_of_all(reference):
    rng = np.random.default_rng(7)
    moved = texts(1000, rng, topic=0.5)
    moved.embeddings[200:] = np.nan
    assert found(reference.features, moved)["embedding"].is_alarm
    alike = texts(1000, rng)
    alike.embeddings[200:] = np.nan
    assert not found(reference.features, alike)["embedding"].is_significant


def test_half_an_embedding_is_refused(reference):
    from textclf.errors import InputError

    broken = answered(200, 8)
    broken.embeddings[3, 0] = np.nan
    with pytest.raises(InputError, match="latest: expected finite rates, logits and embeddings"):
        compare(reference.features, broken, OPTIONS, np.random.default_rng(0), class_count=2)


def test_fishers_test_by_hand():
    """Two of two against none of two: one table in six is as extreme on each side."""
    result = rate_test(np.array([True, True]), np.array([False, False]))
    assert result.p == pytest.approx(2 / 6)
    assert result.change == -1


class TestAnsweredAlike:
    def test_texts_of_the_cascade_compare_with_the_cascade(self, reference):
        latest = answered(100, 9)
        same, chosen, notes = comparable_samples(reference, latest)
        assert (same is reference, chosen.all(), notes) == (True, True, [])

    def test_texts_of_the_encoder_alone_compare_with_the_encoder_alone(self, reference):
        latest = changed(answered(100, 9), stages=None, disagreements=None)
        alone, chosen, notes = comparable_samples(reference, latest)
        assert (chosen.all(), notes) == (True, [])
        np.testing.assert_array_equal(alone.features.logits, -reference.features.logits)
        np.testing.assert_array_equal(alone.features.predicted, 1 - reference.features.predicted)
        assert (alone.features.stages, alone.features.disagreements, alone.alone) == (None, None, None)

    @pytest.mark.parametrize(
        ("alone", "said"), [(30, "30 texts were predicted by the encoder alone"), (70, "30 texts were predicted with")]
    )
    def test_the_fewer_are_passed_over_and_that_is_said(self, reference, alone, said):
        latest = answered(100, 9)
        stages = latest.stages.copy()
        stages[:alone] = Stage.ALONE
        _, chosen, notes = comparable_samples(reference, dataclasses.replace(latest, stages=stages))
        assert chosen.tolist() == [(row < alone) == (alone > 50) for row in range(100)]
        assert notes[0].startswith(said)

    def test_a_version_without_a_cascade_takes_all(self, reference):
        plain = reference.without_cascade
        latest = changed(answered(100, 9), stages=None, disagreements=None)
        same, chosen, notes = comparable_samples(plain, latest)
        assert (same is plain, chosen.all(), notes) == (True, True, [])
        assert plain.without_cascade is plain


def test_the_report_says_how_many_the_linear_stage_answered(reference):
    latest = answered(1000, 10, both=0.05, linear=0.4)
    first, second = stage_notes(reference.features, latest, 100)
    assert first == "The linear stage predicted 68% of the reference and 40% of the latest texts."
    assert second.startswith("Both stages scored ")
    assert len(stage_notes(reference.features, answered(1000, 11), 100)) == 1
    assert stage_notes(reference.without_cascade.features, latest, 100) == []

"""compare(): false alarms, power, small but significant, what is left out, and records that JSON can hold."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
from drift_samples import changed, texts
from scipy.stats import binom

from textclf.config import DriftOptions
from textclf.drift.features import TokenCounts
from textclf.errors import ConfigError, InputError
from textclf.stats.drift_tests.compare import QUANTILE_LEVELS, compare
from textclf.stats.drift_tests.drift_results import DriftResults
from textclf.stats.drift_tests.error_rate_drift import AuditEvidence

OPTIONS = DriftOptions()


def found_by(reference, latest, options=OPTIONS, seed=0, classes=2, **others) -> DriftResults:
    return compare(reference, latest, options, np.random.default_rng(seed), class_count=classes, **others)


def families(figures: DriftResults) -> dict:
    return {family.name: family for family in figures.families}


def audits(errors: int, texts_audited: int, is_audit: bool = True) -> AuditEvidence:
    return AuditEvidence(
        labels=(np.arange(texts_audited) < errors).astype(np.int64),
        predicted=np.zeros(texts_audited, np.int64),
        times=np.random.default_rng(0).random(texts_audited),
        is_audit=np.full(texts_audited, is_audit),
        held_out_errors=80,
        held_out_texts=1000,
    )


@pytest.fixture(scope="module")
def reference():
    return texts(1000, np.random.default_rng(1))


@pytest.fixture(scope="module")
def latest():
    return texts(150, np.random.default_rng(2))


class TestFalseAlarms:
    @pytest.mark.statistics
    @pytest.mark.parametrize(
        ("classes", "rounded", "audited"), [(2, False, True), (30, False, False), (3, True, False)]
    )
    def test_any_significant_family_is_as_rare_as_alpha(self, classes, rounded, audited):
        """Disjoint samples of one pool; with many classes, with ties everywhere, and with audits that are in order."""
        rng = np.random.default_rng(classes)
        runs, alpha = 20, 0.2
        pool = texts(600, rng, classes=classes, words=15, directions=4)
        if rounded:
            pool = changed(
                pool,
                logits=pool.logits.round(),
                lengths=pool.lengths // 8 * 8,
                embeddings=pool.embeddings.round(),
            )
        significant = 0
        for run in range(runs):
            rows = rng.permutation(len(pool))
            audit = audits(int(rng.binomial(60, 0.08)), 60) if audited else None
            figures = found_by(
                pool.take(rows[:200]),
                pool.take(rows[200:300]),
                dataclasses.replace(OPTIONS, alpha=alpha),
                seed=run,
                classes=classes,
                audit=audit,
            )
            assert len(figures.families) == 5 + audited
            significant += figures.is_significant
        assert significant <= binom.ppf(0.99, runs, alpha)


class TestPower:
    def test_texts_of_the_same_kind(self, reference, latest):
        figures = found_by(reference, latest)
        assert figures.enough
        assert not figures.is_significant
        assert not figures.is_alarm
        assert [family.name for family in figures.families] == ["length", "form", "score", "content", "embedding"]
        assert figures.labels is None

    def test_texts_cut_short(self, reference, latest):
        family = families(found_by(reference, changed(latest, lengths=latest.lengths // 4)))["length"]
        assert family.is_alarm
        assert family.effect > 0.9
        assert family.floor == 0.1

    @pytest.mark.parametrize("name", ["unknown", "continuation", "non_letter"])
    def test_another_form(self, reference, latest, name):
        rates = {f"{name}_rates": getattr(latest, f"{name}_rates") + np.float32(0.1)}
        family = families(found_by(reference, changed(latest, **rates)))["form"]
        assert family.is_alarm
        assert family.test == name
        assert len(family.tests) == 3
        assert family.p == pytest.approx(3 * min(test.p for test in family.tests))

    def test_another_class_mix(self, reference):
        latest = texts(150, np.random.default_rng(3), prior=np.array([0.2, 0.8]))
        figures = found_by(reference, latest)
        family = families(figures)["score"]
        assert family.is_alarm
        assert {test.name for test in family.tests} == {"logits", "classes"}
        assert figures.class_mix.latest[1] == np.mean(latest.predicted == 1)

    def test_other_words_and_meanings(self, reference):
        figures = found_by(reference, texts(150, np.random.default_rng(4), topic=0.5))
        assert families(figures)["content"].is_alarm
        assert families(figures)["content"].effect > OPTIONS.threshold
        assert families(figures)["embedding"].is_alarm
        assert len(figures.words) == OPTIONS.most_words
        assert figures.words[0].id >= 1000  # The half of the vocabulary that only new texts use.

    def test_more_errors(self, reference, latest):
        figures = found_by(reference, latest, audit=audits(25, 100))
        family = families(figures)["error"]
        assert family.is_alarm
        assert {test.name for test in family.tests} == {"error_rate", "cusum"}
        assert figures.labels.audit_errors == 25

    def test_errors_that_users_report_never_alarm(self, reference, latest):
        figures = found_by(reference, latest, audit=audits(100, 100, is_audit=False))
        assert "error" not in families(figures)
        assert not figures.is_alarm
        assert (figures.labels.other_errors, figures.labels.audit_texts) == (100, 0)

    def test_too_few_audits_are_not_tested(self, reference, latest):
        assert "error" not in families(found_by(reference, latest, audit=audits(49, 49)))
        assert "error" in families(found_by(reference, latest, audit=audits(49, 50)))


class TestNegligible:
    def test_a_small_difference_of_many_texts_is_significant_but_no_alarm(self):
        rng = np.random.default_rng(5)
        reference, latest = (texts(5000, rng, words=12, directions=None) for _ in range(2))
        latest = changed(latest, lengths=latest.lengths + (rng.random(5000) < 0.5))
        figures = found_by(reference, latest)
        family = families(figures)["length"]
        assert family.is_significant
        assert family.is_negligible
        assert not family.is_alarm
        assert 0 < family.effect <= family.floor
        assert figures.is_significant
        assert not figures.is_alarm

    def test_the_floor_decides(self):
        rng = np.random.default_rng(5)
        reference, latest = (texts(2000, rng, words=12, directions=None) for _ in range(2))
        latest = changed(latest, lengths=latest.lengths + 1)
        effect = families(found_by(reference, latest))["length"].effect
        for floor, is_alarm in ((effect - 0.001, True), (effect, False)):
            options = dataclasses.replace(OPTIONS, length_floor=floor)
            assert families(found_by(reference, latest, options))["length"].is_alarm is is_alarm

    def test_the_test_that_alarms_speaks_for_its_family(self):
        rng = np.random.default_rng(6)
        reference, latest = (texts(600, rng, words=12, directions=None) for _ in range(2))
        latest = changed(latest, predicted=np.where(rng.random(600) < 0.4, 1, latest.predicted))
        family = families(found_by(reference, latest))["score"]
        assert family.is_alarm
        assert family.test == "classes"
        logits, classes = family.tests
        assert (family.statistic, family.effect) == (classes.statistic, classes.effect)
        assert not logits.is_significant


class TestCorrection:
    def test_families_are_corrected_by_holm_and_tests_by_bonferroni(self):
        reference = texts(400, np.random.default_rng(7))
        figures = found_by(reference, texts(120, np.random.default_rng(8), topic=0.3))
        ordered = sorted(figures.families, key=lambda family: family.p)
        so_far = 0.0
        for rank, family in enumerate(ordered):
            so_far = max(so_far, min(1.0, family.p * (len(ordered) - rank)))
            assert family.adjusted_p == pytest.approx(so_far)
            assert family.p == pytest.approx(min(1.0, len(family.tests) * min(test.p for test in family.tests)))
            assert min(test.adjusted_p for test in family.tests) == pytest.approx(family.adjusted_p)
            assert all(test.adjusted_p >= family.adjusted_p for test in family.tests)

    def test_a_family_has_chance_of_its_own(self):
        """Without embeddings the classifier draws the same halves."""
        reference, latest = texts(200, np.random.default_rng(9)), texts(100, np.random.default_rng(10))
        whole = families(found_by(reference, latest))
        part = families(found_by(reference, changed(latest, embeddings=None)))
        assert set(whole) - set(part) == {"embedding"}
        assert whole["content"].p == part["content"].p
        assert whole["score"].p == part["score"].p

    def test_the_same_seed_gives_the_same_figures(self):
        reference, latest = texts(200, np.random.default_rng(9)), texts(100, np.random.default_rng(10))
        assert found_by(reference, latest, seed=3) == found_by(reference, latest, seed=3)
        assert found_by(reference, latest, seed=3) != found_by(reference, latest, seed=4)


class TestWhatThereIs:
    def test_too_few_texts_are_described_and_not_tested(self):
        reference, latest = texts(200, np.random.default_rng(11)), texts(99, np.random.default_rng(12))
        for pair in ((reference, latest), (latest, reference)):
            figures = found_by(*pair, audit=audits(30, 60))
            assert not figures.enough
            assert figures.families == figures.words == ()
            assert figures.class_mix is not None
            assert figures.labels.audit_errors == 30
        assert found_by(reference, texts(100, np.random.default_rng(12))).enough

    def test_no_texts_at_all(self):
        reference = texts(200, np.random.default_rng(11))
        figures = found_by(reference, reference.take(np.arange(0)))
        assert (figures.enough, figures.latest_texts, figures.class_mix, figures.lengths) == (False, 0, None, None)

    def test_texts_without_words_have_no_content(self):
        reference, latest = (
            changed(texts(n, np.random.default_rng(n)), words=TokenCounts.of_ids([[]] * n)) for n in (200, 100)
        )
        assert [family.name for family in found_by(reference, latest).families] == [
            "length", "form", "score", "embedding",
        ]  # fmt: skip

    def test_lengths_and_class_mix_are_told(self):
        reference, latest = texts(200, np.random.default_rng(11)), texts(100, np.random.default_rng(12))
        figures = found_by(reference, latest)
        assert figures.lengths.latest == tuple(np.quantile(latest.lengths, QUANTILE_LEVELS))
        assert sum(figures.class_mix.reference) == pytest.approx(1)

    def test_families_are_timed_by_the_clock(self):
        reference, latest = texts(200, np.random.default_rng(11)), texts(100, np.random.default_rng(12))
        ticks = itertools.count()
        assert {family.seconds for family in found_by(reference, latest, clock=lambda: next(ticks)).families} == {1}
        assert {family.seconds for family in found_by(reference, latest).families} == {None}

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda f: {"logits": np.zeros((len(f), 3), np.float32)}, "logits of 2 classes, got 3"),
            (lambda f: {"predicted": np.full(len(f), 2)}, "predicted classes from 0 to 1"),
            (lambda f: {"logits": np.full((len(f), 2), np.nan, np.float32)}, "finite"),
            (lambda f: {"embeddings": np.full((len(f), 8), np.inf, np.float32)}, "finite"),
            (lambda f: {"embeddings": np.zeros((len(f), 5), np.float32)}, "one projection"),
        ],
    )
    def test_features_of_another_model_are_refused(self, change, message):
        reference, latest = texts(200, np.random.default_rng(11)), texts(100, np.random.default_rng(12))
        with pytest.raises(InputError, match=message):
            found_by(reference, changed(latest, **change(latest)))


class TestRecords:
    def test_figures_survive_json(self):
        reference, latest = texts(200, np.random.default_rng(13)), texts(100, np.random.default_rng(14), topic=0.5)
        for figures in (
            found_by(reference, latest, audit=audits(3, 60)),
            found_by(reference, latest.take(np.arange(0))),
        ):
            text = json.dumps(figures.to_dict(), allow_nan=False)
            assert DriftResults.from_dict(json.loads(text)) == figures

    @pytest.mark.parametrize("values", [{}, {"families": [{}]}, []])
    def test_other_json_is_refused(self, values):
        with pytest.raises(InputError, match="drift results"):
            DriftResults.from_dict(values)


class TestOptions:
    def test_survive_a_round_trip(self):
        options = DriftOptions(alpha=0.05, threshold=0.6)
        assert DriftOptions.from_dict(json.loads(json.dumps(options.to_dict()))) == options

    @pytest.mark.parametrize(
        "values",
        [
            {"alpha": 0.0},
            {"alpha": 1.0},
            {"alpha": 0.05, "permutations": 1998},
            {"alpha": 0.001},  # 1,999 permutations can't give so small a p-value.
            {"threshold": 0.49},
            {"threshold": "0.55"},
            {"score_floor": 1.0},
            {"error_floor": -0.1},
            {"cusum_shift": 0.0},
            {"min_texts": 19},
            {"min_audits": 0},
            {"most_words": -1},
            {"least_word_texts": 0},
        ],
    )
    def test_what_makes_no_sense_is_refused(self, values):
        with pytest.raises(ConfigError):
            DriftOptions(**values)

    def test_enough_permutations_allow_a_small_alpha(self):
        assert DriftOptions(alpha=0.001, permutations=14_000).alpha == 0.001

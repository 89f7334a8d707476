"""The domain classifier: areas, their permutations, the words it names, and its level under the null."""

import numpy as np
import pytest
from drift_samples import texts
from scipy.stats import binom
from sklearn.metrics import roc_auc_score

from textclf.drift.features import TokenCounts
from textclf.stats.drift_tests.domain_classifier import auc_test, classifier_two_sample_test


class TestAuc:
    def test_is_the_area_with_ties(self):
        rng = np.random.default_rng(1)
        scores, is_latest = rng.integers(0, 6, 120).astype(float), np.arange(120) < 30
        area, _ = auc_test(scores, is_latest, 99, rng)
        assert area == pytest.approx(roc_auc_score(is_latest, scores))

    def test_p_is_that_of_all_permutations(self):
        # Of the 10 ways to choose 2 of 5 ranks, {4, 5} and {3, 5} sum to 8 or more.
        _, p = auc_test(np.array([1.0, 2, 3, 4, 5]), np.array([False, False, True, False, True]), 20_000, _rng())
        assert p == pytest.approx(0.2, abs=0.012)

    def test_equal_scores_tell_nothing(self):
        assert auc_test(np.zeros(50), np.arange(50) < 10, 99, _rng()) == (0.5, 1.0)

    def test_scores_the_wrong_way_round_are_no_drift(self):
        area, p = auc_test(np.arange(100.0), np.arange(100) < 50, 99, _rng())
        assert (area, p) == (0, 1)


class TestTellApart:
    @pytest.mark.statistics
    @pytest.mark.parametrize(("n", "m"), [(300, 100), (80, 80)])
    def test_keeps_its_level(self, n, m):
        rng = np.random.default_rng(2)
        runs = 100
        pool = texts(4 * (n + m), rng, words=15).words
        chosen = (rng.permutation(len(pool)) for _ in range(runs))
        samples = ((pool.take(rows[:n]), pool.take(rows[n : n + m])) for rows in chosen)
        p_values = np.array([_told(*pair, rng, permutations=99).p for pair in samples])
        for alpha in (0.05, 0.2):
            assert np.sum(p_values <= alpha) <= binom.ppf(0.999, runs, alpha)
        assert np.sum(p_values <= 0.2) >= binom.ppf(0.001, runs, 0.2)

    def test_names_the_words_and_counts_their_texts(self):
        rng = np.random.default_rng(3)
        # Word 7 is in every latest text and in each tenth of the reference, word 9 only in the reference.
        reference = [[*rng.integers(100, 140, 12), 9, *([7] if i % 10 == 0 else [])] for i in range(400)]
        latest = [[*rng.integers(100, 140, 12), 7, 7] for _ in range(100)]
        found = _told(TokenCounts.of_ids(reference), TokenCounts.of_ids(latest), rng)
        assert found.auc > 0.99
        assert found.p == 1 / 2000
        words = {word.id: word for word in found.words}
        assert {found.words[0].id, found.words[1].id} == {7, 9}
        assert words[7].weight > 0 > words[9].weight
        assert (words[7].reference_texts, words[7].latest_texts) == (40, 100)
        assert (words[9].reference_share, words[9].latest_share) == (1.0, 0.0)
        assert all(word.contribution > 0 for word in found.words)
        assert [word.contribution for word in found.words] == sorted(
            (w.contribution for w in found.words), reverse=True
        )

    def test_contributions_are_those_of_texts_it_has_not_seen(self):
        """A word that only one text has can't contribute: it is in the fitted half or in the other, never in both."""
        rng = np.random.default_rng(4)
        reference = [[*rng.integers(0, 30, 10)] for _ in range(200)]
        latest = [[*rng.integers(0, 30, 10), 1000 + i] for i in range(100)]
        found = _told(TokenCounts.of_ids(reference), TokenCounts.of_ids(latest), rng, max_words=10_000)
        assert all(word.id < 1000 for word in found.words)

    @pytest.mark.parametrize(("share", "least", "most"), [(0.1, 0.52, 0.58), (0.5, 0.70, 0.78)])
    def test_the_area_is_one_half_and_half_of_the_share_that_is_new(self, share, least, most):
        rng = np.random.default_rng(5)
        found = _told(texts(2000, rng).words, texts(2000, rng, topic=share).words, rng)
        assert least < found.auc < most

    def test_texts_without_words(self):
        assert _told(TokenCounts.of_ids([[]] * 100), TokenCounts.of_ids([[]] * 100), _rng()) is None
        found = _told(TokenCounts.of_ids([[1, 2]] * 100), TokenCounts.of_ids([[]] * 100), _rng())
        assert found.auc == 1

    def test_ids_may_be_anything(self):
        huge = 2**31 - 1
        found = _told(TokenCounts.of_ids([[3]] * 60), TokenCounts.of_ids([[huge]] * 60), _rng())
        assert {word.id for word in found.words} == {3, huge}

    def test_the_same_state_gives_the_same_figures(self):
        rng = np.random.default_rng(6)
        reference, latest = texts(200, rng).words, texts(100, rng).words
        assert _told(reference, latest, _rng()) == _told(reference, latest, _rng())

    def test_a_word_of_few_texts_is_not_named(self):
        reference = [[1, 2] if at < 20 else [1] for at in range(100)]
        latest = [[1, 3, 4] if at < 20 else [1, 4] for at in range(100)]
        samples = TokenCounts.of_ids(reference), TokenCounts.of_ids(latest)
        assert {word.id for word in classifier_two_sample_test(*samples, 1999, 20, _rng(), min_texts=20).words} == {
            2,
            3,
            4,
        }
        assert {word.id for word in classifier_two_sample_test(*samples, 1999, 20, _rng(), min_texts=21).words} == {4}


def _told(reference, latest, rng, permutations=1999, max_words=20):
    return classifier_two_sample_test(reference, latest, permutations, max_words, rng)


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)

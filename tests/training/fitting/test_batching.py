"""Plans of batches, and batches: every text once, budgets held, little padding, the same plan for the same seed."""

import numpy as np
import pytest

from textclf.training.encoders.preprocessing import TokenizedTexts
from textclf.training.fitting.batching import LENGTH_STEP, make_batch, plan_epoch, plan_evaluation

TOKENS, TEXTS = 4096, 32


@pytest.fixture(scope="module")
def review_lengths():
    """Lengths as those of 25,000 film reviews cut at 256 wordpieces: the mean is about 200."""
    lengths = np.random.default_rng(0).lognormal(mean=5.5, sigma=0.6, size=25_000)
    return np.clip(lengths, 10, 256).astype(np.int64)


def tokenized(*texts):
    lengths = [len(text) for text in texts]
    ids = np.concatenate([np.array(text, np.int32) for text in texts])
    return TokenizedTexts(ids, np.concatenate([[0], np.cumsum(lengths)]), np.array(lengths))


def padded_size(batch, lengths):
    return len(batch) * -(-int(lengths[batch].max()) // LENGTH_STEP) * LENGTH_STEP


def padding_share(plan, lengths):
    """Share of the tokens in the plan's batches that are padding."""
    return 1 - lengths.sum() / sum(padded_size(batch, lengths) for batch in plan)


class TestPlanEpoch:
    @pytest.mark.parametrize(("tokens", "texts"), [(TOKENS, TEXTS), (TOKENS, 1), (64, 32), (8, 5), (10**9, 7)])
    def test_every_text_is_in_exactly_one_batch_and_budgets_hold(self, review_lengths, tokens, texts):
        lengths = review_lengths[:1000]
        plan = plan_epoch(lengths, tokens, texts, seed=1, epoch=0)
        assert sorted(np.concatenate(plan)) == list(range(1000))
        assert max(map(len, plan)) <= texts
        assert all(padded_size(batch, lengths) <= tokens for batch in plan if len(batch) > 1)

    def test_a_text_longer_than_the_budget_has_a_batch_to_itself(self):
        lengths = np.array([10, 900, 12, 11, 901])
        plan = plan_epoch(lengths, tokens_per_batch=64, batch_size=8, seed=0, epoch=0)
        assert sorted(sorted(batch.tolist()) for batch in plan) == [[0, 2, 3], [1], [4]]

    def test_a_single_text_is_a_batch(self):
        assert [batch.tolist() for batch in plan_epoch(np.array([7]), TOKENS, TEXTS, 0, 0)] == [[0]]

    def test_the_same_seed_and_epoch_give_the_same_plan_and_others_another(self, review_lengths):
        def plan(seed, epoch):
            return [batch.tolist() for batch in plan_epoch(review_lengths[:500], TOKENS, TEXTS, seed, epoch)]

        assert plan(3, 1) == plan(3, 1)
        others = [plan(3, 0), plan(3, 2), plan(4, 1), plan(1, 3)]
        assert all(plan(3, 1) != other for other in others)

    def test_texts_meet_other_texts_in_another_epoch(self, review_lengths):
        first, second = ({frozenset(b.tolist()) for b in plan_epoch(review_lengths, TOKENS, 8, 0, e)} for e in (0, 1))
        assert len(first & second) < 0.01 * len(first)

    def test_batches_do_not_come_by_length(self, review_lengths):
        plan = plan_epoch(review_lengths, TOKENS, TEXTS, 0, 0)
        means = np.array([review_lengths[batch].mean() for batch in plan])
        # In a random order as many neighbours rise as fall; in a sorted one they do only one of it.
        assert abs(np.sign(np.diff(means)).mean()) < 0.1
        # And the beginning of an epoch is a fair sample: 50 batches of 1,200, whose means deviate by about 50.
        assert means[:50].mean() == pytest.approx(means.mean(), abs=4 * 50 / np.sqrt(50))

    def test_little_padding_and_full_batches_on_realistic_lengths(self, review_lengths):
        plan = plan_epoch(review_lengths, TOKENS, TEXTS, 0, 0)
        assert padding_share(plan, review_lengths) < 0.05
        in_order = [np.arange(i, min(i + 16, 25_000)) for i in range(0, 25_000, 16)]
        assert padding_share(in_order, review_lengths) > 0.15
        # No more batches than a fifth above what tokens alone would need.
        assert len(plan) < 1.2 * review_lengths.sum() / TOKENS


class TestPlanEvaluation:
    def test_every_text_once_longest_first_within_the_budget(self, review_lengths):
        lengths = review_lengths[:3000]
        plan = plan_evaluation(lengths, TOKENS)
        order = np.concatenate(plan)
        assert sorted(order) == list(range(3000))
        assert np.all(np.diff(lengths[order]) <= 0)
        assert all(padded_size(batch, lengths) <= TOKENS for batch in plan)
        assert padding_share(plan, lengths) < 0.03

    def test_a_text_longer_than_the_budget_has_a_batch_to_itself(self):
        assert [batch.tolist() for batch in plan_evaluation(np.array([3, 500, 4]), 64)] == [[1], [2, 0]]


class TestMakeBatch:
    TEXTS = tokenized([1, 2, 3], [4], [5, 6, 7, 8, 9, 10, 11, 12, 13])

    def test_golden_batch(self):
        batch = make_batch(self.TEXTS, np.array([1, 0]), padding_id=99)
        assert batch.word_ids.tolist() == [[4, *[99] * 7], [1, 2, 3, *[99] * 5]]
        assert batch.mask.tolist() == [[1, *[0] * 7], [1, 1, 1, *[0] * 5]]
        assert batch.indices.tolist() == [1, 0]
        assert batch.word_ids.dtype == batch.mask.dtype == np.int32

    def test_is_as_long_as_its_longest_text_rounded_up(self):
        batch = make_batch(self.TEXTS, np.array([2, 0]), padding_id=0)
        assert batch.word_ids.shape == batch.mask.shape == (2, 16)
        assert batch.mask.sum(axis=1).tolist() == [9, 3]
        assert batch.word_ids[0, :9].tolist() == list(range(5, 14))

    def test_a_text_of_a_full_step_gets_no_padding(self):
        assert make_batch(tokenized([1] * LENGTH_STEP), np.array([0]), 0).mask.tolist() == [[1] * LENGTH_STEP]

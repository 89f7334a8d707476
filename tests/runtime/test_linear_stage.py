"""The linear stage: hashing against golden values, sums by hand, and what is refused on disk."""

import numpy as np
import pytest

from textclf.errors import ModelStoreError
from textclf.runtime.linear_stage import LINEAR_FILE, LinearStage, features_of

BUCKETS = 2**18
_WORD = 2**64


def stage(weights, intercepts=(0.0,)):
    """A stage of word id -> weight of each column, and no others."""
    values = np.zeros((BUCKETS, len(intercepts)), np.float16)
    for word, weight in weights.items():
        values[features_of([word], BUCKETS)[0]] = weight
    return LinearStage(values, np.array(intercepts, np.float32))


class TestFeatures:
    @pytest.mark.parametrize(
        ("ids", "buckets", "features"),
        [
            ([0, 1, 2], 2**20, [244974, 315554, 576076, 631109, 946664]),
            ([101, 7, 7, 7, 30521], 2**20, [29008, 191029, 427285, 551667, 729302, 934507]),
            ([5], 2**15, [26398]),
            ([3, 4, 3, 4], 2**4, [2, 3, 8, 9]),
            ([], 2**20, []),
        ],
    )
    def test_golden_values(self, ids, buckets, features):
        """Versions on disk have weights for these buckets: they must not move."""
        found = features_of(ids, buckets)
        assert (found.tolist(), found.dtype) == (features, np.int64)

    @pytest.mark.parametrize("length", [3, 4, 5, 6, 7, 8, 9, 100])
    def test_slices_change_nothing(self, length, monkeypatch):
        ids = np.random.default_rng(length).integers(0, 50, length).tolist()
        whole = features_of(ids, BUCKETS)
        monkeypatch.setattr("textclf.runtime.linear_stage._SLICE", 4)
        np.testing.assert_array_equal(features_of(ids, BUCKETS), whole)

    @pytest.mark.parametrize("buckets", [2, 2**15, 2**20])
    def test_against_whole_numbers_of_python(self, buckets):
        ids = np.random.default_rng(buckets).integers(0, 60, 500).tolist()
        first, second, mix = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0xD6E8FEB86659FD93
        hashes = [(number + 1) * first % _WORD for number in ids]
        hashes += [hashes[place] ^ ((number + 1) * second % _WORD) for place, number in enumerate(ids[1:])]
        expected = {(value * mix % _WORD) * buckets // _WORD for value in hashes}
        assert features_of(ids, buckets).tolist() == sorted(expected)

    def test_order_makes_other_bigrams(self):
        one, other = (set(features_of(ids, 2**20).tolist()) for ids in ([8, 9], [9, 8]))
        assert len(one & other) == 2
        assert len(one) == len(other) == 3

    def test_ids_spread_over_all_buckets(self):
        counts = np.bincount(features_of(range(30_000), 2**10), minlength=2**10)
        assert counts.tolist() == [1] * 2**10


class TestAnswers:
    def test_two_classes_by_hand(self):
        answers = stage({7: 1.5, 8: -0.25}, (0.5,))([[7, 8], [7, 7, 9], [9], []])
        assert answers.dtype == np.float32
        # Half the sum to the second class, half against the first; a word counts once.
        assert answers[:, 1].tolist() == [0.875, 1.0, 0.25, 0.25]
        assert answers[:, 0].tolist() == [-0.875, -1.0, -0.25, -0.25]

    def test_three_classes_by_hand(self):
        three = stage({7: (1.0, 0.0, -1.0), 8: (0.0, 2.0, 0.0)}, (0.25, 0.0, 0.5))
        assert three.classes == 3
        assert three([[7], [8, 7], []]).tolist() == [[1.25, 0, -0.5], [1.25, 2, -0.5], [0.25, 0, 0.5]]

    def test_a_bigram_has_a_weight_of_its_own(self):
        weights = np.zeros((BUCKETS, 1), np.float16)
        bigram = set(features_of([7, 8], BUCKETS)) - set(features_of([8, 7], BUCKETS))
        weights[list(bigram)] = 2.0
        found = LinearStage(weights, np.zeros(1, np.float32))([[7, 8], [8, 7], [8, 7, 8]])
        assert found[:, 1].tolist() == [1.0, 0.0, 1.0]

    def test_texts_do_not_depend_on_their_company(self):
        words = dict(zip(range(50), np.random.default_rng(0).normal(size=50), strict=True))
        several = stage(words)
        texts = np.random.default_rng(1).integers(0, 50, (5, 200)).tolist()
        together = several(texts)
        for row, text in enumerate(texts):
            np.testing.assert_array_equal(several([text])[0], together[row])

    def test_no_texts(self):
        assert stage({7: 1.0})([]).shape == (0, 2)


class TestOnDisk:
    @pytest.fixture
    def linear(self):
        return stage({word: (word / 7, -word, 0.5) for word in range(1, 200)}, (0.5, 0.0, -1.0))

    def test_what_was_saved_is_loaded_and_saved_the_same(self, linear, tmp_path):
        (tmp_path / "again").mkdir()
        linear.save(tmp_path)
        loaded = LinearStage.load(tmp_path)
        loaded.save(tmp_path / "again")
        assert (tmp_path / LINEAR_FILE).read_bytes() == (tmp_path / "again" / LINEAR_FILE).read_bytes()
        np.testing.assert_array_equal(loaded.weights, linear.weights)
        np.testing.assert_array_equal(loaded.intercepts, linear.intercepts)
        texts = [[1, 2, 3], [199] * 100]
        np.testing.assert_array_equal(loaded(texts), linear(texts))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["again", LINEAR_FILE]

    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(ModelStoreError, match=rf"{LINEAR_FILE}: expected the linear stage .*export it again"):
            LinearStage.load(tmp_path)

    @pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text", "folder"])
    def test_a_damaged_file_is_refused(self, linear, tmp_path, damage):
        linear.save(tmp_path)
        path = tmp_path / LINEAR_FILE
        whole = path.read_bytes()
        middle = len(whole) // 2
        changed = {
            "cut": whole[:middle],
            "flipped": whole[:middle] + bytes([whole[middle] ^ 0xFF]) + whole[middle + 1 :],
            "empty": b"",
            "text": b"not a model\n",
        }
        path.unlink()
        if damage == "folder":
            path.mkdir()
        else:
            path.write_bytes(changed[damage])
        with pytest.raises(ModelStoreError, match=LINEAR_FILE):
            LinearStage.load(tmp_path)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"format": 2}, "format 2, this software reads 1"),
            ({"format": None}, "format"),
            ({"weights": None}, "weights"),
            ({"weights": np.zeros((4, 3), np.float32)}, "weights of float32"),
            ({"intercepts": np.zeros(3)}, "intercepts of float64"),
            ({"weights": np.array([[{}]], object)}, "allow_pickle"),
            ({"weights": np.zeros((12, 3), np.float16)}, "a power of two"),
            ({"intercepts": np.zeros(4, np.float32)}, "an intercept for each column"),
            ({"weights": np.full((4, 3), np.nan, np.float16)}, "finite"),
        ],
    )
    def test_something_else_is_refused(self, tmp_path, changes, message):
        sound = {"format": 1, "weights": np.zeros((4, 3), np.float16), "intercepts": np.zeros(3, np.float32)}
        values = {name: value for name, value in (sound | changes).items() if value is not None}
        np.savez_compressed(tmp_path / LINEAR_FILE, **values, allow_pickle=True)
        with pytest.raises(ModelStoreError, match=message):
            LinearStage.load(tmp_path)

    def test_a_small_file_that_would_unpack_to_a_large_array_is_refused(self, linear, tmp_path, monkeypatch):
        linear.save(tmp_path)
        monkeypatch.setattr("textclf.runtime.linear_stage._MAX_BYTES", 2**16)
        with pytest.raises(ModelStoreError, match="larger than 65536 bytes"):
            LinearStage.load(tmp_path)


@pytest.mark.parametrize(
    ("shape", "columns"),
    [((6, 1), 1), ((1, 1), 1), ((0, 1), 1), ((8, 2), 2), ((8, 0), 0), ((8,), 1), ((8, 3), 1), ((8, 1), 3)],
)
def test_shapes_that_do_not_fit_are_refused(shape, columns):
    with pytest.raises(ModelStoreError, match="expected weights"):
        LinearStage(np.zeros(shape, np.float16), np.zeros(columns, np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_intercepts_are_finite(value):
    with pytest.raises(ModelStoreError, match="finite"):
        LinearStage(np.zeros((2, 1), np.float16), np.array([value], np.float32))

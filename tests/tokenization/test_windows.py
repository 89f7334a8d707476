"""Windows of long texts: where they start, what they cover, and the means over them."""

import numpy as np
import pytest
from tiny_bert import vocabulary

from textclf.errors import ConfigError
from textclf.tokenization.tokenizer import Tokenizer
from textclf.tokenization.windows import covered, means_of_windows, window_starts


@pytest.mark.parametrize(
    ("length", "starts"),
    [
        (0, [0]),
        (1, [0]),
        (10, [0]),
        (11, [0, 1]),
        (20, [0, 10]),
        (21, [0, 5, 11]),
        (30, [0, 10, 20]),
        (31, [0, 10, 21]),
        (1000, [0, 495, 990]),
    ],
)
def test_windows_are_evenly_spaced_from_the_beginning_to_the_end(length, starts):
    assert window_starts(length, 10, 3) == starts


def test_one_window_is_the_beginning():
    assert window_starts(1000, 10, 1) == [0]


@pytest.mark.parametrize("length", [0, 9, 10, 11, 29, 30, 31, 100])
def test_covered_wordpieces_have_the_windows_of_the_text(length):
    text = list(range(length))
    kept = covered(text, 10, 3)
    assert len(kept) == min(length, 30)
    assert kept == sorted(set(kept))

    def windows(pieces):
        return [pieces[start : start + 10] for start in window_starts(len(pieces), 10, 3)]

    assert windows(kept) == windows(text)


def test_means_are_taken_by_text():
    values = np.array([[1, 2], [3, 4], [5, 9], [7, 5]], np.float32)
    means = means_of_windows(values, np.array([1, 2, 1]))
    np.testing.assert_array_equal(means, np.array([[1, 2], [4, 6.5], [7, 5]], np.float32))
    assert means.dtype == np.float32


class TestTokenizer:
    def make(self, windows, max_length=12, truncation="head+tail"):
        return Tokenizer(vocabulary(), True, max_length, truncation, windows=windows)

    @pytest.mark.parametrize("words", [1, 10, 11, 30, 31, 100])
    def test_ids_are_those_that_the_windows_read(self, words):
        tokenizer = self.make(3)
        text = " ".join(["good", "bad", "film", "was", "the", "a", "it"][i * i % 7] for i in range(words))
        (found,) = tokenizer([text])
        windows = tokenizer.windows(found.ids)
        assert found.length == words + 2
        assert len(found.ids) == min(words, 30) + 2
        assert [len(window) for window in windows] == [min(words, 10) + 2] * min(3, -(-words // 10))
        assert all((window[0], window[-1]) == (tokenizer.start_id, tokenizer.end_id) for window in windows)
        starts = window_starts(words, 10, 3)
        assert [window[1:-1] for window in windows] == [found.wordpieces[start : start + 10] for start in starts]

    def test_one_window_truncates(self):
        tokenizer, text = self.make(1), "good " * 20 + "bad " * 20
        (found,) = tokenizer([text])
        assert tokenizer.windows(found.ids) == [found.ids]
        assert len(found.ids) == 12

    def test_a_file_of_earlier_software_has_one_window(self, tmp_path):
        self.make(1).save(tmp_path)
        settings = tmp_path / "tokenizer.json"
        settings.write_text(settings.read_text().replace(',\n "windows": 1', ""), encoding="utf-8")
        assert "windows" not in settings.read_text()
        assert Tokenizer.load(tmp_path).settings.windows == 1

    @pytest.mark.parametrize("windows", [0, 17])
    def test_refused(self, windows):
        with pytest.raises(ConfigError, match="windows: expected a whole number"):
            self.make(windows)

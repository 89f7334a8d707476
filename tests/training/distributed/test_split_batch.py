"""Parts of a batch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textclf.training.distributed.parts import MAX_TOKENS, split_batch
from textclf.training.fitting.batching import rounded_length


@given(st.lists(st.integers(1, 512), min_size=1, max_size=200), st.integers(1, 8))
def test_every_text_is_in_one_piece_that_is_not_too_large(lengths, parts):
    divided = split_batch(np.array(lengths), parts)
    assert len(divided) == parts
    rows = [row for pieces in divided for piece in pieces for row in piece.rows]
    assert sorted(rows) == list(range(len(lengths)))
    for piece in (piece for pieces in divided for piece in pieces):
        assert piece.width >= max(lengths[row] for row in piece.rows)
        assert len(piece.rows) == 1 or len(piece.rows) * piece.width <= 2 * MAX_TOKENS


@pytest.mark.parametrize("parts", [2, 3, 8])
def test_parts_have_about_equal_tokens(parts):
    lengths = np.random.default_rng(0).integers(8, 256, 32 * parts)
    tokens = [
        sum(rounded_length(int(lengths[row])) for piece in pieces for row in piece.rows)
        for pieces in split_batch(lengths, parts)
    ]
    assert max(tokens) <= 1.1 * min(tokens)

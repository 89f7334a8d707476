"""Plans batches: texts of similar length share a batch, up to a number of tokens.

Padding costs as much as text, so a batch is only as long as its longest text. The plan is a pure function of lengths,
seed and epoch, so that a resumed training continues in the same plan.
"""

from dataclasses import dataclass

import numpy as np

from textclf.training.encoders.preprocessing import TokenizedTexts

# Lengths are rounded up to a multiple of this, to compile kernels for fewer shapes.
LENGTH_STEP = 8
# Texts are sorted by length within pools of this many batches, so that the order stays mostly random.
_POOL_BATCHES = 50


@dataclass(frozen=True)
class Batch:
    """Padded ids and mask, both int32 [B, S], and the positions of the B texts in the data."""

    indices: np.ndarray
    word_ids: np.ndarray
    mask: np.ndarray


def plan_epoch(lengths: np.ndarray, tokens_per_batch: int, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The batches of one epoch, in order, as arrays of positions; every text is in exactly one.

    Args:
        lengths: tokens of each text.
        tokens_per_batch: largest number of tokens in a batch, including padding; a longer text is a batch of its own.
        batch_size: largest number of texts in a batch.
        seed, epoch: the same pair gives the same plan.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    pool_size = _POOL_BATCHES * batch_size
    batches: list[np.ndarray] = []
    for start in range(0, len(order), pool_size):
        pool = order[start : start + pool_size]
        by_length = pool[np.argsort(lengths[pool], kind="stable")]
        batches += _cut(by_length, lengths, tokens_per_batch, batch_size)
    return [batches[position] for position in random.permutation(len(batches))]


def plan_evaluation(lengths: np.ndarray, tokens_per_batch: int) -> list[np.ndarray]:
    """Batches of all texts for evaluation, longest first, so that memory peaks at the start."""
    return _cut(np.argsort(-lengths, kind="stable"), lengths, tokens_per_batch, len(lengths))


def _cut(order: np.ndarray, lengths: np.ndarray, tokens_per_batch: int, batch_size: int) -> list[np.ndarray]:
    """Cut texts sorted by length into batches as large as the two limits allow."""
    batches = []
    start = longest = 0
    for end, position in enumerate(order):
        longest = max(longest, rounded_length(int(lengths[position])))
        count = end - start + 1
        if count > 1 and (count > batch_size or count * longest > tokens_per_batch):
            batches.append(order[start:end])
            start, longest = end, rounded_length(int(lengths[position]))
    if start < len(order):
        batches.append(order[start:])
    return batches


def rounded_length(length: int) -> int:
    """A number of tokens, rounded up to a multiple of LENGTH_STEP."""
    return -(-length // LENGTH_STEP) * LENGTH_STEP


def make_batch(texts: TokenizedTexts, indices: np.ndarray, padding_id: int) -> Batch:
    """Pad the texts at `indices` to the longest of them, rounded up to LENGTH_STEP."""
    lengths = texts.lengths[indices]
    width = rounded_length(int(lengths.max()))
    mask = (np.arange(width) < lengths[:, None]).astype(np.int32)
    word_ids = np.full((len(indices), width), padding_id, np.int32)
    word_ids[mask == 1] = np.concatenate([texts.ids[texts.offsets[i] : texts.offsets[i + 1]] for i in indices])
    return Batch(indices, word_ids, mask)

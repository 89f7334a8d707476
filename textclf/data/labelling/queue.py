"""Draw texts of the prediction log to label: a random audit, or the most informative ones."""

import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from textclf.data.labelling.draw_signatures import DrawSignatures
from textclf.data.labelling.informative import choose_informative
from textclf.data.labelling.labelled_texts import LabelledKeys
from textclf.data.prediction_log.feature_codec import decode_features
from textclf.data.prediction_log.log import PredictionLog
from textclf.data.prediction_log.text_draw import LoggedText, draw_texts
from textclf.drift.features import TokenCounts
from textclf.tokenization.text_key import TextKeys, is_blank

AUDIT, INFORMATIVE = MODES = ("audit", "informative")
# Random texts among which the informative ones are searched, as a multiple of these, and at least.
_CANDIDATES_PER_TEXT = 20
_MIN_CANDIDATES = 500
_MAX_CANDIDATES = 4000


@dataclass(frozen=True)
class QueuedText:
    """A text to label.

    Attributes:
        key: equal for equal texts, 32 hex digits (textclf.tokenization.text_key).
        text: the text.
        draw: signed random draw; None for an informative text, whose label is no audit.
        label: predicted class; None for a draw, because a label that was seen is not independent.
        reasons: why the text is informative.
    """

    key: str
    text: str
    draw: str | None = None
    label: str | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabellingQueue:
    """Draws texts that are not labelled yet, each text once.

    A random audit leaves out texts with an audit label only. It must not leave out texts that users corrected: these
    are texts on which the model erred, and an audit without them would find too few errors.

    Args:
        log: prediction log with texts.
        signatures: signs random draws.
    """

    log: PredictionLog
    signatures: DrawSignatures

    def audit(
        self,
        version_id: str,
        count: int,
        rng: np.random.Generator,
        labelled: LabelledKeys,
        *,
        since: float | None = None,
        skipped: Collection[str] = (),
    ) -> list[QueuedText]:
        """Up to `count` texts drawn at random, with signatures; each logged prediction has the same chance.

        Args:
            version_id: version that predicted the texts.
            count: number of texts.
            rng: draws the texts.
            labelled: texts that have a label.
            since: time of the first prediction, in seconds since the epoch; None for all that the log still has.
            skipped: keys of texts to leave out.

        Raises:
            PredictionLogError: if there is no log, or it can't be read.
            StorageUnavailableError: if the key of the signatures can't be read or made.
        """
        known = _Known(labelled.audits, skipped)
        rows = draw_texts(self.log, version_id, count, rng, known.accepts, since)
        signed = [self.signatures.sign(row.text, version_id) for row in rows]
        return [QueuedText(known.of(row), row.text, draw) for row, draw in zip(rows, signed, strict=True)]

    def informative(
        self,
        version_id: str,
        count: int,
        rng: np.random.Generator,
        labelled: LabelledKeys,
        *,
        temperature: float = 1.0,
        unusual: Callable[[str, Sequence[int]], str | None] | None = None,
        since: float | None = None,
        skipped: Collection[str] = (),
    ) -> list[QueuedText]:
        """Up to `count` texts, the most informative of a random sample first.

        Args:
            version_id, count, rng, labelled, since, skipped: as for audit().
            temperature: of the version's logits.
            unusual: returns for a text and its wordpieces the reason why it is unusual, or None (see
                UnusualTexts.reason); None if the version has no such function.

        Raises:
            PredictionLogError: if there is no log, or it can't be read.
        """
        known = _Known(labelled.all, skipped)
        candidates = min(max(_MIN_CANDIDATES, count * _CANDIDATES_PER_TEXT), _MAX_CANDIDATES)
        rows = draw_texts(self.log, version_id, max(candidates, count), rng, known.accepts, since)
        names = [f"{self.log.url.shown}, row {row.id}" for row in rows]
        features, damaged = decode_features([row.features for row in rows], names)
        if features is None:
            return []
        rows = [row for at, row in enumerate(rows) if at not in damaged]
        pieces = _wordpieces(features.words)
        reasons = [unusual and unusual(row.text, ids) for row, ids in zip(rows, pieces, strict=True)]
        chosen = choose_informative(features, reasons, count, temperature)
        return [
            QueuedText(known.of(rows[at]), rows[at].text, None, rows[at].label, why)
            for at, why in ((choice.position, choice.reasons) for choice in chosen)
        ]


def _wordpieces(words: TokenCounts) -> list[list[int]]:
    """The wordpiece ids of each text, in another order than in the text."""
    repeated = np.repeat(words.ids, words.counts)
    ends = np.concatenate([[0], np.cumsum(words.counts)])[words.offsets]
    return [repeated[start:end].tolist() for start, end in itertools.pairwise(ends.tolist())]


class _Known:
    """The texts that are not drawn, or not again."""

    def __init__(self, labelled: Collection[bytes], skipped: Collection[str]) -> None:
        self._keys = TextKeys()
        self._known = {*labelled, *map(bytes.fromhex, skipped)}

    def of(self, row: LoggedText) -> str:
        return self._keys.of(row.text).hex()

    def accepts(self, row: LoggedText) -> bool:
        if is_blank(row.text):
            return False
        key = self._keys.of(row.text)
        if key in self._known:
            return False
        self._known.add(key)
        return True

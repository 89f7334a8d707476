"""The two stages of a cascade at work: the linear one looks at every text, and says which need the encoder."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from textclf.runtime.linear_stage import LinearStage
from textclf.stats.cascade_rules import CascadeSettings, StageOutputs, exits, final_logits

LINEAR, ENCODER = "linear", "encoder"


@dataclass(frozen=True, eq=False)
class Stages:
    """What each stage says of n texts.

    Attributes:
        exits: which texts the linear stage answered, bool [n].
        linear_logits: float32 [n, K].
        encoder_logits: float32 [n, K]; NaN for texts that the encoder did not read.
        lengths: wordpieces, [CLS] and [SEP] not counted, int64 [n].
    """

    exits: NDArray[np.bool_]
    linear_logits: NDArray[np.float32]
    encoder_logits: NDArray[np.float32]
    lengths: NDArray[np.int64]

    @classmethod
    def joined(cls, parts: Sequence["Stages"]) -> Self:
        """The texts of all parts (one at least), one part after the other."""
        names = [item.name for item in dataclasses.fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True, eq=False)
class Cascade:
    """A linear stage, and when and how it answers."""

    linear: LinearStage
    settings: CascadeSettings

    def first_stage(self, wordpieces: Sequence[Sequence[int]]) -> Stages:
        """The linear stage's answers to texts, each as all its wordpieces; nothing of the encoder yet."""
        logits = self.linear(wordpieces)
        lengths = np.array([len(ids) for ids in wordpieces], np.int64)
        return Stages(exits(self.settings, logits, lengths), logits, np.full_like(logits, np.nan), lengths)

    def final_logits(self, stages: Stages, encoder_temperature: float) -> NDArray[np.float32]:
        """The logits of the cascade, for the encoder's temperature: float32 [n, K]."""
        answers = StageOutputs(stages.encoder_logits, stages.linear_logits, encoder_temperature, stages.lengths)
        return final_logits(self.settings, answers, stages.exits)

"""The two stages of a cascade: the linear stage reads every text and decides which texts need the encoder."""

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
    """Outputs of each stage for n texts.

    Attributes:
        exits: texts that the linear stage predicts alone, bool [n].
        linear_logits: float32 [n, K].
        encoder_logits: float32 [n, K]; NaN for texts that the encoder did not read.
        lengths: wordpieces without [CLS] and [SEP], int64 [n].
    """

    exits: NDArray[np.bool_]
    linear_logits: NDArray[np.float32]
    encoder_logits: NDArray[np.float32]
    lengths: NDArray[np.int64]

    @classmethod
    def joined(cls, parts: Sequence["Stages"]) -> Self:
        """The texts of all parts in order; there must be at least one part."""
        names = [item.name for item in dataclasses.fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True, eq=False)
class Cascade:
    """A linear stage, and the settings that decide when it predicts alone."""

    linear: LinearStage
    settings: CascadeSettings

    def first_stage(self, wordpieces: Sequence[Sequence[int]]) -> Stages:
        """Outputs of the linear stage for texts, each given as all its wordpieces; encoder logits are NaN."""
        logits = self.linear(wordpieces)
        lengths = np.array([len(ids) for ids in wordpieces], np.int64)
        return Stages(exits(self.settings, logits, lengths), logits, np.full_like(logits, np.nan), lengths)

    def final_logits(self, stages: Stages, encoder_temperature: float) -> NDArray[np.float32]:
        """Logits of the cascade on the scale of the encoder's temperature: float32 [n, K]."""
        outputs = StageOutputs(stages.encoder_logits, stages.linear_logits, encoder_temperature, stages.lengths)
        return final_logits(self.settings, outputs, stages.exits)

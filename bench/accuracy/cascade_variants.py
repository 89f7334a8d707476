"""Predictions of the encoder alone, the linear stage alone, their combination and the cascade, on the same texts.

The models run once; all variants are arithmetic on their logits (textclf.stats.cascade_rules).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.errors import BenchError
from bench.steps import Result
from textclf.runtime.predictor import Predictor
from textclf.stats.cascade_fit import cascade_results
from textclf.stats.cascade_rules import CascadeSettings, StageOutputs, exits, final_logits
from textclf.stats.paired_accuracy import tango_lower_bound, upper_bound

ENCODER, LINEAR, COMBINATION, CASCADE = "encoder", "linear", "combination", "cascade"
# Two-sided level of the intervals.
ALPHA = 0.05
_CHUNK = 1000

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def read_by_both(
    predictor: Predictor, texts: Sequence[str], say: Callable[[str], None] = lambda _: None
) -> StageOutputs:
    """Run both stages of a cascade on every text.

    Args:
        predictor: predictor of a version with a cascade.
        texts: texts that are not truncated; the linear stage reads them whole.
        say: receives progress lines.

    Raises:
        BenchError: if the version has no cascade.
    """
    parts = []
    for start in range(0, len(texts), _CHUNK):
        stages = predictor.predict_batch(list(texts[start : start + _CHUNK]), both_stages=True).stages
        if stages is None:
            raise BenchError(f"{predictor.full_name}: expected a version with a cascade, got one without")
        parts.append(stages)
        if (read := start + _CHUNK) < len(texts):
            say(f"{read:,} of {len(texts):,} texts")
    return StageOutputs(
        np.concatenate([part.encoder_logits for part in parts]),
        np.concatenate([part.linear_logits for part in parts]),
        predictor.temperature,
        np.concatenate([part.lengths for part in parts]),
    )


@dataclass(frozen=True, eq=False)
class Variants:
    """Predictions of all variants for n texts.

    Attributes:
        predicted: class ids, [n], by the name of the variant.
        exits: whether the linear stage predicts the text in the cascade, [n].
    """

    predicted: Mapping[str, IntArray]
    exits: BoolArray


def variants_of(settings: CascadeSettings, outputs: StageOutputs) -> Variants:
    """Return the predictions of all variants."""
    everything = np.ones(len(outputs), np.bool_)
    is_exit = exits(settings, outputs.linear_logits, outputs.lengths)
    rules = {LINEAR: everything, COMBINATION: ~everything, CASCADE: is_exit}
    predicted = {name: final_logits(settings, outputs, rule).argmax(axis=1) for name, rule in rules.items()}
    return Variants({ENCODER: outputs.encoder_logits.argmax(axis=1), **predicted}, is_exit)


def difference(labels: IntArray, first: IntArray, second: IntArray) -> Result:
    """Return the accuracy of the second minus that of the first, with a paired two-sided interval of 1 - ALPHA.

    Args:
        labels: class ids, [n].
        first, second: predicted class ids, [n].
    """
    losses = int(np.sum((first == labels) & (second != labels)))
    gains = int(np.sum((first != labels) & (second == labels)))
    n = len(labels)
    return {
        "difference": (gains - losses) / n,
        "low": tango_lower_bound(losses, gains, n, ALPHA / 2),
        "high": upper_bound(losses, gains, n, ALPHA / 2),
    }


def labelled_results(settings: CascadeSettings, outputs: StageOutputs, labels: IntArray) -> Result:
    """Return the results of textclf.stats.cascade_fit.cascade_results, and differences from the encoder alone.

    Args:
        settings: settings of the cascade.
        outputs: outputs of both stages for n texts.
        labels: class ids, [n].
    """
    predicted = variants_of(settings, outputs).predicted
    compared = {
        name: difference(labels, predicted[ENCODER], predicted[name]) for name in (LINEAR, COMBINATION, CASCADE)
    }
    return {**cascade_results(settings, outputs, labels), "differences": compared}


def attack_results(settings: CascadeSettings, outputs: StageOutputs, wanted: int) -> Result:
    """Return the share of texts that each variant assigns to the wanted class, and the share that exits.

    Args:
        settings: settings of the cascade.
        outputs: outputs of both stages for n attacked texts.
        wanted: class id that the attacker wants.
    """
    found = variants_of(settings, outputs)
    return {
        "texts": len(outputs),
        "fooled": {name: float(np.mean(ids == wanted)) for name, ids in found.predicted.items()},
        "exit_share": float(found.exits.mean()),
    }

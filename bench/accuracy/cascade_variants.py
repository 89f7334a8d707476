"""What each way to use the two stages of a cascade makes of the same texts.

The models run once; encoder alone, linear stage alone, combination and cascade are arithmetic on their logits
(textclf.stats.cascade_rules). The label is the most probable class.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.errors import BenchError
from bench.steps import Figures
from textclf.runtime.predictor import Predictor
from textclf.stats.cascade_fit import cascade_results
from textclf.stats.cascade_rules import CascadeSettings, StageOutputs, exits, final_logits
from textclf.stats.paired_accuracy import tango_lower_bound, upper_bound

ENCODER, LINEAR, COMBINATION, CASCADE = "encoder", "linear", "combination", "cascade"
# Of the intervals, two-sided.
ALPHA = 0.05
_CHUNK = 1000

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def read_by_both(
    predictor: Predictor, texts: Sequence[str], say: Callable[[str], None] = lambda _: None
) -> StageOutputs:
    """What a predictor with a cascade computes, where the encoder reads every text too.

    Args:
        predictor: of a version.
        texts: whole ones: the linear stage reads all of a text, the encoder what its truncation leaves.
        say: gets a line now and then.

    Raises:
        BenchError: the version has no cascade.
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
    """What each way answers to n texts.

    Attributes:
        predicted: class ids, [n], by the names above.
        exits: which texts the linear stage answers in the cascade, [n].
    """

    predicted: Mapping[str, IntArray]
    exits: BoolArray


def variants_of(settings: CascadeSettings, answers: StageOutputs) -> Variants:
    """All of them."""
    everything = np.ones(len(answers), np.bool_)
    is_exit = exits(settings, answers.linear_logits, answers.lengths)
    rules = {LINEAR: everything, COMBINATION: ~everything, CASCADE: is_exit}
    predicted = {name: final_logits(settings, answers, rule).argmax(axis=1) for name, rule in rules.items()}
    return Variants({ENCODER: answers.encoder_logits.argmax(axis=1), **predicted}, is_exit)


def difference(labels: IntArray, first: IntArray, second: IntArray) -> Figures:
    """How much more often the second is right than the first, with a paired two-sided interval of 1 - ALPHA.

    Args:
        labels: class ids, [n].
        first, second: what each predicted, [n].
    """
    losses = int(np.sum((first == labels) & (second != labels)))
    gains = int(np.sum((first != labels) & (second == labels)))
    n = len(labels)
    return {
        "difference": (gains - losses) / n,
        "low": tango_lower_bound(losses, gains, n, ALPHA / 2),
        "high": upper_bound(losses, gains, n, ALPHA / 2),
    }


def labelled_figures(settings: CascadeSettings, answers: StageOutputs, labels: IntArray) -> Figures:
    """What textclf.stats.cascade_fit.cascade_results says, and by how much each way is better than the encoder alone.

    Args:
        settings: of the cascade.
        answers: to n texts.
        labels: class ids, [n].
    """
    predicted = variants_of(settings, answers).predicted
    compared = {
        name: difference(labels, predicted[ENCODER], predicted[name]) for name in (LINEAR, COMBINATION, CASCADE)
    }
    return {**cascade_results(settings, answers, labels), "differences": compared}


def attack_figures(settings: CascadeSettings, answers: StageOutputs, wanted: int) -> Figures:
    """How often each way answers what an attacker wants, and how many texts exit.

    Args:
        settings: of the cascade.
        answers: to n attacked texts.
        wanted: class id that they are to be taken for.
    """
    found = variants_of(settings, answers)
    return {
        "texts": len(answers),
        "fooled": {name: float(np.mean(ids == wanted)) for name, ids in found.predicted.items()},
        "exit_share": float(found.exits.mean()),
    }

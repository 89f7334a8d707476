"""The holdout is checked before the training: how many texts it needs, and after a comparison that could not decide."""

import pytest

from textclf.errors import TooFewTextsError
from textclf.retraining.preflight import check_holdout, labels_for_holdout
from textclf.retraining_options import CombineOptions, GateOptions

GATE, COMBINE = GateOptions(), CombineOptions()


def undecided(texts, **needed):
    holdout = None if texts is None else {"texts": texts}
    gate = {"figures": {"holdout": holdout}, "texts_needed": needed}
    return {"challenger": "v1", "time": "2026-01-02T03:04:05", "gate": gate}


def test_labels_for_a_holdout():
    assert labels_for_holdout(100, COMBINE) == 500
    assert labels_for_holdout(1, CombineOptions(holdout_share=0.3)) == 4


def test_as_many_held_out_texts_as_the_gate_needs():
    check_holdout(100, GATE, COMBINE)
    check_holdout(10, GateOptions(min_holdout=10), COMBINE)
    with pytest.raises(TooFewTextsError) as error:
        check_holdout(40, GATE, COMBINE)
    assert str(error.value) == (
        "expected at least 100 held-out texts, found 40: the gate needs them to promote a model; about 300 more "
        "labelled texts are needed"
    )


@pytest.mark.parametrize(
    ("entry", "needed"),
    [
        (undecided(120, golden=5000), 220),
        (undecided(120, holdout=150), 150),
        (undecided(120, holdout=20_000), 220),
        # Earlier versions of the program trained with any holdout.
        (undecided(17, holdout=100), 100),
        (undecided(None, holdout=100), 100),
    ],
)
def test_after_a_comparison_that_could_not_decide_more_are_needed(entry, needed):
    check_holdout(needed, GATE, COMBINE, entry)
    with pytest.raises(TooFewTextsError, match=f"at least {needed} held-out texts, found {needed - 1}") as error:
        check_holdout(needed - 1, GATE, COMBINE, entry)
    assert ("v1 could not be judged on 120 of them (2026-01-02); --again trains anyway" in str(error.value)) == (
        needed > 100
    )

"""The best version so far: challengers are compared with it, too, so that small losses do not add up.

A promoted version becomes the best only if it was shown to be better. Each promotion may lose up to a margin, and the
most accurate of several equal versions is so by chance.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from textclf.errors import ModelStoreError
from textclf.store.decision_log import MOVES
from textclf.store.model_store import ModelVersion
from textclf.store.promotion import Promotions


def best_in_log(entries: Iterable[Mapping[str, Any]], champion_id: str) -> str:
    """Id of the best version so far, by the decision log, oldest entry first.

    It is the version that the gate compared a promoted challenger with, or the challenger if its accuracy was
    significantly higher. A version that a person made current is the best, because a person may judge by more than a
    test set.
    """
    best, current = None, None
    for entry in entries:
        if entry["action"] not in MOVES:
            continue
        current = entry.get("challenger")
        best = _best_after(entry, best)
    return best if best is not None and current == champion_id else champion_id


def _best_after(entry: Mapping[str, Any], before: str | None) -> str | None:
    """The best version after a move of `current`, if `before` was the best."""
    if entry["action"] != "promote":
        return entry.get("challenger")
    # Earlier versions of this program compared with the champion only.
    compared = entry.get("data", {}).get("best", entry.get("champion"))
    best = compared if "best" in entry.get("data", {}) else before or compared
    figures = entry.get("gate", {}).get("figures", {})
    result = figures.get("best") or figures.get("golden") or {}
    return entry.get("challenger") if best == compared and result.get("lower_bound", 0) > 0 else best


def best_version(
    promotions: Promotions, champion: ModelVersion, fingerprint_of_test_set: Callable[[Sequence[str]], str | None]
) -> tuple[ModelVersion | None, list[str]]:
    """The best version to compare a challenger with, and a sentence if it can't be compared.

    None without a sentence if the champion is the best. A version with another test part is not comparable: it may have
    been trained on texts of this test set. The version may lack classes that were added since, as does the test set.
    `fingerprint_of_test_set` gives the fingerprint of the reference test set for a list of classes.
    """
    best_id = best_in_log(promotions.log.entries(), champion.id)
    if best_id == champion.id:
        return None, []
    missing = f"the best version so far, {best_id}, was not compared: "
    try:
        best = promotions.store.open(best_id)
        best.verify()
    except ModelStoreError as error:
        return None, [f"{missing}{error}"]
    names = best.manifest.class_names
    if not set(names) <= set(champion.manifest.class_names):
        return None, [f"{missing}it has other classes"]
    recorded = best.manifest.data.get("fingerprint", {}).get("test")
    if recorded is None or recorded != fingerprint_of_test_set(names):
        return None, [f"{missing}it was measured on another test set"]
    return best, []

"""How a drift report calls its families, tests and effects, and how it writes shares, wherever it is read."""

from __future__ import annotations

TITLES = {
    "length": "length of the texts",
    "form": "form",
    "score": "scores and predicted classes",
    "content": "words",
    "embedding": "embeddings",
    "stages": "both stages of the cascade",
    "error": "errors",
    "unknown": "unknown wordpieces",
    "continuation": "wordpieces that continue a word",
    "non_letter": "characters other than letters",
    "logits": "logits",
    "classes": "predicted classes",
    "words": "words",
    "embeddings": "embeddings",
    "disagreement": "how often both stages disagree",
    "error_rate": "error rate of the audits",
    "cusum": "errors in the course of time",
}
EFFECTS = {
    "length": "KS distance",
    "unknown": "KS distance",
    "continuation": "KS distance",
    "non_letter": "KS distance",
    "logits": "KS distance",
    "classes": "total variation",
    "words": "AUC of a domain classifier",
    "embeddings": "MMD, as a share of that of unlike samples",
    "disagreement": "change of the rate",
    "error_rate": "rise of the error rate",
    "cusum": "rise of the error rate",
}


def percent(share: float) -> str:
    """A share for people, with one digit after the point."""
    return f"{100 * share:.1f} %"
